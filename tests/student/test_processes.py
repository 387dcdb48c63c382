"""Training as processes: meshes of 8 simulated devices, two processes, and kill -9.

All runs see the same batches; float32. The reference is one device in one process.
"""

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

SCRIPT = pathlib.Path(__file__).with_name("train_process.py")
ROOT = SCRIPT.parents[2]


def start(directory, *options, devices=1):
    directory.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--directory", str(directory), *map(str, options)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process, timeout_s=300):
    out, err = process.communicate(timeout=timeout_s)
    assert process.returncode == 0, err[-3000:]
    return json.loads(out.splitlines()[-1])


def losses(found):
    return np.array([found["losses"][k] for k in sorted(found["losses"], key=int)])


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """Losses of 10 steps on one device, by dropout rate."""
    runs = {rate: start(tmp_path_factory.mktemp("one"), "--dropout", rate) for rate in (0.0, 0.1)}
    return {rate: losses(result(process)) for rate, process in runs.items()}


@pytest.mark.parametrize(
    "model_parallelism, dropout",
    [(1, 0.0), pytest.param(2, 0.0, marks=pytest.mark.soak), (4, 0.0), (2, 0.1)],
)
def test_meshes_of_eight_devices_give_one_device_s_losses(
    tmp_path, references, model_parallelism, dropout
):
    options = ("--dropout", dropout, "--model_parallelism", model_parallelism)
    found = result(start(tmp_path, *options, devices=8))
    assert found["devices"] == 8
    np.testing.assert_allclose(losses(found), references[dropout], rtol=1e-4)


# Rows of their own in each process are what the teacher's two processes below have too.
@pytest.mark.parametrize(
    "model_parallelism, dropout", [pytest.param(1, 0.0, marks=pytest.mark.soak), (4, 0.1)]
)
def test_two_processes_of_two_devices_give_one_device_s_losses(
    tmp_path, references, model_parallelism, dropout
):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    options = ("--dropout", dropout, "--model_parallelism", model_parallelism, "--port", port)
    both = [start(tmp_path, *options, "--process", i, devices=2) for i in range(2)]
    for i, process in enumerate(both):
        found = result(process)
        assert found["devices"] == 4
        # With the model spread over both processes, both read all rows.
        assert found["layout"] == ([i, 2] if model_parallelism == 1 else [0, 1])
        np.testing.assert_allclose(losses(found), references[dropout], rtol=1e-4)


# Listed tokens; a white-box teacher of another width, also on what the student writes itself.
LISTED = ("--loss", "reverse_kl")
OWN_TEXTS = ("--loss", "jensen_shannon", "--white_box", "--on_policy_share", 0.6)
MORE = (("--loss", "forward_kl"), ("--loss", "total_variation", "--white_box"))


def taught(directory, options, **how):
    """Start six steps of a student with a teacher."""
    return start(directory, *options, "--steps", 6, "--dropout", 0.1, **how)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """Losses on one device, by what the student is taught by."""
    runs = {o: taught(tmp_path_factory.mktemp("taught"), o) for o in (LISTED, OWN_TEXTS)}
    found = {options: losses(result(process)) for options, process in runs.items()}
    assert all(len(each) == 6 for each in found.values())
    return found


@pytest.mark.parametrize(("options", "model_parallelism"), [(LISTED, 4), (OWN_TEXTS, 1)])
def test_a_teacher_on_eight_devices(tmp_path, lessons, options, model_parallelism):
    spread = ("--model_parallelism", model_parallelism)
    found = result(taught(tmp_path, (*options, *spread), devices=8))
    np.testing.assert_allclose(losses(found), lessons[options], rtol=2e-4)


def test_a_teacher_in_two_processes(tmp_path, lessons):
    """Both write their own texts: what one samples, the other knows."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    more = (*OWN_TEXTS, "--port", port)
    both = [taught(tmp_path, (*more, "--process", i), devices=2) for i in range(2)]
    for process in both:
        np.testing.assert_allclose(losses(result(process)), lessons[OWN_TEXTS], rtol=2e-4)


@pytest.mark.soak
@pytest.mark.parametrize("options", MORE, ids=lambda options: "-".join(options))
@pytest.mark.parametrize("model_parallelism", [1, 4])
def test_every_way_to_be_taught_on_eight_devices(tmp_path, options, model_parallelism):
    wanted = losses(result(taught(tmp_path / "one", options)))
    spread = ("--model_parallelism", model_parallelism)
    found = result(taught(tmp_path / "eight", (*options, *spread), devices=8))
    np.testing.assert_allclose(losses(found), wanted, rtol=2e-4)


def test_a_killed_run_ends_like_an_unbroken_one(tmp_path):
    options = ("--steps", 14, "--checkpoint_period", 2, "--dropout", 0.1)
    unbroken = result(start(tmp_path / "unbroken", *options))
    killed = start(tmp_path / "killed", *options, "--slow_s", 0.1)
    seen = tmp_path / "killed" / "seen.txt"
    deadline = time.monotonic() + 300
    while not (seen.exists() and len(seen.read_text().splitlines()) >= 7):
        assert killed.poll() is None, killed.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    resumed = result(start(tmp_path / "killed", *options))
    first = min(map(int, resumed["losses"]))
    assert 2 < first <= 11, "it went on from a checkpoint, neither from the start nor to the end"
    assert resumed["losses"]["14"] == unbroken["losses"]["14"]
    assert resumed["parameters"] == unbroken["parameters"]
