"""Untrusted programs per second, beside a bare `python -c` for each, which protects from nothing.

    python -m benchmarks.execution --out execution.json

Programs are word problems as a teacher solves them. All take turns, A B C A B C ..., so that
whatever else the machine does meets all alike. A turn starts its own supervisor, which runs one
program before the clock does. The rate per core counts the processor seconds of everybody: this
process, all below it that live, and those that have ended.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil

from benchmarks import reporting
from t5distill.errors import UserError
from t5distill.verify import Sandbox

WANTED = 300  # programs a second on one core
PLAIN = "boxes = {0}\npencils = {0} % 7 + 1\nans = boxes * pencils\nprint(ans)"
_TICK = 1 / os.sysconf("SC_CLK_TCK")  # the least that the kernel counts
ALGEBRA = (
    "from sympy import Eq, solve, symbols\nx = symbols('x')\nprint(solve(Eq(3 * x, {0}), x)[0])"
)


class Turn(NamedTuple):
    """How many programs, in how many seconds of the clock and of processors."""

    programs: int
    seconds: float
    cpu_seconds: float


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=1000, help="in a turn of the sandbox")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", help="a JSON file for all that was measured")
    args = parser.parse_args(arguments)
    if args.programs < 20 or args.turns < 1:
        parser.error("wanted at least 20 programs and 1 turn")
    return args


def main(arguments: list[str] | None = None) -> int:
    return 2 if reporting.measured(run, parse(arguments)) is None else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Let all take turns; print and return what was measured."""
    few = max(1, args.programs // 20)
    contenders: dict[str, Callable[[], Turn]] = {
        "sandbox": lambda: in_sandbox(PLAIN, args.programs),
        "python -c": lambda: timed(in_python, PLAIN, few),
        "sandbox, sympy": lambda: in_sandbox(ALGEBRA, max(20, few)),
        "python -c, sympy": lambda: timed(in_python, ALGEBRA, max(1, few // 10)),
    }
    load = os.getloadavg()
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(args.turns):
        for name, take in contenders.items():
            turns[name].append(take())
    print(f"{'':18}{'programs/s':>12}{'min-max':>14}{'per core':>12}{'min-max':>14}")
    results = {}
    for name, taken in turns.items():
        rates = [turn.programs / turn.seconds for turn in taken]
        per_core = [turn.programs / turn.cpu_seconds for turn in taken]
        results[name] = {"per_second": rates, "per_core_second": per_core}
        print(f"{name:18}{_row(rates)}{_row(per_core)}")
    print(f"{args.turns} turns, wanted {WANTED} per core; load {load[0]:.1f} before,"
          f" {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores")  # fmt: skip
    return {"results": results, "turns": args.turns, "load_before": load, "wanted": WANTED}


def timed(work: Callable[[list[str]], list[str | None]], source: str, count: int) -> Turn:
    """Run so many programs and check what they answer."""
    begin, cpu = time.perf_counter(), _cpu()
    values = work([source.format(3 * i) for i in range(count)])
    seconds, cpu = time.perf_counter() - begin, max(_cpu() - cpu, _TICK)
    wanted = [str(3 * i * (3 * i % 7 + 1) if source is PLAIN else i) for i in range(count)]
    if values != wanted:
        raise UserError(f"found wrong answers in {count} programs, such as {values[:3]}")
    return Turn(count, seconds, cpu)


def in_sandbox(source: str, count: int) -> Turn:
    """Run so many programs in a sandbox that runs already."""
    with Sandbox() as sandbox:

        def work(sources: list[str]) -> list[str | None]:
            return [sandbox.run({"kind": "program", "source": source}).value for source in sources]

        timed(work, source, 1)
        return timed(work, source, count)


def in_python(sources: list[str]) -> list[str | None]:
    return [
        subprocess.run([sys.executable, "-c", s], capture_output=True, text=True).stdout.strip()
        for s in sources
    ]


def _cpu() -> float:
    """Return the processor seconds of this process and of all that it has started, in ticks."""
    me = psutil.Process()
    times = [me.cpu_times()]
    for process in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times.append(process.cpu_times())
    return sum(t.user + t.system + t.children_user + t.children_system for t in times)


def _row(rates: list[float]) -> str:
    return f"{statistics.median(rates):>12.0f}{f'{min(rates):.0f}-{max(rates):.0f}':>14}"


if __name__ == "__main__":
    sys.exit(main())
