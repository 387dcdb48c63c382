"""Equation of thought: a system of equations that a solver works out (Zhu et al. 2024).

The words that end the input are those of the published checkpoint of Zhu et al.
"""

from __future__ import annotations

from t5distill.formats import answer
from t5distill.formats.wrapping import unfenced
from t5distill.records import Chain, Problem

SUFFIX = "System of linear equations: (Do not simplify)"


def inputs(problem: Problem) -> str:
    """Return what the student reads."""
    return f"{answer.question(problem)}\nA: {SUFFIX}"


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the equations; without a chain, the one that states the gold answer."""
    if chain is None:
        return f"ans = {problem.answer}"
    return unfenced(chain.text).strip("\n").rstrip()
