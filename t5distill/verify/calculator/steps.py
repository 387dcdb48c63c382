"""The equations of a chain, walked from left to right with what is known at each of them.

`calculator` is the public face of this module.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Generator, Iterator
from fractions import Fraction
from typing import NamedTuple

from t5distill.verify.arithmetic import ArithmeticProblem, value_of, with_mixed_numbers
from t5distill.verify.calculator import context, doubt
from t5distill.verify.calculator.memory import Memory
from t5distill.verify.calculator.places import Place, places
from t5distill.verify.calculator.results import Result, number_of, read_result
from t5distill.verify.chains import MAGNITUDES, Segment, chains
from t5distill.verify.tokens import Token, tokenize

_NAME = re.compile(r"(?<!\w)[A-Z][a-z]\w*[^=]{0,60}=")
ANNOTATION = re.compile(r"<<([^<>\n]{0,400})>>")
_THIRDS = re.compile(r"[0-9]*\.(?:3{2,}|6+[67]|1?6+[67]|83+)|33|66|67")


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


def strip_annotations(text: str) -> str:
    """Return `text` without its `<<...>>` annotations."""
    return ANNOTATION.sub("", text)


class Known(NamedTuple):
    """The value that the next result of a chain has to state, and the expression it came from."""

    segment: Segment
    plain: Fraction  # with every number as it stands in the text
    written: Fraction  # with wrong numbers corrected
    exact: Fraction  # with rounded operands, too, taken for what they stand for
    units: frozenset[str]
    doubtful: bool  # it may be a part of something longer: only agreement says anything


class Found(NamedTuple):
    """One decidable equation; `result` and `source` are None where nothing can be annotated."""

    step: Step
    result: Result | None = None
    source: list[Token] | None = None


def walk(text: str, memory: Memory) -> Iterator[Found]:
    """Yield the decidable equations of `text` in order; `memory` gathers the corrections."""
    for place in places(text):
        memory.read(place.tokens, place.chain.first)
        yield from _walk_chain(place, memory)


def awaited(text: str, memory: Memory) -> Known | None:
    """Return what the result that `text` breaks off before has to state, or None.

    `text` ends in an equals sign, with no more than spaces and a currency sign behind it.
    """
    found = list(places(text))
    if not found or found[-1].tokens[-1].kind not in ("equals", "currency"):
        return None
    for place in found[:-1]:
        memory.read(place.tokens, place.chain.first)
        for _ in _walk_chain(place, memory):
            pass
    place = found[-1]
    *before, last = place.chain.segments
    whole = place.chain.last >= len(place.tokens) - 2 and before and place.chain.dangling
    if not whole or last.tokens or last.open or last.bad or last.approximate:
        return None
    cut = dataclasses.replace(place.chain, segments=before)
    walked = _walk_chain(place._replace(chain=cut), memory)
    agreed = True
    while True:
        try:
            agreed &= next(walked).step.ok
        except StopIteration as end:
            known = end.value
            break
    # "- 3 + 5": a bullet or a sign. And of members that disagree, which one is meant?
    signed = place.bullet and known is not None and known.segment is before[0]
    return known if agreed and not signed else None


def _walk_chain(place: Place, memory: Memory) -> Generator[Found, None, Known | None]:
    """Yield the decidable equations of one chain `a = b = c`; a plain number states the value.

    Return what a further result would have to state.
    """
    text, segments = place.text, place.chain.segments
    known: Known | None = None
    for i, segment in enumerate(segments):
        if i and _names_another(text, segments[i - 1], segment):
            known = None
        for note, number in segment.notes:
            if found := _annotated(text, note, number, segment, memory):
                known = None
                yield found
        value = _evaluated(text, segment, memory)
        if i and any(" " in text[t.start : t.end] for t in segment.numbers):
            value = None  # "= 34 170 pennies": a result and what follows it, without a line break
        if value is not None and i == 0 and place.left is not None:
            value = None if place.left == doubt.CUT else value._replace(doubtful=True)
        if value is not None and context.whole_is_meant(
            place.tokens, place.chain, segment, value.plain
        ):
            value = value._replace(doubtful=True)
        if segment.operators or value is None:
            noted = [number for _, number in segment.notes]
            memory.carry_text([t for t in segment.numbers if t not in noted])
        if value is None:
            known = None
        elif segment.operators and known is not None:
            found, known = _compared(place, known, value, memory)
            if found:
                yield found
        elif segment.operators or segment.notes:
            known = value
        elif known is not None:
            if found := _stated(place, known, segment, memory):
                yield found
            known = known._replace(units=known.units | segment.kinds) if found else None
        elif i == 0 and len(segments) == 2 and (right := _reversed(place, memory)):
            if found := _stated(place, right, segment, memory, left=True):
                yield found
            break
        else:
            memory.carry_text(segment.numbers)
            memory.carry_answer(segment.numbers)
    return known


def _names_another(text: str, before: Segment, segment: Segment) -> bool:
    """Tell whether a name opens another equation: "Dogs = 4 * 7 = 28 kg Cats = 14 * 2"."""
    if not before.tokens or not segment.tokens:
        return False
    between = text[before.tokens[-1].end : segment.tokens[0].start]
    return bool(_NAME.search(between))


def _compared(
    place: Place, known: Known, value: Known, memory: Memory
) -> tuple[Found | None, Known]:
    """Compare an expression with the one before it; return also what the next one has to state.

    Either it has that value (a simplification), or it begins with a number that states it
    ("5 + 3 = 8 + 2 = 10", sloppy but common) and sets a new one. Where that number stands
    elsewhere in it, or decimals have been rounded, the new value counts and nothing is said.

    Where the two disagree, a simpler expression is a slip of the one before it, whose value the
    next has to state. Of two that are as long nobody can say which one is meant ("5 * 3 = 4 * 4"),
    nor whether "7 + 3 * 2 = 10 * 2" only lacks brackets: then what follows is never wrong.
    """
    text, segment = place.text, value.segment
    pair = (value.plain, known.plain) if known.doubtful else (value.exact, known.exact)
    if abs(pair[0] - pair[1]) * 10**9 <= abs(pair[1]):
        return _simplified(text, known, segment, ok=True), value
    result = read_result(text, segment)
    if result is not None and _agreed(known, segment, result) is not None:
        found = _stated(place, known, segment, memory)
        return found, _evaluated(text, segment, memory) or value
    run_on = any(number_of(t) in (known.plain, known.exact) for t in segment.numbers)
    rounded = any(t.decimal for t in segment.numbers)
    rounded = rounded and abs(value.exact - known.exact) * 100 < abs(known.exact)
    if run_on or rounded or known.doubtful or value.doubtful:
        return None, value
    own = value._replace(doubtful=True)
    if doubt.without_brackets(known.segment, segment):
        return None, own
    if segment is place.chain.segments[-1] and not doubt.ended(place.tokens, place.chain):
        return None, own
    simpler = len(segment.operators) < len(known.segment.operators)
    return _simplified(text, known, segment, ok=False), known if simpler else own


def _reversed(place: Place, memory: Memory) -> Known | None:
    """Return the value of the right side of `18 = 9 * 2`, where no unit leaves it in doubt."""
    left, right = place.chain.segments
    if left.kinds or right.kinds or not right.operators or right.notes:
        return None
    value = _evaluated(place.text, right, memory)
    if value is None or (place.left is None and doubt.ended(place.tokens, place.chain)):
        return value
    return value._replace(doubtful=True)


def _evaluated(text: str, segment: Segment, memory: Memory) -> Known | None:
    """Return a segment's value, or None where it has none."""
    if segment.open or segment.bad or not segment.numbers:
        return None
    if any(t.text[0] == "0" and t.text.isdigit() and len(t.text) > 1 for t in segment.numbers):
        return None  # "0900 - 0130" is a time of day
    if len(segment.kinds) > 1 and any(o in "+-–" for o in segment.operators):
        return None  # "2 hours + 30 minutes"
    try:
        plain = written = exact = value_of(segment.tokens)
        if memory.known:
            written = value_of(memory.carried(segment.tokens, rounded=False))
            exact = value_of(memory.carried(segment.tokens, rounded=True))
    except ArithmeticProblem:
        return None
    doubtful = bool(segment.operators) and (
        doubt.ambiguous(text, segment) or context.means_otherwise(segment)
    )
    return Known(segment, plain, written, exact, segment.kinds, doubtful)


