"""The verdict on a chain of any style: texts are read, programs are run, equations are solved."""

from __future__ import annotations

import dataclasses
import os

from t5distill import formats
from t5distill.errors import UserError
from t5distill.records import Problem, Verdict
from t5distill.verify.judging import extract, judge
from t5distill.verify.outcomes import Outcome

# Of each executed style the name that its verdicts say the answer was found by.
EXECUTED = {"program": "executed", "equation": "solved"}

# Set by --allow-unsafe: inherited by worker processes, and open to those who call from elsewhere.
UNSAFE = "T5DISTILL_ALLOW_UNSAFE"
ALLOW_UNSAFE_HELP = (
    "execute programs even where this machine cannot isolate them (docs/execution.md says what "
    "that risks)"
)

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")

# What a status without a value means for the answer.
_MEANS = {
    "several": "no_answer",
    "none": "no_answer",
    "inconsistent": "no_answer",
    "underdetermined": "no_answer",
    "error": "error",
    "memory": "error",
    "timeout": "timeout",
    "rejected": "rejected",
}


def executed_style(style: str | None) -> str | None:
    """Return `program` or `equation` where chains of a style are executed, else None."""
    if style is None:
        return None
    chains = formats.style(style).chains
    return chains if chains in EXECUTED else None


def judge_chain(
    text: str, problem: Problem, *, style: str | None = None, finished: bool = True
) -> Verdict:
    """Compare the answer of a chain with a problem's gold one, as `judge` does.

    Args:
      text: the chain.
      problem: with the gold answer.
      style: how the chain is written; a text where None.
      finished: False where decoding stopped at its length limit. A program or a system that was cut
        off is never executed: what is left of it may run and mean something else.
    """
    kind = executed_style(style)
    if kind is None:
        return judge(text, problem.answer, problem.kind, choices=problem.choices, finished=finished)
    found, nothing = _executed(text, kind, finished=finished)
    if found.value is None:
        return dataclasses.replace(nothing, gold=problem.answer)
    verdict = judge(found.value, problem.answer, problem.kind, choices=problem.choices)
    isolation = {"isolation": found.isolation} if found.isolation else {}
    return dataclasses.replace(
        verdict, extraction=EXECUTED[kind], detail=found.detail, extra=isolation
    )


def extract_chain(
    text: str, problem: Problem, *, style: str | None = None, finished: bool = True
) -> Verdict:
    """Return the answer of a chain where there is no gold one; the outcome is None."""
    kind = executed_style(style)
    if kind is None:
        return extract(text, problem.kind, choices=problem.choices, finished=finished)
    found, nothing = _executed(text, kind, finished=finished)
    if found.value is None:
        return nothing
    verdict = extract(found.value, problem.kind, choices=problem.choices)
    return dataclasses.replace(verdict, extraction=EXECUTED[kind], detail=found.detail)


def _executed(text: str, kind: str, *, finished: bool) -> tuple[Outcome, Verdict]:
    """Return what came of a chain, and the verdict that stands where there is no value."""
    if not finished:
        detail = f"The {kind} was cut off by the length limit."
        return Outcome(status="none"), Verdict(outcome="truncated", detail=detail)
    found = execute(text, kind)
    outcome = _MEANS.get(found.status)
    return found, Verdict(outcome=outcome, detail=f"{found.status}: {found.detail}")


def execute(text: str, kind: str) -> Outcome:
    """Run a program or solve a system of equations."""
    # The sandbox is loaded by those who need it only.
    from t5distill.verify.equations import solve_equations
    from t5distill.verify.programs import run_program

    run = run_program if kind == "program" else solve_equations
    return run(text, allow_unsafe=_is_unsafe_allowed())


def _is_unsafe_allowed() -> bool:
    """Read the environment's word; one that is neither yes nor no is an error, not a yes."""
    word = os.environ.get(UNSAFE, "").strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    raise UserError(f"{UNSAFE} is {word!r}; wanted 1 to allow it, 0 or nothing not to")


def allow_unsafe() -> None:
    """Let this process and its children execute text where the sandbox is not whole."""
    os.environ[UNSAFE] = "1"


def isolation() -> str:
    """Return how programs are kept away from the rest of this machine.

    Raises:
      UserError: not well enough, and nobody has allowed that.
    """
    return execute("ans = 1", "program").isolation
