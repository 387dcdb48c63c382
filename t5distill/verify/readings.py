"""What a reader makes of one stretch of text."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class Reading:
    """The outcome of reading one stretch of text for one kind of answer.

    Attributes:
      status: `value`, `undecided` (a quantity or choice is there, but not one decided one) or
        `empty` (nothing there to read, or cut off before it).
      value: the answer, in the reader's own type.
      text: the answer in canonical form.
      equation: nobody stated it; it is the value of an expression, computed here.
      at_end: it reaches the end of the stretch, so that a cut there may have shortened it.
      why: one clause for a person, where there is no value.
    """

    status: str
    value: Any = None
    text: str | None = None
    equation: bool = False
    at_end: bool = False
    why: str = ""


def empty(why: str) -> Reading:
    """Return the reading of a stretch that holds no answer."""
    return Reading("empty", why=why)


def undecided(why: str) -> Reading:
    """Return the reading of a stretch that mentions answers without giving one."""
    return Reading("undecided", why=why)
