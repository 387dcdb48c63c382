r"""Problems per second of iterative and of unified Socratic inference, in turns.

    python -m benchmarks.socratic --workdir runs/styles --out socratic.json

The students are the two that `python -m benchmarks.styles` leaves in its folder, as they are and in
the shape of T5 1.1 small. Each turn decodes the same problems with either, as `t5distill infer`
does, files included; the first turn compiles.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import tempfile
from typing import Any

from benchmarks.enlarging import NETWORKS, shaped
from benchmarks.reporting import measured, median
from t5distill import Student
from t5distill.evaluate.inference import Inference, infer
from t5distill.evaluate.rounds import Decoding
from t5distill.records import Problem, read_jsonl, write_jsonl

# Each with the longest output of its recipe.
WAYS = {"socratic": 80, "socratic_iterative": 40}


def turn(student: Student, style: str, problems: pathlib.Path, out: pathlib.Path) -> Inference:
    """Decode all problems in one way."""
    return infer(
        student=student,
        problems_path=problems,
        out_path=out / f"{style}.jsonl",
        style=style,
        decoding=Decoding(max_tokens=WAYS[style]),
    )


def compare(students: dict[str, Student], problems: pathlib.Path, rounds: int) -> dict[str, Any]:
    """Measure both ways in turns; print and return the figures."""
    speeds: dict[str, list[float]] = {style: [] for style in WAYS}
    tokens = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            for style in WAYS if number % 2 else reversed(WAYS):
                out = pathlib.Path(folder) / str(number)
                done = turn(students[style], style, problems, out)
                tokens[style] = done.tokens / done.problems
                if number:
                    speeds[style].append(done.problems / done.wall_s)
    ratios = [i / u for u, i in zip(*speeds.values(), strict=True)]
    for style, found in speeds.items():
        print(
            f"  {style:<20}{median(found):7.1f} problems/s ({min(found):.1f}-{max(found):.1f}), "
            f"{tokens[style]:.1f} tokens each"
        )
    print(f"  ratio {median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})", flush=True)
    return {"problems_per_second": speeds, "tokens": tokens, "ratios": ratios}


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure each network that was asked for."""
    work = pathlib.Path(args.workdir)
    students = {style: Student.load(work / style) for style in WAYS}
    report: dict[str, Any] = {"load_before": os.getloadavg(), "args": vars(args)}
    with tempfile.TemporaryDirectory() as folder:
        problems = pathlib.Path(folder) / "problems.jsonl"
        every = list(read_jsonl(Problem, work / "data/embedded/test.jsonl"))
        write_jsonl(problems, every[: args.count])
        for name in args.networks:
            rounds = args.rounds if name == "as_trained" else args.rounds_small
            print(f"{name}:", flush=True)
            network = {style: shaped(student, name) for style, student in students.items()}
            report[name] = compare(network, problems, rounds)
    report["load_after"] = os.getloadavg()
    print(f"load of the machine {report['load_before'][0]:.1f} to {report['load_after'][0]:.1f}")
    return report


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments, measure, say what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.socratic",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", required=True, metavar="DIR", help="of benchmarks.styles")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each way (5)")
    parser.add_argument("--rounds-small", type=int, default=2, help="with T5 1.1 small's shape (2)")
    parser.add_argument("--count", type=int, default=1000, help="problems a turn (1000)")
    parser.add_argument("--out", metavar="FILE", help="JSON file for all figures")
    return 2 if measured(run, parser.parse_args(arguments)) is None else 0


if __name__ == "__main__":
    sys.exit(main())
