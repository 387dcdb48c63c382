"""Tokens of the loopback teacher: what it counts, cuts at and gives probabilities for."""

from __future__ import annotations

import math
import random
import re

# A word or a sign with the blanks before it; joined again they are the text.
_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")

# What might have stood there instead; more than the 20 alternatives that a request may want.
_OTHERS = ("the", "of", "to", "and", "in", "is", "that", "for", "it", "with", "as", "on", "be")
_OTHERS += ("at", "by", "this", "have", "from", "or", "one", "had", "not", "but", "what", "all")

# The alternatives leave some probability to tokens that are not listed.
_LISTED = 0.95


def pieces(text: str) -> list[str]:
    """Return the tokens of a text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return len(_PIECE.findall(text))


def top_k(tokens: list[str], k: int, rng: random.Random) -> list[list[tuple[str, float]]]:
    """Return for each token the `max(k, 1)` likeliest with their log-probabilities.

    The token itself comes first. Probabilities of one position sum to less than 1, the
    alternatives' halve from one to the next, and no token occurs twice.
    """
    table = []
    for token in tokens:
        p = rng.uniform(0.55, 0.99)
        rest = _LISTED * (1.0 - p)
        row = [(token, round(math.log(p), 6))]
        for i, other in enumerate(_alternatives(token, k - 1, rng), start=1):
            row.append((other, round(math.log(rest) - i * math.log(2.0), 6)))
        table.append(row)
    return table


def _alternatives(token: str, wanted: int, rng: random.Random) -> list[str]:
    """Return other tokens after the same blanks: near numbers for a number, words otherwise."""
    if wanted < 1:
        return []
    word = token.strip()
    blanks = token[: len(token) - len(token.lstrip())]
    if word.isdecimal():
        low = max(0, int(word) - wanted)
        others = [str(n) for n in range(low, low + 2 * wanted + 1) if n != int(word)]
    else:
        others = [other for other in _OTHERS if other != word]
    return [blanks + other for other in rng.sample(others, wanted)]
