"""What demonstrations are drawn from: solved problems of the training split, and nothing else."""

from __future__ import annotations

import functools
import json
from typing import Any

import tensorflow as tf

from t5distill import records
from t5distill.data import sources
from t5distill.data.sources import ChainSource
from t5distill.formats import Shot
from t5distill.problems.splitting import normalised
from t5distill.records import Chain, Problem

# Enough for variety; each is a few hundred bytes.
_MOST = 5000


def shots(source: ChainSource) -> tuple[Shot, ...]:
    """Return solved training problems of a task, one chain each, in order of their ids.

    Problems that stand in an evaluation split of any prepared benchmark are left out, under
    whatever id: a demonstration must not give away what is asked elsewhere.
    """
    return _shots(source.chains, source.stamp("train"))


@functools.lru_cache(maxsize=4)
def _shots(chains: sources.ChainSet, stamp: object) -> tuple[Shot, ...]:
    """Return the pool of a set in a state of its files."""
    asked = _evaluated()
    found: dict[str, Shot] = {}
    # The plain source: one chain of a problem is enough, whatever the task makes of several.
    plain = sources.ChainSource(
        sources.ChainSet(chains.benchmark, "cot", chains.names or ()), ("train",)
    )
    pairs: Any = plain.get_dataset("train", shuffle=False).as_numpy_iterator()
    for pair in pairs:
        problem = records.from_object(Problem, json.loads(pair["problem"]))
        if problem.id not in found and normalised(problem.question) not in asked:
            chain = records.from_object(Chain, json.loads(pair["chain"]))
            found[problem.id] = Shot(problem, chain)
        if len(found) == _MOST:
            break
    return tuple(found[i] for i in sorted(found))


def _evaluated() -> set[str]:
    """Return the questions of every evaluation split under the data directory."""
    files = (
        path
        for split in ("validation", "test")
        for path in tf.io.gfile.glob(sources.under_root("*", f"{split}.jsonl"))
    )
    return {normalised(p.question) for path in files for p in records.read_jsonl(Problem, path)}
