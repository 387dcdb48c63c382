import json
import pathlib

import pytest

from t5distill.curate.overlap import Overlap
from t5distill.records import Problem

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


def rows(name):
    with open(GOLDEN / name, encoding="utf-8", newline="\n") as f:
        return [json.loads(line) for line in f]


def problem(row, name, split):
    fields = {k: row[k] for k in ("question", "answer", "kind", "choices")}
    return Problem(id=name, benchmark="toy", split=split, **fields)


EVALUATION = [problem(row, row["id"], "test") for row in rows("overlaps_evaluation.jsonl")]
CASES = rows("overlaps.jsonl")


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_overlap(case):
    index = Overlap(EVALUATION)
    planted = problem(case, "planted", "train")
    found = index.of_text(case["text"]) if case["text"] else index.of_problem(planted)
    assert (found.reason if found else None) == case["reason"], found
    if found:
        assert case["evaluation"] in found.detail
