"""Levenshtein's distance of many pairs of short texts at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_CHUNK = 4096
_MOST_TEXTS = 4096


class Distances:
    """The distances between the texts of two sets, without one sign, each calculated once.

    A few hundred words make up most of what a teacher writes, so that a table of their distances
    soon holds nearly every pair that a new chain asks for.
    """

    def __init__(self, row_sign: str, column_sign: str):
        """Start with an empty table; the signs are left out of the texts of rows and columns."""
        self._signs = row_sign, column_sign
        self._rows, self._columns = _Numbered(), _Numbered()
        self._table = np.full((256, 256), -1, np.int16)

    def of(self, ones: Sequence[Sequence[str]], others: Sequence[Sequence[str]]) -> list:
        """Return for each pair of lists the distances of all their texts.

        Args:
          ones: lists of texts.
          others: as many lists.

        Returns:
          int16 arrays `[len(one), len(other)]`.
        """
        if max(len(self._rows), len(self._columns)) > _MOST_TEXTS:
            self.__init__(*self._signs)
        places = [
            (self._rows.places(one)[:, None], self._columns.places(other))
            for one, other in zip(ones, others, strict=True)
        ]
        self._enlarge()
        found = [self._table[rows, columns] for rows, columns in places]
        new = [i for i, distances in enumerate(found) if distances.min() < 0]
        if new:
            self._calculate([places[i] for i in new])
            for i in new:
                found[i] = self._table[places[i]]
        return found

    def _calculate(self, places: list[tuple[np.ndarray, np.ndarray]]) -> None:
        """Put the distances that are missing into the table."""
        wanted = np.zeros(self._table.shape, bool)
        for rows, columns in places:
            wanted[rows, columns] = True
        rows, columns = np.nonzero(wanted & (self._table < 0))
        ones = [text.replace(self._signs[0], "") for text in self._rows]
        others = [text.replace(self._signs[1], "") for text in self._columns]
        self._table[rows, columns] = distances(
            [ones[i] for i in rows], [others[i] for i in columns]
        )

    def _enlarge(self) -> None:
        """Make room for the texts that came in."""
        old = size = self._table.shape[0]
        while size < max(len(self._rows), len(self._columns)):
            size *= 2
        if size > old:
            table = np.full((size, size), -1, np.int16)
            table[:old, :old] = self._table
            self._table = table


class _Numbered(dict[str, int]):
    """Texts numbered as they come."""

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        return number

    def places(self, texts: Sequence[str]) -> np.ndarray:
        """Return the numbers of texts."""
        return np.fromiter(map(self.__getitem__, texts), np.intp, len(texts))


def distances(ones: Sequence[str], others: Sequence[str]) -> np.ndarray:
    """Return Levenshtein's distance of each pair, int16 `[pairs]`."""
    found = np.zeros(len(ones), np.int16)
    # Pairs of like lengths together: a long text would make every table as large as its own.
    order = sorted(range(len(ones)), key=lambda i: (len(ones[i]), len(others[i])))
    for begin in range(0, len(order), _CHUNK):
        chunk = order[begin : begin + _CHUNK]
        found[chunk] = _distances([ones[i] for i in chunk], [others[i] for i in chunk])
    return found


def _distances(ones: list[str], others: list[str]) -> np.ndarray:
    """Return the distances of pairs, by the table of Wagner and Fischer for all at once."""
    a, a_lengths = _characters(ones)
    b, b_lengths = _characters(others)
    table = np.zeros((len(a) + 1, len(b) + 1, len(ones)), np.int16)
    table[:, 0] = np.arange(len(a) + 1)[:, None]
    table[0] = np.arange(len(b) + 1)[:, None]
    for i in range(len(a)):
        # What may be taken from the row above, for the whole row at once.
        best = np.minimum(table[i, 1:] + 1, table[i, :-1] + (a[i] != b))
        for j in range(len(b)):
            np.minimum(best[j], table[i + 1, j] + 1, out=table[i + 1, j + 1])
    return table[a_lengths, b_lengths, np.arange(len(ones))]


def _characters(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return code points `[longest, texts]`, 0 behind a text's end, and the lengths."""
    lengths = np.array([len(text) for text in texts], np.intp)
    width = int(lengths.max(initial=0))
    joined = "".join(text.ljust(width, "\0") for text in texts)
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    return codes.reshape(len(texts), width).T, lengths
