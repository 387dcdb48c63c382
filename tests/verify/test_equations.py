"""Equations: every golden case, the teacher's own chains, values that the judge can read."""

from __future__ import annotations

import importlib.resources
import json
import pathlib
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t5distill.problems import embedded
from t5distill.teacher.loopback.answers import Writer
from t5distill.verify import judge, solve_equations
from t5distill.verify.outcomes import STATUSES

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "equations.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]
PROMPT = json.loads(
    (importlib.resources.files("t5distill.teacher") / "prompts" / "equation.json").read_text(
        "utf-8"
    )
)


def test_golden_file_is_large_and_names_are_distinct():
    assert len(CASES) >= 330
    assert len({case["name"] for case in CASES}) == len(CASES)
    assert {case["status"] for case in CASES} >= {
        "value",
        "several",
        "none",
        "inconsistent",
        "underdetermined",
        "rejected",
    }


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden(case):
    outcome = solve_equations(case["text"])
    assert (outcome.status, outcome.value) == (case["status"], case["value"]), (
        case["note"],
        outcome,
    )
    assert outcome.status == "value" or outcome.detail


@pytest.mark.parametrize("exemplar", PROMPT["exemplars"], ids=lambda e: e["answer"])
def test_the_exemplars_of_the_prompt_give_their_answers(exemplar):
    outcome = solve_equations(exemplar["text"])
    assert judge(outcome.value or "", exemplar["answer"], "numeric").outcome == "correct", outcome


@pytest.mark.parametrize("templates", ["in_domain", "held_out"])
def test_the_teachers_chains_give_the_gold_value(templates):
    problems = embedded.generate(count=60, seed=7, split="test", templates=templates)
    for problem in problems:
        for draw in ("", "1", "2"):
            text = Writer().text(problem, "equation", draw)
            outcome = solve_equations(text)
            assert outcome.isolation == "", "a chain of the teacher is linear"
            verdict = judge(outcome.value or "", problem.answer, problem.kind)
            assert verdict.outcome == "correct", (text, outcome)


def test_the_teachers_wrong_chains_give_the_wrong_value():
    problems = embedded.generate(count=40, seed=8, split="test")
    for problem in problems:
        text = Writer(wrong_rate=1.0).text(problem, "equation")
        outcome = solve_equations(text)
        assert outcome.status == "value", (text, outcome)
        assert judge(outcome.value or "", problem.answer, problem.kind).outcome == "wrong"


def test_the_teachers_malformed_chains_never_get_credit_for_nothing():
    problems = embedded.generate(count=40, seed=9, split="test")
    for problem in problems:
        for draw in "12345":
            text = Writer(malformed_rate=1.0).text(problem, "equation", draw)
            outcome = solve_equations(text)
            assert outcome.status in STATUSES
            whole = "ans =" in text or text.count("\n") + 1 >= len(problem.meta["steps"])
            assert whole or outcome.value != problem.answer, (text, outcome)


@given(st.fractions())
def test_values_are_read_back_by_the_judge(value):
    outcome = solve_equations(f"ans = ({value.numerator}) / {value.denominator}")
    assert outcome.status == "value"
    assert judge(outcome.value, str(value), "numeric").outcome == "correct"


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6))
def test_decimals_are_exact(value):
    outcome = solve_equations(f"ans = {value:f} * 1000000")
    assert outcome.value == str(int(Fraction(value) * 1000000))


@pytest.mark.parametrize("name", [*"abcdefghijklmnopqrstuvwyzABCDEFGHIJKLMNOPQRSTUVWXYZx"])
def test_every_letter_is_an_unknown(name):
    assert solve_equations(f"2{name} + 1 = 7\nans = {name} * 5").value == "15"
    assert solve_equations(f"{name} = 4\nans = 3 {name}").value == "12"


@pytest.mark.parametrize(
    "name",
    ["pi", "exp", "Rational", "beta", "zeta", "gamma", "None", "True", "is", "in", "del", "test"],
)
def test_every_word_is_an_unknown(name):
    assert solve_equations(f"{name} = 4\nans = 3 * {name}").value == "12"


def test_importing_the_solver_stays_light():
    script = "import sys; from t5distill.verify import solve_equations; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "t5distill.verify.equations.solving" in done.stdout.split()
    assert not {"sympy", "mpmath", "numpy", "jax", "tensorflow"} & set(done.stdout.split())


UNITS_OF_ONE_DIMENSION = [
    *(("hours", "minutes"), ("days", "hours"), ("weeks", "days"), ("minutes", "seconds")),
    *(("feet", "inches"), ("yards", "feet"), ("km", "meters"), ("meters", "cm")),
    *(("pounds", "ounces"), ("kg", "grams"), ("gallons", "cups"), ("liters", "ml")),
    *(("dollars", "cents"), ("pounds", "pence"), ("euros", "cents")),
]


@pytest.mark.parametrize("units", UNITS_OF_ONE_DIMENSION, ids="-".join)
@given(one=st.integers(1, 99), other=st.integers(1, 99), sign=st.sampled_from("+-"))
def test_no_sum_is_in_two_units(units, one, other, sign):
    for first, second in (units, units[::-1]):
        outcome = solve_equations(f"ans = {one} {first} {sign} {other} {second}")
        assert outcome.status == "rejected", outcome
        through_names = f"a = {one} {first}\nb = {other} {second}\nans = a {sign} b"
        assert solve_equations(through_names).status == "rejected"
        same = solve_equations(f"ans = {one} {first} {sign} {other} {first}")
        assert same.value == str(one + other if sign == "+" else one - other)


@given(
    name=st.sampled_from(["eggs", "hours", "students", "dollars", "widgets", "apples"]),
    terms=st.lists(st.integers(1, 50), min_size=1, max_size=4),
)
def test_a_name_set_to_numbers_of_itself_is_their_sum(name, terms):
    right = " + ".join(f"{term} {name}" for term in terms)
    outcome = solve_equations(f"{name} = {right}\nans = {name} * 2")
    assert outcome.value == str(2 * sum(terms))


@given(st.integers(-999, 999), st.integers(1, 999), st.integers(1, 4))
def test_a_rounded_result_leaves_the_exact_value(top, bottom, count):
    exact = Fraction(top, bottom)
    written = f"{float(round(exact, count)):.{count}f}"
    outcome = solve_equations(f"ans = {top}/{bottom} = {written}")
    assert outcome.value is not None, outcome
    assert Fraction(outcome.value) == exact
    unit = Fraction(1, 10**count)
    beside = solve_equations(f"ans = {top}/{bottom} = {float(exact + 2 * unit):.{count}f}")
    assert beside.status == "inconsistent", beside
