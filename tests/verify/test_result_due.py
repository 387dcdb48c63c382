"""The value that is due after `=`: golden cases, GSM8K's own annotations, the embedded teacher."""

from __future__ import annotations

import json
import os
import pathlib
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t5distill.problems import embedded
from t5distill.verify.calculator import (
    Remembered,
    check_steps,
    evaluate,
    read_annotations,
    result_due,
    statement,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "calculator_decoding.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden(case):
    assert result_due(case["text"]) == case["due"], case["why"]
    part = statement(case["text"])
    if not re.search(r"\d\.\d", part):
        remembered = Remembered()
        assert [remembered.due(part) for _ in range(3)] == [case["due"]] * 3


def test_golden_names_are_unique():
    assert len({case["name"] for case in CASES}) == len(CASES) >= 60


def test_every_equation_of_the_embedded_teacher():
    found = 0
    for problem in embedded.generate(count=200, seed=0, split="train"):
        for sign in re.finditer(r"= (?=\d)", problem.solution or ""):
            text = problem.solution
            due = result_due(text[: sign.start() + 1])
            assert due == re.match(r"\d+", text[sign.end() :])[0], text[: sign.end()]
            found += 1
    assert found > 400


def test_every_annotation_of_gsm8k():
    folder = os.environ.get("T5DISTILL_REAL_DATA")
    if not folder:
        pytest.skip("T5DISTILL_REAL_DATA is not set")
    lines = (pathlib.Path(folder) / "gsm8k" / "train.jsonl").read_text().splitlines()
    found = []
    for text in (json.loads(line)["answer"] for line in lines):
        for mark in read_annotations(text):
            due = result_due(text[: mark.end - 2 - len(mark.value)])
            found.append((mark.expression, mark.value, due))
    other = [f for f in found if f[2] is None or evaluate(f[1]) != evaluate(f[2])]
    assert len(found) == 23716
    # Floor divisions, written as in Python.
    assert [f[0] for f in other] == ["560//10", "180//3"]
    assert sum(value == due for _, value, due in found) / len(found) > 0.97


numbers = st.integers(1, 999_999).map(str)
sums = st.lists(st.sampled_from("+-*/"), min_size=1, max_size=4).flatmap(
    lambda signs: st.tuples(st.just(signs), st.lists(numbers, min_size=5, max_size=5))
)
BEFORE = [
    *("There are ", "", "So ", "We have 3 x ", "We have 1 x ", "Half of ", "Step ", "of "),
    *(
        "On day ",
        "On that day ",
        "Sam earns ",
        "Tom earns ",
        "Half the ",
        "Take away from ",
        "the ",
    ),
    *("multiplied by ", "The sum of three and ", "as much as ", "in a of ", "Plus ", "Sam, day "),
    *("It is negative ", "The remainder of ", "one hundred ", "20% off ", "ten percent of his "),
    *("half Tom's ", "half of all the other ", "She will log a total of ", "three in ", "3 in "),
    *(
        "twenty ",
        "two-thirds of ",
        "three out of ",
        "fifteen mod ",
        "a cost of ",
        "half the cost of ",
    ),
    *(
        "ten percent tax on the ",
        "3 squared ",
        "10 percent ",
        "x ",
        "two hours ",
        "rounded ",
        "Each ",
    ),
    *(
        "half of\n",
        "5 times\n",
        "5 +\n",
        "- ",
        "the quotient of ",
        "half of the old whole full ",
        "\n",
    ),
    *("$", "5 of the ", "He has 3 and ", "x is ", "50% of the ", "as many as ", "12 ", "It is 1/"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(BEFORE), sums), min_size=1, max_size=8))
def test_remembering_changes_nothing(equations):
    remembered = Remembered()
    for before, (signs, values) in equations:
        pairs = zip(values, [*signs, ""], strict=False)
        text = before + " ".join(part for pair in pairs for part in pair if part) + " ="
        part = statement(text)
        assert remembered.due(part) == result_due(text), text


JOINTS = "half of the his Tom's and by to in on off as percent log total hundred third cost"
WORDS = st.sampled_from([*" ".join(BEFORE).split(), *JOINTS.split()])


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=14), st.lists(WORDS, max_size=3), sums, sums)
def test_remembering_looks_back_far_enough(far, near, one, other):
    """Texts that end in the same few words share what is remembered, and may not."""
    remembered = Remembered()
    for words in (near, [*far, *near]):
        for signs, values in (one, other):
            pairs = zip(values, [*signs, ""], strict=False)
            parts = [*words, *(part for pair in pairs for part in pair if part)]
            part = statement(" ".join(parts) + " =")
            if not re.search(r"\d\.\d", part):
                assert remembered.due(part) == result_due(part), part


@settings(max_examples=300, deadline=None)
@given(st.text(st.sampled_from("0123456789 .,+-*/=()<>%$x\n\\abf−×½５"), max_size=60))
def test_any_text_is_read_without_exception(text):
    due = result_due(text + "=")
    if due is not None:
        # What is due would be a right result.
        evaluate(due)
        assert all(s.ok for s in check_steps(statement(text) + "=" + due)[-1:])


@settings(deadline=None)
@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_a_rounded_quotient_is_near(a, b):
    due = result_due(f"It is <<{a}/{b}=")
    assert due is not None
    assert abs(Fraction(due) - Fraction(a, b)) <= max(Fraction(1, 200), 0)
    assert abs(Fraction(due) - Fraction(a, b)) <= Fraction(a, b) / 19
