"""SeqIO tasks and mixtures: their names, and what goes into each."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import seqio

from t5distill import formats
from t5distill.curate import tfds_writer
from t5distill.data import metrics, pools, preprocessors, soft_labels, sources
from t5distill.data.converters import SOFT_FEATURES, TARGET_WEIGHTS, SoftFeature
from t5distill.data.sources import ChainSet, ChainSource
from t5distill.data.vocabularies import vocabulary
from t5distill.errors import UserError
from t5distill.formats.vocabulary import VOCABULARIES
from t5distill.records import SPLITS, STYLES

# Large enough to shuffle the benchmarks here whole; about 4 KB an example.
_SHUFFLE_BUFFER = 10_000
# What is drawn anew costs a millisecond an example, and a buffer is filled before the first batch.
_SHUFFLE_BUFFER_OF_DRAWN = 1_000


def task_name(benchmark: str, style: str, teacher: str | None = None, *, vocab: str = "t5") -> str:
    """Return `{benchmark}_{style}[_{teacher}][__{vocab}]`; T5's vocabulary goes unnamed."""
    plain = tfds_writer.set_name(benchmark, style, teacher) if teacher else f"{benchmark}_{style}"
    return with_vocabulary(plain, vocab)


def with_vocabulary(name: str, vocab: str) -> str:
    """Return the name that a plain task or mixture name has with a vocabulary."""
    if vocab not in VOCABULARIES:
        raise UserError(f"VOCAB is {vocab!r}, wanted one of {', '.join(VOCABULARIES)}")
    return name if vocab == "t5" else f"{name}__{vocab}"


def register(
    name: str | None = None,
    *,
    benchmark: str,
    style: str,
    teacher: str | None = None,
    vocab: str | None = None,
    chains: str | None = None,
    splits: Sequence[str] = SPLITS,
) -> list[str]:
    """Register a task; again with the same arguments does nothing.

    Train holds chains: without a teacher, the solutions in `{benchmark}/train.jsonl` as they stand;
    with one, the curated TFDS set `tfds/{benchmark}_{style}_{teacher}` (teacher `gold` is the
    benchmark itself, curated). With style `answer`, where a teacher has no set of its own, the
    problems come from its chain-of-thought set, once each, so that both students see the same
    problems. Validation and test are every problem of `{benchmark}/{split}.jsonl`.

    Args:
      name: the task's plain name; None means `task_name(benchmark, style, teacher)`.
      benchmark: the folder of problems under $T5DISTILL_DATA_DIR.
      style: one of `formats.STYLES`.
      teacher: whose curated chains; None means the benchmark's own solutions, uncurated.
      vocab: one of `t5`, `byt5`, `mt5`; None registers all three, as `name`, `name__byt5` and
        `name__mt5`.
      chains: the TFDS set to read, where it is not the teacher's usual one.
      splits: the splits that the benchmark has.

    Returns:
      the full names registered.

    Raises:
      UserError: no such style, vocabulary or split, or the name is taken by another task.
    """
    formats.style(style)
    unknown = set(splits) - set(SPLITS)
    if unknown or not splits:
        raise UserError(f"splits are {list(splits)}, wanted some of {', '.join(SPLITS)}")
    chain_set = _chain_set(benchmark, style, teacher, chains)
    plain = name or task_name(benchmark, style, teacher)
    names = []
    for each in VOCABULARIES if vocab is None else (vocab,):
        full = with_vocabulary(plain, each)
        _add_task(full, ChainSource(chain_set, splits), style=style, vocab=each)
        names.append(full)
    return names


def register_mixture(name: str, tasks: Sequence[str]) -> list[str]:
    """Register a mixture of tasks, by plain names, with each vocabulary; again does nothing.

    Rates are proportional to the tasks' example counts.

    Raises:
      UserError: a task is not registered, or the name is taken.
    """
    names = []
    for vocab in VOCABULARIES:
        full = with_vocabulary(name, vocab)
        members = [resolve(task, vocab) for task in tasks]
        names.append(full)
        if full in seqio.MixtureRegistry.names():
            present = seqio.MixtureRegistry.get(full)
            if sorted(task.name for task in present.tasks) == sorted(members):
                continue
            raise UserError(f"mixture {full} is registered already, with other tasks")
        seqio.MixtureRegistry.add(full, members, default_rate=seqio.mixing_rate_num_examples)
    return names


