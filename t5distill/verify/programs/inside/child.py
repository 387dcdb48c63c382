"""The process of one job: it closes the last doors, works, answers and ends."""

from __future__ import annotations

import gc
import os
import sys

from t5distill.verify.programs.inside import isolating, kernel

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

RESULT_FD = 3
OUT_OF_MEMORY = 71  # exit codes, for when there is no way left to say more
BROKEN = 72
NOT_HERE = 73  # it imports what only a larger supervisor has
DETAIL_CHARS = 300

# Events of Python that name what a program was about to do. They make the verdict readable; what
# keeps the program from doing it is the kernel.
_FORBIDDEN = (
    "open",
    "os.",
    "posix.",
    "socket.",
    "subprocess.",
    "shutil.",
    "ctypes.",
    "fcntl.",
    "mmap.",
    "signal.",
    "pty.",
    "tempfile.",
    "glob.",
    "pathlib.",
    "resource.",
    "syslog.",
    "sqlite3.",
    "_thread.start_",
)
_HARMLESS = ("os.putenv", "os.unsetenv")  # its own copy of an empty environment
_MODULES = (
    *("_ctypes", "_posixsubprocess", "_socket", "asyncio", "concurrent", "ctypes", "dbm", "ftplib"),
    *("glob", "http", "imaplib", "mmap", "multiprocessing", "nntplib", "pathlib", "poplib", "pty"),
    *("shelve", "shutil", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "subprocess"),
    *("telnetlib", "tempfile", "urllib", "webbrowser", "xmlrpc"),
)


def work(
    run: Callable[[Mapping[str, Any]], Mapping[str, str | None]],
    job: Mapping[str, Any],
    limits: Mapping[str, Any],
    result: int,
    *,
    doors: kernel.Filter | None,
    mapped: int,
) -> NoReturn:
    """Carry out a job in this process, which is a fresh fork, and end it.

    Args:
      run: does it, and returns `status`, `value` and `detail`.
      job: what it is given.
      limits: `cpu_s` and `memory_mb`.
      result: the descriptor that the answer goes to.
      doors: the filter on system calls; None where there is none.
      mapped: bytes of address space at the start.
    """
    try:
        os.dup2(result, RESULT_FD)
        os.closerange(RESULT_FD + 1, 1 << 20)
        isolating.limit_job(cpu_s=limits["cpu_s"], memory_mb=limits["memory_mb"], mapped=mapped)
        if doors is not None:
            doors.install()
        watch()
        sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
        gc.enable()
    except BaseException:
        os._exit(BROKEN)
    try:
        say(run(job))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BaseException as e:  # the job's function answers its own failures: this one is ours
        say({"status": "error", "detail": f"inside the sandbox: {one_line(e)}"})
    os._exit(BROKEN)


def say(message: Mapping[str, str | None]) -> NoReturn:
    """Write the answer and end the process: nothing that a program left behind runs any more.

    It is the status and the value, or where there is none the detail, each with a NUL at its end.
    """
    text = message.get("value")
    if text is None:
        text = message.get("detail") or ""
    # The text may be of a class of the program's own, with methods of its own.
    text = str.replace(text, "\0", "\ufffd")
    rest = f"{message['status']}\0{text}\0".encode("utf-8", "replace")
    while rest:
        rest = rest[os.write(RESULT_FD, rest) :]
    os._exit(0)


def one_line(error: BaseException) -> str:
    """Return type and message of an exception, whatever its class makes of being written."""
    try:
        text = " ".join(str(error).split())
    except BaseException:
        text = "its message cannot be written"
    return f"{type(error).__name__}: {text}"[:DETAIL_CHARS].rstrip(": ")


def watch() -> None:
    """End the process with a named verdict where Python is about to do what is forbidden."""
    write, leave = say, os._exit

    def hook(event: str, args: tuple) -> None:
        if event == "import":
            if args[0].partition(".")[0] not in _MODULES:
                return
            what = f"import of {args[0]}"
        elif not event.startswith(_FORBIDDEN) or event in _HARMLESS:
            return
        elif event == "open" and str(args[0]).startswith("<"):
            return  # Python looks for the lines of "<program>" to show beside a SyntaxError
        else:
            what = f"{event} {_shown(args)}".strip()
        try:
            write({"status": "rejected", "detail": f"forbidden: {what}"[:DETAIL_CHARS]})
        finally:
            leave(BROKEN)

    sys.addaudithook(hook)


def _shown(args: tuple) -> str:
    """Return the first argument of an event where it is plain text or a number."""
    first = args[0] if args else ""
    if type(first) in (str, bytes):
        return repr(first[:80])
    return str(first) if type(first) is int else ""


def _depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
