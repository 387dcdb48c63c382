"""The supervisor: one process that watches, and inside the namespaces one that forks per job.

The watcher stays outside the pid namespace and does nothing but end with whoever started it. The
other one, process 1 of the namespace, decides what became of every job: a program can write what
it claims as its own answer, and nothing else.
"""

from __future__ import annotations

import _signal as signal  # pyright: ignore  # see forking.py
import gc
import marshal
import os
import select
import sys

from t5distill.verify.programs.inside import child, forking, isolating, kernel, preloading
from t5distill.verify.programs.inside.messages import read_message, write_message

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn


def supervise(settings: dict[str, Any], commands: int, replies: int) -> None:
    """Load, leave the machine behind, fork the one that serves, and watch."""
    jobs = settings["jobs"]
    preloading.preload(settings["size"], settings["packages"], [m for m, _ in jobs.values()])
    functions = {kind: getattr(sys.modules[m], name) for kind, (m, name) in jobs.items()}
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

            def enter(job: Mapping[str, Any], limits: Mapping[str, Any], result: int) -> NoReturn:
                run = functions[job["kind"]]
                child.work(run, job, limits, result, doors=doors, mapped=mapped)

            _answer(commands, replies, lifeline, enter)
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
    hello = {
        "isolation": _level(namespaces=not no_namespaces, seccomp=doors is not None),
        "missing": {"namespaces": no_namespaces, "seccomp": no_seccomp},
    }
    write_message(replies, marshal.dumps(hello))
    return doors


def _answer(commands: int, replies: int, lifeline: int, enter: Callable[..., NoReturn]) -> NoReturn:
    """Carry out jobs until a pipe ends.

    Args:
      commands: where jobs come from.
      replies: where their verdicts go.
      lifeline: ends with the watcher.
      enter: carries a job out in the process forked for it.
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
        number, job, limits = marshal.loads(message)
        status, detail, said = forking.run(job, limits, ends=(commands, lifeline), enter=enter)
        write_message(replies, f"{number}\n{status}\n{detail}\n".encode() + said)
        del message, job, said  # the next program could look for them


def _level(*, namespaces: bool, seccomp: bool) -> str:
    if namespaces and seccomp:
        return "namespaces+seccomp"
    return "namespaces only" if namespaces else "seccomp only" if seccomp else "rlimits only"
