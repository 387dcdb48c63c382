"""Rounded results: the number that ends a chain of equals, and words that speak of rounding."""

from __future__ import annotations

import re
from fractions import Fraction

from t5distill.verify.equations.grammar import EquationProblem
from t5distill.verify.tokens import Token

_DECIMALS = re.compile(r"[0-9,]*(?:\.([0-9]+))?")
_ROUNDED = re.compile(
    r"\b(?:rounded|rounding|round (?:up|down|off|to|it)|nearest|truncated?|remainder|ceiling)\b",
    re.IGNORECASE,
)


def refuse_rounding(words: str) -> None:
    """Refuse words that are about to be left out though they change the value beside them.

    Raises:
      EquationProblem: they speak of rounding or of a remainder.
    """
    if found := _ROUNDED.search(words):
        raise EquationProblem(f"{found[0]!r} beside an equation: its value is another")


def places(tokens: list[Token]) -> int | None:
    """Return how many decimals the number has that ends a chain, as the 3.33 of `x = 10/3 = 3.33`.

    Args:
      tokens: of one equation, without units.

    Returns:
      None where there is no such number, or it has no decimals. Those of a percentage are two more.
    """
    equals = [i for i, t in enumerate(tokens) if t.kind == "equals"]
    if len(equals) < 2:
        return None
    last = tokens[equals[-1] + 1 :]
    if last and last[0].text == "-":
        last = last[1:]
    if [t.kind for t in last] not in (["number"], ["number", "percent"]):
        return None
    text = last[0].text.strip("$€£¥₹ ")
    found = _DECIMALS.fullmatch(text)
    # The decimals of "3.33 million" are other ones.
    if not found or last[0].value != Fraction(text.replace(",", "")):
        return None
    count = len(found[1] or "") + 2 * (len(last) - 1)
    return count or None


def is_rounded(exact: Fraction, written: Fraction, count: int) -> bool:
    """Tell whether a number with so many decimals is another, rounded to the nearest or cut off."""
    unit = Fraction(1, 10**count)
    cut = abs(written) <= abs(exact) < abs(written) + unit and exact * written >= 0
    return cut or abs(exact - written) <= unit / 2
