"""The calculator inside decoding: the value with which a text that ends in `=` has to go on."""

from __future__ import annotations

import re
from fractions import Fraction

from t5distill.verify.arithmetic import (
    ArithmeticProblem,
    is_percentage,
    proper_fraction,
    value_of,
    with_mixed_numbers,
)
from t5distill.verify.calculator.context import GOES_ON, LOOKS_BACK, REACH
from t5distill.verify.calculator.memory import Memory
from t5distill.verify.calculator.results import format_value, is_endless
from t5distill.verify.calculator.steps import Known, awaited
from t5distill.verify.chains import MAGNITUDES
from t5distill.verify.plain import ARITHMETIC, SAME_LENGTH
from t5distill.verify.tokens import Token, tokenize

# What may stand between the sign and the value. A text that ends otherwise waits for none.
_DUE = re.compile(r"=[ ]*(?:[$€£¥₹][ ]*)?\Z")
_COPY_DUE = re.compile(r"<<([^<>\n=]{1,400})=([^<>\n=]{1,100})>>[ ]*(?:[$€£¥₹][ ]*)?\Z")
_INSIDE = re.compile(r"<<([^<>\n=]{1,400})= *\Z")
# An equation does not reach back over the end of a line or of a sentence.
_SENTENCE_END = re.compile(r"[.!?] ")
# But over the end of a line that breaks off behind an operator it does.
_GOES_ON = re.compile(
    rf"(?:[\w)\]}}%] *[-+*/^×✕✖⋅·∙∗÷⁄∕−–＋－＊／]|(?<!\w)(?:{'|'.join(sorted(GOES_ON))}))\s*\Z",
    re.I,
)
_LONGEST = 1000
# How far back from the end of a line we look for that.
_GLANCE = 16
_DECIMAL = re.compile(r"\d\.\d")
# Results longer than this are nobody's word problem.
_DIGITS = 18
# Whole numbers joined by operators between spaces, behind a word or at the start.
_NUMBER = re.compile(r"[0-9]+")
_WHOLE = re.compile(
    r"(?:^|(?<=[A-Za-z] ))"
    r"([1-9][0-9]{0,5}(?:(?: [-+*] [1-9][0-9]{0,5}){1,3}| / [1-9][0-9]{0,5})) =$"
)
_WORDS = re.compile(r"[A-Za-z ,']*")
# Texts that are remembered; a set of a few thousand problems has fewer.
_KEPT = 200_000


def result_due(text: str) -> str | None:
    """Return the value that has to be written next, or None where that is not certain.

    `text` breaks off after the `=` of an equation ("There are 3 * 12 =", perhaps with a currency
    sign behind it), after the `=` of an annotation ("<<48/2="), or after a right annotation
    ("<<48/2=24>>"), which its value follows once more. Nothing is due after a plain number
    ("12 ="), an unknown, a division by zero, or where `doubt` finds another reading of the left
    side (a part of something longer, a share of a sum), nor after a fraction with a unit that may
    be converted ("1/2 hour = 30 minutes") or of which people make another ("1 - 1/5 = 4/5").

    Whole numbers and finite decimals of at most four places are written exactly; others are rounded
    as `rounded` says. A sum of percentages is one: "100% - 40% =" has "60%" due.
    """
    part = statement(text)
    if _DUE.search(part):
        inside = _INSIDE.search(part)
        return _value_inside(inside[1]) if inside else _value_after(text, part)
    copy = _COPY_DUE.search(part)
    if copy:
        value = _value_inside(copy[1])
        return value if value is not None and value == copy[2].strip() else None
    return None


class Remembered:
    """`result_due` for many texts of one kind, each the last statement of a chain.

    Results are kept by text. And what is certain of a sum or product of whole numbers hangs on the
    words before it and not on the numbers: where those words have been seen before, as they are in
    the chains of one student by the thousand, the sum is only added up.
    """

    def __init__(self):
        self._results: dict[str, str | None] = {}
        self._certain: dict[tuple[str, str], bool] = {}

    def due(self, text: str) -> str | None:
        """Return `result_due(text)`; `text` is one statement and holds no decimal point."""
        found = _WHOLE.search(text)
        total = None if found is None else _total(found[1])
        if found is None or total is None:
            return self._kept(text)
        key = _what_counts(text[: found.start()]), _NUMBER.sub("#", found[1])
        if key not in self._certain:
            if len(self._certain) >= _KEPT:
                self._certain.clear()
            self._certain[key] = result_due(text) == total
        return total if self._certain[key] else self._kept(text)

    def _kept(self, text: str) -> str | None:
        if text not in self._results:
            if len(self._results) >= _KEPT:
                self._results.clear()
            self._results[text] = result_due(text)
        return self._results[text]


