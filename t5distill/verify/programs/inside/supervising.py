"""The supervisor: one process that watches, and inside the namespaces one that forks per job.

The watcher stays outside the pid namespace and does nothing but end with whoever started it. The
other one, process 1 of the namespace, decides what became of every job: a program can write what
it claims as its own answer, and nothing else.
"""

from __future__ import annotations

import functools
import gc
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from t5distill.verify.programs.inside import child, forking, isolating, kernel, preloading
from t5distill.verify.programs.inside.messages import read_message, write_message
from t5distill.verify.programs.kinds import KINDS


def supervise(settings: dict[str, Any], commands: int, replies: int) -> None:
    """Load, leave the machine behind, fork the one that serves, and watch."""
    kinds = {name: k for name, k in KINDS.items() if settings["packages"] or not k.algebra}
    preloading.preload(settings["packages"], [kind.module for kind in kinds.values()])
    functions = {name: getattr(sys.modules[k.module], k.function) for name, k in kinds.items()}
    os.environ.clear()
    mapped = isolating.address_space()
    isolating.become_nobody()
    no_namespaces = isolating.enter_namespaces()
    lifeline, held = os.pipe()
    gc.collect()
    gc.freeze()
    gc.disable()
    server = os.fork()
    if server == 0:
        os.close(held)
        try:
            doors = _close_doors(replies, no_namespaces)
            work = functools.partial(child.work, doors=doors, mapped=mapped)
            workers = {name: functools.partial(work, run) for name, run in functions.items()}
            _answer(commands, replies, lifeline, workers)
        finally:
            os._exit(1)
    for fd in (commands, replies, lifeline):
        os.close(fd)
    os.dup2(0, 2)
    isolating.give_up_privileges()
    _watch(server, settings["parent"])


def _handle(pid: int) -> int | None:
    """Return a descriptor that can be read when a process ends; None where there is no such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _watch(server: int, parent_pid: int) -> NoReturn:
    """Wait for either end, and bring about the other."""
    parent = _handle(parent_pid)
    handles = [_handle(server), parent]
    poller = select.poll()
    for handle in handles:
        if handle is not None:
            poller.register(handle, select.POLLIN)
    orphan = os.getppid() != parent_pid  # it may have ended before there was a handle
    patience = 500 if None in handles else None
    while True:
        ready = set() if orphan else {fd for fd, _ in poller.poll(patience)}
        orphan = orphan or os.getppid() != parent_pid
        if orphan or parent in ready:
            os.kill(server, signal.SIGKILL)
        if os.waitpid(server, 0 if ready or orphan else os.WNOHANG)[0]:
            os._exit(0)


def _close_doors(replies: int, no_namespaces: str) -> kernel.Filter | None:
    """Give up what is left to give up, and say how far it went; return the filter for programs."""
    os.dup2(0, 2)
    isolating.give_up_privileges()
    isolating.limit_for_good()
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    doors, no_seccomp = isolating.program_filter()
    write_message(
        replies,
        {
            "isolation": _level(namespaces=not no_namespaces, seccomp=doors is not None),
            "missing": {"namespaces": no_namespaces, "seccomp": no_seccomp},
        },
    )
    return doors


def _answer(
    commands: int, replies: int, lifeline: int, workers: dict[str, Callable[..., NoReturn]]
) -> NoReturn:
    """Carry out jobs until a pipe ends.

    Args:
      commands: where jobs come from.
      replies: where their verdicts go.
      lifeline: ends with the watcher.
      workers: for each kind of job, what does it in the process forked for it.
    """
    guards = select.poll()
    for fd in (lifeline, commands):
        guards.register(fd, select.POLLIN)
    while True:
        if any(fd == lifeline for fd, _ in guards.poll()):
            os._exit(0)
        message = read_message(commands)
        if message is None:
            os._exit(0)
        job = message["job"]
        verdict = forking.run(
            job, message["limits"], ends=(commands, lifeline), enter=workers[job["kind"]]
        )
        write_message(replies, {**verdict, "number": message["number"]})


def _level(*, namespaces: bool, seccomp: bool) -> str:
    if namespaces and seccomp:
        return "namespaces+seccomp"
    return "namespaces only" if namespaces else "seccomp only" if seccomp else "rlimits only"
