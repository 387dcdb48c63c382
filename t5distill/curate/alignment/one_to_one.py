"""Spans of one token of both models, which most are: many at once, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t5distill.curate.alignment import rows, targets
from t5distill.curate.alignment.continuations import IN_CONTEXT, NOTHING, Continuations, Pair
from t5distill.curate.alignment.targets import SoftTargets


class Single(NamedTuple):
    """A span of one token each.

    Attributes:
      position: of its row in the soft targets of all texts.
      pair: the text it is in.
      i: the teacher's token.
      j: the student's.
    """

    position: int
    pair: Pair
    i: int
    j: int


def label(found: SoftTargets, spans: Sequence[Single], memory: Continuations) -> None:
    """Write the soft targets of spans, by the same rules as those of any other span.

    Args:
      found: is written to.
      spans: none of them begins a chain.
      memory: of the student's vocabulary.
    """
    spans = [span for span in spans if span.pair.read.tops[span.i]]
    if not spans:
        return
    coded = memory.coded
    codes, probabilities = rows.table([pair.read.tops[i] for _, pair, i, _ in spans], coded)
    sampled = codes == np.array([coded[pair.read.texts[i]] for _, pair, i, _ in spans])[:, None]
    # A row whose sampled token has no probability has no soft target.
    probabilities[~(sampled & (probabilities > 0.0)).any(axis=1)] = 0.0
    # Rounded probabilities may sum to a little more than 1.
    probabilities /= np.maximum(1.0, probabilities.sum(axis=1, keepdims=True))
    own = np.array([pair.ids[j] for _, pair, _, j in spans])
    ids = coded.values_of(codes)
    whole = np.array([memory.behind_word(pair, j) for _, pair, _, j in spans])
    ids[~whole[:, None] & (ids != NOTHING)] = IN_CONTEXT
    ids = np.where(sampled, own[:, None], ids)
    unclear, columns = np.nonzero((ids == IN_CONTEXT) & (probabilities > 0.0))
    ids[unclear, columns] = _in_context(spans, unclear, codes[unclear, columns], memory)
    probabilities[ids < 0] = 0.0
    rows.merge(ids, probabilities)
    positions = np.array([span.position for span in spans])
    rows.fill(found, positions, ids, probabilities, own)
    found.cases[positions[probabilities.any(axis=1)]] = targets.ONE_TO_ONE


def _in_context(
    spans: Sequence[Single], unclear: np.ndarray, codes: np.ndarray, memory: Continuations
) -> list[int]:
    """Return the first ids of alternatives behind the tokens that stand before them.

    Args:
      spans: all of them.
      unclear: int `[alternatives]`, of which span each is, in ascending order.
      codes: int `[alternatives]`, their numbers.
      memory: of the student's vocabulary.
    """
    found, last, firsts = [], -1, {}
    for row, code in zip(unclear.tolist(), codes.tolist(), strict=True):
        if row != last:
            firsts, last = memory.firsts(spans[row].pair, spans[row].j), row
        found.append(firsts[code])
    return found
