"""What comes out of a supervisor, read by those outside: nothing in it is trusted to be of a form.

A reply is three lines (the number of the job, a status, a detail) and after them what the job
says of itself, which counts where the supervisor knows nothing against it: the status and its
value, or where there is none a detail, each with a NUL at its end.
"""

from __future__ import annotations

from typing import NamedTuple

from t5distill.verify.outcomes import STATUSES, Outcome
from t5distill.verify.programs.inside.messages import ELSEWHERE, SAID
from t5distill.verify.programs.inside.rendering import VALUE_CHARS
from t5distill.verify.programs.limits import Limits

_KNOWN = {"timeout", "memory", "rejected", "error"}  # to the supervisor
_CLAIMS = set(STATUSES) - {"timeout"}


class Reply(NamedTuple):
    """What came of a job, and whether a larger supervisor may make more of it."""

    number: int
    outcome: Outcome
    elsewhere: bool = False


def read(message: bytes, limits: Limits) -> Reply | None:
    """Return what a message says, None where it is no reply."""
    head, *rest = message.split(b"\n", 3)
    try:
        number = int(head)
        status, detail = (part.decode() for part in rest[:2])
    except ValueError:
        return None
    if len(rest) != 3:
        return None
    if status == ELSEWHERE:
        return Reply(number, Outcome(status="error", detail=detail), elsewhere=True)
    if status == SAID:
        return Reply(number, _claimed(rest[2], limits))
    return Reply(number, _outcome(status, detail, limits)) if status in _KNOWN else None


def _claimed(said: bytes, limits: Limits) -> Outcome:
    """Return what a job says, an error where that is not one answer."""
    try:
        status, text, end = said.decode().split("\0")
    except ValueError:
        status, text, end = "", "", ""
    fits = 0 < len(text) <= VALUE_CHARS if status == "value" else True
    if status not in _CLAIMS or end or not fits:
        return Outcome(status="error", detail="its answer is not in the form of one")
    return _outcome(status, text, limits)


def _outcome(status: str, text: str, limits: Limits) -> Outcome:
    if status == "memory":
        text = f"needed more than {limits.memory_mb} MB of memory"
    if status == "value":
        return Outcome(status=status, value=text)
    return Outcome(status=status, detail=text)