def _what_counts(before: str) -> str:
    """Return what of the words before a sum can leave it in doubt: mostly the last two."""
    words = before.split() if _WORDS.fullmatch(before) else []
    if not words:
        return before
    last = words[-1].lower()
    looks_back = last in LOOKS_BACK or last.endswith(("'s", "s'"))
    return " ".join(words[-REACH:] if looks_back else words[-2:])


def _total(expression: str) -> str | None:
    """Return the value of spaced whole numbers and operators, or None where it is no whole one."""
    first, *rest = expression.split(" ")
    if rest[0] == "/":
        quotient, left = divmod(int(first), int(rest[1]))
        return None if left else str(quotient)
    total, product = 0, int(first)
    for operator, number in zip(rest[::2], rest[1::2], strict=True):
        if operator == "*":
            product *= int(number)
        else:
            total, product = total + product, int(operator + number)
    total += product
    return str(total) if abs(total) < 10**_DIGITS else None


def inside_annotation(text: str) -> bool:
    """Tell whether the equals sign that ends `text` is that of an open annotation."""
    return bool(_INSIDE.search(text))


def statement(text: str) -> str:
    """Return the part of `text` after the last end of a line or sentence."""
    first = max(0, len(text) - _LONGEST)
    end = text.rfind("\n", first)
    while end >= 0 and _GOES_ON.search(text, max(first, end - _GLANCE), end):
        end = text.rfind("\n", first, end)
    start = max(first, end + 1)
    for sentence in _SENTENCE_END.finditer(text, start):
        start = sentence.end()
    return text[start:]


def rounded(value: Fraction) -> str:
    """Write a value as a person would: exact where that is short, else to two decimals.

    Below one, the two first digits that are not zero count: 1/3 is 0.33 and 1/300 is 0.0033.
    """
    exact = format_value(value)
    if len(exact.partition(".")[2]) <= 4 and value == Fraction(exact):
        return exact
    places = 2
    while abs(value) * 10**places < 10 and places < 12:
        places += 1
    return format_value(Fraction(round(value * 10**places), 10**places))


def _value_inside(expression: str) -> str | None:
    """Return the value of an annotation's expression."""
    characters = expression.translate(SAME_LENGTH).translate(ARITHMETIC)
    tokens = [t for t in with_mixed_numbers(tokenize(characters)) if t.kind != "currency"]
    return _written(tokens, None)


def _value_after(text: str, part: str) -> str | None:
    """Return the value of the expression before the equals sign that ends `part` of `text`."""
    known = awaited(part, Memory(part, carries=False))
    if known is None or known.doubtful or not known.segment.operators:
        return None
    if _converts(known) or _stays_fraction(known):
        return None
    if known.exact.denominator != 1 and "frac{" in part:
        return None  # LaTeX goes on with a fraction
    if len(part) < len(text) and any(t.decimal for t in known.segment.numbers):
        # An operand may be the rounded result of an earlier equation, and stand for its value.
        part = text[-100 * _LONGEST :]
        known = awaited(part, Memory(part, carries=False)) or known
    return _written(known.segment.tokens, known.exact)


def _stays_fraction(known: Known) -> bool:
    """Tell whether people would leave the value a fraction: that of 1 - 1/5, or of 1/3."""
    tokens = known.segment.tokens
    if known.exact.denominator == 1 or any(t.decimal for t in tokens) or "$" in known.units:
        return False
    if known.segment.operators == ["/"]:
        return known.plain < 1 and is_endless(known.plain)
    joined = any(t.kind == "number" and t.text[0] == "(" for t in tokens)
    return joined or any(proper_fraction(tokens[i : i + 3]) for i in range(len(tokens)))


def _converts(known: Known) -> bool:
    """Tell whether the result may be in another unit or magnitude than its operands."""
    if known.units & MAGNITUDES:
        return True
    lone = known.segment.operators == ["/"] and all(
        t.end - t.start <= 2 for t in known.segment.numbers
    )
    return lone and bool(known.units - {"$"}) and known.plain < 1


def _written(tokens: list[Token], value: Fraction | None) -> str | None:
    """Write the value of an expression, or return None where it has none that is certain."""
    try:
        value = value_of(tokens) if value is None else value
    except ArithmeticProblem:
        return None
    percents = [i for i, t in enumerate(tokens) if t.kind == "percent"]
    if percents and is_percentage(tokens):
        text = rounded(value * 100) + "%"
    elif percents and (
        any(tokens[i - 1].text == "100" for i in percents)
        or value < 1
        or len(percents) == sum(t.kind == "number" for t in tokens)
    ):
        return None  # "9 / 21 * 100%", "50% of 50%", "8 * 5%" may be written either way
    else:
        text = rounded(value)
    return text if sum(c.isdigit() for c in text) <= _DIGITS else None
