"""One answer from several verdicts on a problem: votes, and the first that has any.

A vote is for a value, not for a spelling: "0.5" and "1/2" are one answer. Everything here works on
stored verdicts; no student is needed.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from t5distill import verify
from t5distill.evaluate import statistics
from t5distill.records import Problem, Verdict

# Where k samples are fewer than there are: all ways to draw them up to so many, else some.
_EXACT = 100
_DRAWS = 64
_RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Ballot:
    """The votes on one problem.

    Attributes:
      verdicts: in the order in which ties are broken, the first counting most.
      classes: of each verdict the position of the first one with the same answer; -1 for none.
    """

    verdicts: Sequence[Verdict]
    classes: Sequence[int]


def ballot(problem: Problem, verdicts: Sequence[Verdict]) -> Ballot:
    """Group the verdicts on a problem by what they answer."""
    classes: list[int] = []
    firsts: list[int] = []
    for i, verdict in enumerate(verdicts):
        if verdict.answer is None:
            classes.append(-1)
            continue
        same = (j for j in firsts if _same(problem, verdicts[j], verdict))
        found = next(same, i)
        if found == i:
            firsts.append(i)
        classes.append(found)
    return Ballot(verdicts, classes)


def _same(problem: Problem, one: Verdict, other: Verdict) -> bool:
    """Tell whether two answers are equal by the rules that compare them with the gold one."""
    assert one.answer is not None and other.answer is not None
    if one.answer == other.answer:
        return True
    if {one.outcome, other.outcome} == {"correct", "wrong"}:
        return False
    found = verify.judge(other.answer, one.answer, problem.kind, choices=problem.choices)
    return found.outcome == "correct"


def majority(votes: Ballot, weights: Sequence[float] | None = None) -> Verdict | None:
    """Return a verdict of the answer with the most votes, or None where nothing was answered.

    A tie goes to the answer that was given first in the ballot's order, so that the result depends
    neither on hashing nor on the order of lines in a file.

    Args:
      votes: of `ballot`.
      weights: of each verdict; equal ones where None.
    """
    totals: dict[int, float] = {}
    for i, found in enumerate(votes.classes):
        if found >= 0:
            totals[found] = totals.get(found, 0.0) + (1.0 if weights is None else weights[i])
    if not totals:
        return None
    # Sums of equal weights in another order must not break a tie by rounding.
    most = max(totals.values()) * (1 - 1e-12)
    return votes.verdicts[min(i for i, total in totals.items() if total >= most)]


def first_answered(votes: Ballot) -> Verdict | None:
    """Return the first verdict that has an answer (Zhu et al. 2024: programs, equations, words)."""
    return next((v for v in votes.verdicts if v.answer is not None), None)


def curve(
    ballots: Sequence[Ballot], ks: Sequence[int], *, seed: int = 0
) -> dict[int, statistics.Interval]:
    """Return the expected accuracy of a vote of k samples for each k, with its 95 % interval.

    Where a problem has more than k samples, it is the mean over all ways to draw k of them, or
    over seeded draws where those are many; the interval resamples problems.

    Args:
      ballots: of every problem; a problem without samples counts as wrong.
      ks: how many samples vote.
      seed: of draws and resampling.
    """
    rng = np.random.default_rng(seed)
    found = {}
    for k in ks:
        shares = np.array([_share(votes, k, rng) for votes in ballots])
        picks = rng.integers(0, len(shares), (_RESAMPLES, len(shares)))
        low, high = np.quantile(shares[picks].mean(axis=1), [0.025, 0.975])
        found[k] = statistics.Interval(float(shares.mean()), float(low), float(high))
    return found


def _share(votes: Ballot, k: int, rng: np.random.Generator) -> float:
    """Return the share of draws of k samples whose vote is right."""
    n = len(votes.verdicts)
    if n <= k:
        draws = [tuple(range(n))]
    elif math.comb(n, k) <= _EXACT:
        draws = list(itertools.combinations(range(n), k))
    else:
        draws = [tuple(sorted(rng.permutation(n)[:k].tolist())) for _ in range(_DRAWS)]
    right = 0
    for draw in draws:
        counts: dict[int, int] = {}
        for i in draw:
            if (found := votes.classes[i]) >= 0:
                counts[found] = counts.get(found, 0) + 1
        most = max(counts.values(), default=0)
        # In a draw a tie goes to the answer that comes first in it.
        winner = next(
            (votes.classes[i] for i in draw if counts.get(votes.classes[i]) == most), None
        )
        right += winner is not None and votes.verdicts[winner].outcome == "correct"
    return right / len(draws)


Choose = Callable[[Ballot], Verdict | None]


def combined(
    problems: Sequence[Problem], groups: dict[str, list[Verdict]], choose: Choose
) -> list[Verdict]:
    """Return one verdict for each problem.

    Args:
      problems: in the order of the result.
      groups: by problem the verdicts, in the order in which ties are broken.
      choose: makes one of them.
    """
    result = []
    for problem in problems:
        votes = ballot(problem, groups.get(problem.id, []))
        winner = choose(votes)
        if winner is None:
            # Nothing was answered: the last one, which would have been fallen back on, says why.
            known = votes.verdicts[-1:] or (
                Verdict(outcome="missing", gold=problem.answer, detail="no prediction"),
            )
            winner = known[0]
        result.append(dataclasses.replace(winner, problem_id=problem.id, sample=0))
    return result
