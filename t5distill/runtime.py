"""What a process sets up before it computes: compilation cache, other processes, signals."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import os
import pathlib
import platform
import re
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from typing import Any

from t5distill import quiet
from t5distill.errors import UserError

CACHE_VARIABLE = "T5DISTILL_COMPILATION_CACHE"
# "Temporary failure": what starts processes again may take it for a reason to do so.
OTHERS_LOST = 75
_LOST = re.compile(r"gloo|connection (?:reset|closed)|unavailable|heartbeat|aborted", re.IGNORECASE)
_LAST_WORDS_S = 3.0
_SHORTEST_KEPT = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how several processes find each other; one process needs none of it."""
    group = parser.add_argument_group("several processes (each runs the same command)")
    group.add_argument(
        "--multiprocess",
        action="store_true",
        help="join the other processes; on TPU pods and under Slurm all else is found out",
    )
    group.add_argument("--coordinator_address", metavar="HOST:PORT", help="of process 0")
    group.add_argument("--process_count", type=int, metavar="N", help="how many processes")
    group.add_argument("--process_index", type=int, metavar="I", help="which one this is, from 0")


def start(args: argparse.Namespace) -> None:
    """Join the other processes if there are any, and switch on the compilation cache.

    Compiled programs are kept in `$T5DISTILL_COMPILATION_CACHE`, by default ~/.cache/t5distill/xla;
    an empty value switches that off.
    """
    import jax

    quiet.import_tensorflow()
    _forget_peak()
    directory = os.environ.get(CACHE_VARIABLE, os.path.expanduser("~/.cache/t5distill/xla"))
    if directory:
        jax.config.update("jax_compilation_cache_dir", directory)
        if _SHORTEST_KEPT not in os.environ:
            # Decoding has many small programs; JAX would keep only those of a second and more.
            jax.config.update(_SHORTEST_KEPT.lower(), 0.05)
    if args.multiprocess or args.coordinator_address:
        given = (args.coordinator_address, args.process_count, args.process_index)
        if args.coordinator_address and None in given:
            raise UserError(
                "--coordinator_address needs --process_count and --process_index beside it"
            )
        jax.distributed.initialize(*given)


def import_tasks(module: str) -> None:
    """Import the module that registers the tasks, e.g. `t5distill.tasks`, or one in this folder."""
    # A console script does not look for modules in the current folder, `python -m` does.
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise UserError(
            f"MIXTURE_OR_TASK_MODULE is {module!r}: {e}; wanted a module that registers SeqIO tasks"
        ) from e


class Stop:
    """Remembers that SIGTERM or Ctrl-C came; calling it says whether.

    A second Ctrl-C interrupts at once.
    """

    def __init__(self):
        self.signal: int | None = None

    def __call__(self) -> bool:
        """Say whether a signal came."""
        return self.signal is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[Stop]:
        """Listen while the block runs."""
        kinds = (signal.SIGTERM, signal.SIGINT)
        before = {kind: signal.signal(kind, self._note) for kind in kinds}
        try:
            yield self
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        print("\nstopping: what is under way is finished and kept first", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """What shells expect of a process that a signal ended; 0 without one."""
        return 0 if self.signal is None else 128 + self.signal


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Where one of several processes fails, say it in a line and end at once.

    At its usual end a process waits for the others, and they wait for it in the middle of a
    computation. One that is gone is seen by the next exchange, or by its missing heartbeats.
    """
    import jax

    try:
        yield
    except (UserError, jax.errors.JaxRuntimeError) as e:
        if jax.process_count() == 1:
            raise
        code = 2
        if isinstance(e, UserError):
            print(f"t5distill: {e}", file=sys.stderr)
        elif _LOST.search(str(e)):
            code = OTHERS_LOST
            said = str(e).splitlines()[0][:200]
            print(
                f"t5distill: process {jax.process_index()}: another process of this run is gone "
                f"({said}); start all of them again with the same commands: the run goes on from "
                "its last checkpoint",
                file=sys.stderr,
            )
        else:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        if jax.process_index() == 0:
            # Process 0 leads: the others end with it, so they have their say first.
            time.sleep(_LAST_WORDS_S)
        os._exit(code)


def describe_run() -> dict[str, Any]:
    """Return what a run record says of place, time and versions."""
    import jax

    return {
        "command": sys.argv,
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "seqio")
        },
        "commit": _commit(),
        "devices": {"count": jax.device_count(), "kind": jax.devices()[0].device_kind},
        "processes": jax.process_count(),
    }


def _commit() -> str | None:
    """Return the commit of the checkout that runs, `+` behind it if files differ, or None."""
    here = pathlib.Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()

    try:
        if pathlib.Path(git("rev-parse", "--show-toplevel")).resolve() != here.parent.resolve():
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def write_record(directory: str, record: dict[str, Any], *, config: str, **more: Any) -> None:
    """Write DIRECTORY/config.gin, the gin configuration as used, and DIRECTORY/run.json."""
    from etils import epath

    from t5distill.student import checkpoints

    place = epath.Path(directory)
    place.mkdir(parents=True, exist_ok=True)
    (place / "config.gin").write_text(config)
    ended = {
        "ended": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "peak_memory_mib": _peak_memory(),
    }
    checkpoints.write_json(place / "run.json", {**record, **ended, **more})


def _forget_peak() -> None:
    """Begin a new peak of memory: a process may hold several runs, one after the other."""
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/clear_refs").write_text("5")


def _peak_memory() -> int:
    """Return the most MiB that this process held since its last `_forget_peak`, or ever."""
    try:
        status = pathlib.Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) // 1024
    except (OSError, IndexError):
        # In KiB on Linux, in bytes on macOS.
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


def summary(directory: str, step: int, metrics: dict[str, float]) -> str:
    """Return one line for the terminal: where training stands."""
    shown = ("loss", "validation_loss", "validation_accuracy")
    parts = [f"{name} {metrics[name]:.4f}" for name in shown if name in metrics]
    return f"{directory}: {', '.join([f'step {step}', *parts])}"
