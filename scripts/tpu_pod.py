#!/usr/bin/env python3
r"""Run a launcher on a Cloud TPU slice: rent it, install, start every worker, and start again.

    scripts/tpu_pod.py run --name kate --zone us-west4-a --accelerator v5litepod-32 --spot \
      --env T5DISTILL_DATA_DIR=/shared/data -- \
      t5distill train --gin_file=gin/runs/train.gin ... --gin.MODEL_DIR="'/shared/run'"
    scripts/tpu_pod.py status --name kate --zone us-west4-a
    scripts/tpu_pod.py stop --name kate --zone us-west4-a
    scripts/tpu_pod.py down --name kate --zone us-west4-a

`run` asks for the slice as a queued resource and waits for it; copies this checkout's last commit
to every worker and installs it there; starts scripts/worker.sh on all of them, apart from this
terminal; and shows what the first one writes. A slice that was preempted is asked for again, a run
whose workers ended with a code to start again (75, or a signal) is started again: both go on from
the last checkpoint. Interrupt it, close the laptop, and give the same command again: it goes on
with what is there. `stop` ends the run, `down` gives the slice back; until then it costs money.

On this side it needs gcloud, signed in, and an ssh-agent that holds gcloud's key (`ssh-add
~/.ssh/google_compute_engine`), without which gcloud copies to one worker only. For T5X, --setup
names a script in the checkout that every worker runs after the installation, to fetch it, and
--env T5X_PATH=... says where it put it.
"""

from __future__ import annotations

import argparse
import pathlib
import shlex
import subprocess
import sys
import tempfile
import time

from tpu_slice import Failed, Gone, Mistake, Slice, say

HOME = pathlib.Path(__file__).resolve().parents[1]
RUNTIMES = {
    "v2": "tpu-ubuntu2204-base",
    "v3": "tpu-ubuntu2204-base",
    "v4": "tpu-ubuntu2204-base",
    "v5litepod": "v2-alpha-tpuv5-lite",
    "v5p": "v2-alpha-tpuv5",
    "v6e": "v2-alpha-tpuv6e",
}
LOST = ("FAILED", "SUSPENDING", "SUSPENDED")
AGAIN = 75
LAUNCHERS = (["train"], ["infer"], ["eval"])
_END = """
cd ~
if [ -e t5distill-run/pid ]; then pkill -KILL -s $(cat t5distill-run/pid); sleep 1; fi
rm -rf t5distill-run
"""


def ensure(pod: Slice, args: argparse.Namespace, *, asked: bool) -> None:
    """Wait until the slice is there; ask for it, and again where it was lost.

    Args:
      pod: the slice.
      args: of the command line.
      asked: whether this run had it before: where it is gone now, somebody gave it back.
    """
    shown, since, lost = None, time.monotonic(), 0
    while (state := pod.state()) != "ACTIVE":
        if state == "DELETING" or (state is None and asked):
            raise Mistake(f"{pod.name} was given back by somebody; the run goes no further")
        if state in LOST:
            say(f"{pod.name} is {state}: given back, and asked for again")
            if state == "FAILED":
                print(pod.call("queued-resources", "describe", pod.name).decode(errors="replace"))
                lost += 1
                if lost > 5:
                    raise Mistake(f"{pod.name} failed {lost} times; see above why")
                time.sleep(min(args.poll * 2**lost, 600))
            pod.call("queued-resources", "delete", pod.name, "--force")
            state = None
        if state is None:
            _create(pod, args)
            asked = False
        elif state != shown:
            say(f"{pod.name}: {state}")
            shown = state
        elif time.monotonic() - since > 600:
            since = time.monotonic()
            say(f"{pod.name}: still {state}")
        time.sleep(args.poll)


