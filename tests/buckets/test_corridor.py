"""The whole corridor in a bucket, as one process runs its commands: prepare to export and back."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import small_network

from t5distill import places, records
from t5distill.formats.standin import standin_vocabulary
from t5distill.records import Prediction, Verdict
from t5distill.student import weights

ROOT = pathlib.Path(__file__).parents[2]
BUCKET = "gs://bucket"
SCRIPT = """
import json, sys
from t5distill.__main__ import main
for command in json.loads(sys.argv[1]):
    print("$", command[0], flush=True)
    if code := main(command):
        sys.exit(code)
"""
SET = "embedded_cot_gold"


def run(*commands, code=0):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)],
        cwd=ROOT,
        env={
            **os.environ,
            "T5DISTILL_DATA_DIR": f"{BUCKET}/data",
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def launch(command, **macros):
    files = (f"runs/{command}.gin", "models/tiny.gin", "recipes/quickstart_cot.gin")
    shared = {
        **small_network.SHAPE,
        "MIXTURE_OR_TASK_NAME": f"'{SET}'",
        "VOCAB_PATH": f"'{BUCKET}/s.model'",
        "TASK_FEATURE_LENGTHS": "{'inputs': 64, 'targets': 16}",
    }
    if command != "train":
        shared = {name: shared[name] for name in ("MIXTURE_OR_TASK_NAME", "TASK_FEATURE_LENGTHS")}
    macros = {**shared, **macros}
    return [
        *(command, *(f"--gin_file=gin/{file}" for file in files)),
        *(f"--gin.{name}={value}" for name, value in macros.items()),
    ]


def train(steps):
    return launch(
        "train",
        MODEL_DIR=f"'{BUCKET}/run'",
        TRAIN_STEPS=steps,
        BATCH_SIZE=2,
        WARMUP_STEPS=0,
        CHECKPOINT_PERIOD=2,
        OPTIMIZER="'adafactor'",
    )


@pytest.mark.soak
def test_the_corridor(bucket, tmp_path):
    model = standin_vocabulary(tmp_path / "s.model")
    places.place(f"{BUCKET}/s.model").write_bytes(model.read_bytes())
    problems = f"{BUCKET}/data/embedded"
    curate = ["curate", "--problems", f"{problems}/train.jsonl", "--gold", "cot"]
    told = run(
        ["prepare", "embedded", "--sizes", "12", "4", "4", "2"],
        curate,
        curate,  # once more, in its own place
        train(2),
    )
    assert "it took the place of a set of" in told
    # The same command goes on; then what it made is used from the bucket.
    predictions = f"{BUCKET}/run/test/{SET}-test.jsonl"
    infer = launch(
        "infer", CHECKPOINT_PATH=f"'{BUCKET}/run'", INFER_OUTPUT_DIR=f"'{BUCKET}/run/test'"
    )
    told = run(
        train(4),
        infer,
        infer,
        ["score", "--problems", f"{problems}/test.jsonl", "--predictions", predictions,
         "--out", f"{BUCKET}/run/scores"],
        ["export", "--checkpoint", f"{BUCKET}/run", "--out", f"{BUCKET}/hf",
         "--scores", f"{BUCKET}/run/scores", "--vocab_path", str(model)],
        ["export", "--checkpoint", f"{BUCKET}/hf", "--format", "t5x", "--out", f"{BUCKET}/t5x"],
        launch("eval", CHECKPOINT_PATH=f"'{BUCKET}/t5x'", EVAL_OUTPUT_DIR=f"'{BUCKET}/eval'",
               VOCAB_PATH=f"'{BUCKET}/s.model'"),
    )  # fmt: skip
    assert "4 problems (4 were done)" in told
    metrics = places.place(f"{BUCKET}/run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in metrics][-1] == 4
    again = f"{BUCKET}/eval/{SET}-test"
    first, second = (
        [p.text for p in records.read_jsonl(Prediction, path)]
        for path in (predictions, f"{again}/predictions.jsonl")
    )
    assert first == second and len(first) == 4
    for folder in (f"{BUCKET}/run/scores", again):
        assert len(list(records.read_jsonl(Verdict, f"{folder}/verdicts.jsonl"))) == 4
    ours, theirs = (weights.open_weights(f"{BUCKET}/{name}").arrays for name in ("run", "hf"))
    assert ours.keys() == theirs.keys()
    for path, array in ours.items():
        assert (array.read() == theirs[path].read()).all(), path
    assert "config.json" in [entry.name for entry in places.place(f"{BUCKET}/hf").iterdir()]
