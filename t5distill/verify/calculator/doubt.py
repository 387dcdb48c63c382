"""What leaves an equation undecidable: sides that are cut, ambiguous or meant in another way.

The calculator must never turn a right chain wrong. So a false equation counts as wrong only where
nothing here speaks for another reading of it.
"""

from __future__ import annotations

import itertools
from fractions import Fraction

from t5distill.verify.arithmetic import ArithmeticProblem, proper_fraction, value_of
from t5distill.verify.calculator import context
from t5distill.verify.calculator.results import Result, number_of
from t5distill.verify.chains import Chain, Segment
from t5distill.verify.tokens import Token, words

CUT = "cut"  # the side is a part of something longer
DOUBTFUL = "doubtful"  # it may be: only where it states its result rightly is it taken for whole

_ELLIPSIS = frozenset(words("… ⋯ ldots cdots dots"))
# Marks after which a statement, an item of a list or a cell of a table begins.
_BEFORE = frozenset(".,;:!?\"'\n#|>—→⇒•`_")
_LETTER_UNITS = frozenset(words("g m l h s k"))

_MINUTES = (60, 3600, 24, 1440, 7, 168, 30, 365, 12, 52, 4)
_LENGTHS = (12, 3, 36, 5280, 1760, 16, 4, 8, 128, 2000)
_TIMES = words("second sec minute min hour hr day week month year")
_SIZES = words(
    "inch inche inches in foot feet ft yard yd mile ounce oz pound lb ton cup pint quart gallon"
)
_CONVERSIONS = {**dict.fromkeys(_TIMES, _MINUTES), **dict.fromkeys(_SIZES, _LENGTHS)}
# Cents, percent, thousands and the like often go without saying.
_SCALING = frozenset(10**power for power in (2, 3, 4, 6, 9, 12))
_COMPOUND = frozenset(
    words("$ dollar hour hr minute min day week month year foot feet ft yard yd mile pound lb")
) | frozenset(words("gallon quart cup kilogram kg kilometer km meter metre m"))
_NEARBY = 50  # how many numbers back a miscopied one is looked for
# Longer expressions are not tried in other readings: no text decides how long we work.
_OPERANDS = 12


def left_side(
    tokens: list[Token], chain: Chain, before: Chain | None, *, bullet: bool
) -> str | None:
    """Return `CUT` or `DOUBTFUL` where a chain may begin further left than its tokens.

    `before` is the chain before it; `bullet` says that a dash was taken from the start of its line.
    """
    i = chain.first - 1
    while i >= 0 and tokens[i].kind in ("currency", "note"):
        i -= 1
    if i < 0:
        return DOUBTFUL if tokens[chain.first].kind == "op" else None
    if _ellipsis(tokens, i if tokens[i].kind != "op" else i - 1):
        return CUT
    if tokens[chain.first].kind == "op" or _unfinished(tokens, i, before, bullet):
        return DOUBTFUL
    last = tokens[i]
    if last.kind == "break":
        return None if last.text in _BEFORE and not _joined(tokens, i, chain) else DOUBTFUL
    if last.kind == "word":
        return DOUBTFUL if context.doubtful_after_word(tokens, i, chain) else None
    if last.kind == "op":  # else a star for emphasis or as a bullet
        alone = i == 0 or tokens[i - 1].kind == "break"
        return None if last.text == "*" and alone else DOUBTFUL
    if last.kind in ("number", "percent"):
        # "16 - 3 = 12 12 * 2 = 24" has only lost its newline.
        return None if before and len(before.segments) > 1 else DOUBTFUL
    if last.kind == "close":
        beside = before is not None and before.last == i and any(s.numbers for s in before.segments)
        return DOUBTFUL if beside else None
    return DOUBTFUL if last.kind in ("bad", "variable", "open") else None


def _joined(tokens: list[Token], i: int, chain: Chain) -> bool:
    """Tell whether a mark right before a chain may join it to what stands before the mark."""
    mark, head, before = tokens[i], tokens[chain.first], tokens[i - 1] if i else None
    if mark.text == "#":
        return before is None or before.text != "#"  # "#2 - 3 + 4 = 7"
    if before is None:
        return False
    if mark.text == ",":
        group = before.kind == "number" and head.end - head.start == 3
        return group or context.compound_before_comma(tokens, i, chain)
    if mark.text == "_":
        return before.end == mark.start and before.kind in ("word", "variable")  # "x_1 + 5"
    while mark.text == before.text == "\n" and i > 1:
        i, before = i - 1, tokens[i - 2]
    if mark.text != "\n" or before.text not in context.GOES_ON:
        return False
    if before.text == "times" and i > 2 and tokens[i - 3].kind == "equals":
        return False  # "1000 - 356 = 644 times"
    return context.doubtful_after_word(tokens, i - 1, chain)


