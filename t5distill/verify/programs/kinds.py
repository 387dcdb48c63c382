"""The kinds of jobs that run inside the sandbox, and how much a supervisor has loaded for them."""

from __future__ import annotations

import re
from typing import NamedTuple

# What a supervisor has loaded: what it weighs, every fork of it weighs. Each has what those before
# it have.
BARE, ARITHMETIC, ALGEBRA = SIZES = ("bare", "arithmetic", "algebra")

_SYMPY = re.compile(r"\b(?:sympy|mpmath)\b")
_MATH = re.compile(r"^[ \t]*(?:import[ \t]+math|from[ \t]+math[ \t]+import\b.*)[ \t]*$", re.M)
# Whatever could import, by its name or in a roundabout way, or stands in a wrapping.
_MORE = re.compile(r"import|__|\beval\b|\bexec\b|\bcompile\b|attr\b|```|~~~|\A\n*[ \t]")


class Kind(NamedTuple):
    """One kind of job.

    Attributes:
      module: the module that does it. It is imported inside with the packages above it empty
        (their `__init__` does not run), so it imports the standard library, sympy and sibling
        modules by their full name, nothing else.
      function: takes the job as it was sent (a dict) and returns `status`, `value` and `detail` as
        in `Outcome`.
      size: the least that it needs.
    """

    module: str
    function: str
    size: str


KINDS = {
    "program": Kind("t5distill.verify.programs.inside.executing", "run", size=BARE),
    "system": Kind("t5distill.verify.equations.nonlinear", "solve", size=ALGEBRA),
}


def size_of(source: str) -> str:
    """Guess the size that a program needs.

    A program that turns out to need more than the least ends there, and is run once more.
    """
    if _SYMPY.search(source):
        return ALGEBRA
    return ARITHMETIC if _MORE.search(_MATH.sub("", source)) else BARE
