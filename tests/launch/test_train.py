"""The launchers as processes on real SeqIO tasks: train, stop, kill, resume, infer, eval."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import small_network
import talking_teacher

from t5distill.api import Student
from t5distill.errors import UserError
from t5distill.feed import Feed
from t5distill.formats.standin import standin_vocabulary
from t5distill.formats.vocabulary import ByteVocabulary, SentencePieceVocabulary
from t5distill.problems import embedded
from t5distill.records import Problem, read_jsonl, write_jsonl
from t5distill.student.config import T5Config

ROOT = pathlib.Path(__file__).parents[2]
STEPS = 24
MACROS = {
    **small_network.BYTES,
    **small_network.SHAPE,
    "TASK_FEATURE_LENGTHS": "{'inputs': 192, 'targets': 192}",
    "TRAIN_STEPS": str(STEPS),
    "BATCH_SIZE": "2",
    "OPTIMIZER": "'adafactor'",
    "LEARNING_RATE": "1e-2",
    "WARMUP_STEPS": "4",
    "DROPOUT_RATE": "0.1",
    "LOG_PERIOD": "1",
    "EVAL_PERIOD": "8",
    "EVAL_STEPS": "1",
    "CHECKPOINT_PERIOD": "4",
}
RECIPE = ("--gin_file=gin/models/tiny.gin", "--gin_file=gin/recipes/quickstart_cot.gin")


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Prepared problems, and a place for compiled programs."""
    root = tmp_path_factory.mktemp("launch")
    return {
        **small_network.environment(root, train=40, validation=6, test=5),
        "T5DISTILL_COMPILATION_CACHE": str(root / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }


def start(environment, command, **macros):
    changed = {**MACROS, **macros} if command == "train" else macros
    return subprocess.Popen(
        [
            *(sys.executable, "-m", f"t5distill.{command}", f"--gin_file=gin/runs/{command}.gin"),
            *RECIPE,
            *(f"--gin.{name}={value}" for name, value in changed.items()),
        ],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err[-3000:]
    return out, err


def metrics(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def wait_for_step(process, directory, step):
    deadline = time.monotonic() + 300
    while True:
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        path = directory / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        if any(json.loads(x)["step"] >= step for x in lines if x.endswith("}")):
            return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def trained(environment, tmp_path_factory):
    """An unbroken run."""
    directory = tmp_path_factory.mktemp("run") / "unbroken"
    out, _ = finish(start(environment, "train", MODEL_DIR=f"'{directory}'"))
    return directory, out


def test_a_run_leaves_everything_behind(trained):
    directory, out = trained
    assert f"step {STEPS}, loss" in out
    steps = [row["step"] for row in metrics(directory) if "loss" in row]
    assert steps == list(range(1, STEPS + 1))
    evaluated = [row for row in metrics(directory) if "validation_accuracy" in row]
    assert [row["step"] for row in evaluated] == [8, 16, 24]
    assert all("validation_loss" in row for row in evaluated)
    config = json.loads((directory / "config.json").read_text())
    assert config["model"]["emb_dim"] == 32
    assert config["vocab"] == {"name": "byt5", "path": None}
    assert (config["task"], config["style"]) == ("embedded_cot", "cot")
    best = json.loads((directory / "best.json").read_text())
    assert best["step"] in (8, 16, 24)
    assert (directory / f"checkpoint_{STEPS}").is_dir()
    assert list((directory / "tensorboard").iterdir())
    run = json.loads((directory / "run.json").read_text())
    assert run["versions"]["jax"]
    assert "TRAIN_STEPS = 24" in (directory / "config.gin").read_text()


def test_a_stopped_and_killed_run_ends_like_an_unbroken_one(environment, trained, tmp_path):
    directory = tmp_path / "broken"
    macros = {"MODEL_DIR": f"'{directory}'"}

    process = start(environment, "train", **macros)
    wait_for_step(process, directory, 2)
    process.send_signal(signal.SIGTERM)
    _, err = finish(process, code=128 + signal.SIGTERM)
    assert "kept first" in err
    stopped_at = metrics(directory)[-1]["step"]
    assert (directory / f"checkpoint_{stopped_at}").is_dir()
    assert json.loads((directory / "run.json").read_text())["stopped"]

    process = start(environment, "train", **macros)
    wait_for_step(process, directory, min(stopped_at + 5, STEPS - 2))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    finish(start(environment, "train", **macros))
    kept = ("step", "loss", "validation_loss", "validation_accuracy")
    rows, wanted = (
        [{k: row[k] for k in kept if k in row} for row in metrics(d)]
        for d in (directory, trained[0])
    )
    assert rows == wanted


def test_infer_and_eval(environment, trained, tmp_path):
    macros = {
        "CHECKPOINT_PATH": f"'{trained[0]}'",
        "MIXTURE_OR_TASK_NAME": "'embedded_cot'",
        "TASK_FEATURE_LENGTHS": "{'inputs': 192, 'targets': 24}",
        "VOCAB": "'byt5'",
    }
    sampling = {"DECODING": "'sample'", "NUM_SAMPLES": "2"}
    infer = start(environment, "infer", INFER_OUTPUT_DIR=f"'{tmp_path}'", **macros, **sampling)
    out, _ = finish(infer)
    assert "5 problems" in out
    lines = (tmp_path / "embedded_cot__byt5-test.jsonl").read_text().splitlines()
    assert [json.loads(line)["sample"] for line in lines] == [0, 1] * 5
    out, _ = finish(start(environment, "eval", EVAL_OUTPUT_DIR=f"'{tmp_path}'", **macros))
    assert "accuracy" in out
    scored = tmp_path / "embedded_cot__byt5-test"
    assert json.loads((scored / "scores.json").read_text())["n"] == 5
    problems = pathlib.Path(environment["T5DISTILL_DATA_DIR"]) / "embedded" / "test.jsonl"
    wanted = [problem.id for problem in read_jsonl(Problem, problems)]
    verdicts = (scored / "verdicts.jsonl").read_text().splitlines()
    assert [json.loads(line)["problem_id"] for line in verdicts] == wanted


@pytest.mark.parametrize(
    "macros, message",
    [
        ({"MIXTURE_OR_TASK_NAME": "'embeded_cot'"}, "did you mean embedded_cot"),
        ({"VOCAB_SIZE": "128"}, "VOCAB_SIZE is 128; the model file does not fit"),
        ({"TASK_FEATURE_LENGTHS": "{'inputs': 8}"}, "wanted tokens of inputs and targets"),
        ({"OPTIMIZER": "'adam'"}, "did you mean adamw"),
        ({"EVAL_SPLIT": "'dev'"}, "no split 'dev'"),
        ({"INITIAL_CHECKPOINT_PATH": "'nowhere'"}, "nowhere: no such directory"),
        ({"LOSS": "'forward_kl'"}, "the task has no soft labels"),
        ({"LOSS": "'reverse_kl'"}, "wanted MISSING_MASS tail"),
        ({"ON_POLICY_SHARE": "0.5"}, "nobody scores what the student writes"),
        (
            {"LOSS": "'forward_kl'", "TEACHER_CHECKPOINT_PATH": "'nowhere'"},
            "TEACHER_CHECKPOINT_PATH: ",
        ),
        ({"LOSS": "'forward_kl'", "SOFT_WEIGHT": "2.0"}, "SOFT_WEIGHT is 2.0"),
        (
            {"LOSS": "'forward_kl'", "ON_POLICY_SHARE": "0.01", "PACK": "True"},
            "wanted PACK = False",
        ),
    ],
)
def test_mistakes_are_named_before_anything_is_written(
    environment, monkeypatch, tmp_path, capsys, macros, message
):
    from t5distill.__main__ import main

    monkeypatch.setenv("T5DISTILL_DATA_DIR", environment["T5DISTILL_DATA_DIR"])
    monkeypatch.setenv("T5DISTILL_COMPILATION_CACHE", "")
    monkeypatch.chdir(ROOT)
    given = {**MACROS, "MODEL_DIR": f"'{tmp_path / 'x'}'", **macros}
    arguments = [f"--gin.{name}={value}" for name, value in given.items()]
    assert main(["train", "--gin_file=gin/runs/train.gin", *RECIPE, *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and "Traceback" not in said
    assert not list(tmp_path.rglob("checkpoint_*"))


@pytest.mark.soak
def test_two_students_share_a_conversation(environment, tmp_path):
    """One learns to ask, the other to solve; neither can do without the other."""
    data = tmp_path / "data"
    text = "How many have they? ** They have 3 * 4 = 12.\nHow many are left? ** 7 are.\n#### 7"
    for split in ("train", "validation", "test"):
        problems = [
            dataclasses.replace(p, meta={**p.meta, "chains": {"socratic": text}})
            for p in embedded.generate(count=6, seed=0, split=split)
        ]
        write_jsonl(data / "embedded" / f"{split}.jsonl", problems)
    environment = {**environment, "T5DISTILL_DATA_DIR": str(data)}
    students = {}
    for role in ("ask", "solve"):
        students[role] = tmp_path / role
        task = f"'embedded_socratic_iterative_count_{role}'"
        training = start(
            environment,
            "train",
            MODEL_DIR=f"'{students[role]}'",
            MIXTURE_OR_TASK_NAME=task,
            TRAIN_STEPS="4",
            TASK_FEATURE_LENGTHS="{'inputs': 384, 'targets': 64}",
        )
        finish(training)
    macros = {
        "CHECKPOINT_PATH": f"'{students['solve']}'",
        "MIXTURE_OR_TASK_NAME": "'embedded_socratic_iterative_count'",
        "TASK_FEATURE_LENGTHS": "{'inputs': 384, 'targets': 8}",
        "VOCAB": "'byt5'",
    }
    settings = []
    for name, more in (
        ("pair", {"FIRST_CHECKPOINT_PATH": f"'{students['ask']}'"}),
        ("alone", {}),
        ("pair", {"FIRST_CHECKPOINT_PATH": f"'{students['ask']}'"}),
    ):
        out, _ = finish(
            start(environment, "infer", INFER_OUTPUT_DIR=f"'{tmp_path / name}'", **macros, **more)
        )
        [path] = (tmp_path / name).glob("*-test.settings.json")
        settings.append(json.loads(path.read_text())["settings"])
    assert settings[0]["first"] != settings[0]["student"]
    assert settings[1] == {k: v for k, v in settings[0].items() if k != "first"}
    assert "6 were done" in out
    [path] = (tmp_path / "pair").glob("*-test.jsonl")
    predictions = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(p["meta"]["turns"] >= 3 for p in predictions)


@pytest.mark.soak  # the tiny recipes embedded_match_distribution, _white_box and _gkd are such runs
def test_soft_labels_a_white_box_teacher_and_the_student_s_own_texts(
    environment, trained, tmp_path
):
    """Each on the trained student's data, with that student as the teacher."""
    talking_teacher.write_set(pathlib.Path(environment["T5DISTILL_DATA_DIR"]))
    few = {"TRAIN_STEPS": "4", "EVAL_PERIOD": "4", "CHECKPOINT_PERIOD": "0"}
    soft = {**few, "MIXTURE_OR_TASK_NAME": "'embedded_cot_soft_talker'", "LOSS": "'forward_kl'"}
    finish(start(environment, "train", **soft, MODEL_DIR=f"'{tmp_path / 'soft'}'", PACK="True"))
    own = {**few, "LOSS": "'jensen_shannon'", "ON_POLICY_SHARE": "0.5", "PACK": "False"}
    own |= {"TEACHER_CHECKPOINT_PATH": f"'{trained[0]}'", "MODEL_DIR": f"'{tmp_path / 'own'}'"}
    finish(start(environment, "train", **own))
    for run in ("soft", "own"):
        rows = metrics(tmp_path / run)
        row = next(r for r in rows if r["step"] == 1)
        assert row["soft_loss"] > 0 and 0 < row["soft_share"] <= 1 and row["teacher_entropy"] > 0
        assert any("validation_loss" in r for r in rows)


def test_a_teacher_of_another_vocabulary_is_refused(tmp_path):
    feed = Feed(
        task="embedded_cot",
        task_module="t5distill.tasks",
        feature_lengths={"inputs": 8, "targets": 8},
        batch_size=2,
        vocab="byt5",
    )
    config = T5Config(vocab_size=500, emb_dim=8, num_heads=1, head_dim=8, mlp_dim=8)
    pieces = SentencePieceVocabulary(standin_vocabulary(tmp_path / "s.model"))
    for vocabulary, fits in ((None, True), (ByteVocabulary(), True), (pieces, False)):
        teacher = Student({}, config, vocabulary=vocabulary)
        if fits:
            feed.check_vocabulary(teacher)
            continue
        with pytest.raises(UserError, match="a white-box teacher needs the student's"):
            feed.check_vocabulary(teacher)
