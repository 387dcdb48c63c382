"""T5X's launchers on our tasks, model files and recipes; test_t5x_gin.py is what always runs."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import small_network
import talking_teacher
from etils import epath

from t5distill import Student
from t5distill.__main__ import main
from t5distill.formats.standin import standin_vocabulary
from t5distill.records import Problem, read_jsonl
from t5distill.student import t5x_format
from t5distill.student.weights import open_weights

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("t5x") is None, reason="T5X is not installed (docs/t5x.md)"
)

ROOT = pathlib.Path(__file__).parents[2]
MACROS = {
    **small_network.SHAPE,
    "TASK_FEATURE_LENGTHS": "{'inputs': 192, 'targets': 48}",
    "BATCH_SIZE": "4",
}
TRAINING = {
    "TRAIN_STEPS": "6",
    "WARMUP_STEPS": "2",
    "EVAL_PERIOD": "6",
    "EVAL_STEPS": "1",
    "CHECKPOINT_PERIOD": "3",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    root = tmp_path_factory.mktemp("t5x")
    vocabulary = standin_vocabulary(root / "spiece.model")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {
        **small_network.environment(root, train=40, validation=4, test=5),
        "T5DISTILL_T5_VOCAB": str(vocabulary),
        "PYTHONPATH": path,
    }


def launch(environment, command, code=0, **macros):
    done = subprocess.run(
        [
            *(sys.executable, "-m", f"t5x.{command}", f"--gin_search_paths={ROOT}"),
            *(f"--gin_file=gin/t5x/{command}.gin", "--gin_file=gin/models/tiny.gin"),
            "--gin_file=gin/recipes/quickstart_cot.gin",
            *(f"--gin.{name}={value}" for name, value in {**MACROS, **macros}.items()),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert (done.returncode == 0) == (code == 0), done.stderr[-3000:]
    return done.stderr


@pytest.fixture(scope="module", params=["adafactor", "muon"])
def trained(request, environment, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param) / "run"
    macros = {"OPTIMIZER": f"'{request.param}'", "MODEL_DIR": f"'{directory}'"}
    launch(environment, "train", **TRAINING, **macros)
    return directory


def test_training_evaluates_in_the_loop(trained):
    assert (trained / "checkpoint_6").is_dir()
    [metrics] = (trained / "inference_eval").glob("*-metrics.jsonl")
    measured = json.loads(metrics.read_text().splitlines()[-1])
    assert measured["step"] == 6 and measured["outcome/truncated"] + measured["accuracy"] <= 100


def test_inference_is_scored(environment, trained, tmp_path):
    checkpoint = f"'{trained / 'checkpoint_6'}'"
    launch(environment, "infer", CHECKPOINT_PATH=checkpoint, INFER_OUTPUT_DIR=f"'{tmp_path / 'i'}'")
    [predictions] = (tmp_path / "i").glob("*-predict.jsonl-00000-of-00001")
    problems = pathlib.Path(environment["T5DISTILL_DATA_DIR"], "embedded/test.jsonl")
    out = tmp_path / "scores"
    arguments = ["--problems", str(problems), "--predictions", str(predictions), "--out", str(out)]
    assert main(["score", *arguments]) == 0
    assert json.loads((out / "scores.json").read_text())["n"] == 5
    verdicts = [json.loads(line) for line in (out / "verdicts.jsonl").read_text().splitlines()]
    assert {v["problem_id"] for v in verdicts} == {p.id for p in read_jsonl(Problem, problems)}
    assert "missing" not in {v["outcome"] for v in verdicts}


def test_evaluation_of_a_split_prints_our_metrics(environment, trained, tmp_path):
    macros = {
        "CHECKPOINT_PATH": f"'{trained / 'checkpoint_6'}'",
        "EVAL_OUTPUT_DIR": f"'{tmp_path / 'e'}'",
        "EVAL_SPLIT": "'test'",
    }
    said = launch(environment, "eval", **macros)
    [metrics] = (tmp_path / "e").rglob("*-metrics.jsonl")
    measured = json.loads(metrics.read_text().splitlines()[-1])
    outcomes = [value for name, value in measured.items() if name.startswith("outcome/")]
    assert measured["accuracy"] + sum(outcomes) == pytest.approx(100)
    assert "accuracy" in said and "outcome/wrong" in said


def test_a_run_from_a_checkpoint_counts_its_own_steps(environment, trained, tmp_path):
    macros = {
        "MODEL_DIR": f"'{tmp_path / 'run'}'",
        "INITIAL_CHECKPOINT_PATH": f"'{trained / 'checkpoint_6'}'",
        "OPTIMIZER": "'adafactor'",
    }
    launch(environment, "train", **{**TRAINING, "TRAIN_STEPS": "3", "EVAL_PERIOD": "0"}, **macros)
    assert (tmp_path / "run/checkpoint_3").is_dir()
    # The same command again finds nothing left to do, and one with more steps goes on.
    launch(environment, "train", **{**TRAINING, "TRAIN_STEPS": "6", "EVAL_PERIOD": "0"}, **macros)
    assert (tmp_path / "run/checkpoint_6").is_dir()


def test_soft_labels_are_learnt_by_the_launcher(environment, tmp_path):
    talking_teacher.write_set(pathlib.Path(environment["T5DISTILL_DATA_DIR"]))
    macros = {
        **TRAINING,
        "MODEL_DIR": f"'{tmp_path / 'run'}'",
        "MIXTURE_OR_TASK_NAME": "'embedded_cot_soft_talker'",
        "LOSS": "'forward_kl'",
        "PACK": "True",
    }
    launch(environment, "train", **macros)
    assert (tmp_path / "run/checkpoint_6").is_dir()
    said = launch(environment, "train", code=1, **{**macros, "ON_POLICY_SHARE": "0.5"})
    assert "of t5distill's own engine" in said
    plain = {
        **macros,
        "MODEL_DIR": f"'{tmp_path / 'no'}'",
        "MIXTURE_OR_TASK_NAME": "'embedded_cot'",
    }
    assert "the task has no soft labels" in launch(environment, "train", code=1, **plain)


def test_a_misspelt_macro_stops_t5x(environment, tmp_path):
    said = launch(
        environment,
        "train",
        code=1,
        MODEL_DIR=f"'{tmp_path}'",
        TRAIN_STPES="3",
        **TRAINING,
    )
    assert "did you mean TRAIN_STEPS" in said


def test_a_student_moves_between_the_engines(environment, trained, tmp_path, monkeypatch):
    """Ours goes on from T5X's checkpoint, and T5X from ours, exported at step 1,000,000."""
    monkeypatch.setattr("os.environ", environment)
    vocabulary = environment["T5DISTILL_T5_VOCAB"]
    begins = open_weights(trained / "checkpoint_6")
    shape = [f"--gin.{name}={value}" for name, value in MACROS.items()]
    files = ["gin/runs/train.gin", "gin/models/tiny.gin", "gin/recipes/quickstart_cot.gin"]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "t5distill", "train", *(f"--gin_file={f}" for f in files)),
            *(
                *shape,
                "--gin.TRAIN_STEPS=2",
                "--gin.WARMUP_STEPS=0",
                f"--gin.VOCAB_PATH='{vocabulary}'",
            ),
            f"--gin.INITIAL_CHECKPOINT_PATH='{trained / 'checkpoint_6'}'",
            *("--gin.LEARNING_RATE=1e-9", f"--gin.MODEL_DIR='{tmp_path / 'ours'}'"),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ours = open_weights(tmp_path / "ours")
    for path, array in begins.arrays.items():
        np.testing.assert_allclose(ours.arrays[path].read(), array.read(), atol=1e-6)
    million = dataclasses.replace(ours, step=1_000_000)
    folder = tmp_path / "t5x/checkpoint_1000000"
    folder.mkdir(parents=True)
    t5x_format.write(epath.Path(folder), million.arrays, step=1_000_000)
    macros = {
        "MODEL_DIR": f"'{tmp_path / 'run'}'",
        "INITIAL_CHECKPOINT_PATH": f"'{folder}'",
        "LEARNING_RATE": "1e-9",
    }
    launch(environment, "train", **{**TRAINING, "TRAIN_STEPS": "3", "EVAL_PERIOD": "0"}, **macros)
    assert (tmp_path / "run/checkpoint_3").is_dir()
    launch(environment, "train", **{**TRAINING, "TRAIN_STEPS": "5", "EVAL_PERIOD": "0"}, **macros)
    last = open_weights(tmp_path / "run")
    assert last.step == 5
    for path, array in begins.arrays.items():
        np.testing.assert_allclose(last.arrays[path].read(), array.read(), atol=1e-6)
    # What T5X infers from our export is what we decode.
    where = f"'{tmp_path / 'i'}'"
    launch(environment, "infer", CHECKPOINT_PATH=f"'{folder}'", INFER_OUTPUT_DIR=where)
    [predictions] = (tmp_path / "i").glob("*-predict.jsonl-00000-of-00001")
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    texts = [row["inputs"]["inputs_pretokenized"] for row in rows]
    student = Student.load(folder, vocabulary=vocabulary)
    found = student.generate(texts, max_tokens=48)
    assert [row["prediction"] for row in rows] == [row[0].text for row in found]
