"""Reading a numeric answer: the first quantity after a mark, or the last of the last statement."""

from __future__ import annotations

import itertools
import re

from t5distill.verify import numberwords
from t5distill.verify.arithmetic import ArithmeticProblem, value_of
from t5distill.verify.chains import Chain, Segment, chains
from t5distill.verify.hedges import (
    HEDGES,
    NOT_UNITS,
    denied,
    hedged_after,
    hedged_before,
    is_apart,
    is_compound,
)
from t5distill.verify.markers import WINDOW, Piece, last_statement
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
# What turns the number after it, or before it, into another one.
_MULTIPLES = frozenset(words("double twice triple thrice quadruple"))
_OPERATORS = frozenset(words("divided multiplied less plus minus"))
_POWERS = frozenset(("squared", "cubed"))
# A statement that stops at one of these words has lost its end.
_UNFINISHED = frozenset(
    words(
        "a an the of and or to for by with is are was be has have had that than in on from so per "
        "plus minus equals costs cost makes make gives give means equal then she he "
        "they we it if at"
    )
)
_CONCLUDES = re.compile(
    r"\W*(?:so|thus|hence|therefore|finally|altogether|in total|overall)\b", re.IGNORECASE
)
# A word of which these are the beginning may, cut off, have changed the number before it.
_CHANGING = (
    *HEDGES,
    *numberwords.SCALES_AFTER_FIGURES,
    *numberwords.PARTS_AFTER_FIGURES,
    *_POWERS,
)
# Words before the number of an answer that a label announces; more make it a sentence of a chain.
_LEAD = re.compile(r"^[^0-9\n]*")
_STEP = re.compile(r"\W*(?:step )?1(?:[.:)]|$)", re.IGNORECASE)


def marked(piece: Piece) -> Reading:
    """Read the first quantity of a marked statement, or the value of the equation it begins."""
    tokens = quantity_tokens(_head(piece.text))
    found = [c for c in chains(tokens) if _has_quantity(c)]
    if not found:
        return empty("no quantity follows the mark")
    chain = _first(tokens, found)
    if chain is None:
        return undecided("the quantity is negated, or an equation is not solved")
    return _decide(tokens, chain)


def heads_chain(piece: Piece, rest: str) -> bool:
    """Tell whether a statement only begins a chain, whose result comes with its last equation.

    Args:
      piece: the statement after a label.
      rest: what follows it.
    """
    sentence = len(re.findall(r"[A-Za-z]+", _LEAD.findall(piece.text)[0])) >= 2
    if not (sentence or "=" in piece.text or _STEP.match(piece.text)) or "=" not in rest:
        return False
    ending = last_statement(rest)
    reading = last(ending) if ending else empty("nothing follows")
    results = [c for c in chains(quantity_tokens(_tail(rest))) if len(c.segments) > 1]
    if reading.status != "value" or not results or not _is_number(results[-1].segments[-1]):
        return False
    result = _single(results[-1].segments[-1])
    return result is not None and result.value == reading.value.value


def last(piece: Piece) -> Reading:
    """Read the last quantity of a statement; operands are never credited."""
    tokens = quantity_tokens(_tail(piece.text))
    if _is_cut_off(piece, tokens):
        return empty("the chain is cut off before its result")
    found = [c for c in chains(tokens) if _has_quantity(c)]
    figures = [c for c in found if not _is_words(tokens, c)]
    if not found:
        return empty("no quantity in the last statement")
    found = _without_proof(tokens, figures or found)
    chain = found[-1]
    segment = chain.segments[-1]
    if chain.dangling or (_is_added(piece) and not _concludes(piece, tokens, chain)):
        return empty("the chain is cut off before its result")
    if segment.bad:
        return undecided("the last quantity cannot be read")
    if not _is_number(segment):
        return undecided("the last quantity is an operand, not a result")
    quantity = _single(segment)
    if quantity is None:
        return undecided("the last quantity cannot be read")
    if _is_changed(tokens, chain):
        return undecided("a power or a multiple in words")
    if denied(tokens, chain.first):
        return undecided("the quantity is negated")
    apart = chain.first and is_apart(tokens, chain.first)
    if apart or hedged_before(tokens, chain.first, quantity):
        return undecided("two quantities without a decision")
    return _value(quantity)


