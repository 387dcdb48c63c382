"""The equations of a chain, walked from left to right with what is known at each of them.

`calculator` is the public face of this module.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from t5distill.verify.arithmetic import ArithmeticProblem, value_of, with_mixed_numbers
from t5distill.verify.chains import MAGNITUDES, Segment, chains
from t5distill.verify.plain import ARITHMETIC, SAME_LENGTH
from t5distill.verify.tokens import Token, tokenize

ANNOTATION = re.compile(r"<<([^<>\n]{0,400})>>")
_BULLET = re.compile(r"^ {0,8}- (?=\S)", re.MULTILINE)


class Step(NamedTuple):
    """One equation of a chain.

    Attributes:
      equation: as written, runs of spaces made one.
      stated: the result as written.
      exact: the value of its arithmetic.
      ok: whether the two agree, rounding to the decimals of `stated` allowed.
    """

    equation: str
    stated: str
    exact: Fraction
    ok: bool


class Correction(NamedTuple):
    """One number that `recalculate` replaced.

    Attributes:
      start: index in the original text.
      stated: what stood there.
      corrected: what stands there now.
      reason: `result` of an equation, or `carried` from an earlier correction.
    """

    start: int
    stated: str
    corrected: str
    reason: str


def strip_annotations(text: str) -> str:
    """Return `text` without its `<<...>>` annotations."""
    return ANNOTATION.sub("", text)


def format_value(value: Fraction, like: str = "") -> str:
    """Write a value as text, in the manner of `like` (separators, number of decimals).

    A value without a finite decimal form is rounded to ten significant digits.
    """
    sign, value = ("-" if value < 0 else ""), abs(value)
    decimals = _decimals_of(value.denominator)
    if decimals is None or decimals > 12:
        whole = len(str(value.numerator // value.denominator)) if value >= 1 else 0
        decimals = max(0, 10 - whole)
    scaled = round(value * 10**decimals)
    wanted = len(like.partition(".")[2]) if "." in like else 0
    if wanted > decimals:
        scaled, decimals = scaled * 10 ** (wanted - decimals), wanted
    digits = str(scaled).rjust(decimals + 1, "0")
    whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
    part = part if wanted else part.rstrip("0")
    for separator in ", ":
        if separator in like.strip():
            whole = f"{int(whole):,}".replace(",", separator)
    return sign + whole + (f".{part}" if part else "")


def _decimals_of(denominator: int) -> int | None:
    """Return how many decimals 1/denominator has, or None where they never end."""
    counts = []
    for prime in (2, 5):
        count = 0
        while denominator % prime == 0:
            denominator //= prime
            count += 1
        counts.append(count)
    return max(counts) if denominator == 1 else None


def compact(tokens: list[Token]) -> str:
    """Write an expression the way GSM8K's annotations do: no spaces, currency or commas."""
    words = {
        "of": "*",
        "–": "-",
        "[": "(",
        "]": ")",
        "{": "(",
        "}": ")",
        "%": "*.01",
        "\\%": "*.01",
    }
    return "".join(
        t.text.replace(",", "").replace(" ", "")
        if t.kind == "number"
        else words.get(t.text, t.text)
        for t in tokens
    )


@dataclasses.dataclass(frozen=True)
class _Result:
    """A plain number as the result of an equation: its sign, its digits, and where they stand."""

    start: int
    end: int
    prefix: str  # what stands between the sign and the digits, e.g. a currency sign
    digits: Token
    negative: bool
    percent: bool

    @property
    def value(self) -> Fraction:
        return -_value(self.digits) if self.negative else _value(self.digits)

    def agrees(self, exact: Fraction, *, approximate: bool) -> Fraction | None:
        """Return the exact value in the result's own scale where the two agree, or None.

        A result with decimals, or after `≈`, may be cut or rounded to its last place. A percentage
        may stand for the number itself or for its hundredth.
        """
        text = self.digits.text
        last_place = Fraction(1, 10 ** len(text.partition(".")[2])) if "." in text else Fraction(1)
        for scale in (100, 1) if self.percent else (1,):
            difference = abs(self.value - exact * scale)
            if difference == 0:
                return exact * scale
            if (self.digits.decimal or approximate) and difference < last_place:
                return exact * scale
        return None


def _result(text: str, segment: Segment) -> _Result | None:
    """Return the first number of a segment as a result, where nothing but a sign precedes it."""
    head = [t for t in segment.tokens if t.kind != "open"][:3]
    negative = bool(head) and head[0].text in ("-", "–")
    digits = head[1] if negative and len(head) > 1 else head[0]
    if digits.kind != "number" or not isinstance(digits.value, Fraction):
        return None
    start = head[0].start if negative else digits.start
    prefix = text[start + 1 : digits.start] if negative else ""
    percent = any(t.kind == "percent" for t in segment.tokens)
    return _Result(start, digits.end, prefix, digits, negative, percent)


