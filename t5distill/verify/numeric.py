"""Reading a numeric answer: the first quantity after a mark, or the last of the last statement."""

from __future__ import annotations

import re

from t5distill.verify.arithmetic import ArithmeticProblem, value_of
from t5distill.verify.chains import Chain, Segment, chains
from t5distill.verify.markers import WINDOW, Piece
from t5distill.verify.quantities import Quantity, negated, quantity_tokens, same_quantity
from t5distill.verify.readings import Reading, empty, undecided
from t5distill.verify.tokens import Token, words

_DIGITS = re.compile(r"[0-9.,]*")

_PREFIXES = frozenset(
    words(
        "about approximately approx around roughly exactly only just a an total of equal to be "
        "nearly almost minus negative usd us rs inr eur gbp"
    )
)
_HEDGES = frozenset(("or", "and", "to", "through", "versus", "vs", "till", "until"))
_BETWEEN = frozenset(words("about approximately around maybe perhaps possibly either even else"))
_NOT_UNITS = frozenset(
    words(
        "because since as so if when where which that who is are was were but not for with after "
        "before then thus therefore"
    )
)
# A statement that stops at one of these words has lost its end.
_UNFINISHED = frozenset(
    words(
        "a an the of and or to for by with is are was be has have had that than in on from so per "
        "times plus minus equals costs cost makes make gives give means equal over then she he "
        "they we it if"
    )
)


def marked(piece: Piece) -> Reading:
    """Read the first quantity of a marked statement, or the value of the equation it begins."""
    tokens = quantity_tokens(_head(piece.text))
    found = [c for c in chains(tokens) if _has_quantity(c)]
    if not found:
        return empty("no quantity follows the mark")
    chain = _first(tokens, found)
    if chain is None:
        return undecided("the quantity is negated")
    return _decide(tokens, chain)


def last(piece: Piece) -> Reading:
    """Read the last quantity of a statement; operands are never credited."""
    tokens = quantity_tokens(_tail(piece.text))
    while tokens and tokens[-1].kind in ("break", "currency"):
        tokens.pop()
    if not tokens:
        return empty("no quantity in the last statement")
    ending = tokens[-1]
    if ending.kind in ("op", "equals", "open"):
        return empty("the chain is cut off before its result")
    if not piece.closed and ending.kind == "word" and ending.text in _UNFINISHED:
        return empty("the chain is cut off before its result")
    found = [c for c in chains(tokens) if _has_quantity(c)]
    figures = [c for c in found if not _is_words(tokens, c)]
    if not found:
        return empty("no quantity in the last statement")
    chain = (figures or found)[-1]
    segment = chain.segments[-1]
    if chain.dangling:
        return empty("the chain is cut off before its result")
    if segment.bad:
        return undecided("the last quantity cannot be read")
    if not _is_number(segment):
        return undecided("the last quantity is an operand, not a result")
    quantity = _single(segment)
    if quantity is None:
        return undecided("the last quantity cannot be read")
    apart = chain.first and _is_apart(tokens, chain.first)
    if apart or _hedged_before(tokens, chain, quantity):
        return undecided("two quantities without a decision")
    return _value(quantity)


def gold(text: str) -> Quantity:
    """Read a gold answer: a decimal, a fraction, or an expression such as `( 84.0 / 2.0 )`.

    Raises:
      ValueError: it is no number.
    """
    reading = marked(Piece(text, True, 0, len(text)))
    if reading.status != "value":
        raise ValueError(f"{text!r} is not a number: {reading.why}")
    return reading.value


def same(answer: Quantity, wanted: Quantity) -> bool:
    """Tell whether two quantities are equal under the answer policy."""
    return same_quantity(answer, wanted)


def _head(text: str) -> str:
    """Return the first `WINDOW` characters, never cutting inside a number."""
    if len(text) <= WINDOW:
        return text
    rest = _DIGITS.match(text, WINDOW)
    return text[: rest.end() if rest else WINDOW]


def _tail(text: str) -> str:
    if len(text) <= WINDOW:
        return text
    start = max(0, len(text) - WINDOW)
    while start and text[start - 1] in "0123456789.,":
        start -= 1
    return text[start:]