def _convertible(known: Known, segment: Segment) -> bool:
    """Tell whether a result is in a unit (or a magnitude) that its operands do not have."""
    units = known.units | segment.kinds
    return bool(units & MAGNITUDES) or bool(known.units and segment.kinds - known.units)


def _agreed(known: Known, segment: Segment, result: Result, *values: Fraction) -> Fraction | None:
    """Return the value that a result states rightly, in the result's own scale, or None."""
    scales = (1, 100) if any(t.kind == "percent" for t in known.segment.tokens) else (1,)
    for value in values or (known.exact, known.written):
        for scale in scales:  # "9 / 21 * 100% = 42.857"
            agreed = result.agrees(value * scale, approximate=segment.approximate)
            if agreed is not None:
                return agreed
    return None


def _stated(
    place: Place, known: Known, segment: Segment, memory: Memory, *, left: bool = False
) -> Found | None:
    """Compare the number that opens `segment` with the known value, and settle it."""
    text, result = place.text, read_result(place.text, segment)
    if result is None:
        return None  # "+3", "-(-3)": signs that nobody has to write
    agreed = _agreed(known, segment, result)
    if agreed is None:
        agreed = _as_thirds(known, segment, result)
    # What was right before a correction reached it is certain, and has to follow the correction.
    right = _agreed(known, segment, result, known.plain) is not None
    if right and known.plain == known.written:
        agreed = known.plain if agreed is None else agreed
    elif not right and (known.doubtful or agreed is None):
        last = not left and segment is place.chain.segments[-1]
        if (
            known.doubtful
            or _undecidable(place, known, segment, result, memory)
            or (last and doubt.compound(place.tokens, place.chain))
        ):
            memory.leave(result)
            return None
    memory.settle(result, known.exact, agreed, known.segment.numbers)
    parts = [text[result.start : result.end], _text_of(text, known.segment)]
    if result.percent:
        parts[0] += "%"
    equation = " = ".join(parts if left else parts[::-1])
    source = None if left else known.segment.tokens
    return Found(Step(equation, parts[0], known.exact, agreed is not None), result, source)


