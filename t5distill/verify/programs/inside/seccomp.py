"""The system calls that a program may make: an allow-list, as a seccomp BPF program.

What Python needs to compute is allowed. Looking for a file gets the answer that an empty disk would
give, so that a failing import fails as usual. Anything else ends the process.
"""

from __future__ import annotations

import errno
import struct

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Mapping

KILL, ALLOW, ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _THIRD_ARGUMENT = 0, 4, 32  # offsets in struct seccomp_data
_X32 = 0x40000000  # the second set of calls of x86-64 kernels
PROT_EXEC = 4

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64); None where the architecture has no such call.
_ALLOWED = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "futex": (202, 98),
    "set_robust_list": (273, 99),
    "rseq": (334, 293),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getuid": (102, 174),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getegid": (108, 177),
    "getcwd": (79, 17),
    "gettimeofday": (96, 169),
    "time": (201, None),
    "times": (100, 153),
    "getrusage": (98, 165),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
_ANSWERED = {
    errno.ENOENT: {
        "open": (2, None),
        "openat": (257, 56),
        "stat": (4, None),
        "lstat": (6, None),
        "newfstatat": (262, 79),
        "statx": (332, 291),
        "access": (21, None),
        "faccessat": (269, 48),
        "faccessat2": (439, 439),
        "readlink": (89, None),
        "readlinkat": (267, 78),
    },
    errno.ENOTTY: {"ioctl": (16, 29)},
    errno.EPERM: {
        "fcntl": (72, 25),  # could have signals sent to others
        "prlimit64": (302, 261),  # could change the limits of the supervisor
        "getrlimit": (97, 163),
        "uname": (63, 160),
    },
    # To sleep succeeds at once: waiting is no computation, and would cost the clock's limit.
    0: {"nanosleep": (35, 101), "clock_nanosleep": (230, 115)},
}
# Memory, but none that can be run.
_NOT_EXECUTABLE = {"mmap": (9, 222), "mprotect": (10, 226)}


def _instruction(code: int, value: int, *, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, value)


def _numbers(calls: Mapping[str, tuple[int | None, int | None]], machine: str) -> list[int]:
    column = list(ARCHITECTURES).index(machine)
    return [number for pair in calls.values() if (number := pair[column]) is not None]


def answering(calls: dict[int, int], machine: str, *, otherwise: int = ALLOW) -> bytes:
    """Return a filter that has an action for each of some call numbers, and one for the rest."""
    program = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, ARCHITECTURES[machine], true=1),
        _instruction(_RETURN, KILL),
        _instruction(_LOAD, _NUMBER),
        _instruction(_JUMP_GREATER, _X32, false=1),
        _instruction(_RETURN, KILL),
    ]
    for number, action in calls.items():
        program.append(_instruction(_JUMP_EQUAL, number, false=1))
        program.append(_instruction(_RETURN, action))
    return b"".join([*program, _instruction(_RETURN, otherwise)])


def allow_list(machine: str) -> bytes:
    """Return the filter that programs run under."""
    calls = dict.fromkeys(_numbers(_ALLOWED, machine), ALLOW)
    for code, answered in _ANSWERED.items():
        calls |= dict.fromkeys(_numbers(answered, machine), ERRNO | code)
    program = answering(calls, machine, otherwise=KILL)
    # The last instruction becomes the test of memory calls, which look at an argument.
    tail = b""
    for number in _numbers(_NOT_EXECUTABLE, machine):
        tail += _instruction(_JUMP_EQUAL, number, false=4)
        tail += _instruction(_LOAD, _THIRD_ARGUMENT)
        tail += _instruction(_JUMP_ANY, PROT_EXEC, false=1)
        tail += _instruction(_RETURN, ERRNO | errno.EPERM)
        tail += _instruction(_RETURN, ALLOW)
    return program[:-8] + tail + _instruction(_RETURN, KILL)
