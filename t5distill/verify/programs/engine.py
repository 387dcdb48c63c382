"""One supervisor process, seen from outside: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import importlib.util
import marshal
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from t5distill.errors import UserError
from t5distill.verify.programs import replies
from t5distill.verify.programs.inside.messages import write_message
from t5distill.verify.programs.kinds import ALGEBRA, KINDS, SIZES
from t5distill.verify.programs.limits import Limits

_BOOT = pathlib.Path(__file__).parent / "inside" / "boot.py"
START_S = 120.0
# Beyond the clock's limit of a job, for the supervisor to say so.
GRACE_S = 30.0
_REPLY_BYTES = 1 << 20


class Gone(Exception):
    """The supervisor ended, or does not answer."""


class Engine:
    """A running supervisor. Not for two threads at once.

    Args:
      size: one of `SIZES`: what it has loaded, and so what its forks cost.

    Attributes:
      isolation: the level it reached.
      missing: why namespaces or seccomp are not there, by name; empty where they are.
    """

    def __init__(self, size: str):
        self.owner = os.getpid()
        self._number = 0
        # -P -s -S -B and a cleared environment are -I, but for the seed of hashes: sets of strings
        # have one order in every run. The loader's path stays for interpreters that need it.
        environment = {"PYTHONHASHSEED": "0"}
        for name in ("LD_LIBRARY_PATH", "SYSTEMROOT"):
            if name in os.environ:
                environment[name] = os.environ[name]
        jobs = {
            name: (kind.module, kind.function)
            for name, kind in KINDS.items()
            if SIZES.index(kind.size) <= SIZES.index(size)
        }
        settings = {
            "parent": self.owner,
            "size": size,
            "packages": _folders("sympy", "mpmath") if size == ALGEBRA else {},
            "jobs": jobs,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-s", "-S", "-B", str(_BOOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        assert self._process.stdin and self._process.stdout and self._process.stderr
        self._commands, self._replies = self._process.stdin, self._process.stdout
        self._errors = self._process.stderr
        try:
            self._send(settings)
            hello = marshal.loads(self._receive(START_S))  # nothing untrusted has run there yet
            if "failed" in hello:
                raise Gone(str(hello["failed"]))
            self.isolation, self.missing = str(hello["isolation"]), dict(hello["missing"])
        except BaseException as e:
            self.close(patience_s=0)
            if isinstance(e, Gone):
                raise UserError(
                    f"the process that runs untrusted programs did not start: {e}; it is "
                    f"{sys.executable} {_BOOT}, which needs Linux"
                ) from e
            raise

    def ask(self, job: Mapping[str, Any], limits: Limits) -> replies.Reply:
        """Return what came of a job; raise Gone where there is no answer."""
        self._number += 1
        bounds = {
            "cpu_s": float(limits.cpu_s),
            "clock_s": float(limits.clock_s),
            "memory_mb": float(limits.memory_mb),
        }
        self._send((self._number, dict(job), bounds))
        reply = replies.read(self._receive(limits.clock_s + GRACE_S), limits)
        if reply is None:
            raise Gone("its answer is not in the form of one")
        if reply.number != self._number:
            raise Gone("it answered another question")
        return reply

    def close(self, *, patience_s: float = 2.0) -> None:
        """End the supervisor and all below it."""
        for pipe in (self._commands, self._replies):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.owner != os.getpid():
            return  # a copy in a forked process: the supervisor belongs to its parent
        try:
            self._process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._process.kill()  # the one inside dies with it
            self._process.wait()
        self._errors.close()

    def _send(self, message: Any) -> None:
        try:
            write_message(self._commands.fileno(), marshal.dumps(message))
        except (OSError, ValueError) as e:
            raise Gone(f"it does not listen: {e}{self._last_words()}") from e

    def _receive(self, timeout_s: float) -> bytes:
        """Return the next reply."""
        deadline = time.monotonic() + timeout_s
        size = int.from_bytes(self._exactly(4, deadline), "big")
        if size > _REPLY_BYTES:
            raise Gone(f"it answers {size} bytes")
        return self._exactly(size, deadline)

    def _exactly(self, size: int, deadline: float) -> bytes:
        fd, data = self._replies.fileno(), b""
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        while len(data) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poller.poll(1000 * left):
                raise Gone("it does not answer")
            part = os.read(fd, size - len(data))
            if not part:
                raise Gone(f"it ended{self._last_words()}")
            data += part
        return data

    def _last_words(self) -> str:
        """Return what an interpreter that could not start wrote, where it has ended."""
        try:
            self._process.wait(2.0)
        except subprocess.TimeoutExpired:
            return ""
        text = os.read(self._errors.fileno(), 4096).decode("utf-8", "replace").strip()
        code = self._process.returncode
        return f" with exit code {code}" + (f": {text[-500:]}" if text else "")


def _folders(*names: str) -> dict[str, str]:
    """Return the folder that each package lies in."""
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise UserError(
                f"{name} is not installed; programs and systems need it: pip install {name}"
            )
        found[name] = str(pathlib.Path(spec.origin).parents[1])
    return found
