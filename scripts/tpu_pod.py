#!/usr/bin/env python3
r"""Run a launcher on a Cloud TPU slice: rent it, install, start every worker, and start again.

    scripts/tpu_pod.py run --name kate --zone us-west4-a --accelerator v5litepod-32 --spot \
      --env T5DISTILL_DATA_DIR=gs://bucket/data -- \
      t5distill train --gin_file=gin/runs/train.gin ... --gin.MODEL_DIR="'gs://bucket/run'"
    scripts/tpu_pod.py status --name kate --zone us-west4-a
    scripts/tpu_pod.py down --name kate --zone us-west4-a

`run` asks for the slice as a queued resource and waits for it; copies this checkout's last commit
to every worker and installs it there; starts scripts/worker.sh on all of them, apart from this
terminal; and shows what the first one writes. A slice that was preempted is asked for again, a run
whose workers ended with a code to start again (75, or a signal) is started again: both go on from
the last checkpoint. Interrupt it, close the laptop, and give the same command again: it goes on
with what is there. `down` gives the slice back; until then it costs money.

It needs gcloud, signed in, and nothing else on this side. For T5X, --setup names a script in the
checkout that every worker runs after the installation, to fetch it, and --env T5X_PATH=... says
where it put it.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import time

HOME = pathlib.Path(__file__).resolve().parents[1]
RUNTIMES = {
    "v2": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
# States from which a queued resource never becomes active.
LOST = ("FAILED", "SUSPENDING", "SUSPENDED", "DELETING")
AGAIN = 75
_CODE = re.compile(r"^t5distill-code (\S+) (\S+)$", re.MULTILINE)


class Mistake(Exception):
    """Something to be put right before the same command again."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Slice:
    """A queued resource and its one node, which have the same name."""

    name: str
    zone: str
    project: str | None = None
    gcloud: str = "gcloud"

    def call(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run gcloud; raise Mistake with what it said where it fails."""
        where = [f"--zone={self.zone}", *([f"--project={self.project}"] if self.project else [])]
        command = [self.gcloud, "compute", "tpus", *words, *where]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as e:
            raise Mistake(f"{self.gcloud}: not found; install the Google Cloud CLI") from e
        if check and done.returncode:
            raise Mistake(f"{shlex.join(command)}\n{done.stderr.strip()}")
        return done

    def state(self) -> str | None:
        """Return the queued resource's state, or None where there is none."""
        done = self.call(
            *("queued-resources", "describe", self.name, "--format=value(state.state)"), check=False
        )
        if done.returncode == 0:
            return done.stdout.strip()
        if "NOT_FOUND" in done.stderr or "not found" in done.stderr.lower():
            return None
        raise Mistake(done.stderr.strip())

    def everywhere(self, script: str, *, worker: str = "all", check: bool = True) -> str:
        """Run a script on workers; return what they print."""
        done = self.call(
            *("tpu-vm", "ssh", self.name, f"--worker={worker}", f"--command={script}"), check=check
        )
        return done.stdout


def say(text: str) -> None:
    """Print a line with the time."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def ensure(pod: Slice, args: argparse.Namespace) -> None:
    """Wait until the slice is there; ask for it, and again where it was lost."""
    shown, since = None, time.monotonic()
    while (state := pod.state()) != "ACTIVE":
        if state in LOST:
            say(f"{pod.name} is {state}: given back, and asked for again")
            pod.call("queued-resources", "delete", pod.name, "--force", "--quiet")
            state = None
        if state is None:
            _create(pod, args)
            continue
        if state != shown:
            say(f"{pod.name}: {state}")
            shown = state
        elif time.monotonic() - since > 600:
            since = time.monotonic()
            say(f"{pod.name}: still {state}")
        time.sleep(args.poll)


def _create(pod: Slice, args: argparse.Namespace) -> None:
    kind = args.accelerator.partition("-")[0]
    runtime = args.runtime or RUNTIMES.get(kind)
    if runtime is None:
        known = ", ".join(RUNTIMES)
        raise Mistake(f"--accelerator is {args.accelerator}, known are {known}; give --runtime")
    words = [
        *("queued-resources", "create", pod.name, f"--node-id={pod.name}", "--quiet"),
        *(f"--accelerator-type={args.accelerator}", f"--runtime-version={runtime}"),
    ]
    pod.call(*words, *(["--spot"] if args.spot else []))
    say(f"{pod.name}: asked for {args.accelerator} in {pod.zone}{' (spot)' if args.spot else ''}")


def commit() -> str:
    """Return the checkout's last commit; raise Mistake where there is none."""
    done = subprocess.run(
        ["git", "-C", str(HOME), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Mistake(f"{HOME} is no git checkout; its last commit is what workers get")
    return done.stdout.strip()


def install(pod: Slice, args: argparse.Namespace, name: str) -> None:
    """Bring the checkout's last commit to every worker that has another, and install it."""
    have = pod.everywhere("cat t5distill-installed 2>/dev/null; echo", check=False).split()
    wanted = f"{name}{':' + args.setup if args.setup else ''}"
    if have and set(have) == {wanted}:
        return
    say(f"installing {name[:12]} on every worker")
    with tempfile.TemporaryDirectory() as folder:
        bundle = pathlib.Path(folder) / "t5distill.tar.gz"
        archive = ["git", "-C", str(HOME), "archive", "--format=tar.gz", "-o", str(bundle), "HEAD"]
        subprocess.run(archive, check=True)
        pod.call("tpu-vm", "scp", str(bundle), f"{pod.name}:", "--worker=all")
    setup = f"&& bash {shlex.quote(args.setup)}" if args.setup else ""
    pod.everywhere(
        "set -e; rm -rf t5distill t5distill-installed; mkdir t5distill; "
        "tar xzf t5distill.tar.gz -C t5distill; cd t5distill; "
        "python3.11 -m venv .venv 2>/dev/null || { sudo apt-get update -q; "
        "sudo apt-get install -qy python3.11-venv; python3.11 -m venv .venv; }; "
        ".venv/bin/pip install --quiet --constraint constraints.txt '.[tpu]' "
        f"{setup}; echo {shlex.quote(wanted)} > ../t5distill-installed"
    )


def codes(pod: Slice) -> dict[str, str]:
    """Return each worker's exit code, `running`, or `none` where nothing was started."""
    out = pod.everywhere(
        "if [ -e t5distill-run/code ]; then c=$(cat t5distill-run/code); "
        "elif [ -e t5distill-run/pid ] && kill -0 $(cat t5distill-run/pid) 2>/dev/null; "
        "then c=running; elif [ -e t5distill-run/pid ]; then c=137; else c=none; fi; "
        'echo; echo "t5distill-code $(uname -n) $c"',
        check=False,
    )
    return dict(_CODE.findall(out))


def start(pod: Slice, args: argparse.Namespace) -> None:
    """Start the command on every worker, apart from the connection that starts it."""
    said = " ".join(f"{k}={shlex.quote(v)}" for k, v in map(_binding, args.env))
    inner = f"{said} t5distill/scripts/worker.sh {shlex.join(args.command)}"
    script = (
        f"{inner} > t5distill-run/log 2>&1; "
        "echo $? > t5distill-run/part; mv t5distill-run/part t5distill-run/code"
    )
    # What an earlier attempt has left of itself would hold the chips.
    pod.everywhere(
        "if [ -e t5distill-run/pid ]; then pkill -KILL -s $(cat t5distill-run/pid); sleep 1; fi; "
        "rm -rf t5distill-run; mkdir t5distill-run; "
        f"setsid nohup bash -c {shlex.quote(script)} > /dev/null 2>&1 < /dev/null & "
        "echo $! > t5distill-run/pid"
    )
    say(f"started on every worker: {shlex.join(args.command)}")


def _binding(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise Mistake(f"--env is {text!r}, wanted NAME=VALUE")
    return name, value


def follow(pod: Slice, args: argparse.Namespace) -> int | None:
    """Show the first worker's log until all have ended; None where the slice is lost."""
    seen = 0
    while True:
        time.sleep(args.poll)
        if pod.state() != "ACTIVE":
            return None
        text = pod.everywhere(f"tail -c +{seen + 1} t5distill-run/log", worker="0", check=False)
        seen += len(text.encode())
        print(text, end="", flush=True)
        found = codes(pod)
        if found and "running" not in found.values():
            bad = [c for c in found.values() if c != "0"]
            for worker, code in sorted(found.items()):
                if code != "0":
                    say(f"worker {worker} ended with code {code}")
            numbers = [int(c) if c.isdecimal() else AGAIN for c in bad]
            # What is wrong for good counts before what another try may mend.
            lasting = [n for n in numbers if not _again(n)]
            return (lasting or numbers or [0])[0]


def _again(code: int) -> bool:
    return code == AGAIN or code >= 128


def run(pod: Slice, args: argparse.Namespace) -> int:
    """Do what the command line asks until it is done; return its exit code."""
    for binding in args.env:
        _binding(binding)
    name = commit()
    for attempt in range(args.restarts + 1):
        ensure(pod, args)
        install(pod, args, name)
        found = codes(pod)
        if attempt == 0 and found and set(found.values()) == {"running"}:
            say("the run is under way; following it")
        else:
            start(pod, args)
        code = follow(pod, args)
        if code is None:
            say(f"{pod.name} was taken away")
        elif not _again(code):
            say(f"done, code {code}; `down` gives the slice back, which costs money until then")
            return code
        else:
            say(f"code {code}: started again")
    say(f"given up after {args.restarts} restarts (--restarts)")
    return AGAIN


def main() -> int:
    """Read the command line; return an exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "status", "down"))
    add = parser.add_argument
    add("--name", required=True, help="of the queued resource and its node")
    add("--zone", required=True)
    add("--project", help="(gcloud's own)")
    add("--accelerator", help="e.g. v5litepod-32, v4-32, v6e-16")
    add("--runtime", help="software version (by the accelerator)")
    add("--spot", action="store_true", help="cheaper, and may be taken away")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="for every worker")
    add("--setup", metavar="FILE", help="of the checkout, run on every worker after installing")
    add("--restarts", type=int, default=50, metavar="N", help="(%(default)s)")
    add("--poll", type=float, default=30.0, metavar="SECONDS", help="(%(default)s)")
    parser.epilog = "after `--`: t5distill or t5x; train, infer or eval; its arguments"
    own, _, command = "\0".join(sys.argv[1:]).partition("\0--\0")
    args = parser.parse_args(own.split("\0") if own else [])
    args.command = command.split("\0") if command else []
    pod = Slice(
        name=args.name,
        zone=args.zone,
        project=args.project,
        gcloud=os.environ.get("GCLOUD", "gcloud"),
    )
    try:
        if args.action == "status":
            state = pod.state()
            print(f"{pod.name}: {state or 'not there'}")
            if state == "ACTIVE":
                for worker, code in sorted(codes(pod).items()):
                    print(f"  {worker}: {code}")
            return 0
        if args.action == "down":
            if pod.state() is not None:
                pod.call("queued-resources", "delete", pod.name, "--force", "--quiet")
            say(f"{pod.name}: given back")
            return 0
        if not args.accelerator or not args.command:
            raise Mistake("run needs --accelerator, and after -- what every worker runs")
        return run(pod, args)
    except Mistake as e:
        print(f"tpu_pod.py: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nthe run goes on; the same command follows it, `down` ends it", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
