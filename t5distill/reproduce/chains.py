"""The problems of an experiment, the teacher's chains of them, and the sets they become."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from t5distill import formats
from t5distill.errors import UserError
from t5distill.reproduce.experiment import GOLD, OTHER_SIMULATED, SIMULATED, Arm, Experiment
from t5distill.reproduce.running import Stages, command, flags, run

# Of `generate`: how many chains there are does not change what each of them is.
_SAMPLES = "samples"


class Asked(NamedTuple):
    """What a teacher is asked for, beside the number of samples.

    Attributes:
      teacher: as `generate --teacher`.
      name: the teacher's name on its chains: what was asked differently has another.
      style: of the chains.
      options: of `generate`, in order.
    """

    teacher: str
    name: str
    style: str
    options: tuple[tuple[str, Any], ...]


class ChainSet(NamedTuple):
    """One curated set.

    Attributes:
      asked: where its chains are from; None for the benchmark's own solutions.
      samples: how many of each problem's chains it is made from.
      options: of `curate`, in order.
      style: of the chains.
      name: what stands for the teacher in the set's name.
    """

    asked: Asked | None
    samples: int
    options: tuple[tuple[str, Any], ...]
    style: str
    name: str

    def task(self, benchmark: str, style: str) -> str:
        """Return the task of a style on this set."""
        return f"{benchmark}_{style}_{_word(self.name)}"


def chain_set(experiment: Experiment, arm: Arm, style: str, *, tiny: bool) -> ChainSet:
    """Return the set that an arm learns a style from."""
    chains = formats.style(style).chains
    curate = {**experiment.curate, **arm.curate}
    teacher = arm.teacher or experiment.teacher
    if teacher == GOLD:
        return ChainSet(None, 1, _ordered(curate), chains, _named(GOLD, curate))
    options = {**experiment.generate, **arm.generate}
    samples = int(options.pop(_SAMPLES, 1))
    name = _teacher_name(teacher)
    if tiny:
        name = SIMULATED if teacher == experiment.teacher else OTHER_SIMULATED
    asked = Asked(teacher, _named(name, options), chains, _ordered(options))
    # A ledger may hold more samples, which another arm wants.
    curate |= {_SAMPLES: samples}
    unsaid = {_SAMPLES: None} if samples == 1 else {}
    name = _named(asked.name, {**curate, **unsaid})
    return ChainSet(asked, samples, _ordered(curate), chains, name)


def chain_sets(experiment: Experiment, *, tiny: bool) -> list[ChainSet]:
    """Return every set of an experiment once."""
    found = (
        chain_set(experiment, arm, style, tiny=tiny)
        for arm in experiment.arms
        for style in arm.style
    )
    return list(dict.fromkeys(found))


def most_samples(sets: Iterable[ChainSet]) -> dict[Asked, int]:
    """Return what the teachers are asked, with the most samples that any set wants."""
    found: dict[Asked, int] = {}
    for each in sets:
        if each.asked is not None:
            found[each.asked] = max(each.samples, found.get(each.asked, 0))
    return found


def _teacher_name(spec: str) -> str:
    """Return the model's name in a teacher's specification."""
    return spec.partition("@")[0].rpartition(":")[2].rpartition("/")[2]


def _ordered(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (name, tuple(v) if isinstance(v, list) else v) for name, v in sorted(options.items())
    )


def _named(name: str, options: Mapping[str, Any]) -> str:
    """Return a name that says what is special, e.g. `gpt-4_show_gold_samples_8`."""
    said = [name]
    for option, value in sorted(options.items()):
        if value is not False and value is not None:
            said += [option, *([] if value is True else [str(value)])]
    return _word("_".join(said)) if len(said) > 1 else name


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII)


def prepare(
    benchmarks: Sequence[str], data: pathlib.Path, raw: Mapping[str, str], stages: Stages
) -> None:
    """Prepare what is not there yet.

    Raises:
      UserError: a benchmark's official files are needed and were not given.
    """
    from t5distill.problems.benchmarks import GENERATED

    for benchmark in benchmarks:
        if (data / benchmark / "test.jsonl").is_file():
            stages.skipped("prepare")
            continue
        made_by = next((g for g in GENERATED if benchmark.startswith(g)), None)
        if made_by is None and benchmark not in raw:
            raise UserError(
                f"{data / benchmark}: no prepared problems of {benchmark}; give its official files "
                f"with --raw {benchmark}=FOLDER (t5distill prepare --help says which), or take "
                "--tiny, which needs none"
            )
        with stages(f"prepare {benchmark}", kind="prepare"):
            given = ["--raw", raw[benchmark]] if made_by is None else []
            command("prepare", made_by or benchmark, *given)


def generate(asked: Asked, samples: int, problems: pathlib.Path, ledger: pathlib.Path) -> None:
    """Ask a teacher for what is missing.

    Raises:
      UserError: not all of it came.
    """
    code = run(
        *("generate", "--problems", str(problems), "--teacher", asked.teacher),
        *("--name", asked.name, "--style", asked.style, "--samples", str(samples)),
        *("--ledger", str(ledger), *flags(dict(asked.options))),
    )
    if code:
        raise UserError(
            f"stopped before every chain was there; those that came are kept in {ledger}, and the "
            "same command goes on"
        )


def curate(each: ChainSet, problems: pathlib.Path, ledger: pathlib.Path) -> None:
    """Curate one set, by the command."""
    if each.asked is None:
        source, teacher = ["--gold", each.style], GOLD
    else:
        teacher = each.asked.name
        source = ["--ledger", str(ledger), "--style", each.style, "--teacher", teacher]
    named = [] if each.name == teacher else ["--name", each.name]
    command("curate", "--problems", str(problems), *source, *named, *flags(dict(each.options)))


def is_curated(each: ChainSet, benchmark: str, data: pathlib.Path) -> bool:
    """Say whether a set is there."""
    name = each.task(benchmark, each.style)
    made = data / "tfds" / name / "1.0.0/manifest.json"
    return made.is_file() and (data / "chains" / name / "curation.json").is_file()
