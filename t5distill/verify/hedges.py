"""Whether a quantity stands alone: denials, hedges, ranges, lists and second units beside it."""

from __future__ import annotations

from t5distill.verify.quantities import Quantity, negated
from t5distill.verify.tokens import Number, Token, words

HEDGES = frozenset(("or", "and", "to", "through", "versus", "vs", "till", "until"))
NOT_UNITS = frozenset(
    words(
        "because since as so if when where which that who is are was were but not for with after "
        "before then thus therefore"
    )
)
_BETWEEN = frozenset(words("about approximately around maybe perhaps possibly either even else"))
_DENIALS = frozenset(
    words(
        "not never neither cannot isn't aren't wasn't weren't can't won't don't doesn't didn't "
        "couldn't shouldn't wouldn't"
    )
)
_BEFORE_DENIED = frozenset(words("be equal to about around exactly approximately a an the just"))
# What a number may be rounded to.
_PLACES = frozenset(words("decimal significant places digits"))
# Units of which two in a row make one quantity: "5 hours 30 minutes".
_DIMENSIONS = [
    frozenset(words(units))
    for units in (
        "year years month months week weeks day days hour hours hr hrs h minute minutes min mins m "
        "second seconds sec secs s",
        "mile miles yard yards yd foot feet ft inch inches in km kilometers meter meters metres m "
        "centimeters cm mm",
        "pound pounds lb lbs ounce ounces oz kg kilograms gram grams g",
        "gallon gallons quart quarts pint pints cup cups liter liters litres ml",
    )
]


def denied(tokens: list[Token], i: int) -> bool:
    """Tell whether a "not" denies the number at `i`: "not 5", "isn't about $5", "cannot be 5".

    "He did not eat 5 slices" says something of the slices, and leaves the number as it is.
    """
    for token in reversed(tokens[max(0, i - 5) : i]):
        if token.text in _DENIALS:
            return True
        if token.text not in _BEFORE_DENIED and token.kind not in ("currency", "open", "op"):
            return False
    return False


def hedged_after(tokens: list[Token], i: int, quantity: Quantity) -> bool:
    """Tell whether a second, different quantity stands beside the one that ends before `i`."""
    units = 0
    if i < len(tokens) and is_apart(tokens, i):
        return True
    while i < len(tokens) and units <= 4:
        token = tokens[i]
        if token.kind in ("percent", "close", "currency") or token.text in ('"', "'"):
            i += 1
        elif token.kind == "word" and token.text not in HEDGES | NOT_UNITS:
            i, units = i + 1, units + 1
        else:
            break
    if i >= len(tokens):
        return False
    link = tokens[i]
    if link.kind == "break" and link.text in ",;" and tokens[i + 1 : i + 2]:
        if tokens[i + 1].text in ("or", "and"):
            i, link = i + 1, tokens[i + 1]
        else:
            return _lists(tokens, i + 1, quantity)
    if link.text == "—":  # spaces around it make it a dash of prose
        tight = tokens[i - 1].end == link.start
        number = [t.start for t in tokens[i + 1 : i + 2] if t.kind == "number"]
        return tight and number == [link.end]
    if link.text not in (*HEDGES, "–", "~", "±", "&", "/", "(") or link.kind == "number":
        return False
    if link.text == "(" and not (tokens[i + 1 : i + 2] and tokens[i + 1].text == "or"):
        return False
    other = _next_quantity(tokens, i + (2 if link.text == "(" else 1))
    if other is None:
        return i == len(tokens) - 1 and link.text in HEDGES
    if link.text == "to" and _leads_to_result(tokens, units, i, other):
        return False
    return tokens[other].value is None or _signed(tokens, other) != quantity.value