def resolve(name: str, vocab: str) -> str:
    """Return the registered task or mixture for a recipe's plain name and a model's vocabulary.

    A name that nobody registered is looked for among the curated sets under $T5DISTILL_DATA_DIR, so
    that what `t5distill curate` wrote can be trained on without a module of one's own.

    Names joined by `+` are a mixture of those, with rates proportional to their examples. A name
    with `_of_` asks one benchmark's problems with another's chains to show, e.g.
    `svamp_cot_in_context_of_gsm8k_cot_gold`.

    Raises:
      UserError: no such vocabulary, or no such name; the nearest one is suggested.
    """
    if "+" in name:
        # A mixture that nobody has named.
        parts = name.split("+")
        register_mixture(".".join(parts), parts)
        return resolve(".".join(parts), vocab)
    plain, _, suffix = name.partition("__")
    if suffix and suffix != vocab:
        raise UserError(f"task {name} has vocabulary {suffix!r}, but VOCAB is {vocab!r}")
    full = with_vocabulary(plain, vocab)
    known = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
    if full in known or _register_curated(plain, vocab) or _register_borrowed(plain, vocab):
        return full
    near = difflib.get_close_matches(full, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise UserError(
        f"no task or mixture {full!r}{hint}; `t5distill curate` makes sets that are found by name; "
        "others are registered with t5distill.data.register, in a module that "
        "MIXTURE_OR_TASK_MODULE names"
    )


def _register_curated(plain: str, vocab: str) -> bool:
    """Register the curated set of a name, or of one with a style that is made from its chains."""
    for style, found in _curated_names(plain):
        manifest = sources.curated_manifest(found)
        if manifest is None or len(manifest.get("benchmarks", ())) != 1:
            continue
        style = style or manifest["styles"][0]
        benchmark = manifest["benchmarks"][0]
        splits = sorted({"train", *sources.present_splits(benchmark)}, key=SPLITS.index)
        register(plain, benchmark=benchmark, style=style, vocab=vocab, chains=found, splits=splits)
        return True
    return False


def _register_borrowed(plain: str, vocab: str) -> bool:
    """Register the problems of one benchmark, asked with what was curated of another."""
    asked, _, chains = plain.partition("_of_")
    # The longest name: `cot_in_context` ends no other way than in itself, `cot` in many.
    styles = [s for s in sorted(formats.STYLES, key=len) if asked.endswith(f"_{s}")]
    if not chains or not styles or sources.curated_manifest(chains) is None:
        return False
    style = styles[-1]
    benchmark = asked.removesuffix(f"_{style}")
    splits = sorted({"train", *sources.present_splits(benchmark)}, key=SPLITS.index)
    register(plain, benchmark=benchmark, style=style, vocab=vocab, chains=chains, splits=splits)
    return True


def _curated_names(plain: str) -> Iterator[tuple[str | None, str]]:
    """Yield the sets that a task's name may stand for, with the style that its name says."""
    yield None, plain
    # The longest name first: `socratic_iterative` before `socratic`.
    for style in sorted(formats.STYLES, key=len, reverse=True):
        chains = formats.style(style).chains
        if chains != style and f"_{style}_" in plain:
            yield style, plain.replace(f"_{style}_", f"_{chains}_")


def _chain_set(benchmark: str, style: str, teacher: str | None, chains: str | None) -> ChainSet:
    """Return where a task's chains are."""
    if chains is not None:
        names = (chains,)
    elif teacher is None:
        return ChainSet(benchmark, style, grouped=formats.style(style).grouped)
    else:
        made_from = dict.fromkeys((style, formats.style(style).chains))
        names = tuple(
            tfds_writer.set_name(benchmark, each, teacher) for each in made_from if each in STYLES
        )
    found = formats.style(style)
    # The answer alone is learnt once of a problem, however many chains it has.
    once = not found.needs_chain
    return ChainSet(benchmark, style, names, one_per_problem=once, grouped=found.grouped)


def _add_task(name: str, source: ChainSource, *, style: str, vocab: str) -> None:
    """Add one task to SeqIO's registry, unless it is there."""
    if name in seqio.TaskRegistry.names():
        present = seqio.TaskRegistry.get(name).source
        if repr(present) == repr(source):
            return
        raise UserError(f"task {name} is registered already, as {present!r}, not as {source!r}")
    if name in seqio.MixtureRegistry.names():
        raise UserError(f"{name} is registered already, as a mixture")
    feature = seqio.Feature(vocabulary=vocabulary(vocab), add_eos=True)
    features = {"inputs": feature, "targets": feature}
    if formats.style(style).weighted:
        features[TARGET_WEIGHTS] = seqio.Feature(seqio.PassThroughVocabulary(0), add_eos=False)
    if soft := formats.style(style).soft:
        plain = seqio.PassThroughVocabulary(0)
        features |= {name: SoftFeature(plain, add_eos=False, k=soft.k) for name in SOFT_FEATURES}
    seqio.TaskRegistry.add(
        name,
        source=source,
        output_features=features,
        preprocessors=_preprocessors(source, style, vocab),
        metric_objs=[metrics.outcomes_of(style)],
        shuffle_buffer_size=(
            _SHUFFLE_BUFFER if formats.style(style).drawn is None else _SHUFFLE_BUFFER_OF_DRAWN
        ),
    )


def _preprocessors(source: ChainSource, style: str, vocab: str) -> list[Callable[..., Any]]:
    """Return the way from pairs of records to token features."""
    found = formats.style(style)
    # Before SeqIO trims: a target that is cut teaches no early end of sequence.
    end = seqio.preprocessors.append_eos
    soften = [functools.partial(soft_labels.soften, style=style, vocab=vocab)] if found.soft else []
    if found.drawn is not None:
        # What is drawn anew is tokenised anew.
        pool = functools.partial(pools.shots, source)
        return [
            preprocessors.identify,
            seqio.CacheDatasetPlaceholder(),
            functools.partial(preprocessors.draw, style=style, pool=pool),
            seqio.preprocessors.tokenize,
            *([preprocessors.keep_end] if found.shows else []),
            *soften,
            end,
        ]
    return [
        functools.partial(preprocessors.render, style=style),
        seqio.preprocessors.tokenize,
        *soften,
        functools.partial(preprocessors.keep_in_memory, soft=found.soft.k if found.soft else 0),
        seqio.CacheDatasetPlaceholder(),
        end,
        *([preprocessors.weigh] if found.weighted else []),
    ]
