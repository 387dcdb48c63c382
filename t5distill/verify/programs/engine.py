"""One supervisor process, seen from outside: start it, ask it, end it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import select
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from t5distill.errors import UserError
from t5distill.verify.programs.inside.messages import write_message
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
      algebra: whether it has sympy; such a process is several times as large, and slower to fork.

    Attributes:
      isolation: the level it reached.
      missing: why namespaces or seccomp are not there, by name; empty where they are.
    """

    def __init__(self, *, algebra: bool):
        self.owner = os.getpid()
        self._number = 0
        # -P -s -S -B and a cleared environment are -I, but for the seed of hashes: sets of strings
        # have one order in every run. The loader's path stays for interpreters that need it.
        environment = {"PYTHONHASHSEED": "0"}
        for name in ("LD_LIBRARY_PATH", "SYSTEMROOT"):
            if name in os.environ:
                environment[name] = os.environ[name]
        packages = _folders("sympy", "mpmath") if algebra else {}
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
            settings = {"parent": self.owner, "packages": packages}
            self._send(settings)
            hello = self._receive(START_S)
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

    def ask(self, job: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
        """Return status, value and detail of a job; raise Gone where there is no answer."""
        self._number += 1
        bounds = {
            "cpu_s": limits.cpu_s,
            "clock_s": limits.clock_s,
            "memory_mb": limits.memory_mb,
        }
        self._send({"number": self._number, "job": dict(job), "limits": bounds})
        reply = self._receive(limits.clock_s + GRACE_S)
        if reply.get("number") != self._number:
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

    def _send(self, message: dict[str, Any]) -> None:
        try:
            write_message(self._commands.fileno(), message)
        except (OSError, ValueError) as e:
            raise Gone(f"it does not listen: {e}{self._last_words()}") from e

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        """Return the next reply; nothing in it is trusted to be of a type."""
        import json

        deadline = time.monotonic() + timeout_s
        size = int.from_bytes(self._exactly(4, deadline), "big")
        if size > _REPLY_BYTES:
            raise Gone(f"it answers {size} bytes")
        try:
            reply = json.loads(self._exactly(size, deadline))
        except ValueError as e:
            raise Gone(f"its answer cannot be read: {e}") from e
        if not isinstance(reply, dict):
            raise Gone("its answer is no record")
        return reply

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
