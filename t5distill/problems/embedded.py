"""Embedded word problems: templated multi-step arithmetic that needs no download.

Each problem knows its program (`meta`), so that every style of rationale can be derived from it.
The key of a problem is its template and its numbers: no key occurs twice, within a split or in two
splits. Held-out templates have other stories and other step structures than the in-domain ones.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Set
from typing import Any

from t5distill.errors import UserError
from t5distill.problems import embedded_chains, templates, words
from t5distill.records import Problem

BENCHMARK = "embedded"
HELD_OUT_BENCHMARK = "embedded_held_out"

Key = tuple[str, tuple[int, ...]]

# Draws for one problem before its template counts as exhausted.
_DRAWS = 5000

_NOUNS = ("things", "fruits", "snacks")


def key(problem: Problem) -> Key:
    """Return the template and numbers that make an embedded problem what it is."""
    return problem.meta["template"], tuple(problem.meta["numbers"])


def generate(
    *,
    count: int,
    seed: int,
    split: str,
    templates: str = "in_domain",
    exclude: Set[Key] = frozenset(),
) -> list[Problem]:
    """Generate problems, about equally many from each template.

    Args:
      count: how many problems.
      seed: the same seed and arguments give the same problems.
      split: `train`, `validation` or `test`; part of the ids and of the seed.
      templates: `in_domain` (benchmark `embedded`) or `held_out` (`embedded_held_out`).
      exclude: keys that must not occur, see `key`.

    Raises:
      UserError: the templates do not hold that many distinct problems.
    """
    benchmark = BENCHMARK if templates == "in_domain" else HELD_OUT_BENCHMARK
    rng = random.Random(f"{benchmark} {split} {seed}")
    pool = list(_load(templates))
    seen = set(exclude)
    problems: list[Problem] = []
    while len(problems) < count:
        if not pool:
            raise UserError(
                f"{benchmark} has no more than {len(problems)} further problems for {split}, "
                f"wanted {count}; ask for fewer"
            )
        # One round of all templates in random order keeps their shares equal.
        for template in rng.sample(pool, len(pool)):
            if len(problems) == count:
                break
            drawn = _draw_new(template, rng, seen)
            if drawn is None:
                pool.remove(template)
                continue
            numbers, values = drawn
            seen.add((template.id, numbers))
            identity = f"{benchmark}-{split}-{len(problems):05d}"
            problems.append(
                _problem(template, numbers, values, rng, identity, benchmark=benchmark, split=split)
            )
    return problems


def splits(
    seed: int, *, train: int, validation: int, test: int, held_out: int
) -> dict[str, list[Problem]]:
    """Generate `train`, `validation`, `test` and `held_out` with no key in common.

    Test and validation come first, so that they stay the same whatever the size of train.
    """
    made: dict[str, list[Problem]] = {}
    taken: set[Key] = set()
    for split, count in (("test", test), ("validation", validation), ("train", train)):
        made[split] = generate(count=count, seed=seed, split=split, exclude=taken)
        taken.update(map(key, made[split]))
    made["held_out"] = generate(count=held_out, seed=seed, split="test", templates="held_out")
    return {name: made[name] for name in ("train", "validation", "test", "held_out")}


def corrupted(problem: Problem, rng: random.Random) -> Problem:
    """Return the problem with one step worked out wrongly and its result carried forward.

    Every other step is worked out correctly from the wrong value, in whole numbers that are not
    negative, and the final value, which becomes the answer, is wrong.
    """
    steps = problem.meta["steps"]
    for index in rng.sample(range(len(steps)), len(steps)):
        for wrong in _wrong_values(steps[index], rng):
            values = _carry(steps, index, wrong)
            if values is not None and values[-1] != steps[-1]["value"]:
                return _retold(problem, steps, values)
    raise AssertionError("a wrong last step always gives a wrong chain")


def misread(problem: Problem, rng: random.Random) -> Problem:
    """Return the problem with another operation or number in one step of its program.

    Where `corrupted` errs in arithmetic, every step here is worked out correctly, and what it
    works out is wrong: the error of a program or an equation. The answer is the wrong final value.
    """
    steps = problem.meta["steps"]
    for index in rng.sample(range(len(steps)), len(steps)):
        for step in _misreadings(steps[index], rng):
            other = [*steps[:index], step, *steps[index + 1 :]]
            values = _carry(other)
            if values is not None and values[-1] != steps[-1]["value"]:
                return _retold(problem, other, values)
    raise AssertionError("a last step with another operation always gives another value")


def _load(group: str) -> tuple[templates.Template, ...]:
    if group not in templates.GROUPS:
        raise UserError(f"templates are {group!r}, wanted one of {', '.join(templates.GROUPS)}")
    return templates.load(group)


def _draw_new(
    template: templates.Template, rng: random.Random, seen: Set[Key]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Return numbers with a new key and their step values, or None where none is found."""
    for _ in range(_DRAWS):
        numbers = template.draw(rng)
        values = template.work(numbers)
        if values is not None and (template.id, numbers) not in seen:
            return numbers, values
    return None


