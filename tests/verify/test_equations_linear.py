"""Linear systems beside a second implementation: sympy's matrices, and plain substitution."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import sympy

from t5distill.verify import solve_equations


def written(row, names, right):
    """Write a row as an equation."""
    terms = [f"{'-' if c < 0 else '+'} {abs(c)}*{n}" for c, n in zip(row, names, strict=True) if c]
    left = " ".join(terms).removeprefix("+ ") or "0"
    return f"{left.replace('- ', '-', 1) if left.startswith('- ') else left} = {right}"


def drawn(rng):
    """Draw a system of small whole numbers in which every rank is common."""
    unknowns, equations = rng.randint(1, 5), rng.randint(1, 6)
    rows = [[rng.choice((0, 0, 1, 1, -1, 2, -3, 5)) for _ in range(unknowns)]]
    while len(rows) < equations:
        if rng.random() < 0.4:  # depends on those before it
            factors = [rng.randint(-2, 2) for _ in rows]
            columns = zip(*rows, strict=True)
            rows.append([sum(f * c for f, c in zip(factors, cs, strict=True)) for cs in columns])
        else:
            rows.append([rng.choice((0, 0, 1, -1, 2, 4)) for _ in range(unknowns)])
    point = [Fraction(rng.randint(-9, 9), rng.choice((1, 1, 2, 3))) for _ in range(unknowns)]
    right = [sum(c * v for c, v in zip(row, point, strict=True)) for row in rows]
    if rng.random() < 0.3:
        right[rng.randrange(len(right))] += 1
    asked = [rng.choice((0, 1, 1, -2)) for _ in range(unknowns)]
    return rows, right, asked


def expected(rows, right, asked):
    """Return the status and the value by the ranks of sympy's matrices."""
    matrix, augmented = (
        sympy.Matrix(rows),
        sympy.Matrix([[*r, b] for r, b in zip(rows, right, strict=True)]),
    )
    if augmented.rank() > matrix.rank():
        return "inconsistent", None
    if sympy.Matrix([*rows, asked]).rank() > matrix.rank():
        return "underdetermined", None
    symbols = sympy.symbols(f"s:{len(asked)}")
    (solution,) = sympy.linsolve(augmented, *symbols)
    value = sympy.expand(sum(a * v for a, v in zip(asked, solution, strict=True)))
    return "value", str(value)


def compare(seeds):
    statuses = set()
    for seed in seeds:
        rows, right, asked = drawn(random.Random(seed))
        names = ["x", "y", "E", "apples", "x_1"][: len(asked)]
        text = [written(row, names, b) for row, b in zip(rows, right, strict=True)]
        text.insert(seed % (len(text) + 1), written([*asked, -1], [*names, "ans"], 0))
        outcome = solve_equations("\n".join(text))
        wanted = expected(rows, [sympy.Rational(b) for b in map(str, right)], asked)
        assert (outcome.status, outcome.value) == wanted, (seed, text)
        statuses.add(outcome.status)
    assert statuses == {"value", "inconsistent", "underdetermined"}


def test_random_systems_of_all_ranks_agree_with_sympy():
    compare(range(150))


@pytest.mark.soak
def test_many_random_systems_of_all_ranks_agree_with_sympy():
    compare(range(1000, 6000))


def test_random_programs_become_linear_in_any_order():
    for seed in range(100):
        rng = random.Random(seed)
        values = {"v0": Fraction(rng.randint(1, 9))}
        lines = [f"v0 = {values['v0']}"]
        for i in range(1, rng.randint(2, 12)):
            left, right = rng.choice(list(values)), rng.choice(list(values))
            operator = rng.choice("+-*/")
            if operator == "/" and not values[right]:
                operator = "+"
            a, b = values[left], values[right]
            values[f"v{i}"] = {
                "+": lambda a=a, b=b: a + b,
                "-": lambda a=a, b=b: a - b,
                "*": lambda a=a, b=b: a * b,
                "/": lambda a=a, b=b: a / b,
            }[operator]()
            lines.append(f"v{i} = {left} {operator} {right}")
            if max(len(str(v)) for v in values.values()) > 300:
                break
        last = list(values)[-1]
        lines.append(f"ans = {last}")
        rng.shuffle(lines)
        outcome = solve_equations("\n".join(lines))
        assert (outcome.status, outcome.value) == ("value", str(values[last])), lines
        assert outcome.isolation == ""


def test_large_systems_are_solved_or_refused_but_never_long():
    chain = "".join(f"x{i} = x{i - 1} + 1\n" for i in range(390, 0, -1))
    assert solve_equations(f"{chain}x0 = 1\nans = x390").value == "391"
    rng = random.Random(0)
    names = [f"v{i}" for i in range(100)]
    dense = "\n".join(
        " + ".join(f"{rng.randint(1, 99)}{name}" for name in names) + f" = {rng.randint(1, 99)}"
        for _ in names
    )
    assert solve_equations(f"{dense}\nans = v0").status == "rejected"
    assert solve_equations("x = 5\n" * 15_000 + "ans = x").value == "5"
