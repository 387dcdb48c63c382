"""Closing the doors, in the order in which they can be closed.

Once for the supervisor: user, network, mount, pid, ipc (and uts, cgroup) namespaces, an empty
read-only root, no capabilities. Once for every job, in its own process: limits and seccomp.
"""

from __future__ import annotations

import os
import resource

from t5distill.verify.programs.inside import kernel, seccomp

NOBODY = 65534
_NEEDED = (
    kernel.CLONE_NEWUSER
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
)
_WISHED = kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
_PLACES = ("/tmp", "/var", "/proc", "/usr")
_MB = 1 << 20


def become_nobody() -> None:
    """Where the supervisor was started by root, go on as nobody; else change nothing."""
    if not kernel.LINUX or os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
    except OSError:
        return  # a container without CAP_SETUID or without that user: its root is little itself
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # else /proc/self belongs to root, and the maps with it


def enter_namespaces() -> str:
    """Leave the machine behind; return why that was impossible, empty where it was done.

    The next fork is the first process of the new pid namespace.
    """
    if not kernel.LINUX:
        return "not Linux"
    try:
        uid, gid = os.geteuid(), os.getegid()
        try:
            kernel.unshare(_NEEDED | _WISHED)
        except OSError:
            kernel.unshare(_NEEDED)
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            _write(f"/proc/self/{name}", text)
        _empty_root()
    except (OSError, KeyError) as e:
        return f"{type(e).__name__}: {e}"
    return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _empty_root() -> None:
    """Make a tmpfs without room for anything the root, and read-only."""
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    place = next(place for place in _PLACES if os.path.isdir(place))
    guarded = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("tmpfs", place, "tmpfs", guarded, "size=4k,nr_inodes=2,mode=0555")
    kernel.pivot_into(place)
    again = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
    kernel.mount(None, "/", None, again | guarded)


def give_up_privileges() -> None:
    """Drop every capability and the way to new ones, and hide from other processes' debuggers."""
    if kernel.LINUX:
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.drop_capabilities()
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def program_filter() -> tuple[kernel.Filter | None, str]:
    """Return the filter for programs, tried on a process of its own; or None, and why."""
    if not kernel.LINUX or kernel.MACHINE not in seccomp.ARCHITECTURES:
        return None, f"no filter is written for {kernel.MACHINE}"
    made = kernel.Filter(seccomp.allow_list(kernel.MACHINE))
    child = os.fork()
    if child == 0:
        try:
            made.install()
        except OSError as e:
            os._exit(e.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return (made, "") if code == 0 else (None, os.strerror(code) if code > 0 else f"died ({code})")


def address_space() -> int:
    """Return the bytes of memory that this process has mapped."""
    try:
        with open("/proc/self/statm") as f:
            return int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 256 * _MB


def limit_for_good() -> None:
    """Set the limits that the supervisor can bear itself: every job inherits them."""
    for name, value in (
        ("RLIMIT_STACK", 8 * _MB),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
    ):
        if hasattr(resource, name):
            _lower(getattr(resource, name), value)


def limit_job(*, cpu_s: float, memory_mb: int, mapped: int) -> None:
    """Bound the process of a job; the supervisor stops it before the limit of processor time does.

    Args:
      cpu_s: its processor seconds.
      memory_mb: what it may add.
      mapped: bytes of address space that it starts with.
    """
    # The parent's clock decides; this one, which counts ticks, ends what the parent cannot.
    _lower(resource.RLIMIT_CPU, int(2 * cpu_s) + 2)
    _lower(resource.RLIMIT_AS, int(mapped + memory_mb * _MB))
    _lower(resource.RLIMIT_NPROC, 0)
    _lower(resource.RLIMIT_NOFILE, 4)


def _lower(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    try:
        resource.setrlimit(kind, (value, value))
    except (OSError, ValueError):
        if kernel.LINUX:
            raise  # macOS knows some of them and sets none
