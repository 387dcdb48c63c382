"""Templates of the embedded word problems: a story, its numbers and its program.

The templates are data (`embedded_templates.tsv`); this module reads them and works a template out
for given numbers. What a template carries is enough to derive every style of rationale: the
program (steps over named variables), a sub-question and a statement for every step.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import random
import re

GROUPS = ("in_domain", "held_out")

# The limits keep the arithmetic learnable by a tiny student: the tables up to 12 x 9, sums and
# differences of numbers below 100.
TABLE_LARGE, TABLE_SMALL = 12, 9
SUM_LIMIT = 100
VALUE_LIMIT = 200

_STEP = re.compile(r"(\w+) = (\w+) ([+\-*/]) (\w+)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a template's program: `name = left op right`.

    Attributes:
      name: the variable that the step defines.
      op: one of `+ - * /`.
      left: the name of a number of the question or of an earlier step.
      right: likewise.
      unit: what the value counts.
      question: the sub-question that the step answers.
      statement: the sentence of the chain; `{eq}` stands for the equation.
    """

    name: str
    op: str
    left: str
    right: str
    unit: str
    question: str
    statement: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Template:
    """A story with its numbers and its program.

    Attributes:
      id: the name in the key of a problem.
      group: `in_domain` or `held_out`.
      ranges: lowest and highest value of each number, by name, in the order of the key.
      checks: pairs of numbers of which the first must be the smaller one.
      wordings: ways to tell the story.
      steps: the program.
    """

    id: str
    group: str
    ranges: dict[str, tuple[int, int]]
    checks: tuple[tuple[str, str], ...]
    wordings: tuple[str, ...]
    steps: tuple[Step, ...]

    def structure(self) -> tuple[tuple[str, str, str], ...]:
        """Return the program's shape: each step's operation and where its operands come from."""
        index = {step.name: f"step {i}" for i, step in enumerate(self.steps)}
        return tuple(
            (step.op, index.get(step.left, "number"), index.get(step.right, "number"))
            for step in self.steps
        )

    def draw(self, rng: random.Random) -> tuple[int, ...]:
        """Draw one number from each range; most draws do not `work`."""
        return tuple(rng.randint(low, high) for low, high in self.ranges.values())

    def work(self, numbers: tuple[int, ...]) -> tuple[int, ...] | None:
        """Return the value of every step, or None where a value breaks a limit.

        Values below 2 are refused as well: "1 pens" is not English, and an operand of 0 or 1 makes
        a step that can be skipped. So is a final value that stands in the question or was an
        intermediate value, since it could be copied instead of computed.
        """
        known = dict(zip(self.ranges, numbers, strict=True))
        if any(known[small] >= known[large] for small, large in self.checks):
            return None
        values = []
        for step in self.steps:
            value = apply(step.op, known[step.left], known[step.right])
            if value is None:
                return None
            known[step.name] = value
            values.append(value)
        if values[-1] in numbers or values[-1] in values[:-1]:
            return None
        return tuple(values)


def apply(op: str, left: int, right: int) -> int | None:
    """Work out one operation within the limits of this benchmark; None where it breaks them."""
    if op == "*":
        value = left * right
        fits = _in_table(left, right)
    elif op == "/":
        value, rest = divmod(left, right) if right else (0, 1)
        fits = rest == 0 and _in_table(value, right)
    else:
        value = left + right if op == "+" else left - right
        fits = max(left, right) < SUM_LIMIT
    return value if fits and 2 <= value <= VALUE_LIMIT else None


def _in_table(left: int, right: int) -> bool:
    small, large = sorted((left, right))
    return small <= TABLE_SMALL and large <= TABLE_LARGE


@functools.cache
def load(group: str) -> tuple[Template, ...]:
    """Return the templates of a group, in the order of the file."""
    text = (importlib.resources.files("t5distill.problems") / "embedded_templates.tsv").read_text(
        "utf-8"
    )
    return tuple(t for t in map(_template, _blocks(text)) if t.group == group)


def _blocks(text: str) -> list[list[str]]:
    """Split the file into one list of lines per template, the "# GROUP ID" line first."""
    blocks: list[list[str]] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#" and words[1] in GROUPS:
            blocks.append([line])
        elif words and not line.startswith("#"):
            blocks[-1].append(line)
    return blocks


def _template(lines: list[str]) -> Template:
    """Build a template from its lines."""
    _, group, name = lines[0].split()
    rows = [line.split("\t") for line in lines[1:]]
    [numbers] = [row[1:] for row in rows if row[0] == "numbers"]
    ranges = {}
    for field in numbers:
        number, span = field.split()
        low, high = span.split("-")
        ranges[number] = (int(low), int(high))
    checks = [row[1].split(" < ") for row in rows if row[0] == "check"]
    return Template(
        id=name,
        group=group,
        ranges=ranges,
        checks=tuple((small, large) for small, large in checks),
        wordings=tuple(row[1] for row in rows if row[0] == "wording"),
        steps=tuple(_step(*row[1:]) for row in rows if row[0] == "step"),
    )


def _step(equation: str, unit: str, question: str, statement: str) -> Step:
    match = _STEP.fullmatch(equation)
    if match is None:
        raise ValueError(f"{equation!r} is no step; wanted `name = left op right`")
    name, left, op, right = match.groups()
    return Step(
        name=name,
        op=op,
        left=left,
        right=right,
        unit=unit,
        question=question,
        statement=statement,
    )
