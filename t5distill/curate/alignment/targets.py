"""Soft targets: what an alignment gives, and which part of a target it is about."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from t5distill.curate.alignment.steps import agreement

CASES = ("hard", "one_to_one", "one_to_many", "many_to_one", "many_to_many")
HARD, ONE_TO_ONE, ONE_TO_MANY, MANY_TO_ONE, MANY_TO_MANY = range(len(CASES))


class SoftTargets(NamedTuple):
    """What the student should learn at each token of a target.

    Attributes:
      ids: int32 `[length, k]`, likeliest first, 0 where there is no entry.
      probabilities: float64 `[length, k]`, 0.0 where there is no entry; a row of zeros has no soft
        target: the target's token is learnt as it is.
      cases: uint8 `[length]`, index into `CASES`: teacher tokens to student tokens of the span.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    cases: np.ndarray


def empty(length: int, k: int) -> SoftTargets:
    """Return targets without any soft one."""
    return SoftTargets(
        np.zeros((length, k), np.int32), np.zeros((length, k)), np.zeros(length, np.uint8)
    )


def parts(found: SoftTargets, lengths: Iterable[int]) -> list[SoftTargets]:
    """Return the soft targets of several texts that stand one after the other in `found`."""
    ends = list(itertools.accumulate(lengths))
    return [
        SoftTargets(*(array[begin:end] for array in found))
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def case(teacher: int, student: int) -> int:
    """Return the case of a span of so many tokens of the teacher's and of the student's."""
    if teacher == 1:
        return ONE_TO_ONE if student == 1 else ONE_TO_MANY
    return MANY_TO_ONE if student == 1 else MANY_TO_MANY


def put(found: SoftTargets, position: int, row: Mapping[int, float], own: int) -> None:
    """Write the likeliest entries of a row; the target's own token is always one of them."""
    k = found.ids.shape[1]
    best = sorted(row.items(), key=lambda entry: -entry[1])
    if len(best) > k:
        kept = best[:k]
        if own in row and all(i != own for i, _ in kept):
            kept[-1] = (own, row[own])
        best = kept
    for column, (i, probability) in enumerate(best):
        found.ids[position, column] = i
        found.probabilities[position, column] = probability


def shared(target: str, body: str) -> tuple[int, int, int]:
    """Return the longest part of a target that stands in the teacher's text as well.

    Returns:
      where it begins in `target` and in `body`, and its length.
    """
    if not target or not body:
        return 0, 0, 0
    at = target.find(body)
    if at >= 0:
        return at, 0, len(body)
    at = body.find(target)
    if at >= 0:
        return 0, at, len(target)
    # If a part of some length is shared, then so is one of any smaller length.
    low, high = agreement(target, body), min(len(target), len(body))
    found = (0, 0, low)
    while low < high:
        length = (low + high + 1) // 2
        places = {body[i : i + length]: i for i in range(len(body) - length, -1, -1)}
        hit = next(
            (i for i in range(len(target) - length + 1) if target[i : i + length] in places), None
        )
        if hit is None:
            high = length - 1
        else:
            low, found = length, (hit, places[target[hit : hit + length]], length)
    return found
