"""What programs may import: loaded before the file system disappears, then found in memory."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import zlib
from importlib.abc import Loader
from importlib.machinery import BuiltinImporter, FrozenImporter, ModuleSpec, PathFinder

# Every megabyte loaded makes every fork slower: hashlib alone brings four.
ARITHMETIC = (
    *("__future__", "abc", "array", "ast", "bisect", "builtins", "calendar", "cmath"),
    *("collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime"),
    *("decimal", "enum", "errno", "fractions", "functools", "gc", "graphlib", "heapq", "inspect"),
    *("io", "itertools", "json", "keyword", "linecache", "locale", "math", "numbers", "operator"),
    *("os", "os.path", "pprint", "random", "re", "reprlib", "statistics", "string", "struct"),
    *("sys", "textwrap", "threading", "time", "timeit", "tracemalloc", "traceback", "types"),
    *("typing", "unicodedata", "warnings", "weakref", "_strptime"),
    *("encodings.ascii", "encodings.latin_1", "encodings.unicode_escape", "encodings.utf_16"),
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


class Shelf(Loader):
    """The rest of a package, as compressed source in memory: imported at a program's own expense.

    A finder for `sys.meta_path` and the loader of what it finds.
    """

    def __init__(self, packages: dict[str, str]):
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
                    self._sources[module] = zlib.compress(f.read(), 1), stem == "__init__"

    def find_spec(self, name: str, path: object = None, target: object = None):
        """Find what is on the shelf."""
        if name not in self._sources:
            return None
        return ModuleSpec(name, self, origin=name, is_package=self._sources[name][1])

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to the import system."""

    def exec_module(self, module) -> None:
        """Run the source."""
        name = module.__name__
        exec(compile(zlib.decompress(self._sources[name][0]), name, "exec"), module.__dict__)


class _Beside:
    """Finds the named packages in their folders, and nothing else of those folders."""

    def __init__(self, packages: dict[str, str]):
        self._packages = packages

    def find_spec(self, name: str, path=None, target=None):
        """Find one of the packages."""
        folder = self._packages.get(name)
        return PathFinder.find_spec(name, [folder]) if folder else None


def preload(packages: dict[str, str], modules: list[str]) -> None:
    """Import what programs and jobs need; afterwards only memory is searched.

    Args:
      packages: name and folder of what is not in the standard library: sympy and mpmath, or none.
      modules: modules of this project that carry out jobs.
    """
    sys.meta_path.append(_Beside(packages))
    wanted = [*ARITHMETIC, *(ALGEBRA if packages else ())]
    for name in wanted:
        importlib.import_module(name)
    for name in modules:
        importlib.import_module(name)
    # What module `site` adds, which did not run.
    quitter = importlib.import_module("_sitebuiltins").Quitter
    for name in ("exit", "quit"):
        setattr(builtins, name, quitter(name, "Ctrl-D (i.e. EOF)"))
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, Shelf(packages)]
    sys.path[:] = []
