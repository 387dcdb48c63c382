"""A whole tiny experiment through real processes: killed, gone on with, done, and done again."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from t5distill.records import Prediction, Problem, Verdict, file_sha256, read_jsonl

ROOT = pathlib.Path(__file__).parents[2]
COMMAND = ("reproduce", "embedded_etd", "--tiny", "--seeds", "2", "--sizes", "160", "16", "12", "6")
COMMAND += ("--gin.TRAIN_STEPS=12", "--gin.WARMUP_STEPS=2", "--gin.EVAL_PERIOD=6")


def begin(work, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "t5distill", *COMMAND, "--workdir", str(work), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        process_group=0,
    )


def run(work, *more):
    process = begin(work, *more)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said


def stages(said):
    return [line.split(": ", 1)[1] for line in said.splitlines() if line.startswith("=== ")]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A reproduction that was killed while its second student was trained."""
    work = tmp_path_factory.mktemp("reproduce")
    process = begin(work)
    trained = []
    assert process.stdout is not None
    for line in process.stdout:
        trained += [line] * line.startswith("=== ") * (": train" in line)
        if len(trained) == 2:
            break
    assert process.poll() is None
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return work


@pytest.fixture(scope="module")
def work(killed):
    """The same one, gone on with."""
    return killed, run(killed)


def of(work):
    return json.loads((work / "embedded_etd/experiment.json").read_text())


def cards(work):
    folder = work / "embedded_etd"
    return {
        (arm["name"], seed, path): json.loads((folder / path / "card.json").read_text())
        for arm in of(work)["arms"]
        for seed, paths in zip(of(work)["seeds"], arm["students"], strict=True)
        for path in paths
    }


def test_what_was_done_before_the_kill_is_not_done_again(work):
    _, said = work
    done = stages(said)
    assert not any(stage.startswith(("prepare", "teacher", "curate")) for stage in done)
    # Two arms of two seeds; the first student was there.
    assert len([stage for stage in done if stage.startswith("train")]) == 3
    assert done[-1] == "report" or done[-1].startswith("report")


def test_no_test_problem_is_read_before_every_student_is_trained_and_selected(work):
    folder, said = work
    kinds = [stage.split()[0] for stage in stages(said)]
    assert kinds == sorted(kinds, key=("train", "test", "report").index)
    for card in cards(folder).values():
        selected = card["selection"]["selected"]
        assert card["selection"]["split"] == "validation" and selected
        assert {row["step"] for row in card["selection"]["candidates"]} == {6, 12}
        assert card["tests"] and all(test["read"] >= selected for test in card["tests"])


def test_the_rows_of_the_experiment_lead_to_what_was_scored(work):
    folder, _ = work
    experiment = of(folder)
    names = [arm["name"] for arm in experiment["arms"]]
    assert names == ["cot", "etd_program", "etd_equation", "etd_cot", "fallback"]
    assert (experiment["baseline"], experiment["main"], experiment["seeds"]) == (
        *("cot", "fallback"),
        [0, 1],
    )
    problems = {p.id for p in read_jsonl(Problem, folder / "data/embedded/test.jsonl")}
    for arm in experiment["arms"]:
        assert len(set(arm["results"])) == 2, "one for each seed"
        for path in arm["results"]:
            results = folder / "embedded_etd" / path / "embedded"
            scores = json.loads((results / "scores.json").read_text())
            verdicts = list(read_jsonl(Verdict, results / "verdicts.jsonl"))
            assert scores["n"] == 12 and {v.problem_id for v in verdicts} == problems
            if arm["style"]:
                predictions = list(read_jsonl(Prediction, next(results.glob("*-test.jsonl"))))
                assert {p.style for p in predictions} == {arm["style"]}


def test_a_card_says_how_a_student_came_to_be(work):
    folder, _ = work
    found = cards(folder)
    arms = {(card["seed"], tuple(card["arms"])) for card in found.values()}
    assert arms == {(seed, (arm,)) for seed in (0, 1) for arm in ("cot", "etd")}
    hashes = {
        (split, file_sha256(folder / f"data/embedded/{split}.jsonl"))
        for split in ("train", "validation", "test")
    }
    for (_, seed, path), card in found.items():
        assert card["recipe"] == "embedded_etd" and card["seed"] == seed
        assert {(s["split"], s["sha256"]) for s in card["splits"]} == hashes
        assert all(t["sha256"] == dict(hashes)["test"] for t in card["tests"])
        training = card["training"]
        assert training["steps"] == 12 and training["curve"][-1]["step"] == 12
        assert training["curve"][-1]["learning_rate"] < training["curve"][0]["learning_rate"]
        losses = [r["validation_loss"] for r in training["curve"] if "validation_loss" in r]
        assert losses[1] < losses[0]
        # One example a row, as many rows for both arms; of the mixture every task was drawn.
        assert sum(card["mixture"].values()) == 12 * 8
        assert len(card["mixture"]) == (3 if "etd" in card["arms"] else 1)
        assert all(count > 0 for count in card["mixture"].values())
        assert card["spend"]["requests"] >= 3 * 160 and card["spend"]["completion_tokens"] > 0
        for chains in card["sets"]:
            assert chains["kept"] + sum(chains["reasons"].values()) == chains["in"] == 160
            assert chains["sha256"]
        assert card["parameters"] > 200_000 and card["hardware"]["count"] == 1
        assert "train.train:" in card["config"] and card["versions"]["jax"]
        executed = "etd" in card["arms"]
        assert bool(card["isolation"]) == executed and card["extractor"] == 1
        assert (folder / "embedded_etd" / path / "config.gin").is_file()


def test_once_more_there_is_nothing_to_do_but_the_report(work):
    folder, _ = work
    before = cards(folder)
    assert stages(run(folder)) == ["report"]
    assert cards(folder) == before


def test_another_seed_and_another_recipe_share_what_is_there(work):
    folder, _ = work
    said = run(folder, "--dry-run").splitlines()
    assert not any(word in line for line in said for word in ("t5distill train", "t5distill infer"))
    other = [word.replace("embedded_etd", "embedded_program") for word in COMMAND]
    process = subprocess.run(
        [sys.executable, "-m", "t5distill", *other, "--workdir", str(folder), "--dry-run"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    assert "t5distill generate" not in process.stdout
    assert "t5distill curate" not in process.stdout


def test_a_folder_that_was_begun_otherwise_is_refused(work):
    folder, _ = work
    process = begin(folder, "--seed", "1")
    said, _ = process.communicate()
    assert process.returncode == 2 and "begun with" in said and "another --workdir" in said
