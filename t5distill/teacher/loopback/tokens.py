"""Tokens of the loopback teacher: what it counts and cuts at, and what else might stand there."""

from __future__ import annotations

import random
import re

# A word or a sign with the blanks before it; joined again they are the text.
_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")

# What might have stood there instead; more than the 20 alternatives that a request may want.
_OTHERS = ("the", "of", "to", "and", "in", "is", "that", "for", "it", "with", "as", "on", "be")
_OTHERS += ("at", "by", "this", "have", "from", "or", "one", "had", "not", "but", "what", "all")

# How far off `embedded.corrupted` puts the wrong result of a step.
_NEAR = 24
# Longer ones, from somebody's prompt, are no numbers here: Python refuses to read the longest.
_DIGITS = 18


def pieces(text: str) -> list[str]:
    """Return the tokens of a text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """Return how many tokens a text has."""
    return len(_PIECE.findall(text))


def is_number(token: str) -> bool:
    """Return whether a token is a whole number, of a size that arithmetic has."""
    word = token.strip()
    return word.isascii() and word.isdecimal() and len(word) <= _DIGITS


def near_numbers(token: str) -> list[str]:
    """Return the tokens of at least 24 numbers around that of a token, after the same blanks.

    They are those which a wrong result of an embedded problem comes from.
    """
    number = int(token)
    near = range(max(1, number - _NEAR), number + _NEAR + 1)
    return [_blanks(token) + str(n) for n in near if n != number]


def alternatives(token: str, rng: random.Random) -> list[str]:
    """Return at least 24 other tokens after the same blanks, in random order.

    They are near numbers for a number, and words otherwise.
    """
    if is_number(token):
        others = near_numbers(token)
    else:
        others = [_blanks(token) + other for other in _OTHERS if other != token.strip()]
    rng.shuffle(others)
    return others


def _blanks(token: str) -> str:
    return token[: len(token) - len(token.lstrip())]
