"""Between chains and text: what a student reads and writes, one module per style.

`style(name)` says how a style is taught and asked. `codec` and `vocabulary` carry any text through
the vocabularies; both are free of TensorFlow, because a trained student answers without it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from t5distill import records
from t5distill.errors import UserError, suggest
from t5distill.formats import (
    answer,
    cot,
    equation,
    fresh,
    key_points,
    program,
    sci_cot,
    socratic,
    step_by_step,
)
from t5distill.formats.conversation import Conversation, once
from t5distill.formats.example import Example
from t5distill.formats.fresh import Drawn, Shot
from t5distill.records import Chain, Problem

__all__ = ["GOLD", "STYLES", "Example", "Style", "gold_chain", "register", "style"]


class SoftLabels(NamedTuple):
    """What a student learns of a teacher's log-probabilities beside the text.

    Attributes:
      method: how they are put on the student's tokens, one of `curate.alignment.METHODS`.
      k: how many tokens are kept for each target token.
    """

    method: str
    k: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Style:
    """How a student is taught and asked.

    Attributes:
      inputs: the student's input for a problem; the first one, where it is asked several times.
      targets: what the student learns to write; the chain may be None, and then the target is the
        gold answer alone.
      chains: the style of the chains that it is made from.
      needs_chain: whether a training example without a chain makes sense.
      several: all the examples of a chain, where there is more than that one.
      weighted: whether its examples count unequally in the loss.
      asked: the conversation about a problem, where it takes more than one turn.
      drawn: an example that is drawn anew in every epoch, where the style has such ones.
      grouped: whether it is drawn from all the chains of a problem together.
      shows: whether it shows solved problems of the training split.
      soft: how its targets have soft labels, where they do.
    """

    inputs: Callable[[Problem], str]
    targets: Callable[[Problem, Chain | None], str]
    chains: str
    needs_chain: bool = True
    several: Callable[[Problem, Chain | None], list[Example]] | None = None
    asked: Callable[[Problem], Conversation] | None = None
    weighted: bool = False
    drawn: Callable[[Drawn], Example] | None = None
    grouped: bool = False
    shows: bool = False
    soft: SoftLabels | None = None

    def examples(self, problem: Problem, chain: Chain | None) -> list[Example]:
        """Return what is learnt from a chain, or from the problem alone."""
        if self.several is not None:
            return self.several(problem, chain)
        return [Example(self.inputs(problem), self.targets(problem, chain))]

    def converse(self, problem: Problem, pool: Sequence[Shot] = ()) -> Conversation:
        """Begin the conversation that gives a chain for a problem.

        Args:
          problem: what is asked.
          pool: what demonstrations are drawn from, by a style that shows some.
        """
        if self.asked is not None:
            return self.asked(problem)
        if self.shows and self.drawn is not None:
            drawn = Drawn(problem, (), fresh.own_rng(problem), pool, evaluation=True)
            return once(self.drawn(drawn).inputs)
        return once(self.inputs(problem))


def _socratic(name: str) -> Style:
    way = socratic.named(name)
    assert way is not None
    return Style(
        inputs=way.inputs,
        targets=way.targets,
        chains="socratic",
        several=way.examples,
        asked=way.converse,
    )


def _sci_cot(roles: tuple[str, ...]) -> Style:
    return Style(
        inputs=sci_cot.inputs,
        targets=sci_cot.targets,
        chains="cot",
        several=sci_cot.examples(roles),
        asked=sci_cot.converse,
    )


def _step_by_step(alpha: int) -> Style:
    return Style(
        inputs=step_by_step.inputs,
        targets=step_by_step.targets,
        chains="cot",
        several=step_by_step.examples(alpha),
        weighted=True,
    )


def _divergent(count: int | None) -> Style:
    divergent = fresh.Divergent(count)
    return Style(
        inputs=divergent.inputs,
        targets=cot.targets,
        chains="cot",
        drawn=divergent.draw,
        grouped=True,
    )


STYLES = {
    # The answer needs no chain, and takes its problems from the set of chains of thought.
    "answer": Style(inputs=answer.inputs, targets=answer.targets, chains="cot", needs_chain=False),
    "cot": Style(inputs=cot.inputs, targets=cot.targets, chains="cot"),
    "program": Style(inputs=program.inputs, targets=program.targets, chains="program"),
    "equation": Style(inputs=equation.inputs, targets=equation.targets, chains="equation"),
    **{name: _socratic(name) for name in socratic.NAMES},
    "key_points": Style(inputs=key_points.inputs, targets=key_points.targets, chains="key_points"),
    "step_by_step": _step_by_step(50),
    **{f"step_by_step_{alpha}": _step_by_step(alpha) for alpha in step_by_step.ALPHAS},
    "sci_cot": _sci_cot(sci_cot.ROLES),
    **{f"sci_cot_{role}": _sci_cot((role,)) for role in sci_cot.ROLES},
    "cot_in_context": Style(
        inputs=cot.inputs,
        targets=cot.targets,
        chains="cot",
        drawn=fresh.cot_in_context,
        shows=True,
    ),
    "answer_in_context": Style(
        inputs=answer.inputs,
        targets=answer.targets,
        chains="cot",
        needs_chain=False,
        drawn=fresh.answer_in_context,
        shows=True,
    ),
    "divergent": _divergent(None),
    **{f"divergent_{k}": _divergent(k) for k in range(1, fresh.MOST_CHAINS + 1)},
}

# Top 5 is what providers give and Fu et al. 2023 took.
_TOP = 5


def _with_soft(name: str, method: str = "offsets", k: int = _TOP) -> Style:
    return dataclasses.replace(STYLES[name], soft=SoftLabels(method, k))


# The same texts, with the teacher's likeliest tokens beside each target token. Bare answers have
# none: they are there for mixtures, whose tasks must have the same features.
STYLES |= {
    **{
        f"{name}_soft": _with_soft(name)
        for name in ("cot", "program", "equation", "key_points", "cot_in_context")
    },
    **{f"{name}_soft": _with_soft(name) for name in ("answer", "answer_in_context")},
    **{f"cot_soft_{k}": _with_soft("cot", k=k) for k in (20, 64)},
    **{f"{name}_soft_dtw": _with_soft(name, "dtw") for name in ("cot", "cot_in_context")},
}


# Styles that a benchmark's own solution may be in, see `gold_chain`.
GOLD = ("cot", "socratic")


def style(name: str) -> Style:
    """Return the style called `name`; raise UserError where there is none."""
    if name not in STYLES:
        raise UserError(f"style is {name!r}; {suggest(name, STYLES)}")
    return STYLES[name]


def register(name: str, style: Style) -> None:
    """Add a style of one's own, in a module that $T5DISTILL_MODULES names; again does nothing.

    Raises:
      UserError: it is no name, it is taken, or it is made from chains that nobody can verify.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name):
        raise UserError(f"style {name!r}: wanted small letters, digits and single _")
    if style.chains not in records.STYLES:
        raise UserError(
            f"style {name!r} is made from chains of {style.chains!r}; wanted one of "
            f"{', '.join(records.STYLES)}"
        )
    if STYLES.setdefault(name, style) != style:
        raise UserError(f"there is a style {name!r} already; take another name")


def gold_chain(problem: Problem, *, style: str) -> Chain | None:
    """Return the benchmark's own solution as a chain of teacher `gold`, or None without one.

    A benchmark has one solution in words. Those of other styles are in `meta["chains"]`, by style:
    of GSM8K `socratic`, where its Socratic files were there, of embedded problems all styles.
    """
    chains = STYLES[style].chains if style in STYLES else style
    text = problem.solution if chains == "cot" else problem.meta.get("chains", {}).get(chains)
    if not isinstance(text, str) or not text.strip():
        return None
    # A style of the students' own is made from chains of another one.
    return Chain(
        problem_id=problem.id,
        style=style if style in records.STYLES else chains,
        text=text,
        teacher="gold",
    )
