"""What a report is made from, as plain data; where it lies on the disk is for `folders`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from t5distill.records import Chain, Prediction, Problem, Verdict

Key = tuple[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arm:
    """One way to make a student.

    Attributes:
      name: as its folder is called.
      label: for a reader.
      role: `untrained`, `answer_only`, `distilled`, `ensemble` or another word.
      style: of its predictions, or None.
      x: its place in a sweep, or None.
    """

    name: str
    label: str
    role: str = "distilled"
    style: str | None = None
    x: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
    """One student's results on one benchmark.

    Attributes:
      arm: its name.
      seed: None where there are no seeds.
      benchmark: the name.
      scores: the content of scores.json.
      verdicts: as they stand in verdicts.jsonl.
      predictions: by problem and sample; those that were found.
    """

    arm: str
    seed: int | None
    benchmark: str
    scores: Mapping[str, Any]
    verdicts: list[Verdict]
    predictions: Mapping[Key, Prediction]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Student:
    """What is known of one student beside its results.

    Attributes:
      arm: its name.
      seed: None where there are no seeds.
      card: the content of card.json, empty where there is none.
      curve: rows with `step` and what was measured there.
    """

    arm: str
    seed: int | None
    card: Mapping[str, Any]
    curve: list[dict[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One RUN of the command line.

    Attributes:
      name: of its folder.
      plan: the content of experiment.json; empty where there is none.
      arms: in order, ensembles last.
      benchmarks: in order, the main one first.
      seeds: that were wanted; empty where there are none.
      students: that were found.
      tested: their results.
      problems: by benchmark and id; those that the results are of.
      curation: by set, the content of curation.json.
      chains: by problem, the teacher's for those problems.
      missing: what was looked for and is not there, each a sentence.
    """

    name: str
    plan: Mapping[str, Any]
    arms: list[Arm]
    benchmarks: list[str]
    seeds: list[int]
    students: list[Student]
    tested: list[Results]
    problems: Mapping[str, Mapping[str, Problem]]
    curation: Mapping[str, Mapping[str, Any]]
    chains: Mapping[str, list[Chain]]
    missing: list[str]


def at(obj: Any, *names: str) -> Any:
    """Return what lies at a path of names in JSON, None where the path ends."""
    for name in names:
        obj = obj.get(name) if isinstance(obj, Mapping) else None
    return obj


def numeric(value: Any) -> float | None:
    """Return a JSON number, None where it is something else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < 1e300 else None


def listed(value: Any) -> list[Any]:
    """Return a JSON list, an empty one where it is something else."""
    return value if isinstance(value, list) else []


def counts(value: Any) -> dict[str, int]:
    """Return the counts of a JSON object of counts."""
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {name: int(found) for name, count in pairs if (found := numeric(count)) is not None}