def _has_quantity(chain: Chain) -> bool:
    return any(s.numbers or s.bad for s in chain.segments)


def _is_words(tokens: list[Token], chain: Chain) -> bool:
    """Tell whether a chain is one quantity written in words, in the running text."""
    numbers = [t for s in chain.segments for t in s.numbers]
    return len(numbers) == 1 and len(chain.segments) == 1 and numbers[0].text[0].isalpha()


def _first(tokens: list[Token], found: list[Chain]) -> Chain | None:
    """Return the chain that holds the answer: the first, with two exceptions.

    Number words count in the running text only where no figures stand ("the two friends have 18"),
    and a negated quantity gives way to the one after its "but".
    """
    chain = found[0]
    lead = [t for t in tokens[: chain.first] if t.kind == "word"]
    if _is_words(tokens, chain) and any(t.text not in _PREFIXES for t in lead):
        chain = next((c for c in found if not _is_words(tokens, c)), chain)
    before = tokens[max(0, chain.first - 3) : chain.first]
    if not any(t.text in ("not", "isn't", "never") for t in before):
        return chain
    for later in found:
        between = tokens[chain.last + 1 : later.first]
        if later.first > chain.first and any(t.text in ("but", "rather") for t in between):
            return later
    return None


def _decide(tokens: list[Token], chain: Chain) -> Reading:
    """Return the value of a chain, unless it is open, unreadable, a range or one of several."""
    segment, plain_first = chain.segments[-1], chain.segments[0]
    several = len(chain.segments) > 1
    if several and segment.open and not segment.numbers and _is_number(plain_first):
        segment = plain_first  # "18 = x"
    elif chain.dangling:
        return empty("cut off before its value")
    if segment.bad:
        return undecided("not a readable quantity")
    if segment.open:
        return undecided("an expression with an unknown in it")
    if any(t.text == "±" for t in tokens[max(0, chain.first - 1) : chain.first]):
        return undecided("two quantities without a decision")
    computed = False
    if _is_number(segment):
        quantity = _single(segment)
    elif _is_range(segment):
        return undecided("a range")
    else:
        quantity, computed = _computed(segment), not _is_scientific(segment)
    if quantity is None:
        return undecided("not a readable quantity")
    if _hedged_after(tokens, chain.last + 1, quantity):
        return undecided("two quantities without a decision")
    rest = tokens[chain.last + 1 :]
    at_end = all(t.kind == "break" and t.text in ".," for t in rest)
    return _value(quantity, equation=computed, at_end=at_end)


def _value(quantity: Quantity, *, equation: bool = False, at_end: bool = False) -> Reading:
    return Reading("value", quantity, str(quantity), equation=equation, at_end=at_end)


def _is_number(segment: Segment) -> bool:
    """Tell whether a segment is one number, with or without a sign and a percent sign."""
    return not segment.open and len(segment.numbers) == 1 and not segment.operators


def _single(segment: Segment) -> Quantity | None:
    """Return the one number of a segment with its sign; a percentage is the number before it."""
    token = segment.numbers[0]
    if token.value is None:
        return None
    negative = any(t.kind == "op" and t.text in ("-", "–") for t in segment.tokens)
    return Quantity(negated(token.value) if negative else token.value, token.decimal)


def _computed(segment: Segment) -> Quantity | None:
    """Return the value of a closed expression, e.g. of `(84 / 2)`."""
    tokens = segment.tokens
    percents = sum(t.kind == "percent" for t in tokens)
    if percents == len(segment.numbers):
        tokens = [t for t in tokens if t.kind != "percent"]  # 100% - 25% is 75%
    try:
        value = value_of(tokens)
    except ArithmeticProblem:
        return None
    return Quantity(value, any(t.decimal for t in segment.numbers))


def _is_scientific(segment: Segment) -> bool:
    """Tell whether a segment is a number written as `1.5 * 10^3`."""
    numbers = segment.numbers
    return segment.operators == ["*", "^"] and len(numbers) == 3 and numbers[1].value == 10


