"""Students of embedded problems, trained, asked and scored by the commands, and their table."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from t5distill import formats
from t5distill.errors import UserError
from t5distill.evaluate import scoring, statistics
from t5distill.formats import train_vocabulary
from t5distill.quickstart import gin_arguments
from t5distill.records import Chain, Problem, Verdict, read_jsonl

TEACHER = "simulated"
VOCAB_SIZE = 900


@dataclasses.dataclass(frozen=True)
class Arm:
    """A student: its recipe, and the tasks that it is asked."""

    name: str
    recipe: str
    tasks: tuple[str, ...]


def arguments_of(
    name: str, about: str | None, arms: Sequence[Arm], *, default: int
) -> argparse.ArgumentParser:
    """Return the parser of a comparison of arms; the first `default` are those run by default."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=about)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--workdir", required=True, metavar="DIR", help="where everything goes")
    add("--seed", type=int, default=0, help="of problems and training (0)")
    add("--students", type=int, default=1, metavar="N", help="of each arm, by seed (1)")
    add("--train-steps", type=int, metavar="N", help="of each student (as the recipes)")
    add(
        "--sizes",
        type=int,
        nargs=4,
        default=(30_000, 500, 1000, 100),
        metavar=("TRAIN", "VALIDATION", "TEST", "HELD_OUT"),
    )
    names = [arm.name for arm in arms]
    add("--arms", nargs="+", choices=names, default=names[:default])
    add("--out", metavar="FILE", help="write the results as JSON too")
    return parser


class Students(NamedTuple):
    """Where the students of one seed are.

    Attributes:
      work: of problems, chains and vocabulary, which all share.
      folder: of these students.
      seed: of their training.
    """

    work: pathlib.Path
    folder: pathlib.Path
    seed: int


def summary(studies: Sequence[dict[str, Any]], base: str) -> dict[str, Any]:
    """Return each row's mean over the students, its interval, and the same of it minus `base`.

    The interval of several students counts students and problems (`statistics.over_seeds`).
    """
    rows = {}
    for label, first in studies[0]["rows"].items():
        right = [study["rows"][label]["accuracy"] for study in studies]
        row = {"accuracy": fmean(right), "each": right, "low": first["low"], "high": first["high"]}
        if "minus" in first:
            row["minus"] = first["minus"]
        if len(studies) > 1 and all("scores" in study["rows"][label] for study in studies):
            row |= statistics.over_seeds(_right(studies, label)).within(0.0).accuracy()
            if base in studies[0]["rows"]:
                minus = _right(studies, label) - _right(studies, base)
                found = statistics.over_seeds(minus).within(-1.0)
                row["minus"] = {"difference": found.estimate, "low": found.low, "high": found.high}
        rows[label] = row
    return rows


def _right(studies: Sequence[dict[str, Any]], label: str) -> np.ndarray:
    """Return whether each student is right on each problem, `[students, problems]`."""
    rows = []
    for study in studies:
        path = pathlib.Path(study["rows"][label]["scores"]) / "verdicts.jsonl"
        found = scoring.first_samples(read_jsonl(Verdict, path))
        rows.append([found[i].outcome == "correct" for i in sorted(found, key=str)])
    return np.asarray(rows, np.float64)


def vocabulary(work: pathlib.Path, styles: Sequence[str]) -> None:
    """Train one vocabulary on the kept chains of the styles."""
    problems = {p.id: p for p in read_jsonl(Problem, work / "data/embedded/train.jsonl")}
    chains = []
    for name in styles:
        path = work / f"data/chains/embedded_{formats.style(name).chains}_{TEACHER}/kept.jsonl"
        kept = read_jsonl(Chain, path) if path.is_file() else ()
        chains += [(name, problems[c.problem_id], c) for c in itertools.islice(kept, 2000)]
    train_vocabulary.of_examples(chains, work / "vocabulary.model", vocab_size=VOCAB_SIZE)


def run_command(*argv: str) -> None:
    """Run one command in a process of its own; raise where it fails."""
    print(f"\n$ t5distill {' '.join(argv)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "t5distill", *argv], check=False)
    if done.returncode:
        raise UserError(f"`t5distill {argv[0]}` ended with code {done.returncode}")


def run_gin(command: str, students: Students, arm: Arm, **macros: Any) -> None:
    vocabulary = students.work / "vocabulary.model"
    run_command(command, *gin_arguments(command, arm.recipe, vocabulary, **macros))


def decode(
    students: Students, arm: Arm, task: str, label: str, report: dict[str, Any], **macros: Any
) -> None:
    """Decode and score one arm on one task; `label` names the row."""
    out = students.folder / arm.name / label.replace(": ", "_").replace(" ", "_")
    since = time.perf_counter()
    run_gin(
        *("infer", students, arm),
        CHECKPOINT_PATH=str(students.folder / arm.name),
        EVAL_MIXTURE_OR_TASK_NAME=task,
        INFER_OUTPUT_DIR=str(out),
        **macros,
    )
    seconds = time.perf_counter() - since
    predictions = str(out / f"{task}-test.jsonl")
    problems = str(students.work / "data/embedded/test.jsonl")
    run_command(
        *("score", "--problems", problems, "--predictions", predictions, "--out", str(out)),
    )
    scores = json.loads((out / "scores.json").read_text())
    row = {k: scores[k] for k in ("accuracy", "low", "high", "n", "outcomes")}
    report["rows"][label] = {**row, "scores": str(out), "infer_s": seconds}


def style_of(task: str) -> str:
    """Return the style of a task of the simulated teacher."""
    return task.removeprefix("embedded_").removesuffix(f"_{TEACHER}")


def compare_with(base: str, report: dict[str, Any]) -> None:
    """Add each row's paired difference to the row `base`, where there is that row."""
    if base not in report["rows"]:
        return
    folder = pathlib.Path(report["rows"][base]["scores"])
    against = list(read_jsonl(Verdict, folder / "verdicts.jsonl"))
    for row in report["rows"].values():
        if "scores" in row:
            verdicts = list(read_jsonl(Verdict, pathlib.Path(row["scores"]) / "verdicts.jsonl"))
            row["minus"] = scoring.compare(verdicts, against)


def table(report: dict[str, Any], base: str) -> str:
    """Return the table of a report; differences are to the row `base`."""
    several = len(report["students"]) > 1
    minus = f"minus {base} (paired)"
    each = "   each" if several else ""
    lines = [f"\n{'student':<38}{'right':>8}   {'95 % interval':<15}{minus:>24}{each}"]
    for label, row in report["rows"].items():
        interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        minus = ""
        if label != base and (d := row.get("minus")):
            minus = (
                f"{100 * d['difference']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
            )
        line = f"{label:<38}{100 * row['accuracy']:>6.1f} %   {interval:<15}{minus:>24}"
        line += "   " + ", ".join(f"{100 * each:.1f}" for each in row.get("each", ())) * several
        lines.append(line.rstrip())
    lines.append("\ntraining:")
    for study in report["students"]:
        for arm, t in study["training"].items():
            lines.append(
                f"  {arm:<20} seed {study['seed']}{t['steps']:>6} steps "
                f"{t['target_tokens']:>10,} target tokens {t['seconds']:>6.0f} s"
            )
    return "\n".join(lines)
