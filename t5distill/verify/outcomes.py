"""What comes of running a program or solving a system of equations."""

from __future__ import annotations

import dataclasses

STATUSES = (
    "value",
    "several",
    "none",
    "inconsistent",
    "underdetermined",
    "error",
    "timeout",
    "memory",
    "rejected",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The end of one execution; there is a value only where the status is `value`.

    Attributes:
      status: one of `STATUSES`: `several` values fit, the text asks for `none`, the equations are
        `inconsistent` or `underdetermined`, it failed (`error`), ran out of `timeout` or `memory`,
        or was `rejected` before or while it ran, as malformed or forbidden.
      value: the value as text: an integer, a fraction `a/b` or a decimal where it is a number.
      detail: one sentence for a person.
      isolation: how the text was kept away from the rest of the machine while it was executed;
        empty where nothing was executed.
    """

    status: str
    value: str | None = None
    detail: str = ""
    isolation: str = ""

    def __post_init__(self):
        if self.status not in STATUSES:
            raise ValueError(f"status is {self.status!r}, wanted one of {', '.join(STATUSES)}")
