"""A rationale by one student, the answer from it by another (Sci-CoT, Ma et al. 2023).

One student may do both; `roles` says which share of the examples it learns.
"""

from __future__ import annotations

from collections.abc import Callable

from t5distill.formats import answer, cot
from t5distill.formats.conversation import Ask, Conversation
from t5distill.formats.example import Example
from t5distill.records import Chain, Problem

ROLES = ("rationale", "answer")
_EXPLAIN, _RATIONALE, _CONCLUDE = "Explain:", "Rationale:", "So the answer:"


def inputs(problem: Problem) -> str:
    """Return what the student of rationales reads."""
    return f"{answer.question(problem)}\n{_EXPLAIN}"


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the rationale and the answer as one text."""
    return cot.targets(problem, chain)


def examples(roles: tuple[str, ...]) -> Callable[[Problem, Chain | None], list[Example]]:
    """Return what makes the examples of a chain that belong to `roles`."""

    def some(problem: Problem, chain: Chain | None) -> list[Example]:
        text = cot.rationale(chain.text) if chain is not None else ""
        found = {"answer": [Example(_to_conclude(problem, text), answer.sentence(problem))]}
        found["rationale"] = [Example(inputs(problem), text)] if text else []
        return [example for role in roles for example in found[role]]

    return some


def converse(problem: Problem) -> Conversation:
    """Ask for the rationale, then for the answer; return both."""
    rationale = (yield Ask(inputs(problem), first=True)).text
    concluded = (yield Ask(_to_conclude(problem, rationale.strip()))).text
    return f"{rationale}\n{concluded}"


def _to_conclude(problem: Problem, rationale: str) -> str:
    asked = answer.question(problem)
    return "\n".join((asked, f"{_RATIONALE} {rationale}", _CONCLUDE))
