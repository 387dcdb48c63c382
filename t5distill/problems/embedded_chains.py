"""The solution of an embedded problem in each style of chain, in one of several wordings.

A chain comes in two parts: what leads to the answer, and the mark that states it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from t5distill.records import Problem

# The first of each is the plain wording, that of greedy decoding.
_OPENINGS = ("", "Let us work step by step. ", "We take it in order. ", "Let's see. ")
_CLOSINGS = ("The answer is {}.", "So the answer is {}.", "Therefore, the answer is {}.")


class Chooser(Protocol):
    """What picks a wording: a random generator, or a stand-in that takes a given path."""

    def choice(self, seq: Sequence[Any], /) -> Any:
        """Return one of the elements."""
        ...


def _answer(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    return "", _one(_CLOSINGS, rng).format(problem.answer)


def _cot(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    said = " ".join(step["statement"] for step in problem.meta["steps"])
    return _one(_OPENINGS, rng) + said, " " + _one(_CLOSINGS, rng).format(problem.answer)


def _key_points(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    """Return the last sub-question, the story without its question, and the chain."""
    given = problem.question.rpartition(". ")[0] or problem.question
    body, mark = _cot(problem, rng)
    core = problem.meta["steps"][-1]["question"]
    return f"Core question: {core}\nGiven: {given}.\nSolution: {body}", mark


def _socratic(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    """Return GSM8K's Socratic form: `question ** answer`, a line for each step, and `#### N`."""
    lines = []
    known: dict[str, int] = {}
    for step in problem.meta["steps"]:
        left, right = (known.get(step[side], step[side]) for side in ("left", "right"))
        known[step["name"]] = step["value"]
        short = f"{left} {step['op']} {right} = {step['value']} {step['unit']}."
        lines.append(f"{step['question']} ** {_one((step['statement'], short), rng)}")
    return "\n".join(lines), f"\n#### {problem.answer}"


def _program(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    commented, named = _one((False, True), rng), _one((False, True), rng)
    lines = ["def solution():"]
    for step in problem.meta["steps"]:
        if commented:
            lines.append(f"    # {step['question']}")
        lines.append(f"    {_assignment(step)}")
    result = problem.meta["steps"][-1]["name"]
    if named:
        lines.append(f"    result = {result}")
        result = "result"
    return "\n".join(lines), f"\n    return {result}"


def _equation(problem: Problem, rng: Chooser | None) -> tuple[str, str]:
    """Return a system of equations; a variant calls the unknowns x1, x2, ..."""
    numbered = _one((False, True), rng)
    names = {s["name"]: f"x{i}" for i, s in enumerate(problem.meta["steps"], start=1)}
    lines = [
        _assignment(
            {k: names.get(v, v) if k in ("name", "left", "right") else v for k, v in step.items()}
            if numbered
            else step
        )
        for step in problem.meta["steps"]
    ]
    return "\n".join(lines), f"\nans = {lines[-1].partition(' = ')[0]}"


def gold(problem: Problem) -> dict[str, str]:
    """Return the problem's own solution, plainly worded, in every style but words.

    Those are `Problem.solution`; these belong into `Problem.meta["chains"]`.
    """
    return {s: "".join(WRITE[s](problem, None)) for s in WRITE if s not in ("answer", "cot")}


WRITE = {
    "answer": _answer,
    "cot": _cot,
    "socratic": _socratic,
    "key_points": _key_points,
    "program": _program,
    "equation": _equation,
}


def _assignment(step: dict[str, Any]) -> str:
    return f"{step['name']} = {step['left']} {step['op']} {step['right']}"


def _one(wordings: tuple[Any, ...], rng: Chooser | None) -> Any:
    return rng.choice(wordings) if rng else wordings[0]