def _undecidable(
    place: Place, known: Known, segment: Segment, result: Result, memory: Memory
) -> bool:
    """Tell whether a result that disagrees may be right in a sense that nobody wrote down."""
    values = {known.plain, known.written, known.exact}
    between = min(known.written, known.exact) <= result.value <= max(known.written, known.exact)
    if context.means_otherwise(segment):
        return True
    if _convertible(known, segment) or (between and known.written != known.exact):
        return True
    scale = 100 if result.percent else 1
    if any(doubt.meant_otherwise(result, value * scale) for value in values):
        return True
    if known.segment is place.chain.segments[0] and _marked_off(place, known, segment, result):
        return True
    turned = doubt.turned_over(known.segment, result)
    return turned or doubt.miscopied(known.segment, memory.seen, result)


def _marked_off(place: Place, known: Known, segment: Segment, result: Result) -> bool:
    """Tell whether a result is right where a bullet is a sign, or "1 - 5 + 3 = 8" is numbered."""
    tokens = known.segment.tokens
    if place.bullet:
        other = [tokens[0]._replace(kind="op", text="-"), *tokens]
    elif len(tokens) > 4 and tokens[0].kind == "number" and tokens[1].text in ("-", "–"):
        other = tokens[2:]
    else:
        return False
    try:
        return _agreed(known, segment, result, value_of(other)) is not None
    except ArithmeticProblem:
        return False


def _as_thirds(known: Known, segment: Segment, result: Result) -> Fraction | None:
    """Return the value that a result states where 0.33 and the like stand for thirds, or None."""
    tokens = list(known.segment.tokens)
    for i, t in enumerate(tokens):
        percent = i + 1 < len(tokens) and tokens[i + 1].kind == "percent"
        if t.kind == "number" and _THIRDS.fullmatch(t.text) and (t.decimal or percent):
            tokens[i] = t._replace(value=Fraction(round(number_of(t) * 6), 6))
            if percent:
                tokens[i] = t._replace(value=Fraction(round(number_of(t) * 3 / 100), 3) * 100)
    if tokens == known.segment.tokens:
        return None
    try:
        return _agreed(known, segment, result, value_of(tokens))
    except ArithmeticProblem:
        return None


def _simplified(text: str, known: Known, segment: Segment, *, ok: bool) -> Found:
    """Report an expression that has, or has not, the value of the one before it."""
    stated = _text_of(text, segment)
    equation = f"{_text_of(text, known.segment)} = {stated}"
    return Found(Step(equation, stated, known.exact, ok))


def _text_of(text: str, segment: Segment) -> str:
    tokens = segment.tokens
    return " ".join(strip_annotations(text[tokens[0].start : tokens[-1].end]).split())


def _annotated(
    text: str, note: Token, number: Token, outer: Segment, memory: Memory
) -> Found | None:
    """Check one `<<expression=value>>` and settle it together with the number after it."""
    offset = note.start + 2
    inner = [
        t._replace(start=t.start + offset, end=t.end + offset) for t in tokenize(note.text[2:-2])
    ]
    inner = with_mixed_numbers(inner)
    found = chains(inner)
    if len(found) != 1 or len(found[0].segments) < 2:
        return None
    source, segment = found[0].segments[0], found[0].segments[-1]
    known = _evaluated(text, source, memory)
    result = read_result(text, segment) if segment.tokens else None
    if known is None or result is None or segment.operators or segment.open or segment.bad:
        return None
    memory.carry_text(source.numbers)
    segment = dataclasses.replace(segment, units=[*segment.units, *outer.units])
    stated = _stated(Place(text, inner, found[0]), known, segment, memory)
    if stated is None:
        return None
    if not stated.step.ok and number_of(number) == abs(result.value):
        memory.correct(number, abs(known.exact) if result.negative else known.exact, "result")
    return Found(stated.step._replace(equation=note.text[2:-2]))
