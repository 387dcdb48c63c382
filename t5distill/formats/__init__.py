"""Between chains and text: what a student reads and writes, one module per style.

`style(name)` gives the two functions of a style. `codec` and `vocabulary` carry any text through
the vocabularies; both are free of TensorFlow, because a trained student answers without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from t5distill.errors import UserError
from t5distill.formats import answer, cot
from t5distill.records import Chain, Problem


class Style(NamedTuple):
    """A style of rationale as text.

    Attributes:
      inputs: the student's input for a problem.
      targets: what the student learns to write; the chain may be None, and then the target is the
        gold answer alone.
      needs_chain: whether a training example without a chain makes sense.
    """

    inputs: Callable[[Problem], str]
    targets: Callable[[Problem, Chain | None], str]
    needs_chain: bool


STYLES = {
    "answer": Style(answer.inputs, answer.targets, needs_chain=False),
    "cot": Style(cot.inputs, cot.targets, needs_chain=True),
}


def style(name: str) -> Style:
    """Return the style called `name`; raise UserError where there is none."""
    if name not in STYLES:
        raise UserError(f"style is {name!r}, wanted one of {', '.join(STYLES)}")
    return STYLES[name]


def gold_chain(problem: Problem, *, style: str) -> Chain | None:
    """Return the benchmark's own solution as a chain of teacher `gold`, or None without one."""
    if not problem.solution or not problem.solution.strip():
        return None
    return Chain(problem_id=problem.id, style=style, text=problem.solution, teacher="gold")