def _is_cut_off(piece: Piece, tokens: list[Token]) -> bool:
    """Tell whether a statement stops where something has to follow; drops a sign at the end."""
    while tokens and tokens[-1].kind in ("break", "currency"):
        ending = tokens.pop()
        if ending.kind == "currency" and tokens and tokens[-1].kind != "number":
            return True
    if not tokens:
        return False
    if piece.text.rstrip()[-1:] in tuple(",:"):
        return True
    if tokens[-1].kind in ("op", "equals", "open"):
        return True
    unfinished = tokens[-1].kind == "word" and tokens[-1].text in _UNFINISHED
    return not piece.closed and unfinished


def _is_added(piece: Piece) -> bool:
    """Tell whether a statement without an end follows one that has its full stop."""
    return not piece.closed and piece.before in tuple(".!")


def _concludes(piece: Piece, tokens: list[Token], chain: Chain) -> bool:
    """Tell whether a statement without an end has all the same come to its result."""
    if len(chain.segments) > 1:
        return True
    rest = [t.text for t in tokens[chain.last + 1 :] if t.kind == "word"]
    return bool(_CONCLUDES.match(piece.text)) and len(rest) <= 3 and not NOT_UNITS & {*rest}


def _without_proof(tokens: list[Token], found: list[Chain]) -> list[Chain]:
    """Leave out the brackets that prove the number before them: "5 (10 - 5)"."""
    if len(found) < 2 or found[-1].first != found[-2].last + 1:
        return found
    proof, stated = found[-1].segments, found[-2].segments[-1]
    if len(proof) > 1 or tokens[found[-1].first].kind != "open" or not _is_number(stated):
        return found
    quantity, computed = _single(stated), _computed(proof[0])
    same_value = quantity and computed and quantity.value == computed.value
    return found[:-1] if same_value else found


def _is_changed(tokens: list[Token], chain: Chain) -> bool:
    """Tell whether a word beside the number makes it another one.

    "5 squared", "double 5", "18 divided by 2", "18 dollars less 5".
    """
    before, after = tokens[max(0, chain.first - 1) : chain.first], tokens[chain.last + 1 :][:4]
    if any(t.text in _MULTIPLES for t in before) or any(t.text in _POWERS for t in after[:1]):
        return True
    for operator, operand in itertools.pairwise(after[:3]):
        if operator.text in _OPERATORS and (operand.text == "by" or operand.kind == "number"):
            return True
    return False


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
    if _is_to_solve(tokens, chain):
        solutions = (c for c in found if _is_solution(c) and c.first > chain.first)
        return next(solutions, None)
    if not denied(tokens, chain.first):
        return chain
    for later in found:
        between = tokens[chain.last + 1 : later.first]
        if later.first > chain.first and any(t.text in ("but", "rather") for t in between):
            return later
    return None


def _is_to_solve(tokens: list[Token], chain: Chain) -> bool:
    """Tell an equation with its unknown among numbers: "x + 3 = 8"."""
    left = chain.segments[0]
    if len(chain.segments) < 2 or not left.open or not left.numbers:
        return False
    begin = max(0, chain.first - 1)  # an unknown that opens the chain stands before it
    names = [t.text for t in tokens[begin : chain.last] if t.kind in ("word", "variable")]
    return any(len(name.strip("0123456789.")) == 1 for name in names)


def _is_solution(chain: Chain) -> bool:
    """Tell whether a chain is a name and its value: "x = 5"."""
    return len(chain.segments) == 2 and not chain.segments[0].numbers


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
    if _is_changed(tokens, chain):
        return undecided("a power or a multiple in words")
    if is_compound(tokens, chain.last + 1):
        return undecided("a quantity in two units")
    if hedged_after(tokens, chain.last + 1, quantity):
        return undecided("two quantities without a decision")
    rest = [t for t in tokens[chain.last + 1 :] if t.kind != "break" or t.text not in ".,"]
    at_end = not rest or (len(rest) <= 4 and any(c.startswith(rest[-1].text) for c in _CHANGING))
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
