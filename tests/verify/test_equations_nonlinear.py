"""Non-linear systems: hard ones end in time, and the real points are those of other methods."""

from __future__ import annotations

import json
import math
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest
import sympy

from t5distill.verify import solve_equations
from t5distill.verify.equations import nonlinear, realpoints
from t5distill.verify.outcomes import STATUSES

ROOT = pathlib.Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "equations_hard.jsonl"
HARD = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]
_CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from t5distill.verify.equations import nonlinear
print(json.dumps([nonlinear.solve(s) for s in json.load(sys.stdin)]))
"""


def check(case):
    outcome = solve_equations(case["text"])
    assert outcome.status in STATUSES
    assert (outcome.value is not None) == (outcome.status == "value")
    if case["status"] is not None:
        assert (outcome.status, outcome.value) == (case["status"], case["value"]), outcome


def test_there_are_50_hard_systems():
    assert len(HARD) >= 50
    assert sum(case["status"] is not None for case in HARD) >= 35


@pytest.mark.parametrize(
    "case", [c for c in HARD if c["status"]], ids=lambda case: f"{case['name']} {case['note']}"
)
def test_hard_systems_with_a_known_end(case):
    check(case)


@pytest.mark.soak
@pytest.mark.parametrize(
    "case", [c for c in HARD if not c["status"]], ids=lambda case: f"{case['name']} {case['note']}"
)
def test_hard_systems_end_in_a_verdict(case):
    check(case)


def test_one_system_beyond_its_limits_ends_in_a_verdict():
    case = next(c for c in HARD if c["note"] == "cyclic 6")
    outcome = solve_equations(case["text"])
    assert outcome.status in ("timeout", "error", "memory"), outcome
    assert solve_equations("x^2 = 9\nans = x^2").value == "9", "the sandbox goes on after it"


def tree(text):
    return ["num", text] if text[-1].isdigit() else ["name", text]


def test_the_solver_in_a_plain_process_of_its_own():
    square = ["^", tree("x"), tree("2")]
    systems = [
        {"equations": [["+", [square, ["negative", tree(n)]]]], "nonzero": [], "asked": asked}
        for n, asked in [("9", tree("x")), ("9", square), ("2", square), ("-1", tree("x"))]
    ]
    systems.append({"equations": [], "nonzero": [], "asked": tree("x")})
    done = subprocess.run(
        [sys.executable, "-c", _CHILD],
        input=json.dumps(systems),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    ends = [(e["status"], e["value"]) for e in json.loads(done.stdout)]
    assert ends == [
        ("several", None),
        ("value", "9"),
        ("value", "2"),
        ("inconsistent", None),
        ("underdetermined", None),
    ]


@pytest.mark.parametrize(
    "name", ["I", "E", "S", "N", "O", "Q", "C", "pi", "zoo", "x+1", "__import__"]
)
def test_names_never_mean_anything_to_sympy(name):
    system = {
        "equations": [["+", [["^", ["name", name], tree("3")], tree("-8")]]],
        "nonzero": [],
        "asked": ["*", [["name", name], tree("5")]],
    }
    assert nonlinear.solve(system)["value"] == "10"


def real_values(equations, asked, nonnegative=()):
    problem = realpoints.Problem(equations=equations, nonzero=[], nonnegative=list(nonnegative))
    found = realpoints.values(problem, asked)
    assert found is not None
    return sorted(float(v) for v in found)


def same(found, wanted):
    return len(found) == len(wanted) and np.allclose(found, sorted(wanted), rtol=1e-9, atol=1e-9)


def test_real_roots_of_one_polynomial_are_numpys():
    x = sympy.Symbol("x", real=True)
    rng = random.Random(0)
    counts = set()
    for _ in range(40):
        coefficients = [rng.randint(1, 4), *(rng.randint(-6, 6) for _ in range(rng.randint(1, 5)))]
        polynomial = sympy.Poly(coefficients, x)
        if sympy.gcd(polynomial, polynomial.diff(x)).degree():
            continue  # numpy's double roots are not real
        wanted = [r.real for r in np.roots(coefficients) if abs(r.imag) < 1e-9]
        found = real_values([polynomial.as_expr()], x)
        assert same(found, wanted), coefficients
        counts.add(len(found))
    assert {0, 1, 2, 3} <= counts


def test_real_points_of_systems_made_from_their_points():
    x, y = sympy.symbols("x y", real=True)
    rng = random.Random(1)
    empty = 0
    for _ in range(10):
        roots = {rng.randint(-4, 6) for _ in range(rng.randint(1, 3))}
        shift, power = rng.randint(-3, 3), rng.choice((1, 2))
        first = sympy.expand(math.prod((x - r) ** power for r in roots) * (x**2 + 1))
        points = [(r, sign * math.sqrt(r - shift)) for r in roots for sign in (-1, 1) if r >= shift]
        equations = [first, y**2 - x + shift]
        for asked in (x, y, x + 2 * y, x * y, sympy.Integer(3)):
            at = sympy.lambdify((x, y), asked)
            wanted = sorted({round(float(at(*p)), 9) for p in points})
            assert same(real_values(equations, asked), wanted), (equations, asked)
            upper = sorted({round(float(at(*p)), 9) for p in points if p[1] >= 0})
            assert same(real_values(equations, asked, [y]), upper), (equations, asked)
        empty += not points
    assert empty
