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
import json
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks import reporting
from benchmarks.studies import (
    TEACHER,
    Arm,
    Students,
    arguments_of,
    compare_with,
    decode,
    run_command,
    run_gin,
    style_of,
    summary,
    table,
    vocabulary,
)
from t5distill import formats
from t5distill.evaluate import statistics
from t5distill.reproduce.card import training_of
from t5distill.teacher.loopback import LoopbackProcess

CHAINS = ("cot", "program", "equation", "socratic", "key_points")
VOTES = 8


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
DEFAULT = 7


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing; print the table; return an exit code."""
    parser = arguments_of("styles", __doc__, ARMS, default=DEFAULT)
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
    report = {"students": studies, "rows": summary(studies, "cot"), "seed": args.seed}
    print(table(report, "cot"))
    return report


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
        run_gin("train", students, arm, **macros)
        report["training"][arm.name] = training_of(model)
        for task in arm.tasks:
            label = arm.name if len(arm.tasks) == 1 else f"{arm.name}: {style_of(task)}"
            decode(students, arm, task, label, report)
    for arm in arms:
        if arm.name in ("cot", "socratic_iterative"):
            _with_calculator(students, arm, report)
        if arm.name == "cot":
            _votes(students, arm, report)
    if "etd" in args.arms:
        _ensembles(students, report)
    compare_with("cot", report)
    return report


def _make_data(work: pathlib.Path, args: argparse.Namespace, arms: list[Arm]) -> None:
    """Prepare problems, ask the teacher in every style, curate, and train a vocabulary."""
    train = work / "data/embedded/train.jsonl"
    if not train.is_file():
        run_command(
            *("prepare", "embedded", "--seed", str(args.seed)),
            *("--sizes", *map(str, args.sizes)),
        )
    ledger = str(work / "ledger.db")
    wanted = {formats.style(style_of(task)).chains for arm in arms for task in arm.tasks}
    for style in CHAINS:
        if (
            style not in wanted
            or (work / f"data/chains/embedded_{style}_{TEACHER}/curation.json").is_file()
        ):
            continue
        with LoopbackProcess(
            train, model="embedded", seed=args.seed, wrong_rate=0.2, malformed_rate=0.05
        ) as teacher:
            run_command(
                *("generate", "--problems", str(train), "--teacher", f"embedded@{teacher.url}"),
                *("--name", TEACHER, "--style", style, "--temperature", "0", "--ledger", ledger),
            )
        run_command("curate", "--problems", str(train), "--ledger", ledger, "--style", style)
    if not (work / "vocabulary.model").is_file():
        vocabulary(work, ("answer", *CHAINS, "socratic_iterative"))


def _with_calculator(students: Students, arm: Arm, report: dict[str, Any]) -> None:
    """Correct a student's chains afterwards, and decode them with exact results."""
    scores = json.loads((students.folder / arm.name / arm.name / "scores.json").read_text())
    n = scores["n"]
    corrected = round(scores["calculator_after_decoding"] * n)
    after = statistics.wilson(corrected, n)
    report["rows"][f"{arm.name} + calculator after"] = {**after.accuracy(), "n": n}
    label = f"{arm.name} + calculator inside"
    decode(students, arm, arm.tasks[0], label, report, CALCULATOR=True)


def _votes(students: Students, arm: Arm, report: dict[str, Any]) -> None:
    """Sample several chains for each problem."""
    [task], n = arm.tasks, report["rows"][arm.name]["n"]
    decode(
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
    files = [str(folder / f"etd_{style_of(task)}" / f"{task}-test.jsonl") for task in arm.tasks]
    problems = str(students.work / "data/embedded/test.jsonl")
    for how in ("fallback", "vote"):
        out = folder / how
        run_command(
            *("ensemble", "--problems", problems, "--predictions", *files),
            *("--how", how, "--out", str(out)),
        )
        scores = json.loads((out / "scores.json").read_text())
        row = {k: scores[k] for k in ("accuracy", "low", "high", "n")}
        report["rows"][f"etd: {how}"] = {**row, "scores": str(out)}


if __name__ == "__main__":
    sys.exit(main())
