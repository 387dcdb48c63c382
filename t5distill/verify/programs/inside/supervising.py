"""The supervisor: one process that watches, and inside the namespaces one that forks per job.

The watcher stays outside the pid namespace and does nothing but end with whoever started it. The
other one, process 1 of the namespace, decides what became of every job: a program can write what
it claims as its own answer, and nothing else.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from typing import Any, NoReturn

from t5distill.verify.programs.inside import child, forking, isolating, kernel, preloading
from t5distill.verify.programs.inside.boot import hollow_packages, read_message, write_message
from t5distill.verify.programs.kinds import KINDS


def supervise(settings: dict[str, Any], commands: int, replies: int) -> None:
    """Load, leave the machine behind, fork the one that serves, and watch."""
    modules = [k.module for k in KINDS.values() if settings["packages"] or not k.algebra]
    for module in modules:
        hollow_packages(settings["root"], module)
    preloading.preload(settings["packages"], modules)
    os.environ.clear()
    parent = _handle(settings["parent"])
    if os.getppid() != settings["parent"]:
        return
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
            _serve(commands, replies, lifeline, no_namespaces, mapped)
        finally:
            os._exit(1)
    for fd in (commands, replies, lifeline):
        os.close(fd)
    os.dup2(0, 2)
    isolating.give_up_privileges()
    _watch(server, settings["parent"], parent)


def _handle(pid: int) -> int | None:
    """Return a descriptor that can be read when a process ends; None where there is no such."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _watch(server: int, parent_pid: int, parent: int | None) -> NoReturn:
    """Wait for either end, and bring about the other."""
    handles = [_handle(server), parent]
    poller = select.poll()
    for handle in handles:
        if handle is not None:
            poller.register(handle, select.POLLIN)
    patience = None if None not in handles else 500
    while True:
        ready = {fd for fd, _ in poller.poll(patience)}
        if parent in ready or (parent is None and os.getppid() != parent_pid):
            os.kill(server, signal.SIGKILL)
        if os.waitpid(server, 0 if ready else os.WNOHANG)[0]:
            os._exit(0)


def _serve(commands: int, replies: int, lifeline: int, no_namespaces: str, mapped: int) -> NoReturn:
    """Answer jobs until the pipe ends."""
    os.dup2(0, 2)
    isolating.give_up_privileges()
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
    guards = select.poll()
    guards.register(lifeline, select.POLLIN)
    guards.register(commands, select.POLLIN)
    while True:
        if any(fd == lifeline for fd, _ in guards.poll()):
            os._exit(0)
        message = read_message(commands)
        if message is None:
            os._exit(0)
        begin = time.monotonic()
        verdict = forking.run(
            message["job"],
            message["limits"],
            ends=(commands, lifeline),
            enter=lambda job, limits, fd: child.work(job, limits, fd, doors=doors, mapped=mapped),
        )
        verdict["number"] = message["number"]
        verdict["seconds"] = time.monotonic() - begin
        write_message(replies, verdict)


def _level(*, namespaces: bool, seccomp: bool) -> str:
    if namespaces and seccomp:
        return "namespaces+seccomp"
    return "namespaces only" if namespaces else "seccomp only" if seccomp else "rlimits only"
