"""One job in one process: fork it, bound it, read what it says, see how it ends."""

from __future__ import annotations

import _signal as signal  # pyright: ignore  # without the enums around it, which bring `re`
import os
import select
import time

from t5distill.verify.programs.inside import kernel
from t5distill.verify.programs.inside.child import NOT_HERE, OUT_OF_MEMORY
from t5distill.verify.programs.inside.messages import ELSEWHERE, SAID

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

_fork = kernel.light_fork()
MESSAGE_BYTES = 256 * 1024
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
) -> tuple[str, str, bytes]:
    """Run a job and return status, detail, and what it said where the status is `SAID`.

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
        ready = dict(poller.poll(int(1000 * min(left, processor)) + 1))
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
) -> tuple[str, str, bytes]:
    """Return what the kernel says of the end of a job, else what the job says."""
    seconds = f"{limits['cpu_s']:g} s of processor time"
    # RLIMIT_CPU counts whole ticks, and so kills early where many processes share a processor.
    at_limit = code == -signal.SIGKILL and cpu > limits["cpu_s"] / 2
    if stopped == "cpu" or cpu > limits["cpu_s"] or code == -signal.SIGXCPU or at_limit:
        return "timeout", f"ran longer than {seconds}", b""
    if stopped == "clock":
        return "timeout", f"not at its end after {limits['clock_s']:g} s on the clock", b""
    if stopped == "flood":
        return "error", f"its answer is longer than {MESSAGE_BYTES} bytes", b""
    if stopped == "closed" and code == -signal.SIGKILL:  # not while it was ending of itself
        return "error", "closed the way to answer and went on", b""
    if code == -signal.SIGSYS:
        return "rejected", "forbidden: a system call outside the allow-list (SIGSYS)", b""
    if code == OUT_OF_MEMORY or code == -signal.SIGKILL:
        return "memory", "", b""
    if code < 0:
        return "error", _FAULTS.get(-code, f"ended by signal {-code}"), b""
    if code > 0 or not data:
        status = ELSEWHERE if code == NOT_HERE and not data else "error"
        return status, f"ended itself without an answer, exit code {code}", b""
    return SAID, "", data
