"""Every style of thought with the same tiny student on the same problems: one table.

    python -m benchmarks.styles --workdir runs/styles

The embedded teacher writes chains of every style; they are verified as any teacher's are; each arm
is trained for as many steps as the quickstart's (gin/recipes/quickstart_*.gin and embedded_*.gin)
and scored on problems it has not seen. The same command again goes on where it was stopped.

Two students that differ in their seed alone differ by more than the problems' intervals say: with
`--students 3` each arm has three, and the table their mean, the worst and the best.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks import reporting
from t5distill import formats
from t5distill.errors import UserError
from t5distill.evaluate import scoring, statistics
from t5distill.formats.train_vocabulary import train_sentencepiece
from t5distill.quickstart import gin_arguments, training
from t5distill.records import Chain, Problem, Verdict, read_jsonl
from t5distill.teacher.loopback import LoopbackProcess

TEACHER = "simulated"
CHAINS = ("cot", "program", "equation", "socratic", "key_points")
VOCAB_SIZE = 900
VOTES = 8


@dataclasses.dataclass(frozen=True)
class Arm:
    """A student: its recipe, and the tasks that it is asked."""

    name: str
    recipe: str
    tasks: tuple[str, ...]


def _arm(style: str, recipe: str | None = None) -> Arm:
    return Arm(style, recipe or f"embedded_{style}", (f"embedded_{style}_{TEACHER}",))


def _mixture(name: str, styles: tuple[str, ...]) -> Arm:
    return Arm(name, f"embedded_{name}", tuple(f"embedded_{s}_{TEACHER}" for s in styles))


ARMS = (
    _arm("answer", "quickstart_answer"),
    _arm("cot", "quickstart_cot"),
    _arm("socratic"),
    _arm("socratic_iterative"),
    _arm("program"),
    _arm("equation"),
    _mixture("etd", ("program", "equation", "cot")),
    # Not among those that are run by default.
    _arm("step_by_step"),
    _mixture("fu_2023", ("cot_in_context", "cot", "answer_in_context", "answer")),
    _arm("divergent"),
    _arm("sci_cot"),
    _arm("key_points"),
)
DEFAULT = [arm.name for arm in ARMS[:7]]


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing; print the table; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.styles", description=__doc__)
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
    add("--arms", nargs="+", choices=[a.name for a in ARMS], default=DEFAULT)
    add("--out", metavar="FILE", help="write the results as JSON too")
    return 2 if reporting.measured(run, parser.parse_args(arguments)) is None else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data, train and score every arm; return the figures."""
    work = pathlib.Path(args.workdir).resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["T5DISTILL_DATA_DIR"] = str(work / "data")
    arms = [arm for arm in ARMS if arm.name in args.arms]
    _make_data(work, args, arms)
    studies = []
    for k in range(args.students):
        folder = work if k == 0 else work / f"student_{k}"
        studies.append(_study(Students(work, folder, args.seed + k), args, arms))
    report = {"students": studies, "rows": _summary(studies), "seed": args.seed}
    print(_table(report))
    return report


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


def _study(
    students: Students, args: argparse.Namespace, arms: Sequence[Arm]
) -> dict[str, dict[str, Any]]:
    """Train and score every arm with one seed; return the figures."""
    report: dict[str, Any] = {"rows": {}, "training": {}, "seed": students.seed}
    for arm in arms:
        model = students.folder / arm.name
        macros: dict[str, Any] = {"MODEL_DIR": str(model), "RANDOM_SEED": students.seed}
        if args.train_steps:
            # The recipes' warm-up, where there are steps enough for it.
            macros |= {"TRAIN_STEPS": args.train_steps, "WARMUP_STEPS": min(50, args.train_steps)}
        _gin("train", students, arm, **macros)
        report["training"][arm.name] = training(model)
        for task in arm.tasks:
            label = arm.name if len(arm.tasks) == 1 else f"{arm.name}: {_style(task)}"
            _decode(students, arm, task, label, report)
    for arm in arms:
        if arm.name in ("cot", "socratic_iterative"):
            _with_calculator(students, arm, report)
        if arm.name == "cot":
            _votes(students, arm, report)
    if "etd" in args.arms:
        _ensembles(students, report)
    _compare(students, report)
    return report


