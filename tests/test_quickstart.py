"""The whole corridor in one small run, through the commands that a user types."""

import json
import math
import shutil

import pytest

from t5distill.__main__ import main
from t5distill.api import Student
from t5distill.problems import embedded
from t5distill.quickstart import simulated_chains
from t5distill.records import Chain, Prediction, Problem, Verdict, read_jsonl
from t5distill.verify import judge

ARMS = ("untrained", "answer", "cot")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = tmp_path_factory.mktemp("quickstart")
    # The data directory is the process's: given back to the tests that follow.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("T5DISTILL_DATA_DIR", "unused")
        code = main(
            [
                *("quickstart", "--workdir", str(work), "--train-steps", "60"),
                *("--sizes", "300", "20", "24", "10", "--seed", "3"),
            ]
        )
    assert code == 0
    return work


def test_the_summary_agrees_with_the_verdicts(work):
    summary = json.loads((work / "summary.json").read_text())
    assert set(summary["arms"]) == set(ARMS)
    for arm in ARMS:
        verdicts = list(read_jsonl(Verdict, work / arm / "embedded/verdicts.jsonl"))
        right = sum(v.outcome == "correct" for v in verdicts)
        stated = summary["arms"][arm]
        assert stated["n"] == len(verdicts) == 24
        assert math.isclose(stated["accuracy"], right / 24)
        assert stated["low"] <= stated["accuracy"] <= stated["high"]
    assert summary["wall_s"] >= sum(summary["stages"].values()) - 1


def test_both_arms_get_the_same_budget(work):
    training = json.loads((work / "summary.json").read_text())["training"]
    assert training["answer"]["steps"] == training["cot"]["steps"] == 60
    assert 0 < training["answer"]["target_tokens"] < training["cot"]["target_tokens"]


def test_only_right_chains_are_learnt(work):
    problems = {p.id: p for p in read_jsonl(Problem, work / "data/embedded/train.jsonl")}
    kept = list(read_jsonl(Chain, next((work / "data/chains").glob("*/kept.jsonl"))))
    rejected = list(read_jsonl(Chain, next((work / "data/chains").glob("*/rejected.jsonl"))))
    assert len(kept) + len(rejected) == len(problems) == 300
    for chain in kept:
        problem = problems[chain.problem_id]
        assert judge(chain.text, problem.answer, "numeric").outcome == "correct"
    assert 0.1 < len(rejected) / 300 < 0.3


def test_a_moved_student_brings_its_vocabulary(work, tmp_path):
    moved = shutil.copytree(work / "cot", tmp_path / "elsewhere")
    config = json.loads((moved / "config.json").read_text())
    wanted = Student.load(work / "cot").vocabulary.encode("5 apples")
    config["vocab"]["path"] = str(tmp_path / "gone.model")
    (moved / "config.json").write_text(json.dumps(config))
    assert Student.load(moved).vocabulary.encode("5 apples") == wanted
    newest = next(moved.glob("checkpoint_*"))
    assert Student.load(newest).vocabulary.encode("5 apples") == wanted


def test_no_test_problem_was_trained_on(work):
    keys = {
        split: {embedded.key(p) for p in read_jsonl(Problem, work / f"data/{split}.jsonl")}
        for split in ("embedded/train", "embedded/validation", "embedded/test")
    }
    held_out = {
        embedded.key(p) for p in read_jsonl(Problem, work / "data/embedded_held_out/test.jsonl")
    }
    assert not keys["embedded/train"] & keys["embedded/test"]
    assert not keys["embedded/train"] & keys["embedded/validation"]
    assert not {template for template, _ in held_out} & {t for t, _ in keys["embedded/train"]}


def test_a_second_run_repeats_nothing(work, capsys, monkeypatch):
    monkeypatch.setenv("T5DISTILL_DATA_DIR", "unused")
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in work.glob("*/test/*-test.jsonl")}
    assert len(before) == 6
    assert (
        main(
            [
                *("quickstart", "--workdir", str(work), "--train-steps", "60"),
                *("--sizes", "300", "20", "24", "10", "--seed", "3"),
            ]
        )
        == 0
    )
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
    assert "24 unseen problems" in capsys.readouterr().out


def test_the_simulated_teacher_errs_at_its_rate():
    problems = embedded.generate(count=600, seed=1, split="train")
    chains = list(simulated_chains(problems, seed=5, wrong_rate=0.3))
    assert chains == list(simulated_chains(problems, seed=5, wrong_rate=0.3))
    outcomes = [
        judge(c.text, p.answer, p.kind).outcome for c, p in zip(chains, problems, strict=True)
    ]
    assert set(outcomes) == {"correct", "wrong"}
    # Binomial with n = 600 and p = 0.3: four standard deviations are 0.075.
    assert abs(outcomes.count("wrong") / 600 - 0.3) < 0.075


def test_predictions_name_their_problems(work):
    problems = [p.id for p in read_jsonl(Problem, work / "data/embedded/test.jsonl")]
    path = work / "cot/test/embedded_cot_simulated-test.jsonl"
    assert [p.problem_id for p in read_jsonl(Prediction, path)] == problems


def test_a_rate_that_is_none_is_refused(tmp_path, capsys):
    code = main(["quickstart", "--workdir", str(tmp_path / "w"), "--wrong-rate", "1.5"])
    assert code == 2
    assert "--wrong-rate is 1.5" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
