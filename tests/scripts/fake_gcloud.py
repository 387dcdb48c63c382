#!/usr/bin/env python3
"""Stands in for gcloud: a queued resource of two workers, which are folders of this machine.

$FAKE_TPU holds the state. A resource is WAITING, PROVISIONING, then ACTIVE, a state further with
every look at it. With a file `preempt` there, the next look at an active one finds it SUSPENDED,
its workers' processes killed and their disks gone. A file `fails` holds `N WORDS`: the next N calls
with those words in them fail as the network does; `deaf` a worker's number, which ssh does not
reach. Every call is appended to `calls`.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

ROOT = pathlib.Path(os.environ["FAKE_TPU"])
STATES = ["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"]
WORKERS = 2


def option(words, name, default=None):
    return next((w.partition("=")[2] for w in words if w.startswith(f"{name}=")), default)


def homes():
    return [ROOT / f"worker{i}" for i in range(WORKERS)]


def take_away():
    for home in homes():
        pid = home / "t5distill-run/pid"
        if pid.exists():
            subprocess.run(["pkill", "-KILL", "-s", pid.read_text().strip()], check=False)
        shutil.rmtree(home, ignore_errors=True)


def listed():
    found = []
    for path in sorted(ROOT.glob("*.json")):
        state = json.loads(path.read_text())
        if state in STATES[:2]:
            state = STATES[STATES.index(state) + 1]
        elif state == "ACTIVE" and (ROOT / "preempt").exists():
            (ROOT / "preempt").unlink()
            take_away()
            state = "SUSPENDED"
        path.write_text(json.dumps(state))
        if state == "ACTIVE":
            for home in homes():
                home.mkdir(exist_ok=True)
        name = f"projects/p/locations/here/queuedResources/{path.stem}"
        found.append({"name": name, "state": {"state": state}})
    print(json.dumps(found))
    return 0


def ssh(words):
    worker = option(words, "--worker")
    deaf = (ROOT / "deaf").read_text().strip() if (ROOT / "deaf").exists() else None
    chosen = homes() if worker == "all" else [homes()[int(worker)]]
    code = 0
    for home in chosen:
        if deaf is not None and home.name == f"worker{deaf}":
            print(f"ssh: connect to {home.name}: timed out", file=sys.stderr)
            code = 255
            continue
        environment = {**os.environ, "HOME": str(home), "WORKER": home.name}
        done = subprocess.run(
            ["bash", "-c", option(words, "--command")], cwd=home, env=environment, check=False
        )
        code = code or done.returncode
    return code


def failing(words):
    """Say whether this call is one that shall fail."""
    path = ROOT / "fails"
    if not path.exists():
        return False
    count, word = path.read_text().split(maxsplit=1)
    if int(count) == 0 or word not in " ".join(words):
        return False
    path.write_text(f"{int(count) - 1} {word}")
    return True


def main(words):
    with (ROOT / "calls").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    assert words[:2] == ["compute", "tpus"], words
    assert option(words, "--zone") == "here", words
    assert "--quiet" in words and sys.stdin.read() == ""
    if failing(words):
        print("ERROR: gcloud crashed (ConnectionError): the network", file=sys.stderr)
        return 1
    kind, action, name = words[2:5]
    path = ROOT / f"{name.partition(':')[0]}.json"
    if (kind, action) == ("queued-resources", "list"):
        return listed()
    if (kind, action) == ("tpu-vm", "describe"):
        print(json.dumps({"networkEndpoints": [{}] * WORKERS}))
        return 0
    if (kind, action) == ("queued-resources", "create"):
        assert not path.exists()
        path.write_text(json.dumps(STATES[0]))
        return 0
    if (kind, action) == ("queued-resources", "delete"):
        take_away()
        path.unlink()
        return 0
    if (kind, action) == ("tpu-vm", "scp"):
        for home in homes():
            shutil.copy(words[4], home)
        return 0
    assert (kind, action) == ("tpu-vm", "ssh"), words
    return ssh(words)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    words = sys.argv[1:]
    sys.exit(main(words))
