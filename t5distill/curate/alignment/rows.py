"""Alternatives of many tokens as tables, one row a token."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from t5distill.curate.alignment.targets import SoftTargets


class Coded(dict[str, int]):
    """Texts numbered as they come, each with a value that is calculated once.

    Attributes:
      texts: by number.
    """

    def __init__(self, value: Callable[[str], int]):
        """Start empty; `value` gives the integer that a text stands for."""
        super().__init__()
        self.texts: list[str] = []
        self._value = value
        self._values = np.zeros(1024, np.int64)

    def __missing__(self, text: str) -> int:
        """Number a new text."""
        number = self[text] = len(self.texts)
        self.texts.append(text)
        if number == len(self._values):
            self._values = np.concatenate([self._values, np.zeros_like(self._values)])
        self._values[number] = self._value(text)
        return number

    def values_of(self, codes: np.ndarray) -> np.ndarray:
        """Return the values of numbered texts."""
        return self._values[codes]

    def clear(self) -> None:
        """Forget all texts; numbers given before mean nothing then."""
        super().clear()
        self.texts.clear()


class Table(NamedTuple):
    """Alternatives of several tokens.

    Attributes:
      codes: int `[tokens, width]`, the texts' numbers; of no meaning where there is no probability.
      probabilities: float64 `[tokens, width]`; 0 where there is none, and where a text comes again.
    """

    codes: np.ndarray
    probabilities: np.ndarray


def table(tops: Sequence[Sequence[Any]], coded: Coded) -> Table:
    """Return the alternatives of tokens; of equal texts the first one counts.

    Args:
      tops: of each token pairs of a text and its log-probability, at least one.
      coded: numbers their texts.
    """
    # Flat, and not by zip(*pairs), which makes an iterator a pair for the garbage collector to see.
    flat = list(itertools.chain.from_iterable(itertools.chain.from_iterable(tops)))
    widths = np.fromiter(map(len, tops), np.intp, len(tops))
    if len(flat) != 2 * widths.sum():
        raise ValueError("an alternative of another form; wanted [text, logprob]")
    numbers = np.array(list(map(coded.__getitem__, flat[::2])))
    width = int(widths.max())
    codes = np.zeros((len(tops), width), np.intp)
    found = np.zeros((len(tops), width))
    there = np.arange(width) < widths[:, None]
    codes[there] = numbers
    found[there] = np.exp(np.array(flat[1::2], np.float64))
    for a, b in itertools.combinations(range(width), 2):
        found[codes[:, a] == codes[:, b], b] = 0.0
    return Table(codes, found)


def merge(ids: np.ndarray, probabilities: np.ndarray) -> None:
    """Add up the probabilities of equal ids in each row, at the first of them, in place.

    Args:
      ids: int `[rows, width]`.
      probabilities: float64 `[rows, width]`.
    """
    for a, b in itertools.combinations(range(ids.shape[1]), 2):
        [rows] = np.nonzero((ids[:, a] == ids[:, b]) & (probabilities[:, b] > 0.0))
        probabilities[rows, a] += probabilities[rows, b]
        probabilities[rows, b] = 0.0


def fill(
    found: SoftTargets,
    positions: np.ndarray,
    ids: np.ndarray,
    probabilities: np.ndarray,
    own: np.ndarray,
) -> None:
    """Write the likeliest entries of rows; the target's own token is always one of them.

    Args:
      found: is written to.
      positions: int `[rows]`, of the rows in `found`.
      ids: int `[rows, width]`, each id once in a row where its probability is not 0.
      probabilities: float64 `[rows, width]`, 0 where there is no entry.
      own: int `[rows]`, the target's own tokens.
    """
    k = found.ids.shape[1]
    order = np.argsort(-probabilities, axis=1, kind="stable")
    ids = np.take_along_axis(ids, order, axis=1)
    probabilities = np.take_along_axis(probabilities, order, axis=1)
    if ids.shape[1] > k:
        crowded_out = (ids == own[:, None]) & (probabilities > 0.0)
        crowded_out[:, :k] = False
        rows, columns = np.nonzero(crowded_out)
        ids[rows, k - 1] = own[rows]
        probabilities[rows, k - 1] = probabilities[rows, columns]
        ids, probabilities = ids[:, :k], probabilities[:, :k]
    width = ids.shape[1]
    found.ids[positions, :width] = np.where(probabilities > 0.0, ids, 0)
    found.probabilities[positions, :width] = probabilities
