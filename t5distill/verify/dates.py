"""Reading a date: MM/DD/YYYY, ISO, or with the name of the month."""

from __future__ import annotations

import datetime
import itertools
import re

from t5distill.verify.markers import WINDOW, Piece
from t5distill.verify.readings import Reading, empty, undecided
from t5distill.verify.tokens import words

_MONTHS = words(
    "january february march april may june july august september october november december"
)
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
_YEAR = r"(?P<year>[0-9]{4})(?![0-9])"
_FORMS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<![0-9/])(?P<number>[0-9]{1,2}) ?/ ?(?P<day>[0-9]{1,2}) ?/ ?" + _YEAR + r"(?!/)",
        r"(?<![0-9])" + _YEAR + r"(?P<cut>[-/])(?P<number>[0-9]{1,2})(?P=cut)(?P<day>[0-9]{1,2})"
        r"(?![0-9])",
        _MONTH + r" {1,3}(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?(?: ?, ?| {1,3})" + _YEAR,
        r"(?<![0-9])(?P<day>[0-9]{1,2})(?:st|nd|rd|th)? {1,3}(?:of )?"
        + _MONTH
        + r",? {1,3}"
        + _YEAR,
    )
]
_JOINED = re.compile(r"\W*(?:\b(?:or|and|to|through|until)\b|[-–/,;&]|\s)\W*", re.IGNORECASE)
# A date that is denied, or that another one is counted from, is not the answer.
_NOT_THIS = re.compile(
    r"\b(?:not|isn't|wasn't|never|can(?:not|'t) be|(?:after|before|since|until|till|following|"
    r"preceding|prior to)|(?:days?|weeks?|months?|years?)\s(?:later than|earlier than|from))"
    r"\s+(?:the\s|on\s)?\W{0,2}$",
    re.IGNORECASE,
)


def marked(piece: Piece) -> Reading:
    """Read the first date of a marked statement."""
    return _read(piece.text[:WINDOW], first=True)


def last(piece: Piece) -> Reading:
    """Read the last date of a statement."""
    return _read(piece.text[-WINDOW:], first=False)


def gold(text: str) -> datetime.date:
    """Read a gold date.

    Raises:
      ValueError: it is no possible date.
    """
    reading = _read(text, first=True)
    if reading.status != "value":
        raise ValueError(f"{text!r} is not a date: {reading.why}")
    return reading.value


def same(answer: datetime.date, wanted: datetime.date) -> bool:
    """Tell whether two dates are the same day."""
    return answer == wanted


def _read(text: str, *, first: bool) -> Reading:
    found = sorted((m for form in _FORMS for m in form.finditer(text)), key=lambda m: m.start())
    if not found:
        return empty("no date")
    found = [m for m in found if not _NOT_THIS.search(text[max(0, m.start() - 40) : m.start()])]
    if not found:
        return undecided("the date is denied, or another is counted from it")
    result = [m for m in found if m.start() > text.rfind("=")]
    chosen = (result or found)[0] if first else found[-1]
    day = _day(chosen)
    if day is None:
        return undecided("an impossible date")
    i = found.index(chosen)
    for left, right in itertools.pairwise(found):
        beside = chosen in (left, right) and right.start() - left.end() < 20
        joined = beside and _JOINED.fullmatch(text, left.end(), right.start())
        if joined and _day(left) != _day(right):
            return undecided("two dates without a decision")
    canonical = f"{day:%m/%d}/{day.year:04d}"
    return Reading("value", day, canonical, at_end=found[i].end() == len(text))


def _day(found: re.Match[str]) -> datetime.date | None:
    parts = found.groupdict()
    if parts.get("month"):
        name = parts["month"].lower()[:3]
        month = next(i for i, full in enumerate(_MONTHS, start=1) if full.startswith(name))
    else:
        month = int(parts["number"])
    try:
        return datetime.date(int(parts["year"]), month, int(parts["day"]))
    except ValueError:
        return None
