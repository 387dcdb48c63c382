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

import os
import re
import threading
from collections.abc import Mapping
from typing import Any

from t5distill.errors import UserError, suggest
from t5distill.verify.outcomes import STATUSES, Outcome
from t5distill.verify.programs.engine import Engine, Gone
from t5distill.verify.programs.kinds import KINDS
from t5distill.verify.programs.limits import SOURCE_CHARS, Limits

FULL = "namespaces+seccomp"
_ALGEBRA = re.compile(r"\b(?:sympy|mpmath)\b")


class Sandbox:
    """Runs jobs one after the other, each in a process of its own, behind a supervisor.

    Programs that name sympy go to a second supervisor, which starts with the first of them. Any
    thread may use it; threads that want to run at the same time have one each.

    Args:
      limits: what a job may use.
      allow_unsafe: run programs even where namespaces or seccomp are missing.
    """

    def __init__(self, limits: Limits | None = None, *, allow_unsafe: bool = False):
        self.limits = limits or Limits()
        self.allow_unsafe = allow_unsafe
        self._lock = threading.Lock()
        self._engines: dict[bool, Engine] = {}

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the supervisors; the next job would start new ones."""
        with self._lock:
            for algebra in list(self._engines):
                self._engines.pop(algebra).close()

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
        algebra = KINDS[kind].algebra or bool(_ALGEBRA.search(source))
        limits = limits or self.limits
        with self._lock:
            why = ""
            for _ in range(2):
                engine = self._engine(algebra)
                try:
                    return _outcome(engine.ask(job, limits), engine.isolation)
                except Gone as e:
                    why = str(e)
                    self._engines.pop(algebra).close(patience_s=0)
                except BaseException:  # Ctrl-C: the answer to this job must not meet the next
                    self._engines.pop(algebra).close(patience_s=0)
                    raise
        return Outcome(
            status="error",
            detail=f"the sandbox ended twice while it ran this: {why}",
            isolation=engine.isolation,
        )

    def _engine(self, algebra: bool) -> Engine:
        """Return the supervisor that runs, or start it."""
        engine = self._engines.get(algebra)
        if engine is not None and engine.owner != os.getpid():  # this process is a fork
            engine.close()
            engine = None
        if engine is None:
            engine = Engine(algebra=algebra)
            if engine.isolation != FULL and not self.allow_unsafe:
                engine.close()
                raise UserError(_refusal(engine))
            self._engines[algebra] = engine
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


def _outcome(reply: Mapping[str, Any], isolation: str) -> Outcome:
    """Turn a supervisor's reply into an outcome; text is made fit for UTF-8."""
    status, value, detail = reply.get("status"), reply.get("value"), reply.get("detail")
    if status not in STATUSES or not isinstance(value, str | None) or not isinstance(detail, str):
        raise Gone("its answer is not in the form of one")
    return Outcome(
        status=status,
        value=None if value is None else _encodable(value),
        detail=_encodable(detail),
        isolation=isolation,
    )


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _refusal(engine: Engine) -> str:
    gaps = "; ".join(f"{name}: {why}" for name, why in engine.missing.items() if why)
    return (
        f"untrusted programs are not run here: found {engine.isolation} ({gaps}), wanted {FULL}; "
        "allow user namespaces to this user (in a container, its security profile), or accept the "
        "risk with --allow-unsafe (in Python allow_unsafe=True)"
    )