def hedged_before(tokens: list[Token], first: int, quantity: Quantity) -> bool:
    """Tell whether "or", "to", a dash or a unit joins the last quantity to one before it."""
    i = first - 1
    if i > 0 and tokens[i].kind in ("word", "variable") and tokens[i + 1].kind == "equals":
        i -= 1  # "x = 5 or x = 7"
    while i >= 0 and (tokens[i].kind in ("currency", "open") or tokens[i].text in _BETWEEN):
        i -= 1
    if any(is_compound(tokens, j, upto=first) for j in range(max(1, i - 2), first)):
        return True
    if i < 1 or tokens[i].text not in ("or", "to", "and", "–", "~"):
        return False
    link, seen = tokens[i].text, 0
    i -= 1
    if tokens[i].text == ",":
        i -= 1
    while i > 0 and tokens[i].kind in ("word", "percent", "close") and seen < 4:
        i, seen = i - 1, seen + 1
    if link == "to" and _leads_to_result(tokens, seen, i + seen + 1, first):
        return False
    same = tokens[i].value is not None and _signed(tokens, i) == quantity.value
    if tokens[i].kind not in ("number", "bad") or same:
        return False
    return link != "and" or any(t.text == "between" for t in tokens[max(0, i - 2) : i])


def _leads_to_result(tokens: list[Token], units: int, link: int, other: int) -> bool:
    """Tell "2 hours is equal to 120 minutes" and "to 2 places" from "5 to 7" and "5 m to 7 m"."""
    after = tokens[other + 1].text if other + 1 < len(tokens) else ""
    return after in _PLACES or (units > 0 and tokens[link - 1].text != after)


def is_apart(tokens: list[Token], i: int) -> bool:
    """Tell whether nothing but a space divides the number at `i` from one before it ("1 23").

    "18 12-inch pizzas" is another thing.
    """
    if tokens[i].kind not in ("number", "bad") or tokens[i - 1].kind != "number":
        return False
    following = tokens[i + 1 : i + 2]
    compound = following and following[0].text == "-" and following[0].start == tokens[i].end
    return tokens[i].start == tokens[i - 1].end + 1 and not compound


def is_compound(tokens: list[Token], i: int, *, upto: int | None = None) -> bool:
    """Tell whether the unit at `i`, after a number, begins a second part: "5 feet 6 inches", 5'6".

    With `upto` the second part must begin there, or with its sign there.
    """
    if i >= len(tokens) or not i or tokens[i - 1].kind != "number":
        return False
    unit, j = tokens[i].text, i + 1
    while j < len(tokens) and tokens[j].text in (",", "and"):
        j += 1
    if j >= len(tokens) or tokens[j].kind != "number" or (upto is not None and j != upto):
        return False
    if unit == "'":
        return tokens[i].start == tokens[i - 1].end
    second = tokens[j + 1].text if j + 1 < len(tokens) else ""
    return any(unit in names and second in names - {unit} for names in _DIMENSIONS)


def _lists(tokens: list[Token], i: int, quantity: Quantity) -> bool:
    """Tell whether the comma before `i` goes on a list: "5, 6 and 7", "$5, $6"."""
    other = _next_quantity(tokens, i)
    if other is None or _signed(tokens, other) == quantity.value:
        return False
    rest = tokens[other + 1 :]
    while rest and rest[0].kind in ("percent", "close", "currency"):
        rest = rest[1:]
    return not rest or rest[0].text in (",", ";", "and", "or")


def _next_quantity(tokens: list[Token], i: int) -> int | None:
    """Return where the quantity at `i` is, past currency, sign, bracket, "maybe" and "x ="."""
    while i < len(tokens):
        token = tokens[i]
        if token.kind in ("number", "bad"):
            return i
        named = len(token.text) == 1 and tokens[i + 1 : i + 2] and tokens[i + 1].kind == "equals"
        skipped = token.kind in ("currency", "open", "equals") or token.text in _BETWEEN
        if not (named or skipped) and not (token.kind == "op" and token.text in "+-–"):
            return None
        i += 1
    return None


def _signed(tokens: list[Token], i: int) -> Number | None:
    """Return the value of the number at `i` with the sign before it."""
    value = tokens[i].value
    sign = i - 1
    while sign >= 0 and tokens[sign].kind in ("currency", "open"):
        sign -= 1
    minus = sign >= 0 and tokens[sign].kind == "op" and tokens[sign].text in "-–"
    after_operand = sign > 0 and tokens[sign - 1].kind in ("number", "close", "percent")
    return negated(value) if value is not None and minus and not after_operand else value
