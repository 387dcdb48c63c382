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
    assert len(CASES) >= 120
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
