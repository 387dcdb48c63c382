"""Stages as the commands that a user would type: printed, run in this process, and timed."""

from __future__ import annotations

import collections
import gc
import os
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from t5distill.errors import UserError

# One stage adds a few hundredths to a share of it.
MOST_MAPPED = 0.3


class Stages:
    """Measures the seconds of each stage, and says how much is left.

    Args:
      planned: the kinds of the stages to come, where they are known.
    """

    def __init__(self, planned: Sequence[str] = ()):
        self.seconds: dict[str, float] = {}
        self.begin = time.perf_counter()
        self._left = collections.Counter(planned)
        self._total = len(planned)
        self._took: dict[str, list[float]] = collections.defaultdict(list)

    @contextmanager
    def __call__(self, name: str, *, kind: str | None = None) -> Iterator[None]:
        """Measure a stage; one of a planned kind is announced."""
        kind = kind or name
        if self._total and not _shown_only:
            done = self._total - sum(self._left.values())
            print(f"\n=== {done + 1} of {self._total}: {name}{self._eta()}", flush=True)
        since = time.perf_counter()
        yield
        took = time.perf_counter() - since
        self.seconds[name] = round(self.seconds.get(name, 0.0) + took, 1)
        self._took[kind].append(took)
        self.skipped(kind)

    def skipped(self, kind: str) -> None:
        """Count a planned stage that there was nothing left to do for."""
        self._left[kind] = max(self._left[kind] - 1, 0)

    def _eta(self) -> str:
        """Return what is left, from the stages of the same kinds, once each kind has been seen."""
        left = {kind: count for kind, count in self._left.items() if count}
        if any(kind not in self._took for kind in left):
            return ""
        seconds = sum(count * sum(t) / len(t) for k, count in left.items() for t in [self._took[k]])
        return f" (about {seconds / 60:.0f} min left)" if seconds >= 60 else ""


@contextmanager
def exported(name: str, value: object) -> Iterator[None]:
    """Set an environment variable while the block runs."""
    before = os.environ.get(name)
    os.environ[name] = str(value)
    print(f"$ export {name}={shlex.quote(str(value))}")
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


_shown_only = False


@contextmanager
def shown_only() -> Iterator[None]:
    """Print commands and run none of them while the block runs."""
    global _shown_only
    _shown_only = True
    try:
        yield
    finally:
        _shown_only = False


def run(*argv: str) -> int:
    """Print one command as a user would type it, run it in this process, return its exit code."""
    from t5distill.__main__ import main

    print(f"\n$ {typed(('t5distill', *argv))}", flush=True)
    if _shown_only:
        _check(argv)
        return 0
    try:
        code = main(list(argv))
    finally:
        _forget()
    if code == 130:
        # Ctrl-C in a stage is Ctrl-C in the whole.
        raise KeyboardInterrupt
    return code


def _forget() -> None:
    """Let go of what stages compiled, once it is much.

    A process may hold so many mappings of memory, and programs of fifty students are more. What the
    next stage needs again comes from the compilation cache on the disk, but has to be traced.
    """
    if "jax" in sys.modules and _mapped() > MOST_MAPPED:
        sys.modules["jax"].clear_caches()
        gc.collect()


def _mapped() -> float:
    """Return the share of this process's mappings of memory that it has; 1 where nobody tells."""
    try:
        with open("/proc/sys/vm/max_map_count") as limit, open("/proc/self/maps") as maps:
            return sum(1 for _ in maps) / int(limit.read())
    except (OSError, ValueError):
        return 1.0


def _check(argv: Sequence[str]) -> None:
    """Raise UserError where a command line, or a macro on it, is not what the command takes."""
    from t5distill import gin_files
    from t5distill.__main__ import parsed

    try:
        module, args = parsed(list(argv))
    except SystemExit as e:
        raise UserError(f"`t5distill {argv[0]}` does not take that; it says so above") from e
    if hasattr(module, "check"):
        module.check(args)
    if hasattr(module, "RUN_FILE"):
        gin_files.checked(args, run_file=module.RUN_FILE, entry=module.ENTRY)


def command(*argv: str) -> None:
    """Run a command that has to succeed."""
    code = run(*argv)
    if code:
        raise UserError(f"`t5distill {argv[0]}` ended with code {code}")


def typed(words: Sequence[str]) -> str:
    """Return a command for a person to read and a shell to run, one flag a line."""
    lines = [words[0]]
    for word in words[1:]:
        # shlex would write the quotes of a gin string as '"'"'.
        plain = "'" not in word or any(c in word for c in '"$`\\!')
        quoted = shlex.quote(word) if plain else f'"{word}"'
        if word.startswith("--") and len(lines[-1]) + len(quoted) > 90:
            lines.append(f"    {quoted}")
        else:
            lines[-1] += f" {quoted}"
    return " \\\n".join(lines)


def bindings(macros: dict[str, Any]) -> list[str]:
    """Return macros as arguments of a gin command."""
    return [f"--gin.{name}={value!r}" for name, value in macros.items()]


def flags(options: dict[str, Any]) -> list[str]:
    """Return options of a command as its arguments; True is a flag alone, False none."""
    words: list[str] = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif isinstance(value, list | tuple):
            words += [f"--{name}", *map(str, value)]
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words
