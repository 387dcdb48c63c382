"""One job in one process: fork it, bound it, read its answer, decide."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from t5distill.verify.programs.inside import kernel
from t5distill.verify.programs.inside.child import OUT_OF_MEMORY

_fork = kernel.light_fork()
MESSAGE_BYTES = 256 * 1024
# What a job may say of itself. A timeout is for the supervisor to see.
CLAIMS = {
    "value",
    "several",
    "none",
    "inconsistent",
    "underdetermined",
    "error",
    "memory",
    "rejected",
}
_FAULTS: dict[int, str] = {
    signal.SIGSEGV: "the interpreter crashed (SIGSEGV), as too deep a recursion makes it",
    signal.SIGBUS: "the interpreter crashed (SIGBUS)",
    signal.SIGFPE: "the interpreter crashed (SIGFPE)",
    signal.SIGABRT: "the interpreter gave up (SIGABRT)",
}


def run(
    job: Mapping[str, Any],
    limits: Mapping[str, Any],
    *,
    ends: tuple[int, ...],
    enter: Callable[[Mapping[str, Any], Mapping[str, Any], int], object],
) -> dict[str, Any]:
    """Run a job and return its status, value and detail.

    Args:
      job: what to do.
      limits: `cpu_s`, `clock_s`, `memory_mb`.
      ends: descriptors that hang up when nobody waits for the result any more.
      enter: carries the job out in the child process and writes to the descriptor it is given.
    """
    reading, writing = os.pipe()
    pid = _fork()
    if pid == 0:
        try:
            os.close(reading)
            enter(job, limits, writing)
        finally:
            os._exit(1)
    os.close(writing)
    data, stopped = _read(reading, pid, limits, ends)
    if stopped is not None or not _ends(pid):
        stopped = stopped or "closed"
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    os.close(reading)
    cpu = usage.ru_utime + usage.ru_stime
    return _decide(data, stopped, os.waitstatus_to_exitcode(status), cpu, limits)


def _read(
    reading: int, pid: int, limits: Mapping[str, Any], ends: tuple[int, ...]
) -> tuple[bytes, str | None]:
    """Return what the child wrote, and why it has to be stopped where it did not end."""
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    for fd in ends:
        poller.register(fd, 0)  # a hang-up is always told
    deadline = time.monotonic() + limits["clock_s"]
    data = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return data, "clock"
        # A process of one thread uses no more than a second of processor in a second.
        processor = limits["cpu_s"] - _cpu(pid)
        if processor <= 0:
            return data, "cpu"
        ready = dict(poller.poll(math.ceil(1000 * min(left, processor))))
        if any(fd in ready for fd in ends):
            os.kill(pid, signal.SIGKILL)
            os._exit(0)
        if reading in ready:
            part = os.read(reading, 65536)
            if not part:
                return data, None
            data += part
            if len(data) > MESSAGE_BYTES:
                return data, "flood"


def _cpu(pid: int) -> float:
    """Return the processor seconds of a child."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # Linux: the clock of a process
    except OSError:
        return 0.0  # no such clock here: RLIMIT_CPU is left


def _ends(pid: int) -> bool:
    """Tell whether a child that has closed its pipe ends of itself, which takes it a moment.

    On a busy machine it may take longer. To be killed then does not change the exit code of a
    process that is ending, so `_decide` still tells the two apart.
    """
    wait = 0.0
    while wait < 0.1:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return True
        time.sleep(wait)
        wait = 2 * wait or 0.0002
    return False


def _decide(
    data: bytes, stopped: str | None, code: int, cpu: float, limits: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the verdict: first what the kernel says, last what the child says."""
    seconds = f"{limits['cpu_s']:g} s of processor time"
    # RLIMIT_CPU counts whole ticks, and so kills early where many processes share a processor.
    at_limit = code == -signal.SIGKILL and cpu > limits["cpu_s"] / 2
    if stopped == "cpu" or cpu > limits["cpu_s"] or code == -signal.SIGXCPU or at_limit:
        return _verdict("timeout", f"ran longer than {seconds}")
    if stopped == "clock":
        return _verdict("timeout", f"not at its end after {limits['clock_s']:g} s on the clock")
    if stopped == "flood":
        return _verdict("error", f"its answer is longer than {MESSAGE_BYTES} bytes")
    if stopped == "closed" and code == -signal.SIGKILL:  # not while it was ending of itself
        return _verdict("error", "closed the way to answer and went on")
    if code == -signal.SIGSYS:
        return _verdict("rejected", "forbidden: a system call outside the allow-list (SIGSYS)")
    if code == OUT_OF_MEMORY or code == -signal.SIGKILL:
        return _out_of_memory(limits)
    if code < 0:
        return _verdict("error", _FAULTS.get(-code, f"ended by signal {-code}"))
    if code > 0 or not data:
        return _verdict("error", f"ended itself without an answer, exit code {code}")
    claimed = _claim(data)
    if claimed is None:
        return _verdict("error", "its answer is not in the form of one")
    return _out_of_memory(limits) if claimed["status"] == "memory" else claimed


def _claim(data: bytes) -> dict[str, Any] | None:
    """Return what the child says, None where it is not one answer of the right types."""
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict):
        return None
    status, value, detail = (said.get(name) for name in ("status", "value", "detail"))
    if not isinstance(status, str) or status not in CLAIMS:
        return None
    if not isinstance(value, str if status == "value" else None.__class__):
        return None
    if not isinstance(detail, str | None):
        return None
    return {"status": status, "value": value, "detail": detail or ""}


def _verdict(status: str, detail: str) -> dict[str, Any]:
    return {"status": status, "value": None, "detail": detail}


def _out_of_memory(limits: Mapping[str, Any]) -> dict[str, Any]:
    return _verdict("memory", f"needed more than {limits['memory_mb']} MB of memory")