def _problem(
    template: templates.Template,
    numbers: tuple[int, ...],
    values: tuple[int, ...],
    rng: random.Random,
    identity: str,
    *,
    benchmark: str,
    split: str,
) -> Problem:
    """Tell a template's story with the given numbers."""
    name, friend = rng.sample(words.load("short"), 2)
    fill: dict[str, Any] = {noun: rng.choice(words.load(noun)) for noun in _NOUNS}
    fill |= {"name": name, "friend": friend}
    known: dict[str, int] = dict(zip(template.ranges, numbers, strict=True))
    question = rng.choice(template.wordings).format(**fill, **known)
    made = {step.name for step in template.steps}
    steps = []
    for step, value in zip(template.steps, values, strict=True):
        left, right = known[step.left], known[step.right]
        known[step.name] = value
        steps.append(
            {
                "name": step.name,
                "op": step.op,
                "left": step.left if step.left in made else left,
                "right": step.right if step.right in made else right,
                "value": value,
                "unit": step.unit.format(**fill),
                "question": step.question.format(**fill),
                "statement": step.statement.format(
                    **fill, eq=_equation(step.op, left, right, value)
                ),
            }
        )
    problem = Problem(
        id=identity,
        question=question[0].upper() + question[1:],
        answer=str(values[-1]),
        kind="numeric",
        benchmark=benchmark,
        split=split,
        solution=" ".join(step["statement"] for step in steps),
        meta={"template": template.id, "numbers": list(numbers), "steps": steps},
    )
    problem.meta["chains"] = embedded_chains.gold(problem)
    return problem


def _equation(op: str, left: int, right: int, value: int) -> str:
    return f"{left} {op} {right} = {value}"


def _operands(step: dict[str, Any], known: dict[str, int]) -> tuple[int, int]:
    """Return a step's operands: numbers as they are, variables by their value."""
    left, right = (known[x] if isinstance(x, str) else x for x in (step["left"], step["right"]))
    return left, right


def _wrong_values(step: dict[str, Any], rng: random.Random) -> Iterable[int]:
    """Return wrong results of a step, near ones and far ones in random order."""
    near = range(max(1, step["value"] - 24), step["value"] + 25)
    return rng.sample([v for v in near if v != step["value"]], len(near) - 1)


def _misreadings(step: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    """Return versions of a step with another operation or another number, in random order."""
    others: list[dict[str, Any]] = [{**step, "op": op} for op in "+-*" if op != step["op"]]
    for side in ("left", "right"):
        if isinstance(step[side], int):
            others += [{**step, side: max(1, step[side] + by)} for by in (-10, -2, -1, 1, 2, 10)]
    return rng.sample(others, len(others))


def _carry(
    steps: list[dict[str, Any]], index: int | None = None, wrong: int = 0
) -> list[int] | None:
    """Return all values, `wrong` for step `index`; None where one is no whole number >= 0."""
    known: dict[str, int] = {}
    values = []
    for i, step in enumerate(steps):
        left, right = _operands(step, known)
        if i == index:
            value = wrong
        elif step["op"] == "/":
            if right == 0 or left % right:
                return None
            value = left // right
        else:
            value = {"+": left + right, "-": left - right, "*": left * right}[step["op"]]
        if value < 0:
            return None
        known[step["name"]] = value
        values.append(value)
    return values


def _retold(problem: Problem, steps: list[dict[str, Any]], values: list[int]) -> Problem:
    """Return the problem with other steps and values, its statements restated to match."""
    right: dict[str, int] = {}
    given: dict[str, int] = {}
    said = []
    for before, step, value in zip(problem.meta["steps"], steps, values, strict=True):
        old = _equation(before["op"], *_operands(before, right), before["value"])
        new = _equation(step["op"], *_operands(step, given), value)
        said.append({**step, "value": value, "statement": step["statement"].replace(old, new)})
        right[step["name"]], given[step["name"]] = before["value"], value
    return dataclasses.replace(
        problem,
        answer=str(values[-1]),
        solution=" ".join(step["statement"] for step in said),
        meta={**problem.meta, "steps": said},
    )
