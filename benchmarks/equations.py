"""Seconds of `solve_equations` by the sort of text: `python -m benchmarks.equations`.

Linear systems are the loopback teacher's chains of embedded problems; the non-linear ones and the
oversized texts are written here. Each figure is the median and the largest of its calls.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

from t5distill.problems import embedded
from t5distill.teacher.loopback.answers import Writer
from t5distill.verify import solve_equations

NONLINEAR = (
    "x * y = 6\nx + y = 5\nans = x^2 + y^2",
    "l = 2w\nl * w = 50\nans = l^2",
    "1000 * (1 + r)^3 = 1331\nans = 100 * r",
    "sqrt(x + 1) + sqrt(x + 6) = 5\nans = x",
    "1/x + 1/(x + 5) = 1/6\nans = x",
)
OVERSIZED = {
    "1.2 MB of one line": "x = 5\n" * 200_000,
    "10,000 equations": "".join(f"x{i} = x{i - 1} + 1\n" for i in range(1, 10_001)),
    "45,000 brackets": "ans = " + "(" * 45_000 + "5" + ")" * 45_000,
    "390 equations in reverse": "".join(f"x{i} = x{i - 1} + 1\n" for i in range(390, 0, -1))
    + "x0 = 1\nans = x390",
    "100 dense equations": "".join(
        "+".join(f"{(i * j) % 97 + 1}a{j}" for j in range(100)) + f" = {i}\n" for i in range(100)
    )
    + "ans = a0",
}


def seconds(texts: Sequence[str]) -> list[float]:
    """Return the seconds of each call."""
    found = []
    for text in texts:
        start = time.perf_counter()
        solve_equations(text)
        found.append(time.perf_counter() - start)
    return found


def show(name: str, taken: Sequence[float]) -> None:
    """Print a row, in milliseconds."""
    middle, largest = 1e3 * statistics.median(taken), 1e3 * max(taken)
    print(f"{name:32} {len(taken):6} {middle:10.2f} {largest:10.2f}", flush=True)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1000)
    problems = embedded.generate(count=parser.parse_args().problems, seed=0, split="test")
    print(f"{'':32} {'calls':>6} {'median ms':>10} {'largest':>10}")
    show("linear, a teacher's chains", seconds([Writer().text(p, "equation") for p in problems]))
    solve_equations(NONLINEAR[0])  # starts the sandbox
    show("non-linear, in the sandbox", seconds(NONLINEAR * 10))
    for name, text in OVERSIZED.items():
        show(name, seconds([text] * 3))


if __name__ == "__main__":
    main()
