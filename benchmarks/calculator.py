r"""What the calculator inside decoding costs: the same student with and without it, in turns.

    python -m benchmarks.calculator --student runs/quickstart/cot \
      --problems runs/quickstart/data/embedded/test.jsonl --out calculator.json

The student is a trained one, such as `t5distill quickstart` leaves behind, since only those write
equations. It is measured as it is, and once more inside the shape of T5 1.1 small: its weights fill
a corner of the larger matrices, so that it writes the same texts at the larger network's price.
Tokens are those that come out; what a row wrote in vain counts as time only.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from typing import Any

from benchmarks.enlarging import NETWORKS, shaped
from benchmarks.reporting import measured, median
from t5distill import Student, formats
from t5distill.records import Problem, read_jsonl
from t5distill.verify.calculator import check_steps

Tree = dict[str, Any]


def turn(student: Student, texts: list[str], args: argparse.Namespace, calculator: bool) -> Tree:
    """Decode all texts; return seconds and counts."""
    # A student remembers what it has calculated: each turn has a new one.
    student = Student(student.params, student.config, vocabulary=student.vocabulary)
    started, worked = time.perf_counter(), time.process_time()
    rows = student.generate(
        texts,
        max_tokens=args.max_tokens,
        slots=args.slots,
        temperature=args.temperature,
        calculator=calculator,
    )
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    found = [row[0] for row in rows]
    tokens = sum(p.meta["tokens"] + p.finished for p in found)
    counts = [p.meta.get("calculator", {"forced": 0, "changed": 0}) for p in found]
    steps = [step.ok for p in found for step in check_steps(p.text)]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens,
        "tokens_per_equation": tokens / max(1, len(steps)),
        "right_equations": sum(steps) / max(1, len(steps)),
        **{name: sum(count[name] for count in counts) for name in ("forced", "changed")},
    }


def compare(student: Student, texts: list[str], args: argparse.Namespace) -> Tree:
    """Measure both ways in turns; the first round compiles."""
    turns: dict[bool, list[Tree]] = {False: [], True: []}
    for number in range(args.rounds + 1):
        # Each way comes first in every second round: the machine's other work hits both alike.
        for calculator in (False, True) if number % 2 else (True, False):
            done = turn(student, texts, args, calculator)
            if number:
                turns[calculator].append(done)
    pairs = zip(turns[True], turns[False], strict=True)
    ratios = [on["tokens_per_second"] / off["tokens_per_second"] for on, off in pairs]
    work = [
        on["cpu_seconds"] / off["cpu_seconds"]
        for on, off in zip(turns[True], turns[False], strict=True)
    ]
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "work": work,
        "with": turns[True],
        "without": turns[False],
    }


def told(name: str, result: Tree) -> str:
    """Return the lines of one network."""
    lines = [f"{name}:"]
    for way in ("without", "with"):
        speeds = [t["tokens_per_second"] for t in result[way]]
        last = result[way][-1]
        lines.append(
            f"  {way:8} {median(speeds):8.0f} tokens/s ({min(speeds):.0f}-{max(speeds):.0f}), "
            f"{last['tokens_per_equation']:.1f} tokens an equation, "
            f"{100 * last['right_equations']:.1f} % of them right"
        )
    last, ratios = result["with"][-1], result["ratios"]
    lines.append(
        f"  ratio {result['ratio']:.3f} ({min(ratios):.3f}-{max(ratios):.3f}); "
        f"processor time {median(result['work']):.3f} of that without; "
        f"{last['forced']} values forced, {last['changed']} changed"
    )
    return "\n".join(lines)


def run(args: argparse.Namespace) -> Tree:
    """Measure each network that was asked for."""
    student = Student.load(args.student)
    problems = list(read_jsonl(Problem, args.problems))
    style = formats.style(student.style or "cot")
    texts = [style.inputs(problem) for problem in problems]
    report: Tree = {"load_before": os.getloadavg(), "args": vars(args)}
    for name in args.networks:
        count = args.count if name == "as_trained" else args.count_small
        report[name] = compare(shaped(student, name), texts[:count], args)
        print(told(name, report[name]), flush=True)
    report["load_after"] = os.getloadavg()
    print(f"load of the machine {report['load_before'][0]:.1f} to {report['load_after'][0]:.1f}")
    return report


def main() -> int:
    """Read the arguments, measure, say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--student", required=True, help="folder of a trained tiny student")
    parser.add_argument("--problems", required=True, help="JSONL of Problem that it answers")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each way (7)")
    parser.add_argument("--count", type=int, default=600, help="problems a turn (600)")
    parser.add_argument("--count-small", type=int, default=48, help="with T5 1.1 small's shape")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=80)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--out", help="JSON file for all figures")
    return 0 if measured(run, parser.parse_args()) else 2


if __name__ == "__main__":
    sys.exit(main())
