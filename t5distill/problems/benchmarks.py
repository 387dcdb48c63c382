"""Which official files make which benchmark, and which generators need none."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import types
from collections.abc import Callable, Iterator

from t5distill.errors import UserError
from t5distill.problems import (
    aqua,
    asdiv,
    bbh,
    coin_flip,
    commonsenseqa,
    embedded,
    gsm8k,
    gsm_hard,
    last_letter,
    mawps,
    strategyqa,
    svamp,
)
from t5distill.records import Problem

Reader = Callable[[pathlib.Path, str], Iterator[Problem]]
Splits = dict[str, list[Problem]]

# The split of a file that has no official one: it is divided.
WHOLE = "whole"


@dataclasses.dataclass(frozen=True)
class Part:
    """One official file of a benchmark.

    Attributes:
      split: `train`, `validation`, `test` or `WHOLE`.
      names: the names under which the file is published, within the folder given with --raw.
      read: its reader.
      required: whether the benchmark can be prepared without it.
    """

    split: str
    names: tuple[str, ...]
    read: Reader
    required: bool = True


_MAWPS_NAMES = {
    "addsub": ("AddSub.json", "mawpsaddsub.jsonl"),
    "multiarith": ("MultiArith.json", "mawpsmultiarith.jsonl"),
    "singleeq": ("SingleEq.json", "questions.json", "mawpssingleeq.jsonl"),
    "singleop": ("SingleOp.json", "mawpssingleop.jsonl"),
}

OFFICIAL: dict[str, tuple[Part, ...]] = {
    "gsm8k": (
        Part("train", ("train.jsonl",), gsm8k.read, required=False),
        Part("test", ("test.jsonl",), gsm8k.read),
    ),
    "svamp": (Part(WHOLE, ("SVAMP.json",), svamp.read),),
    "asdiv": (Part(WHOLE, ("ASDiv.xml", "dataset/ASDiv.xml"), asdiv.read),),
    **{
        subset: (Part(WHOLE, names, functools.partial(mawps.read, subset=subset)),)
        for subset, names in _MAWPS_NAMES.items()
    },
    "mawps": tuple(
        Part(WHOLE, names, functools.partial(mawps.read, subset=subset, benchmark="mawps"))
        for subset, names in _MAWPS_NAMES.items()
    ),
    "gsm_hard": (Part("test", ("gsmhardv2.jsonl",), gsm_hard.read),),
    "aqua": (
        Part("train", ("train.json",), aqua.read, required=False),
        Part("validation", ("dev.json",), aqua.read, required=False),
        Part("test", ("test.json", "aqua.jsonl"), aqua.read),
    ),
    "strategyqa": (
        Part("train", ("train.json",), strategyqa.read, required=False),
        Part("test", ("dev.json",), strategyqa.read),
    ),
    "commonsenseqa": (
        Part(
            "train",
            ("train_rand_split.jsonl", "cqa_train.json"),
            commonsenseqa.read,
            required=False,
        ),
        Part("test", ("dev_rand_split.jsonl", "cqa_test.json"), commonsenseqa.read),
    ),
    **{
        f"bbh_{task}": (
            Part(
                "test", (f"{task}.json", f"bbh/{task}.json"), functools.partial(bbh.read, task=task)
            ),
        )
        for task in bbh.TASKS
    },
}

# Names that stand for several benchmarks.
FAMILIES = {"bbh": tuple(name for name in OFFICIAL if name.startswith("bbh_"))}


def locate(name: str, raw: pathlib.Path) -> list[tuple[Part, pathlib.Path]]:
    """Return the files of a benchmark that `raw`, a folder or a file, provides.

    Raises:
      UserError: a required file is not there.
    """
    parts = OFFICIAL[name]
    if raw.is_dir():
        found = [
            (part, raw / candidate)
            for part in parts
            for candidate in part.names
            if (raw / candidate).is_file()
        ]
        # Of several published forms of one file the first counts.
        first = {id(part): (part, path) for part, path in reversed(found)}
        located = [first[id(part)] for part in parts if id(part) in first]
    elif not raw.exists():
        raise UserError(f"{raw}: no such file or folder; give {name}'s official files with --raw")
    else:
        fitting = [part for part in parts if raw.name in part.names]
        # A renamed file is taken where there is but one it can be, unless it is another set's.
        if len(parts) == 1 and raw.name not in _published():
            fitting = list(parts)
        located = [(part, raw) for part in fitting]
    missing = [part for part in parts if part.required and part not in [p for p, _ in located]]
    if missing:
        wanted = "; ".join(" or ".join(part.names) for part in missing)
        raise UserError(f"{raw}: does not provide {wanted}, which {name} needs")
    return located


def _published() -> set[str]:
    """Return the names of all official files."""
    return {name for parts in OFFICIAL.values() for part in parts for name in part.names}


def _embedded(seed: int, sizes: tuple[int, int, int, int]) -> dict[str, Splits]:
    train, validation, test, held_out = sizes
    made = embedded.splits(seed, train=train, validation=validation, test=test, held_out=held_out)
    extra = made.pop("held_out")
    return {embedded.BENCHMARK: made, embedded.HELD_OUT_BENCHMARK: {"test": extra}}


def _symbolic(
    module: types.ModuleType, seed: int, sizes: tuple[int, int, int, int]
) -> dict[str, Splits]:
    """Generate a symbolic benchmark and its longer, out-of-domain forms.

    Test comes first, so that it stays the same whatever the size of train.
    """
    train, validation, test, longer = sizes
    in_domain: Splits = {}
    taken: set[str] = set()
    for split, count in (("test", test), ("validation", validation), ("train", train)):
        in_domain[split] = module.generate(
            count=count, length=module.IN_DOMAIN, seed=seed, split=split, exclude=taken
        )
        taken.update(p.question for p in in_domain[split])
    made = {module.benchmark(module.IN_DOMAIN): in_domain}
    for length in module.OUT_OF_DOMAIN:
        problems = module.generate(count=longer, length=length, seed=seed, split="test")
        made[module.benchmark(length)] = {"test": problems}
    return made


@dataclasses.dataclass(frozen=True)
class Generator:
    """A benchmark that needs no files.

    Attributes:
      make: from seed and sizes to the splits of each benchmark that it makes.
      sizes: default sizes of train, validation, test, and each out-of-domain set.
    """

    make: Callable[[int, tuple[int, int, int, int]], dict[str, Splits]]
    sizes: tuple[int, int, int, int]


GENERATED: dict[str, Generator] = {
    "embedded": Generator(_embedded, (20000, 500, 1000, 200)),
    "coin_flip": Generator(functools.partial(_symbolic, coin_flip), (1000, 100, 500, 500)),
    "last_letter": Generator(functools.partial(_symbolic, last_letter), (1000, 100, 500, 500)),
}
