"""Texts compared with texts: words, numbers, n-grams, and how alike two of them are."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence, Set

from t5distill.verify.numberwords import STARTS, read_words
from t5distill.verify.plain import INVISIBLE

# Scripts without spaces between words count one token a character.
_TOKEN = re.compile(
    r"\d[\d,]*(?:\.\d+)?|[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W\d_]+"
)
_SPACELESS = re.compile(r"([\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
# Words that are a pronoun or an article more often than a number.
_NO_NUMBERS = frozenset(("a", "an", "one", "half", "once", "twice", "thrice"))
_MOST_NUMBER_WORDS = 8


def tokens(text: str) -> list[str]:
    """Return the words of a text in small letters and its numbers in figures; no punctuation.

    Characters that cannot be seen do not count; "forty-five" is 45, and so is "٤٥".
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text.translate(INVISIBLE))
        text = _SPACELESS.sub(r" \1 ", text)
    words = _TOKEN.findall(text.casefold())
    found, i = [], 0
    while i < len(words):
        read = None
        if words[i] in STARTS and words[i] not in _NO_NUMBERS:
            read = read_words(words[i : i + _MOST_NUMBER_WORDS])
        found.append(str(read[0]) if read else _figures(words[i]))
        i += read[1] if read else 1
    return found


def _figures(token: str) -> str:
    """Return a number in plain figures, without separators and trailing zeros."""
    if not token[0].isdecimal():
        return token
    token = "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in token)
    token = token.replace(",", "")
    return token.rstrip("0").rstrip(".") if "." in token else token


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
