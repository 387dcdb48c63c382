"""The problems of an experiment, the teacher's chains of them, and the sets they become."""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from t5distill import formats
from t5distill.curate.tfds_writer import MANIFEST, VERSION
from t5distill.errors import UserError
from t5distill.report.folders import read_object
from t5distill.reproduce.experiment import (
    GOLD,
    OTHER_SIMULATED,
    SIMULATED,
    TINY_BENCHMARK,
    TINY_GOLD,
    TINY_SAMPLES,
    Arm,
    Experiment,
    is_generated,
)
from t5distill.reproduce.options import Options
from t5distill.reproduce.running import Stages, command, flags, run

# Of `generate`: how many chains there are does not change what each of them is.
_SAMPLES = "samples"
# Neither does what may be spent, nor how fast it is asked.
_PACE = (
    *("budget", "price-prompt", "price-completion", "choices", "batch", "batch-requests"),
    *("batch-poll", "concurrency", "requests-per-minute", "tokens-per-minute", "timeout"),
    "max-attempts",
)
# A ledger has an answer once, whatever its chains are called: their name says none of these.
_SAME_CHAINS = (_SAMPLES, "limit", *_PACE)


class Asked(NamedTuple):
    """What a teacher is asked for, beside the number of samples.

    Attributes:
      benchmark: whose training problems.
      teacher: as `generate --teacher`.
      name: the teacher's name on its chains: what was asked differently has another.
      style: of the chains.
      options: of `generate`, in order.
    """

    benchmark: str
    teacher: str
    name: str
    style: str
    options: tuple[tuple[str, Any], ...]


class ChainSet(NamedTuple):
    """One curated set.

    Attributes:
      benchmark: whose problems it solves.
      asked: where its chains are from; None for the benchmark's own solutions.
      options: of `curate`, in order.
      style: of the chains.
      name: what stands for the teacher in the set's name.
    """

    benchmark: str
    asked: Asked | None
    options: tuple[tuple[str, Any], ...]
    style: str
    name: str

    def made_of(self) -> str:
        """Return what decides which chains these are, wherever their teacher is served."""
        if self.asked is None:
            return repr((None, self.options))
        asked = tuple(option for option in self.asked.options if option[0] not in _PACE)
        return repr(((self.asked.teacher.partition("@")[0], asked), self.options))

    @property
    def set_name(self) -> str:
        """The set's whole name, which is also a task's."""
        return self.task(self.style)

    def task(self, style: str) -> str:
        """Return the task of a style on this set."""
        return f"{self.benchmark}_{style}_{_word(self.name)}"


def chain_set(
    experiment: Experiment, arm: Arm, taught: tuple[str | None, str], *, tiny: bool
) -> ChainSet:
    """Return the set that an arm learns something of its `Arm.taught` from.

    Names say what differs from the recipe's own options; in a tiny run, whose folder many recipes
    share, every option.
    """
    benchmark, chains = taught[0] or experiment.benchmark, formats.style(taught[1]).chains
    curate = {**experiment.curate, **arm.curate}
    said = dict(curate if tiny else arm.curate)
    teacher = arm.teacher or experiment.teacher
    # The simulated teacher knows the embedded problems alone.
    if tiny and benchmark != TINY_BENCHMARK:
        teacher = GOLD
    if teacher == GOLD and (not tiny or chains in TINY_GOLD):
        return ChainSet(benchmark, None, _ordered(curate), chains, _named(GOLD, said))
    options = {**experiment.generate, **arm.generate}
    samples = int(options.pop(_SAMPLES, 1))
    usual = int(experiment.generate.get(_SAMPLES, 1))
    own = {k: v for k, v in arm.generate.items() if k not in _SAME_CHAINS}
    name = _teacher_name(teacher)
    if tiny:
        samples, usual = min(samples, TINY_SAMPLES), 1
        # Recipes share the folder: what is the same for the simulated teachers is the same.
        own = options = {k: v for k, v in options.items() if not (_off(v) or k in _SAME_CHAINS)}
        teacher = name = SIMULATED if teacher == experiment.teacher else OTHER_SIMULATED
    asked = Asked(benchmark, teacher, _named(name, own), chains, _ordered(options))
    # A ledger may hold more samples, which another arm wants.
    if samples != usual:
        said = {**said, _SAMPLES: samples}
    curate |= {_SAMPLES: samples}
    return ChainSet(benchmark, asked, _ordered(curate), chains, _named(asked.name, said))


