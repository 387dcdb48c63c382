"""Quantities in different units of one dimension, which no sum can hold: 2 hours + 30 minutes.

Only well-known units of time, length, weight, volume and money count; apples and oranges may be
added. Units are followed through names that are set to a quantity (`a = 2 hours`, `b = 30 minutes`,
`a + b`), and a factor that is the ratio of the two units is a conversion (`2 hours * 60`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

from t5distill.verify.equations.grammar import EquationProblem, Tree, parse
from t5distill.verify.tokens import Token, words

# Of each dimension its units: the size of one, where it has a fixed one, and its spellings.
_DIMENSIONS: dict[str, list[tuple[str | None, str]]] = {
    "time": [
        ("1", "second seconds sec secs"),
        ("60", "minute minutes min mins"),
        ("3600", "hour hours hr hrs"),
        ("86400", "day days"),
        ("604800", "week weeks wk wks"),
        ("2592000", "month months"),
        ("31536000", "year years yr yrs"),
    ],
    "length": [
        ("1", "mm millimeter millimeters millimetre millimetres"),
        ("10", "cm centimeter centimeters centimetre centimetres"),
        ("1000", "meter meters metre metres"),
        ("1000000", "km kilometer kilometers kilometre kilometres"),
        ("25.4", "inch inches in"),
        ("304.8", "foot feet ft"),
        ("914.4", "yard yards yd yds"),
        ("1609344", "mile miles mi"),
    ],
    "weight": [
        ("0.001", "mg milligram milligrams"),
        ("1", "gram grams"),
        ("1000", "kg kgs kilogram kilograms kilo kilos"),
        ("28.35", "ounce ounces oz"),
        ("453.6", "pound pounds lb lbs £ gbp"),
        ("907185", "ton tons"),
        ("1000000", "tonne tonnes"),
    ],
    "volume": [
        ("1", "ml milliliter milliliters millilitre millilitres"),
        ("1000", "liter liters litre litres"),
        ("4.929", "teaspoon teaspoons tsp"),
        ("14.787", "tablespoon tablespoons tbsp"),
        ("29.57", "ounce ounces oz"),
        ("236.6", "cup cups"),
        ("473.2", "pint pints"),
        ("946.4", "quart quarts"),
        ("3785.4", "gallon gallons gal"),
    ],
    "money": [
        ("100", "dollar dollars buck bucks usd $"),
        ("1", "cent cents"),
        (None, "euro euros eur €"),
        (None, "pound pounds"),
        (None, "penny pence"),
        (None, "yen ¥"),
        (None, "rupee rupees rs ₹"),
    ],
}
# Each spelling as its unit, which is the first spelling, and each unit as its sizes: a pound has
# one as a weight and none as money.
_UNITS = {
    spelling: words(spellings)[0]
    for units in _DIMENSIONS.values()
    for _, spellings in units
    for spelling in words(spellings)
}
_SIZES: dict[str, dict[str, float | None]] = {unit: {} for unit in _UNITS.values()}
for _dimension, _units in _DIMENSIONS.items():
    for _size, _spellings in _units:
        _SIZES[words(_spellings)[0]][_dimension] = float(_size) if _size else None
# Factors this close to a ratio convert: a month has four weeks, or 28, 30 or 31 days.
_NEAR = 0.07
_PASSES = 5
MAX_QUANTITIES = 30  # of one sum in several units
# Begins the name of a unit in the trees here; no unknown begins so.
_MARK = " "

# A unit, or None for a plain number, and the numbers that it is multiplied by.
_Measure = tuple[str | None, list[float]]


def unit_mark(run: list[Token]) -> Token | None:
    """Return a name for the known unit of the words after a number, or None.

    Words after a plural leave it what it is ("2 hours driving"), those after a singular do not
    ("3 day passes").
    """
    spelling = run[0].text.lower()
    if spelling not in _UNITS or any(t.text in ("per", "a", "an") for t in run):
        return None
    if len(run) > 1 and not (spelling.endswith("s") or spelling == "feet"):
        return None
    return run[0]._replace(kind="name", text=_MARK + _UNITS[spelling])


def currency_mark(token: Token) -> Token | None:
    """Return a name for the unit of a number that is written with a currency sign, or None."""
    sign = next((c for c in (token.text[:1], token.text[-1:]) if c in _UNITS), None)
    return token._replace(kind="name", text=_MARK + _UNITS[sign]) if sign else None


def several_units(statements: list[list[Token]]) -> bool:
    """Tell whether any two words or signs of the text name two units of one dimension."""
    seen: dict[str, str] = {}
    for token in itertools.chain.from_iterable(statements):
        text = token.text.lower()
        if token.kind == "number" and not text.isdigit():
            text = next((c for c in (text[:1], text[-1:]) if c in _UNITS), "")
        unit = _UNITS.get(text)
        for dimension in _SIZES.get(unit or "", ()):
            if unit and seen.setdefault(dimension, unit) != unit:
                return True
    return False


def check(statements: list[list[Token]]) -> None:
    """Refuse a sum, or two sides of an equation, in different units of one dimension.

    Args:
      statements: tokens of each equation, with marks in place of quantities in known units.

    Raises:
      EquationProblem: such a sum.
    """
    equations = [sides for tokens in statements if (sides := _sides(tokens))]
    known: dict[str, str | None] = {}
    for _ in range(_PASSES):
        before = dict(known)
        for sides in equations:
            measure = _together([_measure(side, known) for side in sides])
            for side in sides:
                if side[0] == "name" and not side[1].startswith(_MARK) and measure:
                    unit, factors = measure
                    if unit and not factors:
                        same = known.setdefault(side[1], unit) == unit
                        known[side[1]] = unit if same else None
        if known == before:
            break


def _sides(tokens: list[Token]) -> list[Tree] | None:
    try:
        return parse(tokens)
    except EquationProblem:
        return None  # a unit under a slash, such as the hours of "60 miles / 2 hours"


def _measure(tree: Tree, known: Mapping[str, str | None]) -> _Measure | None:
    """Return the unit of a tree and what converts it, or None where nobody can tell."""
    kind = tree[0]
    if kind == "num":
        size = max(tree[1].numerator.bit_length(), tree[1].denominator.bit_length())
        return (None, [float(tree[1])]) if size < 500 else None
    if kind == "name":
        unit = tree[1] if tree[1].startswith(_MARK) else known.get(tree[1])
        return (unit, []) if unit else None
    if kind == "negative":
        return _measure(tree[1], known)
    if kind == "inverse":
        inner = _measure(tree[1], known)
        whole = math.prod(inner[1]) if inner and not inner[0] else 0
        return (None, [1 / whole]) if whole else None
    if kind == "^":
        return None
    parts = [_measure(part, known) for part in tree[1]]
    if kind == "+":
        return _together(parts)
    units = [part[0] for part in parts if part and part[0]]
    if None in parts or len(units) > 1:
        return None
    factors = [factor for part in parts if part for factor in part[1]]
    return (units[0] if units else None), factors


def _together(parts: list[_Measure | None]) -> _Measure | None:
    """Return the measure of a sum; of a unit, only where nothing in it converts.

    Raises:
      EquationProblem: the units of two parts differ.
    """
    measured = [(part[0], part[1]) for part in parts if part and part[0]]
    if not measured:
        plain = [math.prod(part[1]) for part in parts if part]
        return (None, [sum(plain)]) if len(plain) == len(parts) else None
    unit = measured[0][0]
    if any(other != unit for other, _ in measured):
        if len(measured) > MAX_QUANTITIES:
            raise EquationProblem(f"more than {MAX_QUANTITIES} quantities in several units")
        for one, other in itertools.combinations(measured, 2):
            _check_pair(one, other)
        return None
    return None if any(_may_convert(factors, unit) for _, factors in measured) else (unit, [])


def _check_pair(one: tuple[str, list[float]], other: tuple[str, list[float]]) -> None:
    first, second = one[0].strip(), other[0].strip()
    shared = [] if first == second else sorted(_SIZES[first].keys() & _SIZES[second].keys())
    if shared and not any(
        _converts([one[1], other[1]], _SIZES[first][d], _SIZES[second][d]) for d in shared
    ):
        raise EquationProblem(
            f"{first!r} and {second!r} in one sum or equation: a quantity in two units"
        )


def _converts(factors: list[list[float]], first: float | None, second: float | None) -> bool:
    """Tell whether one of two quantities is multiplied by the ratio of the sizes of their units."""
    if first is None or second is None:
        return any(factors)  # some rate of exchange
    ratios = (first / second, second / first)
    tried = [f for group in factors if group for f in (*group, math.prod(group))]
    return any(abs(f / ratio - 1) < _NEAR for f in tried for ratio in ratios)


def _may_convert(factors: list[float], unit: str) -> bool:
    """Tell whether a quantity may be one in another unit, as 2 hours * 60 is."""
    own = unit.strip()
    return any(
        _converts([factors], size, sizes[dimension])
        for dimension, size in _SIZES[own].items()
        for other, sizes in _SIZES.items()
        if other != own and size and sizes.get(dimension)
    )
