"""Seconds and memory of `t5distill curate` for growing sets: `python -m benchmarks.curation`.

The responses are those of the loopback teacher to embedded problems, a fifth of them wrong and a
tenth malformed, 20 samples a problem. Each set is curated by the command, in processes of its own.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

from t5distill.problems import embedded
from t5distill.records import Chain, Problem, write_jsonl
from t5distill.teacher.loopback.answers import Writer

SAMPLES = 20
PAGE = os.sysconf("SC_PAGE_SIZE")


def responses(problems: list[Problem], count: int) -> Iterator[Chain]:
    """Yield so many chains; the samples of a problem lie far apart."""
    writer = Writer(seed=0, wrong_rate=0.2, malformed_rate=0.1)
    for i in range(count):
        problem = problems[i % len(problems)]
        sample = i // len(problems)
        text = writer.text(problem, "cot", draw=str(sample))
        yield Chain(
            problem_id=problem.id, style="cot", text=text, teacher="loopback", sample=sample
        )


class Memory(threading.Thread):
    """Watches the resident memory of a process and its children, in bytes."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak, self.peak_of_one, self.ended = pid, 0, 0, threading.Event()

    def run(self) -> None:
        """Look five times a second until the process has ended."""
        while not self.ended.wait(0.2):
            sizes = [resident(pid) for pid in family(self.pid)]
            self.peak = max(self.peak, sum(sizes))
            self.peak_of_one = max(self.peak_of_one, *sizes, 0)


def family(pid: int) -> list[int]:
    """Return a process and all below it."""
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(found for child in children for found in family(int(child)))]


def resident(pid: int) -> int:
    try:
        return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    except OSError:
        return 0


def measure(count: int, folder: pathlib.Path, workers: int) -> str:
    """Make a set, curate it, return a line of the table."""
    size = max(1, count // SAMPLES)
    problems = embedded.splits(0, train=size, validation=100, test=200, held_out=10)
    data = folder / "data"
    write_jsonl(data / "embedded/test.jsonl", problems["test"])
    write_jsonl(folder / "problems.jsonl", problems["train"])
    write_jsonl(folder / "chains.jsonl", responses(problems["train"], count))
    command = [sys.executable, "-m", "t5distill", "curate"]
    command += ["--problems", str(folder / "problems.jsonl")]
    command += ["--chains", str(folder / "chains.jsonl"), "--workers", str(workers)]
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, env={**os.environ, "T5DISTILL_DATA_DIR": str(data)}, stdout=subprocess.PIPE
    )
    memory = Memory(process.pid)
    memory.start()
    told, _ = process.communicate()
    seconds = time.perf_counter() - begin
    memory.ended.set()
    if process.returncode:
        raise SystemExit(f"curate ended with {process.returncode}")
    print(told.decode(), file=sys.stderr)
    return (
        f"{count:>10,}{seconds:>10.1f}{1e6 * seconds / count:>14.0f}"
        f"{memory.peak / 1e6:>12.0f}{memory.peak_of_one / 1e6:>14.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("counts", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    print(f"{'responses':>10}{'seconds':>10}{'us/response':>14}{'peak MB':>12}{'largest MB':>14}")
    for count in args.counts:
        with tempfile.TemporaryDirectory(prefix="t5distill.", dir=".") as folder:
            print(measure(count, pathlib.Path(folder), args.workers), flush=True)


if __name__ == "__main__":
    main()
