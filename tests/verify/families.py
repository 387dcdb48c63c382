"""The processes below a process, told by their command lines."""

import os
import pathlib


def command_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def below(pid):
    """Return all processes below one, whatever their namespace."""
    try:
        listed = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, listed) for found in (child, *below(child))]


def supervisors(pid=None):
    """Return the supervisors of a process, outer and inner ones, and the programs that run."""
    return [p for p in below(pid or os.getpid()) if b"inside/boot.py" in command_of(p)]
