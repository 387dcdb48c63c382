import json
import pathlib

import pytest

from t5distill.curate import leaks
from t5distill.curate.cutting import cut
from t5distill.records import Problem

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def cases(name):
    with open(GOLDEN / name, encoding="utf-8", newline="\n") as f:
        return [pytest.param(case, id=case["name"]) for case in map(json.loads, f)]


@pytest.mark.parametrize("case", cases("cuts.jsonl"))
def test_cut(case):
    style = case.get("style", "cot")
    assert cut(case["text"], style=style, finished=case["finished"])[0] == case["cut"]


@pytest.mark.parametrize("case", cases("leaks.jsonl"))
def test_leak(case):
    problem = Problem(
        id="p",
        question=case["question"],
        answer=case["gold"],
        kind=case["kind"],
        choices=case.get("choices"),
        benchmark="toy",
        split="train",
    )
    assert (leaks.find(case["text"], problem) is not None) == case["leak"]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        "2 + 3 = 5.{}The answer is 5.".format("\n" * 200_000),
        "2 + 3 = 5.{}x".format(" " * 200_000),
        "{}x".format("</s>  " * 50_000),
        "a.{}!The answer is 18".format("." * 200_000),
        "The answer is 5. " * 20_000,
        "Q:" * 100_000,
        "\n---" * 50_000,
    ],
    ids=["lines", "spaces", "end marks", "points", "answers", "questions", "rules"],
)
def test_looping_texts_take_linear_time(text, finished):
    """Quadratic time would keep the suite waiting for hours here."""
    assert len(cut(text, finished=finished)[0]) <= len(text)
