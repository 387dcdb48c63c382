"""Answers: extraction, equality, the calculator, equations. Used alike to filter teachers and score students.

`judge` is the one definition of "correct" in the project; the policy it follows is stated in
docs and tested case by case in tests/golden/judge.jsonl.
"""

from t5distill.verify.equations import solve_equations
from t5distill.verify.harness import flexible_extract, strict_match
from t5distill.verify.judging import extract, judge

__all__ = ["extract", "flexible_extract", "judge", "solve_equations", "strict_match"]
