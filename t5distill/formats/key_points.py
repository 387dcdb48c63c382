"""Key points first: the core question and what is given, then the solution (Zhu et al. 2024, KPDD).

The paper teaches a student for each stage; here one student writes all three, in the form that the
prompt `key_points` asks of the teacher.
"""

from __future__ import annotations

from t5distill.formats import answer, cot
from t5distill.records import Chain, Problem


def inputs(problem: Problem) -> str:
    """Return what the student reads."""
    return f"{answer.question(problem)}\nA: Let's find the key points first."


def targets(problem: Problem, chain: Chain | None = None) -> str:
    """Return the key points, the solution and the sentence that marks the answer."""
    return cot.targets(problem, chain)
