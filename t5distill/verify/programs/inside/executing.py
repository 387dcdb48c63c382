"""A program of thought: run as `python program.py` would run it, then asked for its answer."""

from __future__ import annotations

import builtins
import io
import sys

from t5distill.verify.programs.inside.child import one_line
from t5distill.verify.programs.inside.rendering import render

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any

NAME = "<program>"
ANSWERS = ("ans", "answer")
OUTPUT_BYTES = 64 * 1024
FUNCTION = type(lambda: None)


def run(job: Mapping[str, Any]) -> dict[str, Any]:
    """Run `job["source"]` and return what it answers: status, value and detail.

    The answer is what the function `solution` returns, else the variable `ans` or `answer`, else
    the last line printed; what is None counts as not there.
    """
    try:
        code = compiled(job["source"])
    except MemoryError:
        return {"status": "error", "detail": "SyntaxError: too deeply nested to be read"}
    except (SyntaxError, ValueError, RecursionError, OverflowError) as e:
        return {"status": "error", "detail": _failure(e)}
    module = type(sys)("__main__")
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module  # where dataclasses and typing look names up
    sys.argv = [NAME]
    sys.stdout = sys.__stdout__ = _SCREEN
    sys.stderr = sys.__stderr__ = _ERRORS
    try:
        try:
            exec(code, module.__dict__)
        except SystemExit as e:
            if e.code not in (None, 0):
                return {"status": "error", "detail": one_line(e)}
        return _answer(module.__dict__)
    except MemoryError:
        module.__dict__.clear()
        return {"status": "memory"}
    except BaseException as e:
        return {"status": "error", "detail": _failure(e)}


def compiled(source: str) -> CodeType:
    """Compile a program; what does not compile as it stands is tried out of its wrapping.

    Wrapping is a markdown fence (of several, all that say Python, else the first) and indentation
    that all lines share.
    """
    source = source.removeprefix("\ufeff")
    try:
        return compile(source, NAME, "exec", dont_inherit=True)
    except SyntaxError:
        if not (source.lstrip("\n")[:1].isspace() or "```" in source or "~~~" in source):
            raise
        from textwrap import dedent

        from t5distill.formats.wrapping import unfenced

        return compile(dedent(unfenced(source)), NAME, "exec", dont_inherit=True)


def _answer(names: dict[str, Any]) -> dict[str, Any]:
    """Ask a program that has ended for its answer."""
    solution = names.get("solution")
    if callable(solution) and not isinstance(solution, type) and not _needs_arguments(solution):
        found = solution()
        if found is not None:
            return render(found)
    for name in ANSWERS:
        found = names.get(name)
        if found is not None and not isinstance(found, FUNCTION | type):
            return render(found)
    printed = _printed()
    if printed:
        return render(printed)
    return {
        "status": "none",
        "detail": "it neither returns from solution(), nor sets ans or answer, nor prints",
    }


def _printed() -> str:
    """Return the last line that was printed."""
    try:
        _SCREEN.flush()
    except ValueError:  # it closed its own output, or took it apart
        return _OUTPUT.last_line()
    return _OUTPUT.last_line()


def _needs_arguments(function: Callable[..., Any]) -> bool:
    """Tell whether a function, decorated or bound perhaps, cannot be called as it stands."""
    if isinstance(function, FUNCTION) and not hasattr(function, "__wrapped__"):
        # Nearly all; `inspect` would be filled by every fork.
        code = function.__code__
        required = code.co_argcount - len(function.__defaults__ or ())
        named = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
        return required > 0 or named > 0
    import inspect

    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return True
    return False


def _failure(error: BaseException) -> str:
    """Return type, message and line of an exception."""
    if isinstance(error, SyntaxError):
        return one_line(error)  # which names its line itself
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    return one_line(error) + (f" (line {line})" if isinstance(line, int) else "")


class _Tail(io.RawIOBase):
    """A file that keeps the end of what is written to it."""

    def __init__(self):
        self._kept = bytearray()

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data) -> int:
        """Keep the last of it."""
        self._kept += memoryview(data)[-OUTPUT_BYTES:]
        if len(self._kept) > 4 * OUTPUT_BYTES:
            del self._kept[:-OUTPUT_BYTES]
        return len(data)

    def last_line(self) -> str:
        """Return the last line that is not blank."""
        text = bytes(self._kept[-OUTPUT_BYTES:]).decode("utf-8", "replace")
        return text.rstrip().rpartition("\n")[2].strip()


# Each job is a fork of the process that imported this: what is made here once is its own, unused.
_OUTPUT = _Tail()
_SCREEN = io.TextIOWrapper(io.BufferedWriter(_OUTPUT), encoding="utf-8")
_ERRORS = io.StringIO()
# What a first use fills, such as the caches of abstract classes, would be filled by every fork.
for _sample in (1, 0.5, True, "1", [1]):
    render(_sample)
compiled("ans = 1")
