"""Two processes of one run, as launchers: the same as one; what is left where one is killed."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import small_network

from t5distill.runtime import OTHERS_LOST

ROOT = pathlib.Path(__file__).parents[2]
SHAPE = {
    **small_network.BYTES,
    **small_network.SHAPE,
    "TASK_FEATURE_LENGTHS": "{'inputs': 192, 'targets': 64}",
}
TRAINING = {
    "TRAIN_STEPS": "8",
    "BATCH_SIZE": "4",
    "OPTIMIZER": "'adafactor'",
    "LEARNING_RATE": "1e-2",
    "WARMUP_STEPS": "2",
    "LOG_PERIOD": "1",
    "CHECKPOINT_PERIOD": "4",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    return {
        **small_network.environment(root, train=40, test=5),
        "T5DISTILL_COMPILATION_CACHE": str(root / "cache"),
    }


def start(environment, command, count, **macros):
    """Start all processes of a run."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    changed = {**SHAPE, **(TRAINING if command == "train" else {}), **macros}
    if command != "train":
        changed = {k: v for k, v in changed.items() if k not in SHAPE or k in INFERRING}
    several = ("--coordinator_address", address, "--process_count", str(count), "--process_index")
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "t5distill", command),
                *(f"--gin_file=gin/runs/{command}.gin", "--gin_file=gin/models/tiny.gin"),
                "--gin_file=gin/recipes/quickstart_cot.gin",
                *(f"--gin.{name}={value}" for name, value in changed.items()),
                *((*several, str(index)) if count > 1 else ()),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(count)
    ]


INFERRING = {"MIXTURE_OR_TASK_NAME", "TASK_FEATURE_LENGTHS", "VOCAB"}


def finish(processes):
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err[-3000:]


def losses(directory):
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


@pytest.fixture(scope="module")
def alone(environment, tmp_path_factory):
    """A run of one process."""
    directory = tmp_path_factory.mktemp("alone") / "run"
    finish(start(environment, "train", 1, MODEL_DIR=f"'{directory}'"))
    return directory


@pytest.mark.soak
def test_one_is_killed_and_the_run_goes_on(environment, alone, tmp_path):
    directory = tmp_path / "run"
    macros = {"MODEL_DIR": f"'{directory}'", "TRAIN_STEPS": "4000", "WARMUP_STEPS": "2"}
    first, second = start(environment, "train", 2, **macros)
    deadline = time.monotonic() + 300
    while not (directory / "checkpoint_8").is_dir():
        assert first.poll() is None and second.poll() is None, first.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(second.pid, signal.SIGKILL)
    second.communicate()
    # An exchange of gradients sees it at once; a checkpoint's barrier after 100 s without
    # heartbeats, and JAX ends the process itself.
    _, err = first.communicate(timeout=200)
    assert first.returncode in (OTHERS_LOST, -signal.SIGABRT), err[-3000:]
    if first.returncode == OTHERS_LOST:
        assert "another process of this run is gone" in err
        assert "Check failure stack trace" not in err and "Traceback" not in err
    else:
        assert "another task died" in err
    # Fewer steps than were asked for: those that are there already.
    last = max(int(p.name.split("_")[1]) for p in directory.glob("checkpoint_*[0-9]"))
    finish(start(environment, "train", 2, **{**macros, "TRAIN_STEPS": str(last + 4)}))
    assert max(losses(directory)) >= last + 4


@pytest.mark.soak
def test_two_do_what_one_does(environment, alone, tmp_path):
    together = tmp_path / "run"
    finish(start(environment, "train", 2, MODEL_DIR=f"'{together}'"))
    mine, ours = losses(alone), losses(together)
    assert mine.keys() == ours.keys() and len(mine) == 8
    files = []
    for count in (1, 2):
        out = tmp_path / f"by_{count}"
        macros = {"CHECKPOINT_PATH": f"'{alone}'", "INFER_OUTPUT_DIR": f"'{out}'"}
        finish(start(environment, "infer", count, **macros))
        files.append((out / "embedded_cot__byt5-test.jsonl").read_bytes())
    assert files[0] == files[1]
    # Two processes read other shares of the data, in another order: the losses are alike at the
    # start only (`tests/student/test_processes.py` has them on the same batches).
    np.testing.assert_allclose(mine[1], ours[1], rtol=0.05)


def test_an_error_of_one_ends_all(environment, tmp_path):
    processes = start(environment, "train", 2, MODEL_DIR=f"'{tmp_path}'", BATCH_SIZE="3")
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 2, err[-2000:]
        assert "BATCH_SIZE is 3" in err and "Traceback" not in err
