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
    assert cut(case["text"], finished=case["finished"])[0] == case["cut"]


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
