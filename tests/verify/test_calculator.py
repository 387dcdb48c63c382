"""The calculator: golden cases, round trips, and its behaviour on hostile text."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t5distill.verify import calculator
from t5distill.verify.calculator import ArithmeticProblem

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "calculator.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]

# Right as they stand, in the many ways of writing: made up, after what real chains look like.
RIGHT = [
    json.loads(line)["text"]
    for line in GOLDEN.with_name("right_chains.jsonl").read_text(encoding="utf-8").split("\n")
    if line
]


def cases(call):
    found = [case for case in CASES if case["call"] == call]
    return pytest.mark.parametrize("case", found, ids=[case["name"] for case in found])


def test_golden_file_is_large_and_names_are_unique():
    assert len(CASES) >= 60
    names = [(case["call"], case["name"]) for case in CASES]
    assert len(set(names)) == len(names)


@cases("evaluate")
def test_evaluate(case):
    if case["result"] == "error":
        with pytest.raises(ArithmeticProblem):
            calculator.evaluate(case["text"])
    else:
        assert calculator.evaluate(case["text"]) == Fraction(case["result"]), case["why"]


@cases("recalculate")
def test_recalculate(case):
    text, corrections = calculator.recalculate(case["text"])
    assert text == case["result"], case["why"]
    assert len(corrections) == case["corrections"], corrections


@cases("recalculate")
def test_recalculate_is_stable(case):
    once, _ = calculator.recalculate(case["text"])
    assert calculator.recalculate(once) == (once, [])


@cases("recalculate")
def test_corrections_say_what_changed(case):
    _, corrections = calculator.recalculate(case["text"])
    for start, stated, corrected, reason in corrections:
        assert case["text"][start : start + len(stated)] == stated
        assert corrected != stated
        assert reason in ("result", "carried")


@pytest.mark.parametrize("text", RIGHT)
def test_no_right_chain_is_turned_wrong(text):
    assert calculator.recalculate(text) == (text, [])
    assert [step for step in calculator.check_steps(text) if not step.ok] == []


@cases("check_steps")
def test_check_steps(case):
    found = [
        [step.equation, step.stated, str(step.exact), step.ok]
        for step in calculator.check_steps(case["text"])
    ]
    assert found == case["steps"], case["why"]


@cases("annotate")
def test_annotate(case):
    annotated = calculator.annotate(case["text"])
    assert annotated == case["result"], case["why"]
    assert calculator.annotate(annotated) == annotated
    stripped = calculator.strip_annotations(annotated)
    assert stripped == calculator.strip_annotations(case["text"])


def test_read_annotations():
    text = "He pays 12/60 = $<<12/60=0.2>>0.2, then <<+30+46=76>>76."
    found = calculator.read_annotations(text)
    assert [(a.expression, a.value) for a in found] == [("12/60", "0.2"), ("+30+46", "76")]
    assert [text[a.start : a.end] for a in found] == ["<<12/60=0.2>>", "<<+30+46=76>>"]


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (Fraction(24), "25", "24"),
        (Fraction(2000), "3,000", "2,000"),
        (Fraction(15, 2), "7.00", "7.50"),
        (Fraction(10, 3), "", "3.333333333"),
        (Fraction(-1, 3), "", "-0.3333333333"),
        (Fraction(1, 8), "", "0.125"),
        (Fraction(118000), "117 000", "118 000"),
        (Fraction(0), "5", "0"),
    ],
)
def test_format_value(value, like, text):
    assert calculator.format_value(value, like) == text


numbers = st.integers(0, 10**6).map(str) | st.decimals(0, 1000, places=2).map(str)
expressions = st.recursive(
    numbers,
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(
        lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(expressions)
def test_evaluate_agrees_with_exact_python(expression):
    wrapped = re.sub(r"[0-9.]+", lambda m: f"Fraction('{m[0]}')", expression)
    exact = eval(wrapped)  # of an expression made here
    assert calculator.evaluate(expression) == exact


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(-50, 50).filter(bool))
def test_a_wrong_sum_is_corrected_and_carried(a, b, error):
    stated = a + b + error
    if stated in (a, b, 2) or stated < 0:
        return
    text = f"They have {a} + {b} = {stated} apples. Twice that is {stated} * 2 = {stated * 2}."
    corrected, _ = calculator.recalculate(text)
    total = a + b
    assert corrected == (
        f"They have {a} + {b} = {total} apples. Twice that is {total} * 2 = {total * 2}."
    )


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("0123456789 .,+-*/=()<>%$x\n\\abf−×½５"), max_size=60))
def test_any_text_is_calculated_without_exception(text):
    calculator.check_steps(text)
    calculator.annotate(text)
    corrected, corrections = calculator.recalculate(text)
    if not corrections:
        assert corrected == text


FRAGMENTS = [
    *(
        "Total",
        "=",
        "+",
        "-",
        "(",
        ")",
        "3",
        "7",
        "+3",
        "-3",
        "(+3)",
        "-(-3)",
        "0.5",
        "1/2",
        "$",
        "%",
    ),
    *(
        "*",
        "/",
        "^",
        "of",
        "sum of",
        "cost of",
        "the average of",
        "half of",
        "20% of",
        "x",
        "_",
        "{",
    ),
    *("So", "Net change:", "\n", "- ", ".", ",", "and", "squared", "percent", "quarters", "hours"),
    *(
        "minutes",
        "30 minutes",
        "\\frac{1}{2}",
        "\\dfrac{3}{0}",
        "\\frac",
        "}",
        "<<3*4=12>>",
        "<<",
        ">>",
    ),
    *(
        "in",
        "off",
        "negative",
        "remainder",
        "mod",
        "hundred",
        "8 - 3 =",
        "= 4 * 4 =",
        "≈",
        "9" * 40,
    ),
]


@settings(max_examples=1000, deadline=None)
@example(["<<8 - 3 = (>>", "7"], " ")
@example(["Total", "=", "sum of", "7", "/", "4", "="], " ")
@example(["Net change:", "+3", "=", "8 - 3 ="], " ")
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14), st.sampled_from([" ", ""]))
def test_any_fragments_are_calculated_without_exception(fragments, joint):
    text = joint.join(fragments)
    for step in calculator.check_steps(text):
        assert step.equation
    calculator.annotate(text)
    calculator.result_due(text)
    calculator.result_due(text + " =")
    corrected, corrections = calculator.recalculate(text)
    assert corrections or corrected == text


def test_imports_only_the_standard_library_and_this_package():
    code = (
        "import sys; before = set(sys.modules); import t5distill.verify.calculator; "
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    outside = set(run.stdout.split()) - set(sys.stdlib_module_names)
    assert {name for name in outside if not name.startswith("_")} == {"t5distill"}
