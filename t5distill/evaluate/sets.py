"""Which problems a task or mixture is evaluated on, and a student's measure while it trains."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import seqio

from t5distill import formats
from t5distill.data import pools
from t5distill.data.sources import ChainSource
from t5distill.errors import UserError
from t5distill.evaluate import scoring
from t5distill.evaluate.rounds import Decoding, Generator, Rounds
from t5distill.records import OUTCOMES, Problem, data_dir, read_jsonl


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSet:
    """One split of one task.

    Attributes:
      task: the task's registered name.
      problems_path: its Problem file.
      style: how the student is asked.
      source: where the task's chains are.
    """

    task: str
    problems_path: pathlib.Path
    style: str
    source: ChainSource

    def pool(self) -> tuple[formats.Shot, ...]:
        """Return what demonstrations are drawn from, where the style shows any."""
        return pools.shots(self.source) if formats.style(self.style).shows else ()


def evaluation_sets(name: str, split: str) -> list[EvaluationSet]:
    """Return the sets that a task, or each task of a mixture, is evaluated on.

    Args:
      name: a registered name, as `data.resolve` returns.
      split: `train`, `validation` or `test`.

    Raises:
      UserError: a task was not registered through `t5distill.data.register`, or has no such split.
    """
    return [_evaluation_set(task, split) for task in _tasks(name)]


def styles(name: str) -> set[str | None]:
    """Return the styles of a task, or of a mixture's tasks; None for one of other make."""
    return {
        task.source.chains.style if isinstance(task.source, ChainSource) else None
        for task in _tasks(name)
    }


def provenance(name: str) -> list[dict[str, Any]]:
    """Return where the training data of a task, or of each task of a mixture, comes from."""
    return [t.source.provenance() for t in _tasks(name) if isinstance(t.source, ChainSource)]


def _tasks(name: str) -> Sequence[seqio.Task]:
    found = seqio.get_mixture_or_task(name)
    return found.tasks if isinstance(found, seqio.Mixture) else [found]


def _evaluation_set(task: seqio.Task, split: str) -> EvaluationSet:
    source = task.source
    if not isinstance(source, ChainSource):
        raise UserError(
            f"task {task.name} does not say which problems it has; register it with "
            "t5distill.data.register"
        )
    if split not in task.splits:
        raise UserError(
            f"task {task.name} has no split {split!r}, only {', '.join(sorted(task.splits))}; "
            "set EVAL_SPLIT"
        )
    chains = source.chains
    path = data_dir() / chains.benchmark / f"{split}.jsonl"
    if not path.is_file():
        raise UserError(
            f"{path}: no such file; make it with `t5distill prepare {chains.benchmark}` "
            "($T5DISTILL_DATA_DIR, or else ./data, is the root of prepared data)"
        )
    return EvaluationSet(task=task.name, problems_path=path, style=chains.style, source=source)


def measure(
    student: Generator,
    sets: Sequence[EvaluationSet],
    *,
    max_tokens: int,
    limit: int | None = None,
) -> dict[str, float]:
    """Decode greedily, judge, and return the shares of all problems of the sets together.

    Args:
      student: the network.
      sets: as `evaluation_sets` returns.
      max_tokens: the longest output, EOS included.
      limit: problems of each set, from its beginning; None for all.

    Returns:
      `validation_accuracy`, and `validation_{outcome}` for the other outcomes that occurred.
    """
    outcomes = []
    for each in sets:
        problems = list(read_jsonl(Problem, each.problems_path))[:limit]
        rounds = Rounds(
            student=student,
            problems=problems,
            style=each.style,
            decoding=Decoding(max_tokens=max_tokens),
            pool=each.pool(),
        )
        samples = {p.id: chains for p, chains in zip(problems, rounds.run(), strict=True)}
        outcomes += [v.outcome for v in scoring.judge_predictions(problems, samples)]
    shares = {o: outcomes.count(o) / len(outcomes) for o in OUTCOMES}
    return {
        "validation_accuracy": shares.pop("correct"),
        **{f"validation_{outcome}": share for outcome, share in shares.items() if share},
    }
