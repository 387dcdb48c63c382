"""Sub-questions and their solutions (Shridhar et al. 2022), by one student or by two.

A chain has GSM8K's Socratic form: a line `sub-question ** solution` for each step, and `#### N`.
From it come the examples of up to three roles:

    plan    question -> guidance: how many sub-questions, or the equations they will need
    ask     question, guidance -> the sub-questions
    solve   question, sub-questions -> their solutions and the answer

Unified, `ask` writes all sub-questions at once and `solve` all solutions; iterative, they take
turns, and each sees what came before. The last sub-question is marked as such, by `ask` or by the
guidance, so that its solution ends in the answer and nobody has to be asked whether there are more.
One student may learn every role, or two students share them: `ask` and `plan` are the first's,
`solve` is the second's.
"""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

from t5distill.errors import UserError, suggest
from t5distill.formats import answer
from t5distill.formats.conversation import Ask, Conversation
from t5distill.formats.cot import reasoning
from t5distill.formats.example import Example
from t5distill.records import Chain, Problem

GUIDANCE = ("none", "count", "equations")
ROLES = ("plan", "ask", "solve")
# A student that goes on asking is stopped here; the longest of GSM8K's decompositions has 11 steps.
# None of the 1,319 of its test split has a step twice; every sixth has a sub-question twice.
MAX_STEPS = 16
# A step is a sentence or two. What a student writes without end is not read to it again and again.
MAX_CHARACTERS = 2000

LAST = "Last:"
_SEPARATOR = "**"
_QUESTIONS, _NEXT = "Sub-questions:", "Next sub-question:"
_PLANS = {"count": "Number of sub-questions:", "equations": "Equations:"}

_FINAL = re.compile(r"^\s*####\s*(.*)$", re.MULTILINE)
_MARK = re.compile(r"(?:the\s+)?answer\s+is\b", re.IGNORECASE)
# What is calculated in a solution: "3 * 12" of "He makes 3 * 12 = 36 rolls".
_CALCULATED = re.compile(r"([-+*/()×÷%$ \d,.]{1,80})=")


