"""Reading a yes-or-no answer: whole words only."""

from __future__ import annotations

import re

from t5distill.verify.markers import WINDOW, Piece
from t5distill.verify.readings import Reading, empty, undecided

_WORD = re.compile(r"(?<![\w-])(?<!\w')(yes|no|true|false)(?![\w-])(?!'\w)", re.IGNORECASE)
_MEANING = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
# "no longer", "no doubt": the word belongs to what follows it.
_NO_PHRASE = re.compile(
    r"\s+(?:longer|one|more|less|fewer|doubt|reason|way|evidence|such|matter|other|need)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"\b(?:not|isn't|(?:can|could|would|will) ?(?:not|n't) be|can't be|won't be)\s+"
    r"(?:an?\s+)?(?:\w+ly\s+)?\W{0,2}$",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:neither\b[^.]*|(?:cannot|can't|can not|could not|couldn't|won't|will not|not)\s+"
    r"(?:\w+ly\s+)?(?:say|answer|tell|decide|claim)\b\W*(?:\w+\s+)?\W{0,2})$",
    re.IGNORECASE,
)
_HALF = re.compile(r"\b(?:partially|partly|both|either|sometimes)\s+\W{0,2}$", re.IGNORECASE)
_JOINED = re.compile(r"\W*(?:\b(?:or|and)\b|/)\W*(?:\b(?:also|maybe|perhaps)\b)?\W*", re.IGNORECASE)
_OPENING = re.compile(
    r"\W*(?:(?:so|thus|therefore|hence|then|overall|ultimately|well|in conclusion)\b\W*)?",
    re.IGNORECASE,
)


def marked(piece: Piece) -> Reading:
    """Read the first yes or no of a marked statement."""
    text = piece.text[:WINDOW]
    words = _words(text)
    if not words:
        return empty("no yes or no follows the mark")
    return _decide(text, words, words[0])


def last(piece: Piece) -> Reading:
    """Read a yes or no that opens, closes or is set off in the last statement.

    Elsewhere the word may be a determiner: "there is no frost".
    """
    text = piece.text[-WINDOW:]
    words = _words(text)
    opening = _OPENING.match(text)
    start = opening.end() if opening else 0
    for word in reversed(words):
        opens = word.start() == start and re.match(r"\W*$|[,.;:!]", text[word.end() :])
        closes = not re.search(r"\w", text[word.end() :])
        set_off = text[word.end() : word.end() + 1] in (",", ";", ":")
        if opens or closes or set_off:
            return _decide(text, words, word)
    return empty("no yes or no in the last statement")


def gold(text: str) -> str:
    """Read a gold answer.

    Raises:
      ValueError: it is neither yes, no, true nor false.
    """
    meaning = _MEANING.get(text.strip().strip(".").lower())
    if meaning is None:
        raise ValueError(f"{text!r} is neither yes nor no")
    return meaning


def same(answer: str, wanted: str) -> bool:
    """Tell whether two answers are the same."""
    return answer == wanted


def _words(text: str) -> list[re.Match[str]]:
    return [
        m
        for m in _WORD.finditer(text)
        if not (m[0].lower() == "no" and _NO_PHRASE.match(text, m.end()))
    ]


def _decide(text: str, words: list[re.Match[str]], word: re.Match[str]) -> Reading:
    """Return what one word says, unless another stands beside it or it is halved."""
    before = text[max(0, word.start() - 40) : word.start()]
    for other in words:
        if _MEANING[other[0].lower()] == _MEANING[word[0].lower()]:
            continue
        first, second = sorted((word, other), key=lambda m: m.start())
        between = text[first.end() : second.start()][:30]
        if not between.strip() or _JOINED.fullmatch(between):
            return undecided("yes and no without a decision")
    if _HALF.search(before):
        return undecided("half a yes or no")
    if _REFUSED.search(before):
        return undecided("no decision between yes and no")
    meaning = _MEANING[word[0].lower()]
    if _NEGATED.search(before):
        meaning = "no" if meaning == "yes" else "yes"
    return Reading("value", meaning, meaning, at_end=word.end() == len(text))
