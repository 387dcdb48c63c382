"""The whole corridor in one small run, through the commands that a user types."""

import json
import math
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from t5distill.__main__ import main
from t5distill.api import Student
from t5distill.problems import embedded
from t5distill.records import Chain, Prediction, Problem, Verdict, read_jsonl
from t5distill.teacher import accounts
from t5distill.teacher.loopback.answers import Writer
from t5distill.verify import judge

ROOT = pathlib.Path(__file__).parents[1]
ARMS = ("untrained", "answer", "cot")
TRAIN = 1200
# Fewer updates than the recipe warms up for.
STEPS = 20
COMMAND = ("quickstart", "--train-steps", str(STEPS), "--seed", "3")
COMMAND += ("--sizes", str(TRAIN), "20", "24", "10")


def begin(work):
    """Start a quickstart as a shell does, in a process group of its own; return it asking."""
    process = subprocess.Popen(
        [sys.executable, "-m", "t5distill", *COMMAND, "--workdir", str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
        process_group=0,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if line.endswith("to ask for\n"):
            break
    else:
        raise AssertionError("".join(said))
    while process.poll() is None and answered(work) < 20:
        time.sleep(0.002)
    assert process.poll() is None, "the quickstart ended before it could be interrupted"
    [url] = {line.split()[5] for line in said if line.startswith("the simulated teacher listens")}
    return process, url


def ended(process):
    """Return what else it printed; its server writes to the same pipe and has ended too then."""
    with process:
        return process.stdout.read()


def answered(work):
    return sum(row[-1] for row in accounts.overview(work / "ledger.db")["sets"])


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A quickstart that was killed while it asked its teacher."""
    work = tmp_path_factory.mktemp("quickstart")
    process, url = begin(work)
    process.kill()
    assert "Traceback" not in ended(process)
    return work, url, answered(work)


@pytest.fixture(scope="module")
def work(killed):
    """The same quickstart, gone on with."""
    work, *_ = killed
    assert main([*COMMAND, "--workdir", str(work)]) == 0
    return work


def test_a_killed_quickstart_leaves_no_server_and_goes_on(killed, work):
    _, url, before = killed
    port = int(url.removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert 20 <= before < TRAIN == answered(work)
    attempts = accounts.overview(work / "ledger.db")["attempts"]
    unknown = attempts.pop("unknown", 0)
    assert attempts == {"answered": TRAIN}
    assert unknown <= 32  # in flight at the kill: no more than generate has under way


def test_ctrl_c_waits_for_what_is_asked_and_says_how_to_go_on(tmp_path):
    process, _ = begin(tmp_path)
    # As the terminal does: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    out = ended(process)
    assert process.returncode == 1
    assert "stopped early: interrupted" in out and "the same command goes on" in out
    assert "Traceback" not in out
    attempts = accounts.overview(tmp_path / "ledger.db")["attempts"]
    assert attempts == {"answered": answered(tmp_path)}
    assert 20 <= answered(tmp_path) < TRAIN


def test_the_teacher_is_the_one_that_was_asked_for(work):
    writer = Writer(seed=3, wrong_rate=0.2, malformed_rate=0.05)
    problems = read_jsonl(Problem, work / "data/embedded/train.jsonl")
    # The prompt stops it where it begins a question of its own.
    wanted = {p.id: writer.text(p, "cot").partition("\nQ:")[0] for p in problems}
    chains = list(accounts.chains(work / "ledger.db", teacher="simulated"))
    assert len(chains) == TRAIN
    assert {c.problem_id: c.text for c in chains} == wanted


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
    assert training["answer"]["steps"] == training["cot"]["steps"] == STEPS
    assert 0 < training["answer"]["target_tokens"] < training["cot"]["target_tokens"]


def test_only_right_chains_are_learnt(work):
    problems = {p.id: p for p in read_jsonl(Problem, work / "data/embedded/train.jsonl")}
    kept = list(read_jsonl(Chain, next((work / "data/chains").glob("*/kept.jsonl"))))
    rejected = list(read_jsonl(Chain, next((work / "data/chains").glob("*/rejected.jsonl"))))
    assert len(kept) + len(rejected) == len(problems) == TRAIN
    for chain in kept:
        problem = problems[chain.problem_id]
        assert judge(chain.text, problem.answer, "numeric").outcome == "correct"
    assert 0.1 < len(rejected) / TRAIN < 0.3


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


def test_a_second_run_repeats_nothing(work, capsys):
    before = {
        p: (p.stat().st_mtime_ns, p.read_bytes()) for p in work.glob("*/embedded*/*-test.jsonl")
    }
    assert len(before) == 6
    asked = accounts.overview(work / "ledger.db")
    assert main([*COMMAND, "--workdir", str(work)]) == 0
    assert accounts.overview(work / "ledger.db") == asked
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in before} == before
    assert "24 unseen problems" in capsys.readouterr().out


def test_predictions_name_their_problems(work):
    problems = [p.id for p in read_jsonl(Problem, work / "data/embedded/test.jsonl")]
    path = work / "cot/embedded/embedded_cot_simulated-test.jsonl"
    assert [p.problem_id for p in read_jsonl(Prediction, path)] == problems


@pytest.mark.parametrize("flag", ["--wrong-rate", "--malformed-rate"])
def test_a_rate_that_is_none_is_refused(tmp_path, capsys, flag):
    code = main(["quickstart", "--workdir", str(tmp_path / "w"), flag, "1.5"])
    assert code == 2
    assert f"{flag} is 1.5" in capsys.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_missing_package_is_named_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)  # as if it were not installed
    assert main(["quickstart", "--workdir", str(tmp_path / "w")]) == 2
    said = capsys.readouterr().err
    assert "no openai" in said and "pip install '.[teacher]'" in said
    assert not (tmp_path / "w").exists()
