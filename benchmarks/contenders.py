"""Each contender computes in a process of its own, so that memory and threads are its own too.

Only one of them is ever asked to do something; the others wait in a read and use no core.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import multiprocessing
import os
import resource
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks.workload import Turn, Workload
from t5distill import quiet


class Engine(NamedTuple):
    """A contender: the name that reports give it, its module, and the packages that it needs."""

    name: str
    module: str
    needs: tuple[str, ...]


# The first is the one that the others are compared with.
ENGINES = (
    Engine("t5distill", "benchmarks.ours", ()),
    Engine("huggingface", "benchmarks.huggingface", ("torch", "transformers")),
    Engine("t5x", "benchmarks.t5x_engine", ("t5x", "tensorflow")),
)


class ContenderError(Exception):
    """A contender could not do what it was asked; the message is its own error."""


class NotInstalledError(ContenderError):
    """A contender's packages cannot be imported."""


class Contender:
    """A process that runs one engine on one workload.

    Attributes:
      engine: which one.
      start_seconds: how long the process took to start and import.
      versions: of its packages.
      axes: by phase, the settings that it wants to try.
    """

    def __init__(self, engine: Engine, workload: Workload):
        """Start the process.

        Raises:
          NotInstalledError: its packages are not there.
        """
        missing = [name for name in engine.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise NotInstalledError(f"no package {', '.join(missing)}")
        self.engine = engine
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, engine, workload), daemon=True)
        started = time.perf_counter()
        self._process.start()
        theirs.close()
        try:
            self.versions, self.axes = self._receive()
        except ContenderError:
            self.close()
            raise
        self.start_seconds = time.perf_counter() - started

    def build(self, phase: str, setting: dict[str, Any]) -> float:
        """Load the weights, compile and warm up; return the seconds that took."""
        return self._ask("build", phase, setting)

    def turn(self) -> Turn:
        """Run one turn of what was built last."""
        return self._ask("turn")

    def peak_memory(self) -> int:
        """Return the peak resident memory of the process so far, in bytes."""
        return self._ask("peak_memory")

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError as e:
            self._process.join()
            raise ContenderError(f"its process ended with code {self._process.exitcode}") from e
        if kind == "missing":
            raise NotInstalledError(value)
        if kind == "error":
            raise ContenderError(value)
        return value


def _serve(pipe: Connection, contender: Engine, workload: Workload) -> None:
    """Answer requests until the other end closes."""
    # A comparison on equal terms: PyTorch's wheels from the index compute on the CPU as well.
    os.environ["JAX_PLATFORMS"] = "cpu"
    try:
        if "tensorflow" in contender.needs:
            _import_tensorflow()
        engine = importlib.import_module(contender.module)
    except ImportError as e:
        pipe.send(("missing", f"{type(e).__name__}: {e}"))
        return
    versions = {name: _version(name) for name in engine.DISTRIBUTIONS}
    axes = {phase: engine.axes(phase, workload) for phase in ("training", "decoding")}
    pipe.send(("done", (versions, axes)))
    turn = None
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        try:
            if name == "build":
                turn = None  # the memory of what was built before is given back first
                started = time.perf_counter()
                phase, setting = arguments
                turn = getattr(engine, phase)(workload, setting)
                result = time.perf_counter() - started
            elif name == "turn":
                assert turn is not None
                result = turn()
            else:
                result = _peak_memory()
            pipe.send(("done", result))
        except Exception as e:
            traceback.print_exc()
            pipe.send(("error", f"{type(e).__name__}: {e}"))


def _import_tensorflow() -> None:
    """Import TensorFlow first and without notices, so that they do not bury the tables."""
    quiet.import_tensorflow()
    from absl import logging

    logging.set_verbosity(logging.ERROR)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "from source"


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
