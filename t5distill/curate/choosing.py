"""Which of a problem's right chains are kept: no text twice, and not more than are wanted."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from t5distill.curate.texts import jaccard, ngrams, tokens
from t5distill.problems.splitting import normalised
from t5distill.records import Chain

CHOICES = ("first", "random", "diverse")

# Numbers and signs in their order; a hyphen inside a word is no sign.
_CALCULATION = re.compile(r"\d[\d,]*(?:\.\d+)?|[+*/×÷=]|(?<=\s)[-−](?=\s?\d)")


class Duplicates:
    """The chains of one problem seen so far.

    Two are near duplicates where they have the same numbers and signs in the same order and their
    pairs of neighbouring words are alike: the same calculation in nearly the same words.
    """

    def __init__(self, near: float):
        """Start without any.

        Args:
          near: the similarity (Jaccard) of near duplicates; above 1 for none.
        """
        self._near = near
        self._texts: dict[str, int] = {}
        self._by_calculation: dict[tuple[str, ...], list[tuple[set[tuple[str, ...]], int]]] = {}

    def add(self, chain: Chain) -> tuple[str, str] | None:
        """Remember a chain, or return why it is one too many, with a sentence about it."""
        same = normalised(chain.text) or chain.text
        if same in self._texts:
            return "duplicate", f"The same text as sample {self._texts[same]}."
        pairs = ngrams(tokens(chain.text), 2)
        alike = self._by_calculation.setdefault(tuple(_CALCULATION.findall(chain.text)), [])
        if self._near <= 1.0:
            for other, sample in alike:
                similarity = jaccard(pairs, other)
                if similarity >= self._near:
                    percent = f"{100 * similarity:.0f} % alike"
                    return "near_duplicate", f"The calculation of sample {sample}, {percent}."
        self._texts[same] = chain.sample
        alike.append((pairs, chain.sample))
        return None


def choose(chains: Sequence[Chain], count: int, *, how: str, seed: int) -> set[int]:
    """Return the positions of the chains to keep, at most `count`.

    Args:
      chains: of one problem, in an order that is always the same.
      count: how many are wanted.
      how: `first` takes the lowest sample numbers; `random` a seeded choice; `diverse` the first
        and then always the one that is least like those taken (Ho et al. 2022, section 3.4, gain
        most from many and different chains).
      seed: of `random`.
    """
    if len(chains) <= count:
        return set(range(len(chains)))
    if how == "first":
        return set(range(count))
    if how == "random":
        # Seeded by problem: the choice does not depend on which other problems there are.
        rng = random.Random(f"{seed} {chains[0].problem_id}")
        return set(rng.sample(range(len(chains)), count))
    pairs = [ngrams(tokens(chain.text), 2) for chain in chains]
    taken = [0]
    nearest = [jaccard(pairs[0], p) for p in pairs]
    while len(taken) < count:
        free = (i for i in range(len(chains)) if i not in taken)
        taken.append(min(free, key=lambda i: (nearest[i], i)))
        nearest = [
            max(n, jaccard(pairs[taken[-1]], p)) for n, p in zip(nearest, pairs, strict=True)
        ]
    return set(taken)