def _ellipsis(tokens: list[Token], i: int) -> bool:
    if i < 0:
        return False
    if tokens[i].text in _ELLIPSIS:
        return True
    return i > 0 and tokens[i].text == "." == tokens[i - 1].text


def _unfinished(tokens: list[Token], i: int, before: Chain | None, bullet: bool) -> bool:
    """Tell whether the chain before broke off right before this one, or a sum on its own line."""
    if before is None:
        return False
    if all(t.kind == "break" for t in tokens[before.last + 1 : i + 1]):
        alone = len(before.segments) == 1 and tokens[i].text == "\n"
        return before.dangling or (alone and (bullet or bool(before.segments[0].operators)))
    return False


def named_unknown(tokens: list[Token], chain: Chain) -> bool:
    """Tell whether the word before the first equals sign is a letter: "by 1/3 gives b = 60"."""
    for i in range(chain.first, chain.last):
        if tokens[i].kind == "equals":
            word = tokens[i - 1]
            return (
                word.kind == "word"
                and len(word.text) == 1
                and not (word.text in _LETTER_UNITS and tokens[i - 2].kind != "word")
            )
    return False


def ambiguous(text: str, segment: Segment) -> bool:
    """Tell whether a segment can be read in two ways.

    Such are a share of a sum ("60% of 700 - 280"), a quotient by a fraction or before a bracket
    ("500/ 2/5", "6/2(3)"), a slash after a unit ("3 degrees/5%"), "5 and 1/2 * 10", a sign before a
    power, a dash that may be a range or join a mixed number ("5-1/2"), and operators in words.
    """
    tokens, depth, of, divided = segment.tokens, 0, -1, False
    several = len(segment.operators) > 1
    for i, t in enumerate(tokens):
        before = tokens[i - 1] if i else None
        depth += {"open": 1, "close": -1}.get(t.kind, 0)
        of = -1 if depth < of else of
        if t.kind == "op":
            if t.text in "+-–" and of == depth:
                return True
            of = depth if t.text == "of" else of
            divided |= t.text == "/"
            tight = before is not None and before.end == t.start
            if t.text == "–" and tight and text[t.end : t.end + 1].isdigit():
                return True
            if t.text == "-" and tight and proper_fraction(tokens[i + 1 : i + 4]):
                return True
            if text[t.start : t.end].lower() in ("plus", "minus", "times") and several:
                return True
            slash = t.text == "/" and not tight and before is not None
            if slash and text[t.start - 1].isalpha() and text[t.end : t.end + 1].isdigit():
                return True
        elif t.kind == "open" and before and before.kind in ("number", "close") and divided:
            return True
        elif t.kind == "number" and t.text[0] == "(" and before:
            if before.text == "/" or "and" in text[t.start : t.end]:
                return True
        elif t.kind == "number" and before and before.text in ("-", "–"):
            first = i == 1 or tokens[i - 2].kind == "open"
            if first and i + 1 < len(tokens) and tokens[i + 1].text == "^":
                return True
    return False


def without_brackets(earlier: Segment, later: Segment) -> bool:
    """Tell whether one begins the other from the left: "7 + 3 * 2 = 10 * 2" for (7 + 3) * 2."""
    tokens, rest = earlier.tokens, later.tokens
    done = len(tokens) - len(rest)
    if done < 2 or not rest or any(t.kind not in ("number", "op") for t in tokens):
        return False
    if [(t.text, t.value) for t in tokens[done + 1 :]] != [(t.text, t.value) for t in rest[1:]]:
        return False
    value = tokens[0]
    try:
        for i in range(1, done, 2):
            value = value._replace(value=value_of([value, *tokens[i : i + 2]]))
    except ArithmeticProblem:
        return False
    return number_of(value) == number_of(rest[0])


