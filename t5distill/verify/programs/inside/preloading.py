"""What programs may import: loaded before the file system disappears, then found in memory."""

from __future__ import annotations

import builtins
import os
import sys

from t5distill.verify.programs.inside.child import NOT_HERE

TYPE_CHECKING = False  # see boot.py
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from typing import NoReturn

# Most programs import nothing or `math`: theirs is the lightest process, and where one of them
# imports more after all it is run once more, where there is more.
BARE = ("math",)
ARITHMETIC = (
    *("__future__", "abc", "array", "ast", "bisect", "builtins", "calendar", "cmath"),
    *("collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime"),
    *("decimal", "enum", "errno", "fractions", "functools", "gc", "graphlib", "heapq", "inspect"),
    *("io", "itertools", "json", "keyword", "linecache", "locale", "math", "numbers", "operator"),
    *("os", "os.path", "pprint", "random", "re", "reprlib", "statistics", "string", "struct"),
    *("sys", "textwrap", "threading", "time", "timeit", "tracemalloc", "traceback", "types"),
    *("typing", "unicodedata", "warnings", "weakref", "_strptime"),
    *("encodings.ascii", "encodings.latin_1", "encodings.unicode_escape", "encodings.utf_16"),
    # Of these some parts compute: quote a text, sum up bytes, name a signal.
    *("importlib.abc", "importlib.resources", "pathlib", "signal", "tempfile", "urllib.parse"),
    "zlib",
    "t5distill.formats.wrapping",  # of this project: takes a fence off
)

# What sympy loads only when it is needed, from a run of its solvers, sums, series and printers.
ALGEBRA = (
    *("sympy", "mpmath", "sympy.abc", "sympy.assumptions.wrapper", "sympy.codegen.ast"),
    *("sympy.combinatorics", "sympy.integrals.heurisch", "sympy.integrals.manualintegrate"),
    *("sympy.integrals.risch", "sympy.parsing.sympy_parser", "sympy.physics.units"),
    *("sympy.sets.handlers.functions", "sympy.sets.handlers.issubset", "sympy.sets.setexpr"),
    *("sympy.solvers.diophantine", "sympy.stats", "sympy.tensor.tensor"),
    *("hashlib", "logging", "pickle"),
)

_LEFT_OUT = {"tests", "benchmarks", "testing", "plotting", "_antlr", "__pycache__", "libgmpy"}


class Elsewhere:
    """Finds no module: perhaps a larger supervisor does."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> NoReturn:
        """End the process, with a code that the supervisor knows."""
        os._exit(NOT_HERE)


class Shelf:
    """The rest of a package, as compressed source in memory: imported at a program's own expense.

    A finder for `sys.meta_path` and the loader of what it finds.
    """

    def __init__(self, packages: dict[str, str]):
        import zlib

        self._compress, self._decompress = zlib.compress, zlib.decompress
        self._sources: dict[str, tuple[bytes, bool]] = {}
        for name, folder in packages.items():
            self._fill(name, os.path.join(folder, name))

    def _fill(self, name: str, folder: str) -> None:
        for entry in os.scandir(folder):
            stem, extension = os.path.splitext(entry.name)
            if entry.is_dir() and entry.name not in _LEFT_OUT:
                self._fill(f"{name}.{entry.name}", entry.path)
            elif extension == ".py":
                module = name if stem == "__init__" else f"{name}.{stem}"
                with open(entry.path, "rb") as f:
                    self._sources[module] = self._compress(f.read(), 1), stem == "__init__"

    def find_spec(self, name: str, path: object = None, target: object = None):
        """Find what is on the shelf."""
        if name not in self._sources:
            return None
        from importlib.machinery import ModuleSpec

        package = self._sources[name][1]
        return ModuleSpec(name, self, origin=name, is_package=package)  # pyright: ignore

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module) -> None:
        """Run the source."""
        name = module.__name__
        exec(compile(self._decompress(self._sources[name][0]), name, "exec"), module.__dict__)


class _Beside:
    """Finds the named packages in their folders, and nothing else of those folders."""

    def __init__(self, packages: dict[str, str]):
        self._packages = packages

    def find_spec(self, name: str, path=None, target=None):
        """Find one of the packages."""
        from importlib.machinery import PathFinder

        folder = self._packages.get(name)
        return PathFinder.find_spec(name, [folder]) if folder else None


def preload(size: str, packages: dict[str, str], modules: list[str]) -> None:
    """Import what programs and jobs need; afterwards only memory is searched.

    Args:
      size: one of `kinds.SIZES`.
      packages: name and folder of sympy and mpmath, for the size that has them.
      modules: modules of this project that carry out jobs.
    """
    wanted = {"bare": BARE, "arithmetic": ARITHMETIC, "algebra": (*ARITHMETIC, *ALGEBRA)}[size]
    sys.meta_path.append(_Beside(packages))
    rest = Elsewhere() if size == "bare" else Shelf(packages)
    for name in (*wanted, *modules):
        __import__(name)
    # What module `site` adds, which did not run.
    quitter = __import__("_sitebuiltins").Quitter
    for name in ("exit", "quit"):
        setattr(builtins, name, quitter(name, "Ctrl-D (i.e. EOF)"))
    if "random" in sys.modules:
        _seed()
        os.register_at_fork(after_in_child=_seed)  # after module random's own, which seeds anew
    built_in, frozen = sys.meta_path[:2]
    sys.meta_path[:] = [built_in, frozen, rest]
    sys.path[:] = []


def _seed() -> None:
    """A program that draws is judged alike each time."""
    sys.modules["random"].seed(0)