def _create(pod: Slice, args: argparse.Namespace) -> None:
    runtime = args.runtime or RUNTIMES.get(args.accelerator.partition("-")[0])
    if runtime is None:
        known = ", ".join(RUNTIMES)
        raise Mistake(f"--accelerator is {args.accelerator}, known are {known}; give --runtime")
    words = [
        *("queued-resources", "create", pod.name, f"--node-id={pod.name}"),
        *(f"--accelerator-type={args.accelerator}", f"--runtime-version={runtime}"),
    ]
    pod.call(*words, *(["--spot"] if args.spot else []))
    say(f"{pod.name}: asked for {args.accelerator} in {pod.zone}{' (spot)' if args.spot else ''}")


def commit() -> str:
    """Return the checkout's last commit; raise Mistake where there is none."""
    command = ["git", "-C", str(HOME), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Mistake(f"{HOME} is no git checkout; its last commit is what workers get")
    return done.stdout.strip()


def install(pod: Slice, args: argparse.Namespace, name: str) -> None:
    """Bring the checkout's last commit to every worker that has another, and install it."""
    wanted = f"{name} {args.setup or ''}"
    have = pod.everywhere("cd ~; echo; cat t5distill-installed 2>/dev/null || echo nothing")
    if set(have.decode(errors="replace").split("\n")) - {""} == {wanted}:
        return
    say(f"installing {name[:12]} on every worker")
    with tempfile.TemporaryDirectory() as folder:
        bundle = pathlib.Path(folder) / "t5distill.tar.gz"
        archive = ["git", "-C", str(HOME), "archive", "--format=tar.gz", "-o", str(bundle), "HEAD"]
        subprocess.run(archive, check=True)
        pod.on_node("scp", str(bundle), f"{pod.name}:", "--worker=all")
    lines = [
        *("set -e", "cd ~", "rm -rf t5distill t5distill-installed", "mkdir t5distill"),
        *("tar xzf t5distill.tar.gz -C t5distill", "cd t5distill"),
        "if ! python3.11 -m venv .venv 2>/dev/null; then sudo apt-get update -q",
        "sudo apt-get install -qy python3.11-venv; python3.11 -m venv .venv; fi",
        ".venv/bin/pip install --quiet --constraint constraints.txt '.[tpu]'",
        *([f"bash {shlex.quote(args.setup)}"] if args.setup else []),
        f"echo {shlex.quote(wanted)} > ../t5distill-installed",
    ]
    pod.everywhere("\n".join(lines))


def start(pod: Slice, args: argparse.Namespace, what: str) -> None:
    """Start the command on every worker, apart from the connection that starts it."""
    said = " ".join(f"{k}={shlex.quote(v)}" for k, v in map(_binding, args.env))
    inner = (
        f"T5DISTILL_WORKERS={pod.workers()} {said} t5distill/scripts/worker.sh "
        f"{shlex.join(args.command)}"
    )
    script = (
        f"{inner} > t5distill-run/log 2>&1; "
        "echo $? > t5distill-run/part; mv t5distill-run/part t5distill-run/code"
    )
    # What an earlier attempt has left of itself would hold the chips.
    begin = (
        f"{_END}mkdir t5distill-run; echo {shlex.quote(what)} > t5distill-run/what; "
        f"setsid nohup bash -c {shlex.quote(script)} > /dev/null 2>&1 < /dev/null & "
        "echo $! > t5distill-run/pid"
    )
    pod.everywhere(begin)
    say(f"started on every worker: {shlex.join(args.command)}")


def _binding(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise Mistake(f"--env is {text!r}, wanted NAME=VALUE")
    return name, value


class Log:
    """What the first worker writes, shown as it comes."""

    def __init__(self, pod: Slice):
        self.pod, self.seen = pod, 0

    def show(self) -> None:
        """Print what is new; what cannot be fetched now comes the next time."""
        script = f"cd ~; tail -c +{self.seen + 1} t5distill-run/log"
        try:
            new = self.pod.once(
                *("tpu-vm", "ssh", self.pod.name, "--worker=0", f"--command={script}")
            )
        except Failed:
            return
        self.seen += len(new)
        print(new.decode(errors="replace"), end="", flush=True)


def follow(pod: Slice, args: argparse.Namespace) -> int | None:
    """Show the first worker's log until all have ended; None where the slice is lost."""
    log = Log(pod)
    while True:
        time.sleep(args.poll)
        if pod.state() != "ACTIVE":
            return None
        log.show()
        found = pod.codes()
        if found is None or "running" in found.values():
            continue
        log.show()
        bad = {worker: code for worker, code in sorted(found.items()) if code != "0"}
        for worker, code in bad.items():
            say(f"worker {worker} ended with code {code}")
        numbers = [int(c) if c.isdecimal() else AGAIN for c in bad.values()]
        # What is wrong for good counts before what another try may mend.
        lasting = [n for n in numbers if not _again(n)]
        return (lasting or numbers or [0])[0]


def _again(code: int) -> bool:
    return code == AGAIN or code >= 128


def under_way(pod: Slice, what: str) -> bool:
    """Say whether this command runs already; raise Mistake where another one does."""
    while (found := pod.codes()) is None:
        say("not every worker answers; asked again")
        time.sleep(pod.poll)
    if "running" not in found.values():
        return False
    words = ("ssh", pod.name, "--worker=0", "--command=cat ~/t5distill-run/what")
    there = pod.on_node(*words).decode(errors="replace")
    if there.strip() != what.strip():
        raise Mistake(f"another run is under way: {there.strip()}\n`stop` ends it")
    return True


def run(pod: Slice, args: argparse.Namespace) -> int:
    """Do what the command line asks until it is done; return its exit code."""
    name = commit()
    what = f"{name} {shlex.join([*args.env, '--', *args.command])}"
    for attempt in range(args.restarts + 1):
        ensure(pod, args, asked=attempt > 0)
        try:
            if attempt == 0 and under_way(pod, what):
                say("the run is under way; following it")
            else:
                install(pod, args, name)
                args.started = True
                start(pod, args, what)
            args.started = True
            code = follow(pod, args)
        except Gone:
            code = None
        if code is None:
            say(f"{pod.name} was taken away")
        elif not _again(code):
            say(f"done, code {code}; `down` gives the slice back, which costs money until then")
            return code
        else:
            say(f"code {code}: started again")
            time.sleep(args.poll)
    say(f"given up after {args.restarts} restarts (--restarts); `down` gives the slice back")
    return AGAIN


def act(pod: Slice, args: argparse.Namespace) -> int:
    """Do one of the four actions; return an exit code."""
    if args.action == "run":
        if not args.accelerator or not args.command:
            raise Mistake("run needs --accelerator, and after -- what every worker runs")
        if args.command[0] not in ("t5distill", "t5x") or args.command[1:2] not in LAUNCHERS:
            raise Mistake(
                f"after -- stands {shlex.join(args.command[:2])}, wanted t5distill or t5x, then "
                "train, infer or eval"
            )
        for binding in args.env:
            _binding(binding)
        return run(pod, args)
    state = pod.state()
    if state is None:
        raise Mistake(f"{pod.name}: there is none in {pod.zone}")
    if args.action == "status":
        print(f"{pod.name}: {state}")
        found = pod.codes() if state == "ACTIVE" else {}
        if found is None:
            print("  not every worker answers")
        for worker, code in sorted((found or {}).items()):
            print(f"  {worker}: {code}")
    elif args.action == "stop":
        pod.everywhere(_END)
        say("the run is ended; `down` gives the slice back, which costs money until then")
    else:
        pod.call("queued-resources", "delete", pod.name, "--force")
        say(f"{pod.name}: given back")
    return 0


def main() -> int:
    """Read the command line; return an exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=("run", "status", "stop", "down"))
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
    args.started = False
    pod = Slice(name=args.name, zone=args.zone, project=args.project, poll=args.poll)
    try:
        return act(pod, args)
    except (Mistake, Gone) as e:
        print(f"tpu_pod.py: {e or 'the slice is gone'}", file=sys.stderr)
        if args.action == "run":
            print("`status` shows what is there, `down` gives it back", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        goes_on = "the run goes on; the same command follows it, `stop` ends it"
        waits = "the request stays; the same command waits for it again, `down` withdraws it"
        print(f"\n{goes_on if args.started else waits}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