def chain_sets(experiment: Experiment, *, tiny: bool) -> list[ChainSet]:
    """Return every set of an experiment once.

    Raises:
      UserError: two different ones would have the same name.
    """
    found: dict[str, ChainSet] = {}
    for arm in experiment.arms:
        for taught in arm.taught():
            each = chain_set(experiment, arm, taught, tiny=tiny)
            other = found.setdefault(each.set_name, each)
            if other != each:
                raise UserError(
                    f"STUDENTS[{arm.name!r}]: its set and another arm's would both be called "
                    f"{each.set_name}; wanted teachers whose models have different names"
                )
    return list(found.values())


def most_samples(sets: Iterable[ChainSet]) -> dict[Asked, int]:
    """Return what the teachers are asked, with the most samples that any set wants."""
    found: dict[Asked, int] = {}
    for each in sets:
        if each.asked is not None:
            found[each.asked] = max(dict(each.options)[_SAMPLES], found.get(each.asked, 0))
    return found


def _teacher_name(spec: str) -> str:
    """Return the model's name in a teacher's specification."""
    if spec == TINY_BENCHMARK:
        return SIMULATED
    return spec.partition("@")[0].rpartition(":")[2].rpartition("/")[2].removesuffix(".jsonl")


def _ordered(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (name, tuple(v) if isinstance(v, list) else v) for name, v in sorted(options.items())
    )


def _named(name: str, options: Mapping[str, Any]) -> str:
    """Return a name that says what is special, e.g. `gpt-4_no_show_gold_samples_8`."""
    said = [name]
    for option, value in sorted(options.items()):
        off = _off(value)
        said += [*(["no"] if off else []), option, *([] if off or value is True else [str(value)])]
    return _word("_".join(said)) if len(said) > 1 else name


def _off(value: Any) -> bool:
    """Say whether an option is not given; 0.0 is."""
    return value is None or value is False


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII)


def prepare(experiment: Experiment, options: Options, stages: Stages) -> None:
    """Prepare the problems that are not there yet.

    Raises:
      UserError: a benchmark's official files are needed and were not given.
    """
    from t5distill.problems.benchmarks import GENERATED

    for benchmark in to_prepare(experiment, options):
        if (options.data / benchmark / "test.jsonl").is_file():
            stages.skipped("prepare")
            continue
        made_by = next((g for g in GENERATED if benchmark.startswith(g)), None)
        raw = options.raw_of(benchmark)
        if made_by is None and raw is None:
            raise UserError(
                f"{options.data / benchmark}: no prepared problems of {benchmark}; give its "
                f"official files with --raw {benchmark}=FOLDER (t5distill prepare --help says "
                "which), or take --tiny, which needs none"
            )
        said = prepared_so(experiment, benchmark, options)
        with stages(f"prepare {benchmark}", kind="prepare"):
            command("prepare", made_by or benchmark, *flags({"raw": raw, **said}))


def to_prepare(experiment: Experiment, options: Options) -> list[str]:
    """Return the benchmarks whose problems are to be there before the first set is curated.

    Of a tiny run all that need no download: its vocabulary is of the embedded ones, and its sets
    are shared by recipes that ask others.
    """
    from t5distill.problems.benchmarks import GENERATED

    first = GENERATED if options.tiny else ()
    return list(dict.fromkeys((*first, *benchmarks_of(experiment))))


