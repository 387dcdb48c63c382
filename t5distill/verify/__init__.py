"""Answers: extraction, equality, the calculator. Used alike to filter teachers and score students.

`judge` is the one definition of "correct" in the project; the policy it follows is stated in
docs and tested case by case in tests/golden/judge.jsonl. What executes text is loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING

from t5distill.verify.execution import extract_chain, judge_chain
from t5distill.verify.harness import flexible_extract, strict_match
from t5distill.verify.judging import VERSION, extract, judge

if TYPE_CHECKING:
    from t5distill.verify.equations import solve_equations
    from t5distill.verify.outcomes import Outcome
    from t5distill.verify.programs import Limits, Sandbox, run_program, run_programs

_EXECUTING = {
    "Limits": "t5distill.verify.programs",
    "Outcome": "t5distill.verify.outcomes",
    "Sandbox": "t5distill.verify.programs",
    "run_program": "t5distill.verify.programs",
    "run_programs": "t5distill.verify.programs",
    "solve_equations": "t5distill.verify.equations",
}

__all__ = [
    "VERSION",
    "Limits",
    "Outcome",
    "Sandbox",
    "extract",
    "extract_chain",
    "flexible_extract",
    "judge",
    "judge_chain",
    "run_program",
    "run_programs",
    "solve_equations",
    "strict_match",
]


def __getattr__(name: str):
    if name in _EXECUTING:
        return getattr(importlib.import_module(_EXECUTING[name]), name)
    raise AttributeError(f"module 't5distill.verify' has no attribute {name!r}")
