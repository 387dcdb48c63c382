"""The verdict: every golden case of the answer policy, and what the cases do not say."""

from __future__ import annotations

import json
import pathlib

import pytest

from t5distill.records import KINDS, OUTCOMES
from t5distill.verify import extract, judge

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "judge.jsonl"
CASES = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").split("\n") if line]
OPTIONS = ["park", "coloring book", "garden center", "math problem", "gravity"]


def test_golden_file_is_large_and_covers_every_kind():
    assert len(CASES) >= 300
    assert {case["kind"] for case in CASES} == set(KINDS)
    names = [case["name"] for case in CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden(case):
    finished = case.get("finished", True)
    arguments = (case["text"], case["gold"], case["kind"])
    verdict = judge(*arguments, choices=case.get("choices"), finished=finished)
    assert verdict.outcome == case["outcome"], (case["why"], verdict)
    assert verdict.gold == case["gold"]
    for field in ("answer", "extraction"):
        if case.get(field) is not None:
            assert getattr(verdict, field) == case[field], (case["why"], verdict)
    if verdict.outcome not in ("correct", "wrong"):
        assert verdict.answer is None
        assert verdict.extraction == "none"


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_extract_finds_what_judge_compares(case):
    arguments = {"choices": case.get("choices"), "finished": case.get("finished", True)}
    verdict = judge(case["text"], case["gold"], case["kind"], **arguments)
    found = extract(case["text"], case["kind"], **arguments)
    assert (found.answer, found.extraction, found.gold) == (
        verdict.answer,
        verdict.extraction,
        None,
    )
    answered = verdict.outcome in ("correct", "wrong")
    assert found.outcome == (None if answered else verdict.outcome)


@pytest.mark.parametrize(
    ("gold", "kind", "choices"),
    [
        ("abc", "numeric", None),
        ("", "numeric", None),
        ("5 or 6", "numeric", None),
        ("1,00", "numeric", None),
        ("nan", "numeric", None),
        ("F", "choice", OPTIONS),
        ("train station", "choice", OPTIONS),
        ("", "choice", OPTIONS),
        ("maybe", "yes_no", None),
        ("02/30/2019", "date", None),
        ("tomorrow", "date", None),
        (" ", "string", None),
        ("$ $", "latex", None),
        (None, "numeric", None),
        (5, "numeric", None),
    ],
)
def test_gold_that_cannot_be_read_is_an_error(gold, kind, choices):
    verdict = judge("The answer is 5.", gold, kind, choices=choices)
    assert verdict.outcome == "error"
    assert "gold" in verdict.detail
    assert verdict.answer is None


@pytest.mark.parametrize("text", [None, 5, b"5", ["5"]])
def test_text_that_is_no_string_is_an_error(text):
    assert judge(text, "5", "numeric").outcome == "error"
    assert extract(text, "numeric").outcome == "error"


def test_unknown_kind_is_an_error_that_names_the_kinds():
    verdict = judge("The answer is 5.", "5", "number")
    assert verdict.outcome == "error"
    assert "numeric" in verdict.detail
    assert "error" in OUTCOMES


def test_a_fault_inside_is_an_error_not_a_wrong_answer(monkeypatch):
    def broken(piece):
        raise RuntimeError("broken")

    monkeypatch.setattr("t5distill.verify.numeric.marked", broken)
    monkeypatch.setattr("t5distill.verify.numeric.gold", lambda text: 5)
    verdict = judge("The answer is 5.", "5", "numeric")
    assert verdict.outcome == "error"
    assert "broken" in verdict.detail


@pytest.mark.parametrize(
    ("gold", "text", "outcome"),
    [
        ("( 84.0 / 2.0 )", "The answer is (84 / 2).", "correct"),
        ("( 84.0 / 2.0 )", "The answer is 42.", "correct"),
        ("1/3", "The answer is 0.33333.", "correct"),
        ("1/3", "The answer is 0.333.", "wrong"),
        ("0.6666666666666666", "The answer is 2/3.", "correct"),
        ("9280000000000.0", "The answer is 9.28 trillion.", "correct"),
        ("-9867630.0", "The answer is -9,867,630.", "correct"),
        ("43.0", "The answer is 43.", "correct"),
        ("9867630.0", "The answer is 9867631.", "wrong"),
        ("True", "The answer is yes.", "error"),
    ],
)
def test_gold_as_benchmarks_write_it(gold, text, outcome):
    assert judge(text, gold, "numeric").outcome == outcome


def test_an_expression_after_the_mark_is_computed_and_said_so():
    verdict = judge("The answer is (79 - 53).", "26", "numeric")
    assert (verdict.outcome, verdict.answer, verdict.extraction) == ("correct", "26", "equation")
    assert judge("The answer is 5 + 3.", "5", "numeric").outcome == "wrong"


def test_a_letter_with_the_text_of_another_option_decides_nothing():
    assert (
        judge("The answer is (d) gravity.", "D", "choice", choices=OPTIONS).outcome == "no_answer"
    )
    verdict = judge("The answer is (d) a maths problem.", "D", "choice", choices=OPTIONS)
    assert verdict.outcome == "correct"


def test_number_equal_to_an_option_chooses_it():
    options = ["10", "12", "15", "20", "25"]
    assert judge("The answer is $12.00.", "B", "choice", choices=options).outcome == "correct"
    assert judge("The answer is 13.", "B", "choice", choices=options).outcome == "no_answer"


def test_a_new_question_ends_an_unfinished_chain():
    verdict = judge("The answer is 12 Q: How many", "12", "numeric", finished=False)
    assert verdict.outcome == "correct"
    assert judge("The answer is 12", "12", "numeric", finished=False).outcome == "truncated"


def test_a_reason_after_a_string_is_not_part_of_it():
    assert judge("The answer is nk because of that.", "nk", "string").outcome == "correct"
    assert judge("The answer is nk or kn.", "nk", "string").outcome == "wrong"


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        ("The answer is ±5.", "5", "no_answer"),
        ("The answer is 1'000.", "1000", "no_answer"),
        ("The answer is 1 23.", "1", "no_answer"),
        ("The answer is 1234 567.", "1234", "no_answer"),
        ("The answer is 18 12-inch pizzas.", "18", "correct"),
        ("The answer is that the two friends have 18 eggs.", "18", "correct"),
        ("The answer is not 5 but 6.", "6", "correct"),
        ("The answer is not 5.", "5", "no_answer"),
        ("The answer is 12, 3 of which are red.", "12", "correct"),
        ("The answer is 9 * 2 = .", "18", "no_answer"),
        ("#### Step 1: add 3\nThe result is 5", "5", "correct"),
        ("She sold them all. How many is 18?", "18", "no_answer"),
    ],
)
def test_decisions_beside_the_golden_cases(text, gold, outcome):
    assert judge(text, gold, "numeric").outcome == outcome


@pytest.mark.parametrize(
    ("text", "gold", "outcome"),
    [
        ("The answer is neither A nor B.", "A", "no_answer"),
        ("The answer is not (a) but (d).", "D", "correct"),
        ("The answer is B; A is wrong.", "B", "correct"),
        ("The answer is A math problem.", "D", "correct"),
    ],
)
def test_denied_options(text, gold, outcome):
    assert judge(text, gold, "choice", choices=OPTIONS).outcome == outcome
