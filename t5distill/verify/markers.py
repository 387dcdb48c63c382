"""Where the answer is: the marks that announce it, and the statements of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from t5distill.verify.tokens import words

_MARKER = re.compile(
    r"""
      \#{4,}
    | -->
    | \\f?boxed\s?\{
    | \banswers?\b(?:\schoice|\soption)?
      (?:\s(?:to|for)\s(?:(?:the|this|that|our|your)\s)?(?:\w{1,20}\s)?(?:question|problem|puzzle))?
      (?:\s?\([^()\n]{1,40}\))?
      (?:\s{0,4}[:=]|\s{1,4}(?:is|are|was|will\sbe|would\sbe|equals)\b(?:\s{0,4}:)?)
    | \bcorrect\s(?:choice|option)\s{1,4}(?:is\b|:)
    | \bans\s?[:=]
    | ^[ #]{0,8}(?:final\s)?answer[ ]{0,4}$
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
# Begun at the start of a run of marks only: from each of them it would take quadratic time.
_END = re.compile(r"\n|(?<![.!?])[.!?]++(?=[\s\"')\]}$]|$)")
# A text with more marks than this is a loop; only its last ones are looked at.
MAX_MARKS = 1000

_LEADING = re.compile(r"(?:[\s:]|=>?)*")
# A heading of this kind is no answer mark: "#### Step 2: add them up".
_HEADING = re.compile(r" {0,4}(?:step|part|question|problem|solution|explanation)\b", re.IGNORECASE)
_ABBREVIATIONS = frozenset(
    words(
        "approx rs no st mr mrs ms dr vs e.g i.e etc u.s jan feb mar apr jun jul aug sep sept oct "
        "nov dec inc ltd co jr sr prof"
    )
)
_ITEM = re.compile(r"([0-9]{1,3})\)?")
# These are units inside a sentence, and ordinary ends of one.
_UNIT_ABBREVIATIONS = frozenset(words("sq ft lb lbs oz hr hrs min mins sec yd yds pt pts qt cm kg"))
_LAST_WORD = re.compile(r"[A-Za-z.]{1,8}$")


class Piece(NamedTuple):
    """A stretch of text in which an answer may stand.

    Attributes:
      text: without its closing mark.
      closed: something follows it, so that it cannot have been cut off.
      start: where it begins in the whole text.
      end: where it ends there, closing mark excluded.
      closer: its closing mark: `.`, `?`, a line end, a brace, or nothing.
      before: of a last statement, the mark that closes the one before it.
    """

    text: str
    closed: bool
    start: int
    end: int
    closer: str = ""
    before: str = ""


# How much of one statement is read. A statement without an end may be a megabyte of looping, and
# the answer stands near its mark, or near the end.
WINDOW = 8000


def marked_pieces(text: str) -> Iterator[Piece]:
    """Yield what follows each answer mark of a plain text, the last mark first."""
    marks = list(_MARKER.finditer(text))[-MAX_MARKS:]
    limit = len(text)
    for mark in reversed(marks):
        if mark[0].startswith("#") and _HEADING.match(text, mark.end()):
            limit = mark.start()
            continue
        if mark[0].endswith("{"):
            yield _braced(text, mark.end(), limit)
        else:
            yield _statement(text, mark.end(), limit)
        limit = mark.start()


def _braced(text: str, start: int, limit: int) -> Piece:
    """Return the inside of the brace that opens before `start`; not closed where it never ends."""
    depth = 1
    for found in re.compile(r"\\?[{}]").finditer(text, start, limit):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return Piece(text[start : found.start()], True, start, found.start(), "}")
    # Cut off inside the braces: whatever was written may have gone on.
    return Piece("", False, start, limit)


def _statement(text: str, start: int, limit: int) -> Piece:
    """Return the statement that begins at `start`, up to the next mark at `limit`."""
    leading = _LEADING.match(text, start, limit)
    begin = leading.end() if leading else start
    position = begin
    while found := _END.search(text, position, limit):
        if found.start() == begin and found[0] == "\n":
            position = begin = found.end()
            continue
        if not _abbreviated(text, found):
            closer = found[0][0]
            return Piece(text[begin : found.start()], True, begin, found.start(), closer)
        position = found.end()
    return Piece(text[begin:limit], limit < len(text), begin, limit)


def _abbreviated(text: str, end: re.Match[str]) -> bool:
    """Tell whether the point at `end` belongs to an abbreviation such as "approx."."""
    if end[0] != "." or end.end() >= len(text):
        return False
    word = _LAST_WORD.search(text, max(0, end.start() - 8), end.start())
    if not word or word[0].lower() not in _UNIT_ABBREVIATIONS:
        return bool(word) and word[0].lower() in _ABBREVIATIONS
    return text[end.end() :].lstrip(" ")[:1].islower()


def last_statement(text: str) -> Piece | None:
    """Return the last statement of a text that holds a letter or a digit, or None for no text.

    Where nothing does ("> ] ]"), the whole text is one statement. A bare number that opens the next
    item of a numbered list leaves an empty one.
    """
    end = len(text)
    while end and not text[end - 1].isalnum():
        end -= 1
    if not end:
        whole = text.strip()
        return Piece(whole, False, 0, len(text)) if whole else None
    closing = _END.search(text, end)
    while closing and _abbreviated(text, closing):
        closing = _END.search(text, closing.end())
    limit = closing.start() if closing else len(text)
    begin = _begin(text, end)
    closer = closing[0][0] if closing else ""
    words = text[begin:limit].strip()
    if _opens_item(text[:begin], words):
        words = ""
    # A line end before it closes nothing that it could have been the end of.
    return Piece(words, bool(closing), begin, limit, closer, text[:begin].rstrip(" ")[-1:])


def _opens_item(before: str, words: str) -> bool:
    r"""Tell whether a number is the one that follows in a numbered list: "2. Add.\n3."."""
    found = _ITEM.fullmatch(words)
    if not found or before[-1:] != "\n":
        return False
    return bool(re.search(rf"^ {{0,8}}{int(found[1]) - 1}[.)] ", before, re.MULTILINE))


def _begin(text: str, end: int) -> int:
    """Return where the statement begins that holds the character before `end`."""
    window = 4000
    while True:
        offset = max(0, end - window)
        for found in reversed(list(_END.finditer(text, offset, end))):
            if not _abbreviated(text, found):
                return found.end()
        if not offset:
            return 0
        window *= 8  # grows by factors, so that one endless statement costs little more than once


def in_last_statement(text: str, position: int) -> bool:
    """Tell whether nothing but the statement around `position` follows it."""
    last = last_statement(text)
    return last is None or position >= last.start
