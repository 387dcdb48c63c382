"""The calculator: exact arithmetic inside chains of thought.

Three uses. `check_steps` says of each equation of a chain whether it is true. `annotate` and
`strip_annotations` write and remove GSM8K's `<<48/2=24>>` marks, at which a calculator can take
over during decoding (Cobbe et al. 2021, section 4). `recalculate` is the calculator after decoding
(Magister et al. 2022): it re-evaluates the equations of a finished chain from left to right and
carries each corrected value forward into later steps and the final answer.

Only what is certain is touched, so that no right chain is turned wrong: an equation with an unknown
in it, or between different units ("1/2 hour = 30 minutes"), is left alone, and so is a false one
of which `doubt` finds another reading (a whole quotient, a cut left side, a slip of the pen). Such
an equation is undecidable: it is no step, gets no annotation, and corrects nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from t5distill.verify.arithmetic import ArithmeticProblem, evaluate
from t5distill.verify.calculator.due import Remembered, inside_annotation, result_due, statement
from t5distill.verify.calculator.memory import Correction, Memory
from t5distill.verify.calculator.results import compact, format_value
from t5distill.verify.calculator.steps import ANNOTATION, Step, strip_annotations, walk

__all__ = [
    "Annotation",
    "ArithmeticProblem",
    "Correction",
    "Remembered",
    "Step",
    "annotate",
    "check_steps",
    "evaluate",
    "format_value",
    "inside_annotation",
    "read_annotations",
    "recalculate",
    "result_due",
    "statement",
    "strip_annotations",
]


class Annotation(NamedTuple):
    """One `<<expression=value>>`; `start` and `end` are its place in the text."""

    expression: str
    value: str
    start: int
    end: int


def read_annotations(text: str) -> list[Annotation]:
    """Return the `<<expression=value>>` annotations of `text`, in order."""
    found = []
    for mark in ANNOTATION.finditer(text):
        expression, _, value = mark[1].rpartition("=")
        found.append(Annotation(expression, value, mark.start(), mark.end()))
    return found


def annotate(text: str) -> str:
    """Write `<<48/2=24>>` before the result of every plain equation that has none.

    The stated result is annotated, right or wrong: annotation shows where a calculator would act,
    and `recalculate` corrects.
    """
    marks = []
    for found in walk(text, Memory(text, carries=False)):
        if found.result is not None and found.source is not None and not found.result.percent:
            value = ("-" if found.result.negative else "") + compact([found.result.digits])
            marks.append((found.result.start, f"<<{compact(found.source)}={value}>>"))
    pieces, position = [], 0
    for start, mark in marks:
        pieces += [text[position:start], mark]
        position = start
    return "".join([*pieces, text[position:]])


def check_steps(text: str) -> list[Step]:
    """Return every equation of a chain whose truth arithmetic alone can decide."""
    return [found.step for found in walk(text, Memory(text, carries=False))]


def recalculate(text: str) -> tuple[str, list[Correction]]:
    """Re-evaluate the equations of a finished chain and carry corrected values forward.

    A result that is wrong is replaced by the exact value; from then on the numbers equal to the
    wrong one are replaced too, in equations, prose and the final answer, until an equation states
    that number rightly or in a way that nobody can decide. Where the same number stood in the chain
    before, a later one may be that one, and none is replaced but the answer right after the wrong
    result (`Memory` has the whole rule). A rounded result stays as written, but later equations may
    use its exact value, so that 10/3 = 3.33 and then 3.33 * 3 = 10 are both right.
    """
    memory = Memory(text, carries=True)
    for _ in walk(text, memory):
        pass
    corrections = memory.sorted_corrections()
    pieces, position = [], 0
    for start, stated, corrected, _reason in corrections:
        pieces += [text[position:start], corrected]
        position = start + len(stated)
    return "".join([*pieces, text[position:]]), corrections
