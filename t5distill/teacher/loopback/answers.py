"""What the loopback teacher writes: a problem's program in one of the styles of rationale."""

from __future__ import annotations

import dataclasses
import math
import random
import re
from collections.abc import Sequence
from typing import Any

from t5distill.errors import UserError
from t5distill.problems import embedded, embedded_chains
from t5distill.records import Problem

UNKNOWN = "I do not know this problem, so I cannot work it out."

# An instruction is recognised by the first row that has a word in it; without any the style is
# `cot`. `program` and `socratic` stand before `equation`, because both are asked for in words that
# mention equations.
STYLE_MARKERS = (
    ("program", ("program", "python", "def solution")),
    ("socratic", ("sub-question", "subquestion", "socratic")),
    ("key_points", ("key point", "core question")),
    ("equation", ("equation",)),
    ("answer", ("only the answer", "answer only", "just the answer", "only the final answer")),
)

# A program that runs cannot be wrong in its arithmetic, only in what it works out.
MISREAD_STYLES = ("program", "equation")

# The end of a prompt that wants the answer of a rationale which stands before it.
_LEAD = re.compile(r"\btherefore,[^\n]*\banswer\b[^\n]*\bis\s*\Z", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")

# A chain of ten steps has as many Socratic wordings; the embedded problems have four steps at most.
_MOST_WORDINGS = 1024

MALFORMED = ("cut", "unmarked", "run_on", "leaked")


def wanted_style(prompt: str) -> str:
    """Return the style that the words of a prompt ask for, see `STYLE_MARKERS`."""
    prompt = prompt.lower()
    for style, markers in STYLE_MARKERS:
        if any(marker in prompt for marker in markers):
            return style
    return "cot"


def read_off(prompt: str) -> str | None:
    """Return the answer of the rationale that a prompt ends in, or None where it wants a text.

    A prompt of this sort ends in words like "Therefore, the answer is" (Kojima et al. 2022); the
    last number before them is the rationale's result.
    """
    lead = _LEAD.search(prompt)
    numbers = _NUMBER.findall(prompt[: lead.start()]) if lead else []
    return f"{numbers[-1]}." if numbers else None


class _Path:
    """Takes given choices in turn, and the first of all later ones.

    Attributes:
      taken: which element was taken, of each choice so far.
      sizes: of how many.
    """

    def __init__(self, given: Sequence[int]):
        self._given = given
        self.taken: list[int] = []
        self.sizes: list[int] = []

    def choice(self, seq: Sequence[Any], /) -> Any:
        at = len(self.taken)
        self.taken.append(self._given[at] if at < len(self._given) else 0)
        self.sizes.append(len(seq))
        return seq[self.taken[-1]]

    def following(self) -> list[int] | None:
        """Return the choices of the next path in order, or None after the last one."""
        for at in reversed(range(len(self.taken))):
            if self.taken[at] + 1 < self.sizes[at]:
                return [*self.taken[:at], self.taken[at] + 1]
        return None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes answers, a share of them wrong or malformed.

    Attributes:
      seed: of which answers go wrong, and how.
      wrong_rate: the expected share of answers with a wrong step that is carried forward.
      malformed_rate: the expected share of those cut in mid-sentence, without an answer mark,
        running on into a question of their own, or leaking that the answer was given.
    """

    seed: int = 0
    wrong_rate: float = 0.0
    malformed_rate: float = 0.0

    def __post_init__(self):
        for name in ("wrong_rate", "malformed_rate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"{name} is {getattr(self, name)}, wanted a share in [0, 1]")

    def rng(self, problem: Problem | None, style: str, draw: str) -> random.Random:
        """Return the generator of one answer; equal arguments give equal answers."""
        question = problem.question if problem else ""
        return random.Random(f"{self.seed}\n{style}\n{draw}\n{question}")

    def text(self, problem: Problem | None, style: str, draw: str = "") -> str:
        """Return the answer to a problem, or `UNKNOWN`.

        Args:
          problem: with its program, or None where the question is not known.
          style: one of `records.STYLES`.
          draw: names the sample; empty for greedy decoding, which words everything plainly.
        """
        if problem is None:
            return UNKNOWN
        rng = self.rng(problem, style, draw)
        wrong = rng.random() < self.wrong_rate
        malformed = rng.choice(MALFORMED) if rng.random() < self.malformed_rate else None
        wording = rng if draw else None
        if wrong:
            make = embedded.misread if style in MISREAD_STYLES else embedded.corrupted
            problem = make(problem, rng)
        body, mark = embedded_chains.WRITE[style](problem, wording)
        return _malform(problem, style, body, mark, malformed, rng) if malformed else body + mark

    def wordings(self, problem: Problem | None, style: str) -> list[tuple[str, float]]:
        """Return all right and well-formed answers, each with its probability among them.

        The plain wording comes first. Where there are more than 1024, the list is empty.
        """
        if problem is None:
            return [(UNKNOWN, 1.0)]
        found: list[tuple[str, float]] = []
        given: list[int] | None = []
        while given is not None:
            if len(found) == _MOST_WORDINGS:
                return []
            path = _Path(given)
            found.append(
                ("".join(embedded_chains.WRITE[style](problem, path)), 1.0 / math.prod(path.sizes))
            )
            given = path.following()
        return found


def _malform(
    problem: Problem, style: str, body: str, mark: str, how: str, rng: random.Random
) -> str:
    """Return an answer with one of the defects of real teachers."""
    text = body + mark
    if how == "cut":
        # Not after a sentence or a line, where what is left would look whole.
        return text[: rng.randint(len(text) // 4, 3 * len(text) // 4)].rstrip(" .\n") or text[:3]
    if how == "unmarked":
        return body or problem.answer
    if how == "run_on":
        made, more = rng.randint(2, 40), rng.randint(2, 40)
        return (
            f"{text}\n\nQ: Somebody has {made} stones and finds {more} more. How many stones are "
            f"there?\nA: There are {made} + {more} = {made + more} stones. "
            f"The answer is {made + more}."
        )
    leak = f"As the answer is given, it must be {problem.answer}."
    return f"# {leak}\n{text}" if style in ("program", "equation") else f"{leak} {text}"