def _summary(studies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return each row's mean over the students, with the range of several or one's interval."""
    summary = {}
    for label, first in studies[0]["rows"].items():
        each = [study["rows"][label] for study in studies]
        right = [row["accuracy"] for row in each]
        row = {"accuracy": fmean(right), "each": right}
        if len(each) == 1:
            row |= {"low": first["low"], "high": first["high"]}
        else:
            row |= {"low": min(right), "high": max(right)}
        if all("minus_cot" in r for r in each):
            minus = [r["minus_cot"]["difference"] for r in each]
            bounds = minus if len(each) > 1 else [first["minus_cot"][k] for k in ("low", "high")]
            row["minus_cot"] = {
                "difference": fmean(minus), "low": min(bounds), "high": max(bounds)
            }  # fmt: skip
        summary[label] = row
    return summary


def _make_data(work: pathlib.Path, args: argparse.Namespace, arms: list[Arm]) -> None:
    """Prepare problems, ask the teacher in every style, curate, and train a vocabulary."""
    train = work / "data/embedded/train.jsonl"
    if not train.is_file():
        _command(
            *("prepare", "embedded", "--seed", str(args.seed)),
            *("--sizes", *map(str, args.sizes)),
        )
    ledger = str(work / "ledger.db")
    wanted = {formats.style(_style(task)).chains for arm in arms for task in arm.tasks}
    for style in CHAINS:
        if (
            style not in wanted
            or (work / f"data/chains/embedded_{style}_{TEACHER}/curation.json").is_file()
        ):
            continue
        with LoopbackProcess(
            train, model="embedded", seed=args.seed, wrong_rate=0.2, malformed_rate=0.05
        ) as teacher:
            _command(
                *("generate", "--problems", str(train), "--teacher", f"embedded@{teacher.url}"),
                *("--name", TEACHER, "--style", style, "--temperature", "0", "--ledger", ledger),
            )
        _command("curate", "--problems", str(train), "--ledger", ledger, "--style", style)
    if not (work / "vocabulary.model").is_file():
        _vocabulary(work)


def _vocabulary(work: pathlib.Path) -> None:
    """Train one vocabulary on the kept chains of every style."""
    problems = {p.id: p for p in read_jsonl(Problem, work / "data/embedded/train.jsonl")}
    texts = []
    for name in ("answer", *CHAINS, "socratic_iterative"):
        style = formats.style(name)
        path = work / f"data/chains/embedded_{style.chains}_{TEACHER}/kept.jsonl"
        kept = read_jsonl(Chain, path) if path.is_file() else ()
        for chain, _ in zip(kept, range(2000), strict=False):
            for example in style.examples(problems[chain.problem_id], chain):
                texts += [example.inputs, example.targets]
    train_sentencepiece(texts, work / "vocabulary.model", vocab_size=VOCAB_SIZE, split_digits=True)


def _command(*argv: str) -> None:
    """Run one command in a process of its own; raise where it fails."""
    print(f"\n$ t5distill {' '.join(argv)}", flush=True)
    done = subprocess.run([sys.executable, "-m", "t5distill", *argv], check=False)
    if done.returncode:
        raise UserError(f"`t5distill {argv[0]}` ended with code {done.returncode}")


def _gin(command: str, students: Students, arm: Arm, **macros: Any) -> None:
    vocabulary = students.work / "vocabulary.model"
    _command(command, *gin_arguments(command, arm.recipe, vocabulary, **macros))


def _decode(
    students: Students, arm: Arm, task: str, label: str, report: dict[str, Any], **macros: Any
) -> None:
    """Decode and score one arm on one task; `label` names the row."""
    out = students.folder / arm.name / label.replace(": ", "_").replace(" ", "_")
    since = time.perf_counter()
    _gin(
        *("infer", students, arm),
        CHECKPOINT_PATH=str(students.folder / arm.name),
        EVAL_MIXTURE_OR_TASK_NAME=task,
        INFER_OUTPUT_DIR=str(out),
        **macros,
    )
    seconds = time.perf_counter() - since
    predictions = str(out / f"{task}-test.jsonl")
    problems = str(students.work / "data/embedded/test.jsonl")
    _command(
        *("score", "--problems", problems, "--predictions", predictions, "--out", str(out)),
    )
    scores = json.loads((out / "scores.json").read_text())
    row = {k: scores[k] for k in ("accuracy", "low", "high", "n", "outcomes")}
    report["rows"][label] = {**row, "scores": str(out), "infer_s": seconds}


def _style(task: str) -> str:
    return task.removeprefix("embedded_").removesuffix(f"_{TEACHER}")


def _with_calculator(students: Students, arm: Arm, report: dict[str, Any]) -> None:
    """Correct a student's chains afterwards, and decode them with exact results."""
    scores = json.loads((students.folder / arm.name / arm.name / "scores.json").read_text())
    n = scores["n"]
    corrected = round(scores["calculator_after_decoding"] * n)
    after = statistics.wilson(corrected, n)
    report["rows"][f"{arm.name} + calculator after"] = {**after.accuracy(), "n": n}
    label = f"{arm.name} + calculator inside"
    _decode(students, arm, arm.tasks[0], label, report, CALCULATOR=True)


def _votes(students: Students, arm: Arm, report: dict[str, Any]) -> None:
    """Sample several chains for each problem."""
    [task], n = arm.tasks, report["rows"][arm.name]["n"]
    _decode(
        *(students, arm, task, f"cot vote@{VOTES}", report),
        DECODING="sample",
        NUM_SAMPLES=VOTES,
        TEMPERATURE=0.7,
    )
    folder = pathlib.Path(report["rows"][f"cot vote@{VOTES}"]["scores"])
    scores = json.loads((folder / "scores.json").read_text())
    report["rows"][f"cot vote@{VOTES}"] = {**scores[f"vote_{VOTES}"], "n": n}
    report["vote_curve"] = scores["vote_curve"]


def _ensembles(students: Students, report: dict[str, Any]) -> None:
    """Combine the three types of thought of one student, without asking it again."""
    [arm] = [arm for arm in ARMS if arm.name == "etd"]
    folder = students.folder / "etd"
    files = [str(folder / f"etd_{_style(task)}" / f"{task}-test.jsonl") for task in arm.tasks]
    problems = str(students.work / "data/embedded/test.jsonl")
    for how in ("fallback", "vote"):
        out = folder / how
        _command(
            *("ensemble", "--problems", problems, "--predictions", *files),
            *("--how", how, "--out", str(out)),
        )
        scores = json.loads((out / "scores.json").read_text())
        row = {k: scores[k] for k in ("accuracy", "low", "high", "n")}
        report["rows"][f"etd: {how}"] = {**row, "scores": str(out)}


def _compare(students: Students, report: dict[str, Any]) -> None:
    """Add each row's paired difference to chains of thought."""
    if "cot" not in report["rows"]:
        return
    base = list(read_jsonl(Verdict, students.folder / "cot/cot/verdicts.jsonl"))
    for row in report["rows"].values():
        if "scores" in row:
            verdicts = list(read_jsonl(Verdict, pathlib.Path(row["scores"]) / "verdicts.jsonl"))
            row["minus_cot"] = scoring.compare(verdicts, base)


def _table(report: dict[str, Any]) -> str:
    several = len(report["students"]) > 1
    spread, minus = "95 % interval", "minus cot (paired)"
    if several:
        spread, minus = f"of {len(report['students'])} students", "minus cot"
    lines = [f"\n{'student':<38}{'right':>8}   {spread:<15}{minus:>24}"]
    for label, row in report["rows"].items():
        interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        minus = ""
        if label != "cot" and (d := row.get("minus_cot")):
            minus = (
                f"{100 * d['difference']:+.1f} ({100 * d['low']:+.1f} to {100 * d['high']:+.1f})"
            )
        line = f"{label:<38}{100 * row['accuracy']:>6.1f} %   {interval:<15}{minus:>24}"
        lines.append(line.rstrip())
    lines.append("\ntraining:")
    for study in report["students"]:
        for arm, t in study["training"].items():
            lines.append(
                f"  {arm:<20} seed {study['seed']}{t['steps']:>6} steps "
                f"{t['target_tokens']:>10,} target tokens {t['seconds']:>6.0f} s"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
