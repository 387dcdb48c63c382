"""Alignment as Fu et al. 2023 made it: dynamic time warping between two lists of tokens.

The cost of a teacher's token beside a student's piece is Levenshtein's distance between them,
without spaces. A student's token to which exactly one token of the teacher's is mapped, with the
same text, gets the probabilities of that step for those alternatives that are pieces of the
vocabulary, not renormalised; any other token gets all of the probability.

The results are those of the paper's code (notebooks/dev_align_codex_to_flan_t5_dtw.ipynb of
FranxYao/FlanT5-CoT-Specialization); the tables are filled by anti-diagonals, for many chains at
once, and distances are looked up.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from t5distill.curate.alignment import rows, steps, targets
from t5distill.curate.alignment.continuations import Vocabulary
from t5distill.curate.alignment.edit_distance import Distances
from t5distill.curate.alignment.targets import SoftTargets
from t5distill.records import Chain

_BATCH = 256
# How much longer the longest of a batch may be than its shortest, and 8 tokens more.
_LIKE = 1.25
_MOST_REMEMBERED = 1 << 18


class _Pair(NamedTuple):
    """A chain's tokens beside those of its target that stand in it.

    Attributes:
      ids: the whole target's.
      from_token: where the shared part begins in them.
      pieces: of the shared part.
      texts: of the teacher's tokens there.
      tops: their alternatives.
    """

    ids: list[int]
    from_token: int
    pieces: list[str]
    texts: list[str]
    tops: list


def align_many(
    texts: Sequence[str], chains: Sequence[Chain], vocabulary: Vocabulary, *, k: int
) -> list[SoftTargets]:
    """Return soft targets for many targets, see `alignment.align`."""
    memory = _memory(vocabulary)
    with memory.lock:
        if len(memory.coded) > _MOST_REMEMBERED:
            memory.coded.clear()
            memory.spelled.clear()
        return _align_many(texts, chains, vocabulary, memory, k=k)


def _align_many(
    texts: Sequence[str],
    chains: Sequence[Chain],
    vocabulary: Vocabulary,
    memory: _Memory,
    *,
    k: int,
) -> list[SoftTargets]:
    pairs = [
        _pair(text, chain, vocabulary, memory) for text, chain in zip(texts, chains, strict=True)
    ]
    begins = list(itertools.accumulate((len(pair.ids) for pair in pairs), initial=0))
    found = targets.empty(begins.pop(), k)
    some = [pair for pair in zip(pairs, begins, strict=True) if pair[0].pieces and pair[0].texts]
    # Chains of like lengths together: each table of a batch is as large as the largest.
    some.sort(key=lambda pair: (len(pair[0].pieces), len(pair[0].texts)))
    for batch in _batches(some):
        costs = memory.distances.of(
            [pair.texts for pair, _ in batch], [pair.pieces for pair, _ in batch]
        )
        counts, steps_of = warp(costs)
        _label(found, batch, counts, steps_of, memory)
    return targets.parts(found, [len(pair.ids) for pair in pairs])


def _batches(some: Sequence[tuple[_Pair, int]]) -> Iterator[list[tuple[_Pair, int]]]:
    """Yield neighbours of like lengths."""
    batch: list[tuple[_Pair, int]] = []
    for pair in some:
        if batch and (
            len(batch) == _BATCH or len(pair[0].pieces) > _LIKE * len(batch[0][0].pieces) + 8
        ):
            yield batch
            batch = []
        batch.append(pair)
    if batch:
        yield batch


def _pair(text: str, chain: Chain, vocabulary: Vocabulary, memory: _Memory) -> _Pair:
    """Return the tokens of both models in the part of a target that stands in the chain."""
    read = steps.read(chain)
    ids, ends = vocabulary.spans(text)
    begin, in_body, length = targets.shared(text, read.body)
    bounds = [0, *ends]
    first = bisect.bisect_left(bounds, begin)
    last = bisect.bisect_left(bounds, begin + length)
    if last == len(bounds) or bounds[last] > begin + length:
        last -= 1  # it goes on behind the shared part
    own = slice(
        bisect.bisect_right(read.bounds, in_body, 1) - 1,
        bisect.bisect_left(read.bounds, in_body + length, 0, len(read.texts)),
    )
    pieces = [memory.pieces[i] for i in ids[first:last]]
    return _Pair(ids, first, pieces, read.texts[own], read.tops[own])


def warp(costs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each student's token how many teacher's tokens the cheapest path maps to it.

    Args:
      costs: for each chain int `[teacher's tokens, student's tokens]`, none of them empty.

    Returns:
      counts, and the first of the teacher's tokens, both int `[chains, most student's tokens]`.
    """
    heights = np.array([cost.shape[0] for cost in costs])
    widths = np.array([cost.shape[1] for cost in costs])
    m, n = int(heights.max()), int(widths.max())
    # Chains along the last axis: every step below is then one run over memory.
    longest = (m + n) * max(int(one.max()) for one in costs)
    # Half as wide where the longest path fits: half as much memory to go through.
    dtype, far = (np.int16, 1 << 14) if longest < 1 << 14 else (np.int32, 1 << 28)
    cost = np.zeros((m + 1, n + 1, len(costs)), dtype)
    for i, one in enumerate(costs):
        cost[1 : one.shape[0] + 1, 1 : one.shape[1] + 1, i] = one
    total = np.full_like(cost, far)
    total[0, 0] = 0
    flat, flat_cost = total.reshape(-1, len(costs)), cost.reshape(-1, len(costs))
    for d in range(2, m + n + 1):
        low, high = max(1, d - n), min(m, d - 1)
        # Along an anti-diagonal the place in memory grows by n.
        begin, end = low * n + d, high * n + d + 1
        at = slice(begin, end, n)
        diagonal = flat[begin - n - 2 : end - n - 2 : n]
        up = flat[begin - n - 1 : end - n - 1 : n]
        left = flat[begin - 1 : end - 1 : n]
        np.add(flat_cost[at], np.minimum(np.minimum(diagonal, up), left), out=flat[at])
    return _trace(total, heights, widths)


