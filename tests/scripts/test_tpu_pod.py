"""scripts/tpu_pod.py against a stand-in for gcloud; workers' processes and kills are real."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
# What the checkout's own worker.sh would be: it counts its attempts on what all workers share.
WORKER = """#!/usr/bin/env bash
echo "$WORKER of $T5DISTILL_WORKERS runs $*, DATA is $DATA"
printf 'a cut bar \\342\\226'; echo
echo x >> "$SHARED/attempts_$WORKER"
attempt=$(wc -l < "$SHARED/attempts_$WORKER")
for i in $(seq 600); do
  if [ -e "$SHARED/code_$attempt" ]; then
    echo "$WORKER ends attempt $attempt"
    exit "$(cat "$SHARED/code_$attempt")"
  fi
  sleep 0.05
done
"""
# Each worker has a name of its own.
UNAME = """#!/bin/sh
echo "$WORKER"
"""
# Makes a "virtual environment" whose pip installs nothing.
PYTHON = """#!/usr/bin/env bash
mkdir -p .venv/bin
printf '#!/bin/sh\\necho "$@" >> "$SHARED/pip"; [ ! -e "$SHARED/no_pip" ]\\n' > .venv/bin/pip
chmod +x .venv/bin/pip
"""


@pytest.fixture
def cloud(tmp_path):
    home, fake, bin_, shared = (tmp_path / n for n in ("checkout", "fake", "bin", "shared"))
    for folder in (home / "scripts", fake, bin_, shared):
        folder.mkdir(parents=True)
    for name in ("tpu_pod.py", "tpu_slice.py"):
        shutil.copy(ROOT / "scripts" / name, home / "scripts")
    (home / "scripts/worker.sh").write_text(WORKER)
    (home / "scripts/worker.sh").chmod(0o755)
    (home / "scripts/setup.sh").write_text('echo x >> "$SHARED/set_up"\n')
    (bin_ / "python3.11").write_text(PYTHON)
    (bin_ / "python3.11").chmod(0o755)
    (bin_ / "uname").write_text(UNAME)
    (bin_ / "uname").chmod(0o755)
    shutil.copy(pathlib.Path(__file__).with_name("fake_gcloud.py"), bin_ / "gcloud")
    (bin_ / "gcloud").chmod(0o755)
    git = ["git", "-C", str(home), "-c", "user.name=t", "-c", "user.email=t@t"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *words], check=True)
    yield Cloud(home, fake, shared, bin_)
    for pid in fake.glob("worker*/t5distill-run/pid"):
        subprocess.run(["pkill", "-KILL", "-s", pid.read_text().strip()], check=False)


class Cloud:
    """A checkout, a stand-in for Google's cloud, and what workers share."""

    def __init__(self, home, fake, shared, bin_):
        self.home, self.fake, self.shared = home, fake, shared
        path = f"{bin_}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = {
            **os.environ, "PATH": path, "FAKE_TPU": str(fake), "SHARED": str(shared)
        }  # fmt: skip

    def start(self, action, *words):
        command = [sys.executable, str(self.home / "scripts/tpu_pod.py"), action]
        return subprocess.Popen(
            [*command, "--name", "pod", "--zone", "here", "--poll", "0.05", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self.environment,
        )

    def run(self, *more):
        return self.start(
            *("run", "--accelerator", "v5litepod-16", "--spot", "--env", "DATA=gs://b/a c", *more),
            *("--", "t5distill", "train", "--gin.MODEL_DIR='gs://b/run'"),
        )

    def ends(self, attempt, code=0):
        """Let every worker's attempt of that number end."""
        (self.shared / f"code_{attempt}").write_text(f"{code}\n")

    def attempts(self):
        return [len(p.read_text().split()) for p in sorted(self.shared.glob("attempts_worker*"))]

    def wait_for(self, condition):
        for _ in range(1200):
            if condition():
                return
            time.sleep(0.05)
        pytest.fail(f"waited in vain; {self.attempts()}")

    def calls(self, *wanted):
        made = [json.loads(line) for line in (self.fake / "calls").read_text().splitlines()]
        return [words for words in made if words[2:4] == list(wanted)]


def finished(process, code):
    out, _ = process.communicate(timeout=120)
    assert process.returncode == code, out
    return out


def test_a_run_from_the_request_to_its_end(cloud):
    cloud.ends(1)
    out = finished(cloud.run(), 0)
    [create] = cloud.calls("queued-resources", "create")
    assert "--accelerator-type=v5litepod-16" in create and "--spot" in create
    assert "--runtime-version=v2-alpha-tpuv5-lite" in create
    assert (
        "worker0 of 2 runs t5distill train --gin.MODEL_DIR='gs://b/run', DATA is gs://b/a c" in out
    )
    assert "worker1 of" not in out and "a cut bar \ufffd" in out
    assert cloud.attempts() == [1, 1]
    assert "give" in out and "costs money" in out
    assert (cloud.shared / "pip").read_text().count(".[tpu]") == 2


def test_the_second_run_installs_nothing_anew(cloud):
    cloud.ends(1)
    finished(cloud.run(), 0)
    cloud.ends(2)
    finished(cloud.run(), 0)
    assert len(cloud.calls("tpu-vm", "scp")) == 1
    assert len(cloud.calls("queued-resources", "create")) == 1
    assert cloud.attempts() == [2, 2]


def test_a_slice_that_is_taken_away_is_asked_for_again(cloud):
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    cloud.ends(2)
    (cloud.fake / "preempt").touch()
    out = finished(run, 0)
    assert "was taken away" in out and "SUSPENDED: given back" in out
    assert len(cloud.calls("queued-resources", "create")) == 2
    assert cloud.attempts() == [2, 2]


@pytest.mark.parametrize("code", [75, 137, 143])
def test_what_may_go_better_is_started_again(cloud, code):
    cloud.ends(1, code)
    cloud.ends(2)
    out = finished(cloud.run(), 0)
    assert f"ended with code {code}" in out
    assert cloud.attempts() == [2, 2]
    assert len(cloud.calls("queued-resources", "create")) == 1


def test_a_mistake_is_not_tried_again(cloud):
    cloud.ends(1, 2)
    out = finished(cloud.run(), 2)
    assert "worker0 ends attempt 1" in out
    assert cloud.attempts() == [1, 1]


def test_restarts_come_to_an_end(cloud):
    for attempt in (1, 2, 3):
        cloud.ends(attempt, 75)
    out = finished(cloud.run("--restarts", "1"), 75)
    assert "given up after 1 restarts" in out
    assert cloud.attempts() == [2, 2]


def test_an_interrupted_terminal_leaves_the_run_alone(cloud):
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    run.send_signal(signal.SIGINT)
    assert "the run goes on" in finished(run, 130)
    status = finished(cloud.start("status"), 0)
    assert "pod: ACTIVE" in status and "running" in status
    again = cloud.run()
    before = len(cloud.calls("tpu-vm", "ssh"))
    cloud.wait_for(lambda: len(cloud.calls("tpu-vm", "ssh")) > before + 3)
    cloud.ends(1)
    out = finished(again, 0)
    assert "under way; following it" in out and "worker0 of 2 runs" in out
    assert cloud.attempts() == [1, 1]


def test_down_gives_it_back(cloud):
    cloud.ends(1)
    finished(cloud.run(), 0)
    finished(cloud.start("down"), 0)
    for action in ("status", "down", "stop"):
        assert "pod: there is none in here" in finished(cloud.start(action), 2)


def test_what_somebody_gave_back_is_not_asked_for_again(cloud):
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    finished(cloud.start("down"), 0)
    assert "given back by somebody" in finished(run, 2)
    assert len(cloud.calls("queued-resources", "create")) == 1


def test_the_network_may_fail(cloud):
    """Of every kind of call three in a row fail; nothing is lost, started twice or given up."""
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    for word in ("queued-resources", "t5distill-code", "tail", "describe"):
        (cloud.fake / "fails").write_text(f"3 {word}")
        cloud.wait_for(lambda: (cloud.fake / "fails").read_text().startswith("0"))
    cloud.ends(1)
    out = finished(run, 0)
    assert "ends attempt 1" in out and cloud.attempts() == [1, 1]
    (cloud.fake / "fails").write_text("3 ssh")
    cloud.ends(2)
    finished(cloud.run(), 0)
    assert cloud.attempts() == [2, 2]


def test_a_worker_that_is_not_heard_has_not_succeeded(cloud):
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    (cloud.fake / "deaf").write_text("1")
    cloud.ends(1, 2)
    before = len(cloud.calls("tpu-vm", "ssh"))
    cloud.wait_for(lambda: len(cloud.calls("tpu-vm", "ssh")) > before + 4)
    assert run.poll() is None
    (cloud.fake / "deaf").unlink()
    out = finished(run, 2)
    assert "worker worker1 ended with code 2" in out and "worker worker0 ended" in out


def test_another_command_leaves_the_run_alone(cloud):
    run = cloud.run()
    cloud.wait_for(lambda: cloud.attempts() == [1, 1])
    other = cloud.start("run", "--accelerator", "v4-16", "--", "t5distill", "infer")
    out = finished(other, 2)
    assert "another run is under way" in out and "gin.MODEL_DIR" in out
    finished(cloud.start("stop"), 0)
    run.send_signal(signal.SIGINT)
    finished(run, 130)
    assert "worker0: none" in finished(cloud.start("status"), 0)
    assert len(cloud.calls("tpu-vm", "scp")) == 1


def test_a_failed_installation_is_not_taken_for_one(cloud):
    (cloud.shared / "no_pip").touch()
    run = cloud.run("--setup", "scripts/setup.sh")
    pip = cloud.shared / "pip"
    cloud.wait_for(lambda: pip.exists() and pip.read_text().count(".[tpu]") >= 4)
    assert cloud.attempts() == []
    (cloud.shared / "no_pip").unlink()
    cloud.ends(1)
    finished(run, 0)
    assert (cloud.shared / "set_up").read_text() == "x\nx\n"


def test_what_waiting_does_not_mend_ends_at_once(cloud):
    gcloud = pathlib.Path(cloud.environment["PATH"].split(":")[0]) / "gcloud"
    gcloud.write_text("#!/bin/sh\necho 'ERROR: set the property `core/project`' >&2\nexit 1\n")
    assert "core/project" in finished(cloud.start("status"), 2)


def test_ctrl_c_in_the_queue_says_that_nothing_runs(cloud):
    (cloud.fake / "fails").write_text("100 queued-resources list")
    run = cloud.run()
    cloud.wait_for(lambda: (cloud.fake / "calls").exists())
    run.send_signal(signal.SIGINT)
    assert "the request stays" in finished(run, 130)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run",), "run needs --accelerator"),
        (("run", "--accelerator", "v9-8", "--", "t5distill", "train"), "give --runtime"),
        (("run", "--accelerator", "v4-8", "--env", "A", "--", "t5x", "eval"), "--env is 'A'"),
        (("run", "--accelerator", "v4-8", "--", "t5distil", "train"), "wanted t5distill or t5x"),
        (("run", "--accelerator", "v4-8", "--", "t5distill"), "wanted t5distill or t5x"),
    ],
)
def test_mistakes_are_named(cloud, words, said):
    """Before anything is asked for."""
    out = finished(cloud.start(*words), 2)
    assert said in out and "Traceback" not in out
