"""Spans of one token of both models, which most are: many at once, as tables."""

from __future__ import annotations

import numpy as np

from t5distill.curate.alignment import rows, targets
from t5distill.curate.alignment.continuations import IN_CONTEXT, NOTHING, Continuations, Pair
from t5distill.curate.alignment.targets import SoftTargets


class Singles:
    """The spans of one token each of many texts, gathered to be labelled together."""

    def __init__(self, memory: Continuations):
        """Start without any; `memory` is of the student's vocabulary."""
        self._memory = memory
        self._spans: list[tuple[Pair, int]] = []
        self._positions: list[int] = []
        self._tops: list[list] = []
        self._sampled: list[int] = []
        self._own: list[int] = []
        self._whole: list[bool] = []

    def add(self, pair: Pair, begin: int, i: list[int], j: list[int]) -> None:
        """Add spans of a text.

        Args:
          pair: the text.
          begin: where its rows begin in the soft targets of all texts.
          i: the teacher's tokens; none of them begins a chain, and all have alternatives.
          j: the student's tokens, as many.
        """
        texts, tops, coded = pair.read.texts, pair.read.tops, self._memory.coded
        self._spans += [(pair, at) for at in j]
        self._positions += [begin + at for at in j]
        self._tops += [tops[at] for at in i]
        self._sampled += [coded[texts[at]] for at in i]
        self._own += [pair.ids[at] for at in j]
        self._whole += self._memory.behind_words(pair, j)

    def label(self, found: SoftTargets) -> None:
        """Write the soft targets of all spans, by the same rules as those of any other span.

        Args:
          found: of all texts; is written to.
        """
        if not self._spans:
            return
        coded = self._memory.coded
        codes, probabilities = rows.table(self._tops, coded)
        sampled = codes == np.array(self._sampled)[:, None]
        # A row whose sampled token has no probability has no soft target.
        probabilities[~(sampled & (probabilities > 0.0)).any(axis=1)] = 0.0
        # Rounded probabilities may sum to a little more than 1.
        probabilities /= np.maximum(1.0, probabilities.sum(axis=1, keepdims=True))
        own = np.array(self._own)
        ids = coded.values_of(codes)
        ids[~np.array(self._whole)[:, None] & (ids != NOTHING)] = IN_CONTEXT
        ids = np.where(sampled, own[:, None], ids)
        unclear, columns = np.nonzero((ids == IN_CONTEXT) & (probabilities > 0.0))
        ids[unclear, columns] = self._in_context(unclear, codes[unclear, columns])
        probabilities[ids < 0] = 0.0
        rows.merge(ids, probabilities)
        positions = np.array(self._positions)
        rows.fill(found, positions, ids, probabilities, own)
        found.cases[positions[probabilities.any(axis=1)]] = targets.ONE_TO_ONE

    def _in_context(self, unclear: np.ndarray, codes: np.ndarray) -> list[int]:
        """Return the first ids of alternatives behind the tokens that stand before them.

        Args:
          unclear: int `[alternatives]`, of which span each is, in ascending order.
          codes: int `[alternatives]`, their numbers.
        """
        found, last, firsts = [], -1, {}
        for row, code in zip(unclear.tolist(), codes.tolist(), strict=True):
            if row != last:
                firsts, last = self._memory.firsts(*self._spans[row]), row
            found.append(firsts[code])
        return found