class Step(NamedTuple):
    """A sub-question and its solution."""

    question: str
    solution: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Socratic:
    """One way to teach and to ask.

    Attributes:
      iterative: step by step, or all sub-questions at once.
      guidance: of `GUIDANCE`: what is predicted of the sub-questions before them.
      roles: of `ROLES`, those that are learnt; inference takes them all, of one student or two.
    """

    iterative: bool = False
    guidance: str = "none"
    roles: tuple[str, ...] = ROLES

    def __post_init__(self):
        if self.guidance not in GUIDANCE:
            raise UserError(f"guidance is {self.guidance!r}; {suggest(self.guidance, GUIDANCE)}")

    def inputs(self, problem: Problem) -> str:
        """Return what the student reads in the first turn."""
        asked = answer.question(problem)
        if self.guidance != "none":
            return f"{asked}\n{_PLANS[self.guidance]}"
        return f"{asked}\n{_NEXT if self.iterative else _QUESTIONS}"

    def targets(self, problem: Problem, chain: Chain | None = None) -> str:
        """Return all that the student writes over the turns, as one text."""
        if chain is None:
            return answer.sentence(problem)
        return "\n".join((*map(_line, parse(chain.text)), answer.sentence(problem)))

    def examples(self, problem: Problem, chain: Chain | None = None) -> list[Example]:
        """Return what is learnt from a chain; without one, the answer alone."""
        steps = parse(chain.text) if chain is not None else []
        by_role = {"plan": self._plan(problem, steps)}
        make = self._taking_turns if self.iterative else self._at_once
        by_role |= make(problem, steps)
        return [example for role in self.roles for example in by_role[role]]

    def _plan(self, problem: Problem, steps: list[Step]) -> list[Example]:
        if self.guidance == "none" or not steps:
            return []
        asked = answer.question(problem)
        plan = plan_of(steps, self.guidance)
        written = str(len(plan)) if self.guidance == "count" else "\n".join(plan)
        return [Example(f"{asked}\n{_PLANS[self.guidance]}", written)]

    def _at_once(self, problem: Problem, steps: list[Step]) -> dict[str, list[Example]]:
        asked = answer.question(problem)
        questions = [step.question for step in steps]
        solved = "\n".join((*(step.solution for step in steps), answer.sentence(problem)))
        solve = [Example(_to_solve(asked, questions), solved)]
        plan = plan_of(steps, self.guidance)
        ask = [Example(self._to_ask(asked, plan), "\n".join(questions))] if steps else []
        return {"ask": ask, "solve": solve}

    def _taking_turns(self, problem: Problem, steps: list[Step]) -> dict[str, list[Example]]:
        asked, concluded = answer.question(problem), answer.sentence(problem)
        if not steps:
            return {"ask": [], "solve": [Example(_to_conclude(asked, []), concluded)]}
        plan = plan_of(steps, self.guidance)
        ask, solve = [], []
        for i, (question, solution) in enumerate(steps):
            last = i == len(steps) - 1
            # Guidance says it beforehand.
            named = f"{LAST} {question}" if last and not plan else question
            ask.append(Example(self._to_go_on(asked, steps[:i], plan), named))
            solved = f"{solution}\n{concluded}" if last else solution
            solve.append(Example(_to_solve_next(asked, steps[:i], question, last), solved))
        return {"ask": ask, "solve": solve}

    def converse(self, problem: Problem) -> Conversation:
        """Ask for guidance, sub-questions and solutions; return the whole chain."""
        asked = answer.question(problem)
        plan = []
        if self.guidance != "none":
            written = yield Ask(f"{asked}\n{_PLANS[self.guidance]}", first=True)
            plan = _read_plan(written.text, self.guidance)
        if self.iterative:
            return (yield from self._take_turns(asked, plan))
        written = yield Ask(self._to_ask(asked, plan), first=True)
        questions = [_one_line(line) for line in _lines(written.text)[:MAX_STEPS]]
        solved = yield Ask(_to_solve(asked, questions))
        return _together(questions, solved.text)

    def _take_turns(self, asked: str, plan: list[str]) -> Conversation:
        """Ask for sub-questions and solutions in turn until the student comes to its end.

        A turn without an end is not gone on from, as a solution without an end is not elsewhere. A
        step that is there already would be followed by the same for ever.
        """
        steps: list[Step] = []
        while True:
            written = yield Ask(self._to_go_on(asked, steps, plan), first=True)
            question = _one_line(written.text)
            if not written.finished:
                return "\n".join((*map(_line, steps), question))
            last = question.startswith(LAST) or len(steps) + 1 == (len(plan) or MAX_STEPS)
            question = question.removeprefix(LAST).strip()
            if not question:
                break
            solution = yield Ask(_to_solve_next(asked, steps, question, last))
            if last or not solution.finished:
                return "\n".join((*map(_line, steps), _line(Step(question, solution.text))))
            step = Step(question, _one_line(solution.text))
            if step in steps:
                break
            steps.append(step)
        # Nothing more to solve: the student has to come to its end.
        concluded = yield Ask(_to_conclude(asked, steps))
        return "\n".join((*map(_line, steps), concluded.text))

    def _to_ask(self, asked: str, plan: list[str]) -> str:
        guided = [f"{_PLANS[self.guidance]} {self._spoken(plan)}"] if plan else []
        return "\n".join((asked, *guided, _QUESTIONS))

    def _to_go_on(self, asked: str, steps: list[Step], plan: list[str]) -> str:
        """Ask for the next sub-question, with the guidance for that one."""
        next_one = f"{_NEXT} {plan[len(steps)]}" if len(steps) < len(plan) else _NEXT
        return "\n".join((asked, *map(_line, steps), next_one))

    def _spoken(self, plan: list[str]) -> str:
        return str(len(plan)) if self.guidance == "count" else "; ".join(plan)


