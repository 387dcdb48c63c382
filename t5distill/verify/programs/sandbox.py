"""Where untrusted programs and systems of equations are executed.

A supervisor process, started with a cleared environment and two pipes, enters namespaces of its own
(user, network, pid, mount, ipc), has an empty read-only root and no capabilities, and forks a
process for each job. That one has limits of its own, may make some forty system calls, all of
which compute, and ends with its answer. The boundary is the kernel: no filter on the text of a
program has to be right.

It does not protect from:
- faults of the kernel in the calls that are allowed (memory, clocks, reading and writing a pipe);
- a job that reads timings: caches and clocks are shared with the machine;
- what the answer says: it is any text the program likes, so it is compared, never evaluated;
- heat: each job may use its processor seconds and its memory, as many at a time as there are
  sandboxes; the machine needs so much to spare;
- a job that sees what the supervisor's memory holds: the modules, its own source, perhaps scraps of
  jobs before it. No gold answer, key or environment ever goes there;
- anything at all below `namespaces+seccomp`, which is therefore refused unless asked for.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping
from typing import Any

from t5distill.errors import UserError, suggest
from t5distill.verify.outcomes import Outcome
from t5distill.verify.programs.engine import Engine, Gone
from t5distill.verify.programs.kinds import ARITHMETIC, BARE, KINDS, size_of
from t5distill.verify.programs.limits import SOURCE_CHARS, Limits

FULL = "namespaces+seccomp"


class Sandbox:
    """Runs jobs one after the other, each in a process of its own, behind a supervisor.

    There is a supervisor for programs that import nothing, one for those that import other parts of
    the standard library, and one for those that name sympy; each starts with the first of them. Any
    thread may use the sandbox; threads that want to run at the same time have one each.

    Args:
      limits: what a job may use.
      allow_unsafe: run programs even where namespaces or seccomp are missing.
    """

    def __init__(self, limits: Limits | None = None, *, allow_unsafe: bool = False):
        self.limits = limits or Limits()
        self.allow_unsafe = allow_unsafe
        self._lock = threading.Lock()
        self._engines: dict[str, Engine] = {}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the supervisors; the next job would start new ones."""
        with self._lock:
            for size in list(self._engines):
                self._engines.pop(size).close()

    def run(self, job: Mapping[str, Any], *, limits: Limits | None = None) -> Outcome:
        """Carry out one job: `{"kind": "program", "source": ...}` or another of `kinds.KINDS`.

        A supervisor that is killed in the middle is started again, and the job with it, once.

        Raises:
          UserError: this machine cannot keep programs away from it, or the job is of no kind.
        """
        kind = job.get("kind")
        if kind not in KINDS:
            raise UserError(f"a job of kind {kind!r}: {suggest(str(kind), KINDS)}")
        source = job.get("source", "")
        refused = _malformed(source) if kind == "program" else None
        if refused is not None:
            return refused
        # What only looks like a text or a number becomes one, or is refused.
        job = json.loads(json.dumps(job))
        size = size_of(source) if kind == "program" else KINDS[kind].size
        limits = limits or self.limits
        with self._lock:
            outcome, elsewhere = self._ask(size, job, limits)
            if elsewhere and size == BARE:
                outcome, _ = self._ask(ARITHMETIC, job, limits)
        return outcome

    def _ask(self, size: str, job: Mapping[str, Any], limits: Limits) -> tuple[Outcome, bool]:
        """Return the outcome of a job, and whether a larger supervisor may make more of it."""
        why = isolation = ""
        for _ in range(2):
            engine = self._engine(size)
            isolation = engine.isolation
            try:
                reply = engine.ask(job, limits)
            except Gone as e:
                why = str(e)
                self._engines.pop(size).close(patience_s=0)
            except BaseException:  # Ctrl-C: the answer to this job must not meet the next
                self._engines.pop(size).close(patience_s=0)
                raise
            else:
                return dataclasses.replace(reply.outcome, isolation=isolation), reply.elsewhere
        detail = f"the sandbox ended twice while it ran this: {why}"
        return Outcome(status="error", detail=detail, isolation=isolation), False

    def _engine(self, size: str) -> Engine:
        """Return the supervisor that runs, or start it."""
        engine = self._engines.get(size)
        if engine is not None and engine.owner != os.getpid():  # this process is a fork
            engine.close()
            engine = None
        if engine is None:
            engine = Engine(size)
            if engine.isolation != FULL and not self.allow_unsafe:
                engine.close()
                raise UserError(_refusal(engine))
            self._engines[size] = engine
        return engine


def _malformed(source: object) -> Outcome | None:
    """Return the verdict on what is no program, None for what has to be run."""
    if not isinstance(source, str):
        raise UserError(f"the source of a program is {type(source).__name__}, wanted str")
    if not source.strip():
        return Outcome(status="none", detail="the program is empty")
    if len(source) > SOURCE_CHARS:
        return Outcome(
            status="rejected",
            detail=f"the program has {len(source)} characters, at most {SOURCE_CHARS} are run",
        )
    if "\0" in source:
        return Outcome(status="rejected", detail="the program contains a NUL character")
    if any("\ud800" <= c <= "\udfff" for c in source):
        return Outcome(status="rejected", detail="the program contains half a surrogate pair")
    return None


def _refusal(engine: Engine) -> str:
    gaps = "; ".join(f"{name}: {why}" for name, why in engine.missing.items() if why)
    return (
        f"untrusted programs are not run here: found {engine.isolation} ({gaps}), wanted {FULL}; "
        "allow user namespaces to this user (in a container, its security profile), or accept the "
        "risk with --allow-unsafe, T5DISTILL_ALLOW_UNSAFE=1 or, in Python, allow_unsafe=True"
    )
