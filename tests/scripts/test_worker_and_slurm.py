"""scripts/worker.sh and scripts/slurm.sbatch, with stand-ins for Python and Slurm's commands.

Both have run on a real Slurm (docs/scale.md); what they decide is checked here, always.
"""

import os
import pathlib
import signal
import subprocess
import time

import pytest

SCRIPTS = pathlib.Path(__file__).parents[2] / "scripts"
# Whatever it is asked to run it only prints.
PYTHON = """#!/bin/sh
if [ "$#" = 2 ] && [ "$1" = -c ]; then
  [ -z "$NOTHING_THERE" ] && exit 0
  echo "ModuleNotFoundError: none" >&2
  exit 1
fi
echo "runs $*"
echo "path $PYTHONPATH"
"""
JOINED = (
    "-c import runpy, jax; jax.distributed.initialize(); runpy.run_module('t5x.{}', "
    "run_name='__main__', alter_sys=True) --gin_search_paths=HERE --alsologtostderr --x"
)


@pytest.fixture
def venv(tmp_path):
    place = tmp_path / "venv/bin/python"
    place.parent.mkdir(parents=True)
    place.write_text(PYTHON)
    place.chmod(0o755)
    return tmp_path / "venv"


def worker(venv, *words, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "T5D", "PYTHONPATH"))}
    done = subprocess.run(
        [SCRIPTS / "worker.sh", *words],
        capture_output=True,
        text=True,
        env={**kept, "VENV": str(venv), **environment},
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "environment", "runs"),
    [
        (("t5distill", "train", "--x"), {}, "-m t5distill.train --x"),
        (("t5distill", "infer"), {"SLURM_NTASKS": "1"}, "-m t5distill.infer"),
        (
            ("t5distill", "eval", "--x"),
            {"SLURM_NTASKS": "4"},
            "-m t5distill.eval --multiprocess --x",
        ),
        (
            ("t5distill", "train"),
            {"T5DISTILL_WORKERS": "2"},
            "-m t5distill.train --multiprocess",
        ),
        (("t5distill", "train"), {"T5DISTILL_WORKERS": "1"}, "-m t5distill.train"),
        (("t5x", "train", "--x"), {}, "-m t5x.train --gin_search_paths=HERE --alsologtostderr --x"),
        (("t5x", "train", "--x"), {"SLURM_NTASKS": "2"}, JOINED.format("train")),
        (("t5x", "infer", "--x"), {"T5DISTILL_WORKERS": "2"}, JOINED.format("infer")),
    ],
)
def test_a_worker_knows_whether_it_is_one_of_several(venv, words, environment, runs):
    code, said = worker(venv, *words, **environment)
    assert code == 0
    assert f"runs {runs.replace('HERE', str(SCRIPTS.parent))}\n" in said


def test_checkouts_of_t5x_come_behind_ours(venv):
    _, said = worker(venv, "t5x", "eval", T5X_PATH="/a:/b", PYTHONPATH="/c")
    assert f"path {SCRIPTS.parent}:/a:/b:/c\n" in said


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("t5d", "train"), {}, "wanted t5distill or t5x"),
        (("t5distill", "score"), {}, "wanted t5distill or t5x"),
        ((), {}, "wanted t5distill or t5x"),
        (("t5distill", "train"), {"NOTHING_THERE": "1"}, "ModuleNotFoundError: none"),
        (("t5x", "train"), {"NOTHING_THERE": "1"}, "docs/t5x.md"),
        (("t5distill", "train"), {"VENV": "/nowhere"}, "VENV is /nowhere"),
    ],
)
def test_a_worker_says_what_is_missing(venv, words, environment, said):
    code, out = worker(venv, *words, **environment)
    assert code == 2
    assert said in out


SRUN = """#!/bin/sh
echo "srun $*" >> "$CALLS"
touch "$CALLS.started"
while [ ! -e "$CALLS.code" ]; do sleep 0.05; done
exit "$(cat "$CALLS.code")"
"""
SCANCEL = """#!/bin/sh
echo "scancel $*" >> "$CALLS"
sleep 0.3
echo 143 > "$CALLS.code"
"""
SCONTROL = """#!/bin/sh
echo "scontrol $*" >> "$CALLS"
"""