def _trace(
    total: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Walk every chain's cheapest path back from its end.

    Of equally cheap steps the diagonal goes before the one that leaves the student's token, and
    that before the one that leaves the teacher's.
    """
    chains = np.arange(len(heights))
    row, column = total.shape[1] * total.shape[2], total.shape[2]
    flat = total.reshape(-1)
    # Where a chain's cell is in memory, and its column there; 1, 1 is the first cell.
    at, j = heights * row + widths * column + chains, widths
    behind_first = row + 2 * column
    counts = np.zeros((total.shape[1], len(heights)), np.int32)
    last = np.zeros_like(counts)
    flat_counts, flat_last = counts.reshape(-1), last.reshape(-1)
    while len(at):
        place = j * column + chains
        flat_counts[place] += 1
        flat_last[place] = at
        going = at >= behind_first
        if not going.all():
            chains, at, j = chains[going], at[going], j[going]
        diagonal, up = flat.take(at - (row + column)), flat.take(at - row)
        left = flat.take(at - column)
        by_left = (left < diagonal) & (left < up)
        by_up = (up < diagonal) & ~by_left
        at = at - np.where(by_left, 0, row) - np.where(by_up, 0, column)
        j = j - ~by_up
    return counts[1:].T, last[1:].T // row - 1


class _Memory:
    """What is worth remembering between chains.

    Attributes:
      lock: to be held in use: tasks prepare examples in several threads.
      coded: alternatives, with the ids that they have as pieces, or -1.
      distances: between the teacher's tokens and the pieces, without spaces.
      pieces: of the student's ids.
      spelled: the teacher's tokens as pieces would be written.
    """

    def __init__(self, vocabulary: Vocabulary):
        self.lock = threading.Lock()
        self.coded = rows.Coded(lambda text: _id_of(vocabulary, text))
        self.distances = Distances(" ", "▁")
        self.pieces = _Pieces(vocabulary)
        self.spelled = _Spelled()


class _Spelled(dict[str, str]):
    """Teacher's tokens as pieces would be written."""

    def __missing__(self, text: str) -> str:
        found = self[text] = text.replace(" ", "▁")
        return found


class _Pieces(dict[int, str]):
    """The pieces of ids."""

    def __init__(self, vocabulary: Vocabulary):
        super().__init__()
        self._vocabulary = vocabulary

    def __missing__(self, i: int) -> str:
        piece = self[i] = self._vocabulary.piece(i)
        return piece


def _id_of(vocabulary: Vocabulary, text: str) -> int:
    found = vocabulary.id_of(text.replace(" ", "▁"))
    return -1 if found is None else found


@functools.lru_cache(maxsize=4)
def _memory(vocabulary: Vocabulary) -> _Memory:
    return _Memory(vocabulary)


def _label(
    found: SoftTargets,
    batch: Sequence[tuple[_Pair, int]],
    counts: np.ndarray,
    steps_of: np.ndarray,
    memory: _Memory,
) -> None:
    """Write the soft targets of some chains, of which each begins somewhere in `found`."""
    positions, tops, own = [], [], []
    for (pair, begin), count, of in zip(batch, counts.tolist(), steps_of.tolist(), strict=True):
        begin += pair.from_token
        ids = pair.ids[pair.from_token : pair.from_token + len(pair.pieces)]
        found.ids[begin : begin + len(ids), 0] = ids
        found.probabilities[begin : begin + len(ids), 0] = 1.0
        tokens = zip(count, of, pair.pieces, strict=False)
        same = [
            j
            for j, (n, step, piece) in enumerate(tokens)
            if n == 1 and piece == memory.spelled[pair.texts[step]]
        ]
        positions += [begin + j for j in same]
        tops += [pair.tops[of[j]] for j in same]
        own += [ids[j] for j in same]
    if not positions:
        return
    codes, probabilities = rows.table(tops, memory.coded)
    ids = memory.coded.values_of(codes)
    probabilities[ids < 0] = 0.0
    for a, b in itertools.combinations(range(ids.shape[1]), 2):
        probabilities[(ids[:, a] == ids[:, b]) & (probabilities[:, a] > 0.0), b] = 0.0
    positions, own = np.array(positions), np.array(own)
    soft = ((ids == own[:, None]) & (probabilities > 0.0)).any(axis=1)
    found.ids[positions[soft], 0] = 0
    rows.fill(found, positions[soft], ids[soft], probabilities[soft], own[soft])
    found.cases[positions[soft]] = targets.ONE_TO_ONE
