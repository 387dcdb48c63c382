"""Answers: extraction, equality, the calculator. Used alike to filter teachers and score students.

`judge` is the one definition of "correct" in the project; the policy it follows is stated in
docs and tested case by case in tests/golden/judge.jsonl.
"""

from t5distill.verify.execution import extract_chain, judge_chain
from t5distill.verify.harness import flexible_extract, strict_match
from t5distill.verify.judging import extract, judge

__all__ = ["extract", "extract_chain", "flexible_extract", "judge", "judge_chain", "strict_match"]
