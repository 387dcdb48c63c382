"""The results of equations: how they are read, when they agree with a value, how one is written."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

from t5distill.verify.chains import Segment
from t5distill.verify.tokens import Token

# Binary floating point is right to about 16 digits; a shorter result is somebody's own rounding.
_NOISY_DIGITS = 15


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


def is_endless(value: Fraction) -> bool:
    """Tell whether the decimal form of a value never ends."""
    return _decimals_of(value.denominator) is None


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
class Result:
    """A plain number as the result of an equation: its sign, its digits, and where they stand."""

    start: int
    end: int
    prefix: str  # what stands between the sign and the digits, e.g. a currency sign
    digits: Token
    negative: bool
    percent: bool
    units: tuple[str, ...]

    @property
    def value(self) -> Fraction:
        """The value as stated; of a percentage the number before the sign."""
        return -number_of(self.digits) if self.negative else number_of(self.digits)

    def agrees(self, exact: Fraction, *, approximate: bool) -> Fraction | None:
        """Return the exact value in the result's own scale where the two agree, or None.

        A result with decimals, a percentage, or what follows `≈`, may be cut or rounded to its last
        place. A percentage may stand for the number itself or for its hundredth. Many digits may
        end in the noise of binary fractions (`0.30000000000000004`).
        """
        text = self.digits.text
        last_place = Fraction(1, 10 ** len(text.partition(".")[2])) if "." in text else Fraction(1)
        for scale in (100, 1) if self.percent else (1,):
            scaled = exact * scale
            difference = abs(self.value - scaled)
            if difference == 0:
                return scaled
            # "2/3 * 100 = 67%" is cut to whole percents, but 1% is no way to write a half.
            rounds = self.digits.decimal or approximate
            rounds = rounds or (self.percent and (scale == 100 or abs(scaled) >= 1))
            if rounds and difference < last_place:
                return scaled
            noisy = sum(c.isdigit() for c in text.lstrip("0.")) >= _NOISY_DIGITS
            if noisy and self.digits.decimal and difference * 10**14 < abs(scaled):
                return scaled
        return None


def read_result(text: str, segment: Segment) -> Result | None:
    """Return the first number of a segment as a result, where nothing but a sign precedes it."""
    head = [t for t in segment.tokens if t.kind != "open"][:3]
    if not head:
        return None  # "<<8 - 3 = (>>"
    negative = head[0].text in ("-", "–")
    digits = head[1] if negative and len(head) > 1 else head[0]
    if digits.kind != "number" or not isinstance(digits.value, Fraction):
        return None
    start = head[0].start if negative else digits.start
    prefix = text[start + 1 : digits.start] if negative else ""
    percent = any(t.kind == "percent" for t in segment.tokens)
    # "= 8 eggs cost $9": the sign belongs to what follows.
    money = "$" in text[start : digits.start + 1] + text[max(0, start - 1) : start]
    units = tuple(u for u in segment.units if u != "$" or money)
    return Result(start, digits.end, prefix, digits, negative, percent, units)


def number_of(token: Token) -> Fraction:
    """Return the exact value of a number token, or -1, which no number token has.

    Signs are tokens of their own.
    """
    return token.value if isinstance(token.value, Fraction) else Fraction(-1)
