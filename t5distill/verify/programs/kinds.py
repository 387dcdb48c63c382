"""The kinds of jobs that run inside the sandbox: one line each.

Read on both sides of the wall, so it is data only: the parent learns which process to ask, the
supervisor which function to import before the file system disappears.
"""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """One kind of job.

    Attributes:
      module: the module that does it. It is imported inside with the packages above it empty
        (their `__init__` does not run), so it imports the standard library, sympy and sibling
        modules by their full name, nothing else.
      function: takes the job as it was sent (a dict) and returns `status`, `value` and `detail` as
        in `Outcome`.
      algebra: whether it always needs sympy, which lives in a process of its own.
    """

    module: str
    function: str
    algebra: bool


KINDS = {
    "program": Kind("t5distill.verify.programs.inside.executing", "run", algebra=False),
    "system": Kind("t5distill.verify.equations.nonlinear", "solve", algebra=True),
}
