"""Tokens of arithmetic inside prose: numbers with their exact values, operators, words.

The reader of answers and the calculator share this lexer, so that both agree on what a number is.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

# Above this many digits (exponent counted) a number is kept as a Decimal: Python refuses to turn
# longer strings into integers, and arithmetic on them would let a text decide how long we work.
MAX_DIGITS = 4000

Number = Fraction | decimal.Decimal

# Written against the digits of a number these are units; any other letter makes a variable or a
# word of the whole ("5x", "2S", "4K"), and digits inside a word are no quantity.
_GLUED_UNITS = (
    "km|cm|mm|nm|kg|mg|lbs?|oz|ft|yd|in|mi|mins?|hrs?|h|secs?|mph|kmh|kph|km/h|ml|l|L|g|m|"
    "kcal|cal|kwh|kW|W|hz|db|usd|eur|gbp|dollars?|cents?|percent|pts?|pcs|days?|weeks?|years?|"
    "hours?|minutes?|seconds?|feet|foot|inches|inch|miles?|pounds?|ounces?|grams?|liters?|litres?|"
    "meters?|metres?|people|times|eggs|apples"
)
_SUFFIX = re.compile(rf"(?:st|nd|rd|th)\b|(?:{_GLUED_UNITS})(?:\^?[23])?(?![\w])", re.IGNORECASE)
_CLOCK_SUFFIX = re.compile(r" ?(?:[ap]\. ?m\b|[ap]m\b|o'?clock\b)", re.IGNORECASE)
_TIMES = re.compile(r"x(?= {0,3}\(?-?[$€£]? ?\.?[0-9(])", re.IGNORECASE)
_GLUED_TIMES = re.compile(r"x(?= {0,2}[$€£]?\.?[0-9])", re.IGNORECASE)
_OPERATOR_AHEAD = re.compile(r"[a-zA-Z] ?[-+*/=^)]")
_EXPONENT = re.compile(r"[eE][+-]?[0-9]{1,18}(?![\w])")
_SPACED = re.compile(r"(?: [0-9]{3})+(?![0-9])(?!,[0-9])(?:\.[0-9]+)?")
_APOSTROPHES = re.compile(r"'[0-9]{3}(?![0-9])")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+")
_GROUPED = re.compile(r"[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_MONEY = tuple("$€£¥₹")
_REST_OF_WORD = re.compile(r"[\w']+")

_LEX = re.compile(
    r"""
      (?P<note><<[^<>\n]{0,400}>>)
    | (?P<clock>[0-9]{1,4}(?::[0-9]{1,4})+(?![0-9]))
    | (?P<number>(?:[0-9]|\.[0-9])[0-9.,]*)
    | (?P<word>[^\W\d_][\w']++-[0-9]\w*
        |[^\W\d_][\w']*(?:\.[0-9]\w*)*(?:\^[0-9]+)?(?:-[^\W\d_][\w']*)*)
    | (?P<equals>=+|≈|\\approx(?![A-Za-z]))
    | (?P<power>\*\*|\^)
    | (?P<times>\\(?:times|cdot|ast)(?![A-Za-z]))
    | (?P<over>\\div(?![A-Za-z]))
    | (?P<op>[-+*/–])
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<currency>\\?[$€£¥₹])
    | (?P<percent>\\?%)
    | (?P<break>\n|\S)
    """,
    re.VERBOSE,
)
_OPERANDS = ("number", "close", "percent")
_OPERATORS = {"power": "^", "times": "*", "over": "/"}


class Token(NamedTuple):
    """One token.

    Attributes:
      kind: `number`, `bad` (a quantity nobody can read: malformed grouping, a decimal comma, a
        clock time), `op`, `equals`, `open`, `close`, `currency`, `percent`, `word`, `variable`
        (letters and digits in one), `note` (a `<<...>>` annotation) or `break`.
      text: an operator as one of `+ - * / ^ –`, a word in small letters, else as written.
      start: index of its first character.
      end: index after its last character.
      value: of a number, exact.
      decimal: whether a number is written with decimals.
    """

    kind: str
    text: str
    start: int
    end: int
    value: Number | None = None
    decimal: bool = False

    @property
    def exact(self) -> Fraction | None:
        """The value where it is a Fraction: neither absent nor beyond `MAX_DIGITS`."""
        return self.value if isinstance(self.value, Fraction) else None


def words(text: str) -> list[str]:
    """Return the words of a constant."""
    return text.split()


def tokenize(text: str) -> list[Token]:
    """Return the tokens of `text` (characters already unified, see `plain.SAME_LENGTH`)."""
    return list(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    position, previous, before = 0, None, None
    while True:
        # "5x5x5": taken one by one here, since a word would reach to the end of the run each time.
        glued = previous is not None and previous.kind in _OPERANDS and previous.end == position
        times = _GLUED_TIMES.match(text, position) if glued else None
        found = times or _LEX.search(text, position)
        if found is None:
            return
        kind, start = found.lastgroup or "break", found.start()
        if times:
            token = Token("op", "*", start, found.end())
        elif kind == "number":
            token = _number(text, start, found.end())
        elif kind == "clock":
            token = Token("bad", found[0], start, _past_clock(text, found.end()))
        elif kind == "word":
            token = _word(text, found, previous, before)
        elif kind in _OPERATORS:
            token = Token("op", _OPERATORS[kind], start, found.end())
        else:
            token = Token(kind, found[0], start, found.end())
        yield token
        position, previous, before = token.end, token, previous


def _past_clock(text: str, end: int) -> int:
    suffix = _CLOCK_SUFFIX.match(text, end)
    return suffix.end() if suffix else end


def _word(text: str, found: re.Match[str], previous: Token | None, before: Token | None) -> Token:
    """Make a word token, or an operator of an `x` that stands between two operands."""
    between = previous is not None and (
        previous.kind in _OPERANDS
        or (previous.kind == "word" and before is not None and before.kind == "number")
    )
    times = _TIMES.match(text, found.start()) if between else None
    if times and previous and previous.end < found.start():
        return Token("op", "*", found.start(), times.end())
    word = found[0]
    plain = word.isalpha() or "^" in word or not any(c.isdigit() for c in word)
    kind = "word" if plain else "variable"
    return Token(kind, word.lower(), found.start(), found.end())


def _number(text: str, start: int, end: int) -> Token:
    """Read the digits at `start`, with what belongs to them: groups, exponent, suffix."""
    run = text[start:end].rstrip(".,")
    end = start + len(run)
    if len(run) <= 3 and run.isdigit() and run[0] != "0" and (more := _SPACED.match(text, end)):
        end = more.end()
        run = text[start:end].replace(" ", "")
    exponent = _EXPONENT.match(text, end)
    if exponent and _PLAIN.fullmatch(run):
        end, run = exponent.end(), run + exponent[0]
    if text[end : end + 1] in (".", ",") and text[end + 1 : end + 2].isdigit():
        return Token("bad", text[start : end + 2], start, end + 2)  # 1 234,5 and the like
    if _APOSTROPHES.match(text, end):
        return Token("bad", text[start : end + 4], start, end + 4)
    if clock := _CLOCK_SUFFIX.match(text, end):
        return Token("bad", text[start : clock.end()], start, clock.end())
    following = text[end : end + 1]
    if (following.isalpha() or following == "_") and not _GLUED_TIMES.match(text, end):
        # One letter before an operator is an unknown: "2h + 3 = 7".
        suffix = _SUFFIX.match(text, end)
        if not suffix or _OPERATOR_AHEAD.match(text, end) or _is_scale(text, start, suffix[0]):
            rest = _REST_OF_WORD.match(text, end)
            end = rest.end() if rest else end
            return Token("variable", text[start:end].lower(), start, end)
        if text[end : end + 2].lower() in ("st", "nd", "rd", "th"):
            end += 2
    value = to_number(run)
    if value is None:
        return Token("bad", run, start, end)
    return Token("number", run, start, end, value, "." in run or (bool(exponent) and "-" in run))


def _is_scale(text: str, start: int, suffix: str) -> bool:
    """Tell a letter that may mean million from metres: "5M", "$5m"."""
    return suffix == "M" or (
        suffix == "m" and text[max(0, start - 2) : start].strip()[-1:] in _MONEY
    )


def to_number(run: str) -> Number | None:
    """Return the exact value of unsigned digits, or None where they are malformed.

    Groups of three may be separated by commas, decimals by a point, and an exponent may follow
    plain digits. Beyond `MAX_DIGITS` the value is a Decimal, still exact.
    """
    mantissa, _, exponent = run.lower().partition("e")
    if not _PLAIN.fullmatch(mantissa):
        if exponent or not _GROUPED.fullmatch(mantissa):
            return None
        mantissa = mantissa.replace(",", "")
    if len(mantissa) + abs(int(exponent or 0)) <= MAX_DIGITS:
        # Of a text `Fraction` takes several times as long.
        value = Fraction(int(mantissa) if mantissa.isdigit() else mantissa)
        return value * Fraction(10) ** int(exponent) if exponent else value
    try:
        return decimal.Decimal(f"{mantissa}e{exponent or 0}")
    except decimal.InvalidOperation:
        return None