class Memory:
    """What later numbers stand for: the exact values of wrong and of rounded results.

    `known` maps a number as the chain writes it to its exact value and whether it was wrong.
    """

    def __init__(self, text: str, *, carries: bool):
        self.text = text
        self.carries = carries  # whether a wrong result is replaced from here on
        self.known: dict[Fraction, tuple[Fraction, bool]] = {}
        self.corrections: list[Correction] = []

    def carried(self, tokens: list[Token], *, rounded: bool) -> list[Token]:
        """Return `tokens` with remembered values put in; rounded results only if asked."""
        tokens = list(tokens)
        for i, t in enumerate(tokens):
            value, wrong = self.known.get(_value(t), (None, False))
            if value is not None and (wrong or rounded):
                tokens[i] = t._replace(value=value)
        return tokens

    def carry_text(self, tokens: list[Token]) -> None:
        """Replace in the text every number that stands for a corrected one."""
        for t in tokens:
            value, wrong = self.known.get(_value(t), (None, False))
            if value is not None and wrong:
                self.correct(t, value, "carried")

    def sorted_corrections(self) -> list[Correction]:
        """Return the corrections in order of their place, one for each."""
        return sorted({c.start: c for c in self.corrections}.values())

    def correct(self, token: Token, value: Fraction, reason: str) -> None:
        """Replace the number at `token` in the text."""
        if not self.carries:
            return
        stated = self.text[token.start : token.end]
        new = format_value(value, stated)
        self.corrections.append(Correction(token.start, stated, new, reason))

    def settle(self, result: _Result, exact: Fraction, agreed: Fraction | None) -> None:
        """Remember a result; where it is wrong (`agreed` is None), replace it by `exact`."""
        if agreed is not None:
            if agreed == result.value:
                self.known.pop(_value(result.digits), None)
            elif not result.negative and not result.percent:
                self.known[result.value] = (agreed, False)
            return
        if not self.carries:
            return
        exact = exact * 100 if result.percent else exact
        new = ("-" if exact < 0 else "") + result.prefix
        new += format_value(abs(exact), self.text[result.digits.start : result.end])
        stated = self.text[result.start : result.end]
        self.corrections.append(Correction(result.start, stated, new, "result"))
        if (exact < 0) == result.negative or not result.negative:
            self.known[_value(result.digits)] = (abs(exact) if result.negative else exact, True)


def _value(token: Token) -> Fraction:
    # -1 is never the value of a number token, since signs are tokens of their own.
    return token.value if isinstance(token.value, Fraction) else Fraction(-1)


class _Known(NamedTuple):
    """The value that the next result of a chain has to state, and the expression it came from."""

    segment: Segment
    written: Fraction  # with the operands as written
    exact: Fraction  # with rounded operands taken for what they stand for
    units: frozenset[str]


class Found(NamedTuple):
    """One decidable equation; `result` and `source` are None where nothing can be annotated."""

    step: Step
    result: _Result | None = None
    source: list[Token] | None = None


def walk(text: str, memory: Memory) -> Iterator[Found]:
    """Yield the decidable equations of `text` in order; `memory` gathers the corrections."""
    characters = text.translate(SAME_LENGTH).translate(ARITHMETIC)
    characters = _BULLET.sub(lambda m: " " * len(m[0]), characters)
    for chain in chains(with_mixed_numbers(tokenize(characters))):
        yield from _walk_chain(text, chain.segments, memory)


def _walk_chain(text: str, segments: list[Segment], memory: Memory) -> Iterator[Found]:
    """Yield the decidable equations of one chain `a = b = c`.

    A plain number states the value known so far. A later expression either has that value (a
    simplification) or begins with a number that states it ("5 + 3 = 8 + 2 = 10", sloppy but
    common) and sets a new one.
    """
    known: _Known | None = None
    for i, segment in enumerate(segments):
        for note, number in segment.notes:
            if found := _annotated(text, note, number, memory):
                known = None
                yield found
        value = _evaluated(segment, memory)
        if segment.operators or value is None:
            noted = [number for _, number in segment.notes]
            memory.carry_text([t for t in segment.numbers if t not in noted])
        if value is None:
            known = None
        elif segment.operators:
            if known is None:
                known = value
            elif abs(value.exact - known.exact) * 10**9 <= abs(known.exact):
                yield _simplified(text, known, segment, ok=True)
                known = value
            elif _true(text, known, segment):
                yield _stated(text, known, segment, memory)
                known = _evaluated(segment, memory)
            else:
                yield _simplified(text, known, segment, ok=False)
        elif segment.notes:
            known = value
        elif known is not None:
            if _convertible(known, segment) and not _true(text, known, segment):
                known = None  # between units, only agreement says anything
                memory.carry_text(segment.numbers)
            else:
                yield _stated(text, known, segment, memory)
                known = known._replace(units=known.units | segment.kinds)
        elif i == 0 and len(segments) == 2 and (right := _reversed(segments, memory)):
            yield _stated(text, right, segment, memory, left=True)
        else:
            memory.carry_text(segment.numbers)