def ended(tokens: list[Token], chain: Chain) -> bool:
    """Tell whether a chain ends where its statement does, so that no summand is missing."""
    i = chain.last + 1
    if i < len(tokens) and tokens[i].kind == "word":
        i += 1
    if i >= len(tokens):
        return True
    stop = tokens[i].kind == "break" and tokens[i].text in ".,;!?\n"
    return stop and not (i + 1 < len(tokens) and _ellipsis(tokens, i + 1))


def compound(tokens: list[Token], chain: Chain) -> bool:
    """Tell whether the last number of a chain is the first part of "2 hours 30 minutes"."""
    i = chain.last
    while i > chain.first and tokens[i].kind != "number":
        i -= 1
    money, head = tokens[i - 1].kind == "currency", tokens[i + 1 : i + 7]
    if not money and not (head and _singular(head[0].text) in _COMPOUND):
        return False
    rest = [t for t in head if t.text not in ("and", ",", "$")]
    rest = rest if money and rest and rest[0].kind == "number" else rest[1:]
    if len(rest) < 2 or rest[0].kind != "number":
        return False
    return rest[1].kind == "word" or head[0].text == "and"


def meant_otherwise(result: Result, exact: Fraction) -> bool:
    """Tell whether a result that is not `exact` may be the same in whole or in other units.

    A whole number next to a value that is not whole may be a quotient without its remainder, or
    rounded ("13 / 6 = 2 full cycles"). A factor of a hundred or more, or that between two units of
    the result's kind, may be a change of units ("5 thousand a day, so 5 * 3 = $15,000"). And a
    difference may be meant without its sign ("2010 - 2015 = 5 years").
    """
    if not result.digits.decimal and exact.denominator != 1 and abs(result.value - exact) < 1:
        return True
    if not exact or not result.value:
        return False
    ratio = max(exact / result.value, result.value / exact)
    factors = {f for u in result.units for f in _CONVERSIONS.get(_singular(u), ())}
    return result.value == -exact or ratio in _SCALING or ratio in factors


def _singular(unit: str) -> str:
    return unit.removesuffix("s") if len(unit) > 2 else unit


def miscopied(segment: Segment, seen: dict[Fraction, Token], result: Result) -> bool:
    """Tell whether an operand that is new, written like a number of before, makes it right.

    "300 + 20 = 320. She has $32 - $20 = $300": which of the numbers is the slip, nobody can say.
    """
    if len(segment.numbers) > _OPERANDS:
        return False
    near = list(itertools.islice((seen[number] for number in reversed(seen)), _NEARBY))
    for i, token in enumerate(segment.tokens):
        if token.kind != "number" or number_of(token) in seen:
            continue
        for other in near:
            if not _alike(token.text, other.text):
                continue
            tokens = list(segment.tokens)
            tokens[i] = token._replace(value=other.value)
            try:
                if value_of(tokens) == result.value:
                    return True
            except ArithmeticProblem:
                continue
    return False


def turned_over(segment: Segment, result: Result) -> bool:
    """Tell whether dividing by a fraction where it multiplies makes it right: "5 x 1/2 = 10"."""
    tokens = segment.tokens
    times = [i for i, t in enumerate(tokens) if t.kind == "op" and t.text == "*"]
    if len(times) > _OPERANDS or not any(t.text == "/" or 0 < number_of(t) < 1 for t in tokens):
        return False
    for i in times:
        swapped = [*tokens[:i], tokens[i]._replace(text="/"), *tokens[i + 1 :]]
        both = [*swapped[: i + 1], *(_multiplied(t) for t in swapped[i + 1 :])]
        for turned in (swapped, both):
            try:
                if value_of(turned) == result.value:
                    return True
            except ArithmeticProblem:
                continue
    return False


def _multiplied(token: Token) -> Token:
    return token._replace(text="*") if token.kind == "op" and token.text == "/" else token


def _alike(written: str, other: str) -> bool:
    """Tell whether one number is the other with one digit changed, or with its end left off."""
    a, b = (
        (n.replace(",", "").rstrip("0").rstrip(".") if "." in n else n.replace(",", ""))
        for n in (written, other)
    )
    if a == b:
        return False
    if len(a) == len(b) > 1:
        return sum(x != y for x, y in zip(a, b, strict=True)) == 1
    return b.startswith(a) or a.startswith(b)