def prepared_so(experiment: Experiment, benchmark: str, options: Options) -> dict[str, Any]:
    """Return the options of `t5distill prepare` for a benchmark."""
    if options.tiny:
        return {"seed": options.seeds[0], "sizes": options.sizes}
    said = dict(experiment.prepare_tests.get(benchmark, {}))
    if benchmark == experiment.benchmark:
        said = dict(experiment.prepare)
    return {"seed": options.seeds[0], **said} if is_generated(benchmark) else said


def benchmarks_of(experiment: Experiment) -> list[str]:
    """Return every benchmark that is learnt from or asked, once."""
    taught = (b for arm in experiment.arms for b, _ in arm.taught() if b)
    return list(dict.fromkeys((experiment.benchmark, *taught, *experiment.test_benchmarks())))


def generate(asked: Asked, samples: int, options: Options) -> None:
    """Ask a teacher for what is missing.

    Raises:
      UserError: not all of it came, and of what was given up there is more than may be missing.
    """
    from t5distill.teacher.command import GIVEN_UP

    code = run(
        *("generate", "--problems", str(_problems(options.data, asked.benchmark))),
        *("--teacher", asked.teacher, "--name", asked.name, "--style", asked.style),
        *("--samples", str(samples), "--ledger", str(options.ledger)),
        *flags({**dict(asked.options), **{k: v for k, v in options.cost.items() if v is not None}}),
    )
    if code == GIVEN_UP:
        _go_on_without(asked, options)
    elif code:
        raise UserError(
            f"stopped before every chain was there; those that came are kept in {options.ledger}, "
            "and the same command goes on"
        )


def _go_on_without(asked: Asked, options: Options) -> None:
    """Say how many samples have no answer; raise UserError where they are too many."""
    from t5distill.teacher import accounts

    named = (asked.benchmark, asked.style, asked.name)
    [(items, answers)] = (
        row[3:] for row in accounts.overview(options.ledger)["sets"] if row[:3] == named
    )
    share = 1 - answers / items
    found = f"{items - answers:,} of {items:,} samples of {asked.name} have no answer"
    if share > options.missing:
        enough = math.ceil(1000 * share) / 1000
        raise UserError(
            f"{found}; the same command asks for them again, and with --missing {enough:g} goes on "
            "without them"
        )
    print(f"{found}: going on without them")


def _problems(data: pathlib.Path, benchmark: str) -> pathlib.Path:
    return data / benchmark / "train.jsonl"


def curate(each: ChainSet, data: pathlib.Path, ledger: pathlib.Path) -> None:
    """Curate one set, by the command."""
    if each.asked is None:
        source, teacher = ["--gold", each.style], GOLD
    else:
        teacher = each.asked.name
        source = ["--ledger", str(ledger), "--style", each.style, "--teacher", teacher]
    named = [] if each.name == teacher else ["--name", each.name]
    problems = str(_problems(data, each.benchmark))
    command("curate", "--problems", problems, *source, *named, *flags(dict(each.options)))


def is_curated(each: ChainSet, data: pathlib.Path) -> bool:
    """Say whether a set is there."""
    name = each.set_name
    made = data / "tfds" / name / VERSION / MANIFEST
    return made.is_file() and _curation(each, data).is_file()


def check_compared(each: ChainSet, tests: Iterable[str], data: pathlib.Path) -> None:
    """Raise UserError where a set was made before test problems that it was to be compared with."""
    against = read_object(_curation(each, data)).get("against", [])
    # Another machine has the same files elsewhere.
    files = {pathlib.Path(entry["file"]).parts[-2:] for entry in against}
    for benchmark in tests:
        path = data / benchmark / "test.jsonl"
        if path.parts[-2:] not in files:
            raise UserError(
                f"{each.set_name} was curated before {path} was there, so nobody knows whether it "
                "holds these problems; wanted another --workdir, in which all are prepared first"
            )


def _curation(each: ChainSet, data: pathlib.Path) -> pathlib.Path:
    return data / "chains" / each.set_name / "curation.json"
