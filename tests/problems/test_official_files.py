"""The official files as published, where `T5DISTILL_REAL_DATA` names a folder that has them."""

import collections
import json
import os
import pathlib
import re

import pytest

from t5distill import __main__, formats, records
from t5distill.formats import socratic
from t5distill.problems import bbh, benchmarks, splitting
from t5distill.records import Problem
from t5distill.verify import judge_chain

FOLDERS = {
    "gsm8k": "gsm8k",
    "svamp": "svamp",
    "asdiv": "asdiv",
    "addsub": "mawps",
    "multiarith": "mawps",
    "singleeq": "mawps",
    "singleop": "mawps",
    "mawps": "mawps",
    "gsm_hard": "gsm_hard",
    "aqua": "aqua",
    "strategyqa": "strategyqa",
    "commonsenseqa": "palm_chains/cqa",
}

NUMERIC = re.compile(r"-?\d+(\.\d*[1-9])?|-?\d+/\d+")


def folder(name):
    root = os.environ.get("T5DISTILL_REAL_DATA")
    if not root:
        pytest.skip("T5DISTILL_REAL_DATA is not set; CONTRIBUTING says where the files are")
    path = pathlib.Path(root, "bbh" if name.startswith("bbh") else FOLDERS[name])
    if not path.exists():
        pytest.skip(f"T5DISTILL_REAL_DATA has no {path.name}")
    return path


def read(name):
    return [
        problem
        for part, path in benchmarks.locate(name, folder(name))
        for problem in part.read(path, part.split)
    ]


def prepared(name, out, *arguments):
    assert (
        __main__.main(["prepare", name, "--raw", str(folder(name)), "--out", str(out), *arguments])
        == 0
    )
    return {
        split: list(records.read_jsonl(Problem, out / name / f"{split}.jsonl"))
        for split in records.SPLITS
        if (out / name / f"{split}.jsonl").exists()
    }


@pytest.mark.parametrize(
    ("name", "train", "validation", "test"),
    [
        ("gsm8k", 6726, 747, 1319),
        ("svamp", 630, 70, 300),
        ("asdiv", 1452, 161, 692),
        ("addsub", 248, 28, 119),
        ("multiarith", 378, 42, 180),
        ("singleeq", 320, 36, 152),
        ("singleop", 354, 39, 169),
        ("mawps", 1300, 145, 620),
        ("gsm_hard", 0, 0, 1319),
        ("aqua", 0, 0, 254),
        ("strategyqa", 1855, 206, 229),
        ("commonsenseqa", 8767, 974, 1221),
    ],
)
def test_counts_disjointness_and_form(tmp_path, name, train, validation, test):
    made = prepared(name, tmp_path)
    counts = {split: len(made.get(split, [])) for split in records.SPLITS}
    assert counts == {"train": train, "validation": validation, "test": test}
    splitting.refuse_overlap(made, benchmark=name)
    for split, group in made.items():
        for problem in group:
            assert problem.benchmark == name and problem.split == split
            if problem.kind == "numeric":
                assert NUMERIC.fullmatch(problem.answer), problem
            elif problem.kind == "yes_no":
                assert problem.answer in ("yes", "no")
            elif problem.kind == "choice":
                assert problem.choices and problem.answer in "ABCDE"[: len(problem.choices)]


def test_gsm8k_text_survives_preparing(tmp_path):
    made = prepared("gsm8k", tmp_path)
    back = {p.id: p for group in made.values() for p in group}
    raw = folder("gsm8k")
    commas = negatives = separators = 0
    for split in ("train", "test"):
        lines = (raw / f"{split}.jsonl").read_bytes().split(b"\n")
        for index, row in enumerate(json.loads(line) for line in lines if line):
            problem = back[f"gsm8k-{split}-{index}"]
            assert (problem.question, problem.solution) == (row["question"], row["answer"])
            gold = row["answer"].split("####")[1].strip()
            assert problem.answer == gold.replace(",", "")
            commas += "," in gold
            negatives += problem.answer.startswith("-")
            separators += "\u2028" in row["question"] + row["answer"]
    assert (commas, negatives) == (79 + 14, 5)
    assert separators > 0
    assert len(back) == 7473 + 1319


def test_multiarith_repeats_twenty_questions():
    problems = read("multiarith")
    assert len(problems) - len(splitting.groups(problems)) == 20


def test_svamp_mends_358_bodies():
    problems = read("svamp")
    assert sum(", how" in p.question for p in problems) >= 353
    answers = {p.id: p for p in problems}
    assert answers["svamp-chal-1"].question == (
        "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack, "
        "how much do you have to pay to buy each pack?"
    )


def test_gsm_hard_numbers():
    problems = read("gsm_hard")
    assert sum("." in p.answer for p in problems) == 303
    assert sum(p.answer.startswith("-") for p in problems) == 146
    assert max(float(p.answer) for p in problems) == pytest.approx(9.284e12, rel=1e-3)


def test_commonsenseqa_marks_options_of_the_same_text():
    problems = read("commonsenseqa")
    counts = collections.Counter(p.split for p in problems if "same_text" in p.meta)
    assert counts == {"train": 42, "test": 6}


def test_asdiv_kinds():
    counts = collections.Counter(p.kind for p in read("asdiv"))
    assert counts == {"numeric": 2093, "string": 207, "yes_no": 5}


def test_asdiv_folds_are_even(tmp_path):
    made = prepared("asdiv", tmp_path, "--folds", "5", "--fold", "4")
    assert {k: len(v) for k, v in made.items()} == {"train": 1660, "validation": 184, "test": 461}


def test_all_of_bbh():
    problems = [p for task in bbh.TASKS for p in read(f"bbh_{task}")]
    assert len(problems) == 6511
    assert collections.Counter(p.kind for p in problems) == {
        "choice": 4321,
        "yes_no": 1187,
        "numeric": 500,
        "string": 503,
    }
    for problem in problems:
        assert problem.split == "test" and "canary GUID" in problem.meta["canary"]
        assert ("Options:" in problem.question) == (
            problem.kind == "string" and problem.benchmark in MALFORMED
        )
        if problem.kind == "choice":
            assert problem.choices and ord(problem.answer) - ord("A") < len(problem.choices)


MALFORMED = ("bbh_ruin_names", "bbh_movie_recommendation")


def test_gsm8k_takes_the_decompositions_that_lie_beside_it(tmp_path):
    made = prepared("gsm8k", tmp_path)
    decomposed = [p for p in made["test"] if "chains" in p.meta]
    assert len(decomposed) == 1319
    assert not any("chains" in p.meta for p in made["train"])
    for problem in decomposed:
        chain = formats.gold_chain(problem, style="socratic")
        steps = socratic.parse(chain.text)
        assert steps and all(step.question and step.solution for step in steps), problem.id
        assert len(steps) <= socratic.MAX_STEPS
        verdict = judge_chain(chain.text, problem, style="socratic")
        assert verdict.outcome == "correct", (problem.id, verdict)
