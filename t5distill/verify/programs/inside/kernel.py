"""The few system calls that Python's standard library lacks."""

from __future__ import annotations

import ctypes
import os
import sys

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP = 1, 4, 22
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522

LINUX = sys.platform == "linux"
MACHINE = os.uname().machine
# pivot_root and capset have no wrapper in the C library.
_NUMBERS = {"x86_64": (155, 126), "aarch64": (41, 91)}


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(name: str, *args: object) -> int:
    """Call a function of the C library; OSError where it returns -1."""
    result = getattr(_library(), name)(*args)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return result


def light_fork() -> Callable[[], int]:
    """Return a fork without Python's own bookkeeping after it, which writes to two hundred pages.

    It is for a process of one thread whose child forks no more: what `os.fork` makes anew (locks of
    other threads, the seed of `random`) is not needed there.
    """
    if not LINUX:
        return os.fork
    fork = ctypes.PyDLL(None, use_errno=True).fork

    def forked() -> int:
        pid = fork()
        if pid == -1:
            code = ctypes.get_errno()
            raise OSError(code, f"fork: {os.strerror(code)}")
        return pid

    return forked


def unshare(flags: int) -> None:
    """Enter new namespaces."""
    _checked("unshare", ctypes.c_int(flags))


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """Mount, or change a mount."""
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    _checked("mount", *encoded, ctypes.c_ulong(flags), data.encode() or None)


def pivot_into(folder: str) -> None:
    """Make a mount the root and let go of the old one."""
    os.chdir(folder)
    _checked("syscall", ctypes.c_long(_NUMBERS[MACHINE][0]), b".", b".")
    _checked("umount2", b".", ctypes.c_int(MNT_DETACH))
    os.chdir("/")


def prctl(option: int, *values: int) -> None:
    """Change a property of the process."""
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    _checked("prctl", ctypes.c_int(option), *padded)


def drop_capabilities() -> None:
    """Give up every capability, for good: bounding, effective, permitted, inheritable.

    Ambient ones go with those that are permitted.
    """
    number = 0
    while True:
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:
            break  # EINVAL after the last one; EPERM where there were none to give up
        number += 1
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    _checked("syscall", ctypes.c_long(_NUMBERS[MACHINE][1]), header, nothing)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


class Filter:
    """A seccomp program, ready to be put on the process that calls `install`."""

    def __init__(self, instructions: bytes):
        self._prctl = _library().prctl  # looked up now: the caller of install has little left
        self._program = _Program(len(instructions) // 8, instructions)
        self._pointer = ctypes.byref(self._program)

    def install(self) -> None:
        """Allow this process and its descendants, from now on, what the filter allows."""
        zero = ctypes.c_ulong(0)
        mode = ctypes.c_ulong(SECCOMP_MODE_FILTER)
        if self._prctl(ctypes.c_int(PR_SET_SECCOMP), mode, self._pointer, zero, zero) == -1:
            raise OSError(ctypes.get_errno(), "seccomp")
