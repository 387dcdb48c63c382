"""Many programs, or one, without a sandbox to look after."""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from t5distill.verify.outcomes import Outcome
from t5distill.verify.programs.limits import Limits
from t5distill.verify.programs.sandbox import Sandbox

_idle: dict[bool, list[Sandbox]] = {}
_lock = threading.Lock()


def run_program(
    source: str,
    *,
    cpu_s: float = Limits.cpu_s,
    wall_s: float | None = None,
    memory_mb: int = Limits.memory_mb,
    allow_unsafe: bool = False,
) -> Outcome:
    """Run an untrusted Python program in a sandbox and return its answer.

    The answer is what its function `solution()` returns, else its variable `ans` or `answer`, else
    the last line it prints. The sandbox stays for the next call; threads get one each.

    Args:
      source: the program; a markdown fence around it is taken off.
      cpu_s: processor seconds after which it is a `timeout`.
      wall_s: seconds on the clock after which it is one too; None: generously more.
      memory_mb: memory that it may add to the interpreter's.
      allow_unsafe: run it even where namespaces or seccomp are missing.

    Raises:
      UserError: namespaces or seccomp are missing.
    """
    limits = Limits(cpu_s=cpu_s, wall_s=wall_s, memory_mb=memory_mb)
    job = {"kind": "program", "source": source}
    return run_job(job, limits=limits, allow_unsafe=allow_unsafe)


def run_job(
    job: Mapping[str, Any], *, limits: Limits | None = None, allow_unsafe: bool = False
) -> Outcome:
    """Run a job of any kind in a sandbox that stays for the next one; see `Sandbox.run`.

    Raises:
      UserError: namespaces or seccomp are missing.
    """
    with _lock:
        idle = _idle.setdefault(allow_unsafe, [])
        sandbox = idle.pop() if idle else Sandbox(allow_unsafe=allow_unsafe)
    try:
        return sandbox.run(job, limits=limits)
    finally:
        with _lock:
            keep = len(idle) < _cores()
            if keep:
                idle.append(sandbox)
        if not keep:
            sandbox.close()


def run_programs(
    sources: Iterable[str],
    *,
    workers: int | None = None,
    limits: Limits | None = None,
    allow_unsafe: bool = False,
) -> Iterator[Outcome]:
    """Run many programs, several at a time, and yield their outcomes in the order of `sources`.

    Args:
      sources: programs; read only a little ahead of the outcomes.
      workers: sandboxes at work; None: one for each core of this process.
      limits: what each program may use.
      allow_unsafe: run them even where namespaces or seccomp are missing.

    Raises:
      UserError: namespaces or seccomp are missing.
    """
    workers = workers or _cores()
    with contextlib.ExitStack() as stack:
        free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        for _ in range(workers):
            free.put(stack.enter_context(Sandbox(limits, allow_unsafe=allow_unsafe)))
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)

        def run(source: str) -> Outcome:
            sandbox = free.get()
            try:
                return sandbox.run({"kind": "program", "source": source})
            finally:
                free.put(sandbox)

        pending: collections.deque[Future[Outcome]] = collections.deque()
        for source in sources:
            pending.append(pool.submit(run, source))
            if len(pending) >= 8 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _forget() -> None:
    """A forked process has copies of its parent's sandboxes: not its to use, and a lock unknown."""
    global _lock
    _idle.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
