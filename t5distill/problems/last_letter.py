"""Last-letter concatenation (after Wei et al. 2022): join the last letters of a name's words.

Two words are in domain (`last_letter`); three and four are out of domain, each a benchmark of its
own with test problems only (`last_letter_3`, `last_letter_4`).
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
    """Return the name of the benchmark with that many words."""
    return "last_letter" if length == IN_DOMAIN else f"last_letter_{length}"


def generate(
    *, count: int, length: int, seed: int, split: str, exclude: Set[str] = frozenset()
) -> list[Problem]:
    """Generate distinct problems; a name is first names followed by one last name.

    Args:
      count: how many problems.
      length: how many words a name has.
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
        parts = [*rng.sample(words.load("first"), length - 1), rng.choice(words.load("last"))]
        question = f'Take the last letter of each word in "{" ".join(parts)}" and join the letters.'
        if question in seen:
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
                answer="".join(part[-1] for part in parts),
                kind="string",
                benchmark=name,
                split=split,
                solution=_solution(parts),
                meta={"words": parts},
            )
        )
    return problems


def _solution(parts: list[str]) -> str:
    letters = [f'The last letter of "{part}" is "{part[-1]}".' for part in parts]
    return f'{" ".join(letters)} Joined they are "{"".join(part[-1] for part in parts)}".'
