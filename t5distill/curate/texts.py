"""Texts compared with texts: words, numbers, n-grams, and how alike two of them are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set

from t5distill.verify.numberwords import read_words

_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+")
# Words that are a pronoun or an article more often than a number.
_NO_NUMBERS = frozenset(("a", "an", "one", "half", "once", "twice", "thrice"))


def tokens(text: str) -> list[str]:
    """Return the words of a text in small letters and its numbers in figures; no punctuation."""
    found = _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())
    return [_figures(token) for token in found]


def _figures(token: str) -> str:
    """Return a number without separators and trailing zeros; a number word in figures."""
    if token[0].isdigit():
        token = token.replace(",", "")
        return token.rstrip("0").rstrip(".") if "." in token else token
    if token in _NO_NUMBERS:
        return token
    value = read_words([token])
    return str(value[0]) if value else token


def numbers(words: Sequence[str]) -> list[str]:
    """Return those of `tokens` that are numbers, in order."""
    return [word for word in words if word[0].isdigit()]


def ngrams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    """Return the runs of `n` words; of fewer words, all of them as one."""
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))} if words else set()


def jaccard(a: Set, b: Set) -> float:
    """Return the share of two sets that they have in common; 1.0 for two empty ones."""
    if not a and not b:
        return 1.0
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
