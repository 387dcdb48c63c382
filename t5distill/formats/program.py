"""Program of thought: a program that gives the answer (Chen et al. 2022; Zhu et al. 2024).

The words that end the input choose the type of thought, where one student learns several; they are
those of the published checkpoint of Zhu et al.
"""

from __future__ import annotations

import ast
import textwrap

from t5distill.formats import answer
from t5distill.formats.wrapping import unfenced
from t5distill.records import Chain, Problem

SUFFIX = "Let’s break down the code step by step"


def inputs(problem: Problem) -> str:
    """Return what the student reads."""
    return f"{answer.question(problem)}\nA: {SUFFIX}"


def source(text: str) -> str:
    """Return a program out of its wrapping, by the rule that the sandbox runs it by.

    What can be read as it stands has none: a fence may also stand inside a string.
    """
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        text = textwrap.dedent(unfenced(text))
    return text.strip("\n").rstrip()


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the program; without a chain, the shortest one that gives the gold answer."""
    if chain is not None:
        return source(chain.text)
    value = problem.answer if problem.kind == "numeric" else repr(problem.answer)
    return f"ans = {value}"