class Slurm:
    """Stand-ins for Slurm's commands, and the script under them."""

    def __init__(self, folder):
        self.calls = folder / "calls"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name, text in (("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def start(self, **environment):
        job = {
            "SLURM_JOB_ID": "7",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_NTASKS_PER_NODE": "4",
            "SLURM_SUBMIT_DIR": str(SCRIPTS.parent),
        }
        path = f"{self.bin}:{os.environ['PATH']}"
        return subprocess.Popen(
            ["bash", str(SCRIPTS / "slurm.sbatch"), "t5distill", "train", "--a b"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **job, "PATH": path, "CALLS": str(self.calls), **environment},
        )

    def ends(self, code):
        pathlib.Path(f"{self.calls}.code").write_text(f"{code}\n")

    def made(self):
        return self.calls.read_text().splitlines()


@pytest.fixture
def slurm(tmp_path):
    return Slurm(tmp_path)


@pytest.mark.parametrize(
    ("code", "again"), [(0, False), (1, False), (2, False), (75, True), (137, True), (134, True)]
)
def test_what_may_go_better_goes_back_into_the_queue(slurm, code, again):
    slurm.ends(code)
    job = slurm.start()
    job.communicate(timeout=60)
    first, *rest = slurm.made()
    assert "--ntasks=8 --ntasks-per-node=4" in first
    assert first.endswith("scripts/worker.sh t5distill train --a b")
    assert rest == (["scontrol requeue 7"] if again else [])
    assert job.returncode == (0 if again else code)


def started(slurm):
    job = slurm.start()
    for _ in range(600):
        if pathlib.Path(f"{slurm.calls}.started").exists():
            return job
        time.sleep(0.05)
    return pytest.fail("srun was not called")


def test_before_the_time_limit_the_tasks_are_told_and_the_job_comes_back(slurm):
    job = started(slurm)
    job.send_signal(signal.SIGUSR1)
    out, _ = job.communicate(timeout=60)
    assert slurm.made()[1:] == ["scancel --signal=TERM 7.0", "scontrol requeue 7"]
    assert "ended with code 143" in out


def test_what_is_cancelled_stays_so(slurm):
    """scancel and a preemption tell the tasks themselves, and this shell with them."""
    job = started(slurm)
    job.send_signal(signal.SIGTERM)
    slurm.ends(143)
    job.communicate(timeout=60)
    assert job.returncode == 143
    assert len(slurm.made()) == 1


@pytest.mark.parametrize(
    ("gpus", "tasks", "nodes", "options"),
    [
        ("8", "8", "2", "--ntasks=16 --ntasks-per-node=8 --kill-on-bad-exit=0 --wait=600 --gpus"),
        ("8", "", "1", "--ntasks=1 --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=600 /"),
        ("1", "", "4", "--ntasks=4 --ntasks-per-node=1 --kill-on-bad-exit=0 --wait=600 /"),
        ("8", "", "2", None),
    ],
)
def test_a_task_for_each_gpu(slurm, gpus, tasks, nodes, options):
    slurm.ends(0)
    job = slurm.start(
        SLURM_GPUS_ON_NODE=gpus, SLURM_JOB_NUM_NODES=nodes, SLURM_NTASKS_PER_NODE=tasks
    )
    out, _ = job.communicate(timeout=60)
    if options is None:
        assert job.returncode == 2 and "wanted --ntasks-per-node=8" in out
    else:
        assert options in slurm.made()[0]


def test_restarts_come_to_an_end(slurm):
    slurm.ends(75)
    job = slurm.start(SLURM_RESTART_COUNT="3", MAX_RESTARTS="3")
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 75
    assert "given up after 3 restarts" in out
    assert len(slurm.made()) == 1


def test_a_job_from_elsewhere_is_told_so(slurm, tmp_path):
    job = slurm.start(SLURM_SUBMIT_DIR=str(tmp_path))
    out, _ = job.communicate(timeout=60)
    assert job.returncode == 2
    assert "submit from the checkout" in out