def _reversed(segments: list[Segment], memory: Memory) -> _Known | None:
    """Return the value of the right side of `18 = 9 * 2`, where no unit leaves it in doubt."""
    left, right = segments
    if left.kinds or right.kinds or not right.operators or right.notes:
        return None
    return _evaluated(right, memory)


def _evaluated(segment: Segment, memory: Memory) -> _Known | None:
    """Return a segment's value, or None where it has none."""
    if segment.open or segment.bad or not segment.numbers:
        return None
    if any(t.text[0] == "0" and t.text.isdigit() and len(t.text) > 1 for t in segment.numbers):
        return None  # "0900 - 0130" is a time of day
    if len(segment.kinds) > 1 and any(o in "+-–" for o in segment.operators):
        return None  # "2 hours + 30 minutes"
    try:
        written = value_of(memory.carried(segment.tokens, rounded=False))
        exact = value_of(memory.carried(segment.tokens, rounded=True))
    except ArithmeticProblem:
        return None
    return _Known(segment, written, exact, segment.kinds)


def _convertible(known: _Known, segment: Segment) -> bool:
    """Tell whether a result is in a unit (or a magnitude) that its operands do not have."""
    units = known.units | segment.kinds
    return bool(units & MAGNITUDES) or bool(known.units and segment.kinds - known.units)


def _agreed(known: _Known, segment: Segment, result: _Result) -> Fraction | None:
    """Return the value that a result states rightly, in the result's own scale, or None."""
    scales = (1, 100) if any(t.kind == "percent" for t in known.segment.tokens) else (1,)
    for value in (known.written, known.exact):
        for scale in scales:  # "9 / 21 * 100% = 42.857"
            agreed = result.agrees(value * scale, approximate=segment.approximate)
            if agreed is not None:
                return agreed
    return None


def _true(text: str, known: _Known, segment: Segment) -> bool:
    result = _result(text, segment)
    return result is not None and _agreed(known, segment, result) is not None


def _stated(
    text: str, known: _Known, segment: Segment, memory: Memory, *, left: bool = False
) -> Found:
    """Compare the number that opens `segment` with the known value, and settle it."""
    result = _result(text, segment)
    assert result is not None, "a segment with a value and no operator is a number"
    agreed = _agreed(known, segment, result)
    memory.settle(result, known.exact, agreed)
    parts = [text[result.start : result.end], _text_of(text, known.segment)]
    if result.percent:
        parts[0] += "%"
    equation = " = ".join(parts if left else parts[::-1])
    source = None if left else known.segment.tokens
    return Found(Step(equation, parts[0], known.exact, agreed is not None), result, source)


def _simplified(text: str, known: _Known, segment: Segment, *, ok: bool) -> Found:
    """Report an expression that has, or has not, the value of the one before it."""
    stated = _text_of(text, segment)
    equation = f"{_text_of(text, known.segment)} = {stated}"
    return Found(Step(equation, stated, known.exact, ok))


def _text_of(text: str, segment: Segment) -> str:
    tokens = segment.tokens
    return " ".join(strip_annotations(text[tokens[0].start : tokens[-1].end]).split())


def _annotated(text: str, note: Token, number: Token, memory: Memory) -> Found | None:
    """Check one `<<expression=value>>` and settle it together with the number after it."""
    offset = note.start + 2
    inner = [
        t._replace(start=t.start + offset, end=t.end + offset) for t in tokenize(note.text[2:-2])
    ]
    found = chains(with_mixed_numbers(inner))
    if len(found) != 1 or len(found[0].segments) < 2:
        return None
    source, segment = found[0].segments[0], found[0].segments[-1]
    known, result = _evaluated(source, memory), _result(text, segment) if segment.tokens else None
    if known is None or result is None or segment.operators or segment.open or segment.bad:
        return None
    memory.carry_text(source.numbers)
    step = _stated(text, known, segment, memory).step
    if not step.ok and _value(number) == abs(result.value):
        memory.correct(number, abs(known.exact) if result.negative else known.exact, "result")
    return Found(step._replace(equation=note.text[2:-2]))
