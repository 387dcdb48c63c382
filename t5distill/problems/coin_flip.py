"""Coin flip (after Wei et al. 2022): people flip a coin or not, is it still heads up.

Two people are in domain (`coin_flip`); three and four are out of domain, each a benchmark of its
own with test problems only (`coin_flip_3`, `coin_flip_4`).
"""

from __future__ import annotations

import random
from collections.abc import Set

from t5distill.errors import UserError
from t5distill.problems import words
from t5distill.records import Problem

IN_DOMAIN = 2
OUT_OF_DOMAIN = (3, 4)


def benchmark(length: int) -> str:
    """Return the name of the benchmark with that many people."""
    return "coin_flip" if length == IN_DOMAIN else f"coin_flip_{length}"


def generate(
    *, count: int, length: int, seed: int, split: str, exclude: Set[str] = frozenset()
) -> list[Problem]:
    """Generate distinct problems, yes and no in turn, so that neither answer is the better guess.

    Args:
      count: how many problems.
      length: how many people handle the coin.
      seed: the same seed and arguments give the same problems.
      split: `train`, `validation` or `test`; part of the ids and of the seed.
      exclude: questions that must not occur.

    Raises:
      UserError: fewer than `count` problems are left.
    """
    name = benchmark(length)
    rng = random.Random(f"{name} {split} {seed}")
    seen = set(exclude)
    problems: list[Problem] = []
    misses = 0
    while len(problems) < count:
        who = rng.sample(words.load("first"), length)
        flips = [rng.random() < 0.5 for _ in who]
        question = _question(who, flips)
        heads = sum(flips) % 2 == 0
        if question in seen or heads != (len(problems) % 2 == 0):
            misses += 1
            if misses > 100 * (count + 100):
                raise UserError(
                    f"{name} has no {count} further problems for {split}; ask for fewer"
                )
            continue
        seen.add(question)
        problems.append(
            Problem(
                id=f"{name}-{split}-{len(problems):05d}",
                question=question,
                answer="yes" if heads else "no",
                kind="yes_no",
                benchmark=name,
                split=split,
                solution=_solution(who, flips),
                meta={"people": who, "flips": flips},
            )
        )
    return problems


def _question(who: list[str], flips: list[bool]) -> str:
    actions = [
        f"{name} {'flips' if flip else 'does not flip'} the coin."
        for name, flip in zip(who, flips, strict=True)
    ]
    return f"A coin is heads up. {' '.join(actions)} Is the coin still heads up?"


def _solution(who: list[str], flips: list[bool]) -> str:
    """Follow the coin from person to person, and say whether it lies as it did."""
    side, said = "heads", []
    for name, flip in zip(who, flips, strict=True):
        if flip:
            side = "tails" if side == "heads" else "heads"
        said.append(f"{name} {'flips' if flip else 'leaves'} it: {side} up.")
    said.append("Still heads up: yes." if side == "heads" else "Still heads up: no.")
    return " ".join(said)