def _is_range(segment: Segment) -> bool:
    """Tell a range ("5-6", "5 – 6") from a difference ("(79 - 53)", "79 - 53")."""
    bare = all(t.kind in ("number", "percent") or t.text in "-–" for t in segment.tokens)
    if not bare or len(segment.numbers) != 2 or len(segment.operators) != 1:
        return False
    left, right = segment.numbers
    if segment.operators == ["–"] or left.end + 1 == right.start:
        return True
    return left.exact is not None and right.exact is not None and left.exact < right.exact


def _hedged_after(tokens: list[Token], i: int, quantity: Quantity) -> bool:
    """Tell whether a second, different quantity stands beside the one that ends before `i`."""
    units = 0
    if i < len(tokens) and _is_apart(tokens, i):
        return True
    while i < len(tokens) and units <= 4:
        token = tokens[i]
        if token.kind in ("percent", "close", "currency") or token.text in ('"', "'"):
            i += 1
        elif token.kind == "word" and token.text not in _HEDGES | _NOT_UNITS:
            i, units = i + 1, units + 1
        else:
            break
    if i >= len(tokens):
        return False
    link = tokens[i]
    if link.kind == "break" and link.text == "," and tokens[i + 1 : i + 2]:
        if tokens[i + 1].text in ("or", "and"):
            i, link = i + 1, tokens[i + 1]
        else:
            return _lists(tokens, i + 1, quantity)
    if link.text not in (*_HEDGES, "–", "±", "&", "/", "(") or link.kind == "number":
        return False
    if link.text == "(" and not (tokens[i + 1 : i + 2] and tokens[i + 1].text == "or"):
        return False
    other = _next_quantity(tokens, i + (2 if link.text == "(" else 1))
    if other is None:
        return i == len(tokens) - 1 and link.text in _HEDGES
    return not _equal(other, quantity)


def _is_apart(tokens: list[Token], i: int) -> bool:
    """Tell whether nothing but a space divides the number at `i` from one before it ("1 23").

    "18 12-inch pizzas" is another thing.
    """
    if tokens[i].kind not in ("number", "bad") or tokens[i - 1].kind != "number":
        return False
    following = tokens[i + 1 : i + 2]
    compound = following and following[0].text == "-" and following[0].start == tokens[i].end
    return tokens[i].start == tokens[i - 1].end + 1 and not compound


def _lists(tokens: list[Token], i: int, quantity: Quantity) -> bool:
    """Tell whether the comma before `i` goes on a list: "5, 6 and 7", "$5, $6"."""
    other = _next_quantity(tokens, i)
    if other is None or _equal(other, quantity):
        return False
    while i < len(tokens) and tokens[i].kind != "number" and tokens[i].kind != "bad":
        i += 1
    rest = tokens[i + 1 :]
    while rest and (rest[0].kind in ("percent", "close") or rest[0].kind == "currency"):
        rest = rest[1:]
    return not rest or rest[0].text in (",", "and", "or")


def _next_quantity(tokens: list[Token], i: int) -> Token | None:
    """Return the quantity at `i`, past currency, sign, bracket and words such as "maybe"."""
    while i < len(tokens):
        token = tokens[i]
        if token.kind in ("number", "bad"):
            return token
        skipped = token.kind in ("currency", "open") or token.text in _BETWEEN
        if not skipped and not (token.kind == "op" and token.text in "+-–"):
            return None
        i += 1
    return None


def _equal(token: Token, quantity: Quantity) -> bool:
    same = (quantity.value, negated(quantity.value))
    return token.value is not None and token.value in same


def _hedged_before(tokens: list[Token], chain: Chain, quantity: Quantity) -> bool:
    """Tell whether "or", "to" or a dash joins the last quantity to another one before it."""
    i = chain.first - 1
    while i >= 0 and (tokens[i].kind in ("currency", "open") or tokens[i].text in _BETWEEN):
        i -= 1
    if i < 1 or tokens[i].text not in ("or", "to", "and", "–"):
        return False
    link, seen = tokens[i].text, 0
    i -= 1
    if tokens[i].text == ",":
        i -= 1
    while i > 0 and tokens[i].kind in ("word", "percent", "close") and seen < 4:
        i, seen = i - 1, seen + 1
    if tokens[i].kind not in ("number", "bad") or _equal(tokens[i], quantity):
        return False
    return link != "and" or any(t.text == "between" for t in tokens[max(0, i - 2) : i])
