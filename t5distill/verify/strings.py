"""Reading a string answer: case and quotes ignored, inner spaces kept."""

from __future__ import annotations

import re
import unicodedata

from t5distill.verify.markers import Piece
from t5distill.verify.readings import Reading, empty

_QUOTES = re.compile(r"[\"'`]")
_QUOTED = re.compile(r"\"([^\"\n]{1,200})\"")
_REASON = re.compile(r"[,;]?\s(?:because|since|as|which)\s")
_WRAPPED = re.compile(r"^\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]*)\}$")


def marked(piece: Piece) -> Reading:
    """Read a marked statement as a whole."""
    return _value(piece.text, closed=piece.closed)


def last(piece: Piece) -> Reading:
    """Read the last quoted string of a statement, or the statement as a whole."""
    quoted = _QUOTED.findall(piece.text)
    return _value(quoted[-1] if quoted else piece.text, closed=piece.closed)


def gold(text: str) -> str:
    """Read a gold string.

    Raises:
      ValueError: nothing is left of it without spaces and quotes.
    """
    normal = normal_form(text)
    if not normal:
        raise ValueError(f"{text!r} is an empty string")
    return normal


def same(answer: tuple[str, ...], wanted: str) -> bool:
    """Tell whether a statement is the gold string, or the gold string and a reason for it."""
    return wanted in answer


def normal_form(text: str) -> str:
    """Return a string without case, quotes, outer spaces and a final mark, composed (NFC)."""
    text = unicodedata.normalize("NFC", text).strip().strip("$").strip()
    if found := _WRAPPED.match(text):
        text = found[1]
    text = _QUOTES.sub("", text).strip().casefold()
    return text[:-1].rstrip() if text.endswith((".", "!", ",", ";")) else text


def _value(text: str, *, closed: bool) -> Reading:
    normal = normal_form(text)
    if not normal:
        return empty("nothing follows the mark")
    reason = _REASON.search(normal)
    forms = (normal, normal_form(normal[: reason.start()])) if reason else (normal,)
    return Reading("value", forms, normal, at_end=not closed)
