"""From the equations of a text to the value of the unknown that it asks for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from t5distill.verify.equations.grammar import EquationProblem, Tree
from t5distill.verify.equations.linear import Linear
from t5distill.verify.equations.polynomials import (
    ONE,
    NotPolynomial,
    NoValue,
    Polynomial,
    Work,
    constant,
    degree,
    difference,
    evaluate,
)
from t5distill.verify.equations.reading import System, read
from t5distill.verify.equations.rounding import is_rounded
from t5distill.verify.outcomes import Outcome
from t5distill.verify.programs.running import run_job
from t5distill.verify.quantities import canonical

# How close two numbers are of which one may be the other, rounded.
_NEAR = Fraction(1, 50)
_MAY_BE_ROUNDED = "a rounded result is no exact one"
# Operations on short coefficients, about a second of them.
MAX_WORK = 400_000


def solve_equations(text: str, *, allow_unsafe: bool = False) -> Outcome:
    """Solve the system of equations in a text for the unknown that it asks for.

    The text is never evaluated. Linear systems, and those that become linear once known values are
    put in, are solved here, exactly; only what stays non-linear goes to the sandbox.

    Args:
      text: equations, with or without prose around them; see the package for what is read how.
      allow_unsafe: solve non-linear systems even where the sandbox lacks namespaces or seccomp.

    Returns:
      the value as an integer or a fraction `a/b` (irrational values as decimals), or why there is
      none.

    Raises:
      UserError: the system is not linear, and the sandbox lacks namespaces or seccomp.
    """
    try:
        system = read(text)
        if not system.equations:
            return Outcome(status="none", detail="the text holds no equation")
        if system.asked is None:
            return Outcome(status="none", detail="the equations do not say which unknown is asked")
        return _solve(system, system.asked, allow_unsafe=allow_unsafe)
    except EquationProblem as problem:
        return Outcome(status="rejected", detail=str(problem))
    except NoValue as problem:
        return Outcome(status="inconsistent", detail=str(problem))


def _solve(system: System, asked: str, *, allow_unsafe: bool) -> Outcome:
    work = Work(MAX_WORK)
    linear = Linear(work)
    pending, divisors = _eliminate(_pairs(system.equations), linear, work)
    if not linear.consistent and any(system.places):
        linear, pending, divisors = _with_rounded_results(system, work)
    if not linear.consistent:
        return Outcome(status="inconsistent", detail=_contradiction(system, linear, work))
    divisors = [evaluate(_tree(d), linear.solved, work)[0] for d in divisors]
    if not all(divisors):
        return Outcome(status="inconsistent", detail="a division by zero")
    wanted = linear.substitute({(asked,): ONE})
    value = constant(wanted)
    if not pending and value is not None:
        return Outcome(status="value", value=canonical(value, as_decimal=False))
    bound = {n for pair in pending for tree in pair for n in _free(tree, linear)}
    if value is None and not bound & {m[0] for m in wanted if m}:
        return Outcome(status="underdetermined", detail=f"nothing determines {asked!r}")
    sums = [("+", [left, ("negative", right)]) for left, right in pending]
    request = {
        "kind": "system",
        "equations": [_message(tree, linear.solved) for tree in sums],
        "nonzero": [_message(_tree(d), {}) for d in divisors if constant(d) is None],
        "asked": _message(_tree(wanted), {}),
    }
    outcome = _in_sandbox(request, allow_unsafe=allow_unsafe)
    if outcome.status == "inconsistent" and any(system.places):
        return dataclasses.replace(outcome, detail=f"{outcome.detail}; {_MAY_BE_ROUNDED}")
    return outcome


def _pairs(equations: Iterable[list[Tree]]) -> list[tuple[Tree, Tree]]:
    return [(sides[0], side) for sides in equations for side in sides[1:]]


def _with_rounded_results(
    system: System, work: Work
) -> tuple[Linear, list[tuple[Tree, Tree]], list[Polynomial]]:
    """Solve a system in which the last member of a chain may be the one before it, rounded.

    In `x = 10/3 = 3.33` the exact value counts, and 3.33 only has to be that, rounded.

    Returns:
      the system without such members, and what `_eliminate` returns. Not consistent where one of
      them is no rounded value.
    """
    ends = {i for i, count in enumerate(system.places) if count}
    while True:
        linear = Linear(work)
        kept = [s[:-1] if i in ends else s for i, s in enumerate(system.equations)]
        pending, divisors = _eliminate(_pairs(kept), linear, work)
        if not linear.consistent:
            return linear, pending, divisors
        # What only its end gives a value is an equation, as in `a = b = 2.5`, and first of all
        # where a name stands before it: what is rounded is the result of an expression.
        values = {i: _value(system.equations[i][-2], linear, work) for i in ends}
        free = {i for i, value in values.items() if value is None}
        if not free:
            break
        ends -= {i for i in free if system.equations[i][-2][0] == "name"} or free
    for i in ends:
        exact, written = values[i], _value(system.equations[i][-1], linear, work)
        if (
            exact is None
            or written is None
            or not is_rounded(exact, written, system.places[i] or 0)
        ):
            linear.consistent = False
    return linear, pending, divisors


def _value(tree: Tree, linear: Linear, work: Work) -> Fraction | None:
    """Return the value of a tree where what is known gives it one."""
    try:
        top, bottom = evaluate(tree, linear.solved, work)
    except (NotPolynomial, NoValue):
        return None
    numerator, denominator = constant(top), constant(bottom)
    return numerator / denominator if numerator is not None and denominator else None


def _eliminate(
    pairs: list[tuple[Tree, Tree]], linear: Linear, work: Work
) -> tuple[list[tuple[Tree, Tree]], list[Polynomial]]:
    """Put every equation that is linear, or becomes so with what is known, into `linear`.

    Returns:
      the equations that stay non-linear, and what the linear ones divide by.
    """
    waiting = dict(enumerate(pairs))
    divisors: list[Polynomial] = []
    users: dict[str, set[int]] = {}
    for index, pair in waiting.items():
        for tree in pair:
            for name in _names(tree):
                users.setdefault(name, set()).add(index)
    queue = dict.fromkeys(waiting)
    while queue and linear.consistent:
        index = next(iter(queue))
        del queue[index]
        work.divisors = []
        left, right = waiting[index]
        try:
            top = difference(
                evaluate(left, linear.solved, work), evaluate(right, linear.solved, work), work
            )[0]
        except NotPolynomial:
            continue
        if degree(top) > 1:
            continue
        del waiting[index]
        divisors += work.divisors
        for name in linear.add(top):
            queue.update(dict.fromkeys(i for i in users.get(name, ()) if i in waiting))
    return list(waiting.values()), divisors


def _names(tree: Tree) -> Iterator[str]:
    if tree[0] == "name":
        yield tree[1]
    elif tree[0] in ("+", "*"):
        for part in tree[1]:
            yield from _names(part)
    elif tree[0] != "num":
        for part in tree[1:]:
            yield from _names(part)


def _free(tree: Tree, linear: Linear) -> Iterator[str]:
    """Yield the free unknowns that a tree depends on."""
    for name in _names(tree):
        yield from (m[0] for m in linear.substitute({(name,): ONE}) if m)


def _tree(polynomial: Polynomial) -> Tree:
    return (
        "+",
        [("*", [("num", c), *(("name", name) for name in m)]) for m, c in polynomial.items()],
    )


def _message(tree: Tree, known: Mapping[str, Polynomial]) -> list[Any]:
    """Return a tree as nested lists for JSON, the known unknowns put in."""
    kind = tree[0]
    if kind == "num":
        return ["num", canonical(tree[1], as_decimal=False)]
    if kind == "name" and tree[1] in known:
        return _message(_tree(known[tree[1]]), {})
    if kind == "name":
        return list(tree)
    if kind in ("+", "*"):
        return [kind, [_message(part, known) for part in tree[1]]]
    return [kind, *(_message(part, known) for part in tree[1:])]


def _contradiction(system: System, linear: Linear, work: Work) -> str:
    """Say why equations contradict each other: rounded results, or steps of a program."""
    for sides in system.equations:
        values = [v for side in sides if (v := _value(side, linear, work)) is not None]
        for one, other in itertools.pairwise(values):
            whole = other.denominator == 1 and abs(one - other) < 1
            if one != other and (whole or abs(one - other) <= _NEAR * abs(one)):
                first, second = (canonical(v, as_decimal=False) for v in (one, other))
                return f"{first} is not equal to {second}: {_MAY_BE_ROUNDED}"
    seen: set[str] = set()
    for left, *_ in system.equations:
        if left[0] == "name" and left[1] in seen:
            return (
                f"{left[1]!r} is set twice: equations hold all at once, they are no steps of a "
                "program"
            )
        seen.update([left[1]] if left[0] == "name" else [])
    return "the equations contradict each other"


def _in_sandbox(request: dict[str, Any], *, allow_unsafe: bool) -> Outcome:
    """Have the non-linear rest solved where processor time and memory have limits."""
    return run_job(request, allow_unsafe=allow_unsafe)