def plan_of(steps: list[Step], guidance: str) -> list[str]:
    """Return the guidance for each step: "2 of 3", or the equation that its solution needs."""
    if guidance == "count":
        return [f"{i} of {len(steps)}" for i in range(1, len(steps) + 1)]
    if guidance == "equations":
        return [_calculated(step.solution) for step in steps]
    return []


def _calculated(solution: str) -> str:
    """Return the calculations of a solution; a step without one is "-"."""
    found = (match[1].strip(" $") for match in _CALCULATED.finditer(solution))
    return ", ".join(text for text in found if re.search(r"\d", text)) or "-"


def _read_plan(written: str, guidance: str) -> list[str]:
    """Return the guidance for each step as a student wrote it."""
    lines = _lines(written)[:MAX_STEPS]
    if guidance == "count":
        numbered = re.findall(r"\d+", lines[-1]) if lines else []
        count = min(int(numbered[-1][:9]), MAX_STEPS) if numbered else 0
        return [f"{i} of {count}" for i in range(1, count + 1)]
    return [_one_line(line) for line in lines]


def parse(text: str) -> list[Step]:
    """Return the steps of a chain.

    Lines without `**`, or with nothing before it, belong to the solution before them; a question
    without a solution is left out.
    """
    steps: list[Step] = []
    for line in _lines(_FINAL.sub("", reasoning(text))):
        # With spaces where there are any: "How many is 2**3? ** 8", "**How many?** ** 8".
        spaced = f" {_SEPARATOR} " if f" {_SEPARATOR} " in line else _SEPARATOR
        question, separator, solution = line.partition(spaced)
        if not separator:
            question, solution = "", line
        question, solution = (" ".join(part.split()).strip("* ") for part in (question, solution))
        if separator and question:
            steps.append(Step(question, solution))
        elif steps and not _MARK.match(line):
            steps[-1] = steps[-1]._replace(solution=f"{steps[-1].solution} {solution}".strip())
    return [step for step in steps if step.solution]


def _one_line(text: str) -> str:
    return " ".join(text[:MAX_CHARACTERS].split())


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.split("\n") if line.strip()]


def _line(step: Step) -> str:
    return f"{step.question} {_SEPARATOR} {step.solution}"


def _to_solve(asked: str, questions: list[str]) -> str:
    return "\n".join((asked, _QUESTIONS, *questions, "A:"))


def _to_solve_next(asked: str, steps: list[Step], question: str, last: bool) -> str:
    marked = f"{LAST} {question}" if last else question
    return "\n".join((asked, *map(_line, steps), f"{marked} {_SEPARATOR}"))


def _to_conclude(asked: str, steps: list[Step]) -> str:
    return "\n".join((asked, *map(_line, steps), "A:"))


def _together(questions: list[str], solved: str) -> str:
    """Put each sub-question before its solution; what is left over stays as it was written."""
    solutions = _lines(solved)
    count = min(len(questions), len(solutions))
    paired = (_line(Step(q, s)) for q, s in zip(questions, solutions[:count], strict=False))
    return "\n".join((*paired, *solutions[count:]))


def named(name: str) -> Socratic | None:
    """Return the way that a style's name stands for, or None where it is no Socratic one.

    A name is `socratic`, then `_iterative`, then `_count` or `_equations` for guidance, then
    `_ask` or `_solve` where a student learns its share of the roles only.
    """
    found = _NAME.fullmatch(name)
    if not found:
        return None
    roles = {"ask": ("plan", "ask"), "solve": ("solve",)}.get(found["role"] or "", ROLES)
    guidance = found["guidance"] or "none"
    return Socratic(iterative=bool(found["iterative"]), guidance=guidance, roles=roles)


_NAME = re.compile(
    r"socratic(?P<iterative>_iterative)?(?:_(?P<guidance>count|equations))?(?:_(?P<role>ask|solve))?"
)
NAMES = tuple(
    f"socratic{iterative}{guidance}{role}"
    for iterative in ("", "_iterative")
    for guidance in ("", "_count", "_equations")
    for role in ("", "_ask", "_solve")
)
