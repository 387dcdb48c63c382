"""A teacher's texts, its log-probabilities, a white-box teacher, and the student's own texts.

    python -m benchmarks.soft_labels --workdir runs/soft_labels --students 3

The embedded teacher is sampled at temperature 1 with its five likeliest tokens; the chains are
verified as any teacher's are. A larger T5 is trained on them first, as the white-box teacher. Then
each arm's student takes as many updates of as many problems as the others, and answers problems it
has not seen. The same command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
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
    summary,
    table,
    vocabulary,
)
from t5distill.reproduce.card import training_of
from t5distill.teacher.loopback import LoopbackProcess

TASK = f"embedded_cot_{TEACHER}"
TOP = 5
BASE = "match_sample"
ARMS = tuple(
    Arm(name, f"embedded_{name}", (TASK,))
    for name in (BASE, "match_distribution", "white_box", "gkd")
)
TAUGHT_BY_T5 = ("white_box", "gkd")
# What a student of random weights writes teaches nothing: GKD begins with a supervised one, which
# takes half of the updates (Agarwal et al. 2023, section 4).
BEGUN_AS = {"gkd": "white_box"}
# Four times the student's parameters; it needs more updates than the student to solve anything.
LARGER = {"EMB_DIM": 128, "HEAD_DIM": 32, "MLP_DIM": 384, "LEARNING_RATE": 1e-2}
TEACHER_STEPS = 3000
# Of the recipes; a rate that does not undo what the first half has learnt.
STEPS, WARMUP_STEPS = 1500, 50
SECOND_HALF = {"LEARNING_RATE": 1e-2}


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing; print the table; return an exit code."""
    parser = arguments_of("soft_labels", __doc__, ARMS, default=len(ARMS))
    return 2 if reporting.measured(run, parser.parse_args(arguments)) is None else 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Make the data, train and score every arm; return the figures."""
    work = pathlib.Path(args.workdir).resolve()
    work.mkdir(parents=True, exist_ok=True)
    os.environ["T5DISTILL_DATA_DIR"] = str(work / "data")
    _make_data(work, args)
    arms = [arm for arm in ARMS if arm.name in args.arms]
    rows = {}
    if any(arm.name in TAUGHT_BY_T5 for arm in arms):
        rows = _teacher(work, args)
    studies = []
    for k in range(args.students):
        students = Students(work, work / f"student_{k}", args.seed + k)
        studies.append(_study(students, args, arms))
    report = {
        "students": studies,
        "rows": summary(studies, BASE),
        "seed": args.seed,
        "teacher": rows,
    }
    print(table({**report, "rows": {**rows, **report["rows"]}}, BASE))
    return report


def _make_data(work: pathlib.Path, args: argparse.Namespace) -> None:
    """Prepare problems, sample the teacher with its log-probabilities, curate, train a vocabulary.

    Curation reports soft labels in bytes: the student's vocabulary is made of what is kept.
    """
    train, ledger = work / "data/embedded/train.jsonl", str(work / "ledger.db")
    if not train.is_file():
        sizes = map(str, args.sizes)
        run_command("prepare", "embedded", "--seed", str(args.seed), "--sizes", *sizes)
    if not (work / f"data/chains/{TASK}/curation.json").is_file():
        with LoopbackProcess(
            train, model="embedded", seed=args.seed, wrong_rate=0.2, malformed_rate=0.05
        ) as teacher:
            run_command(
                *("generate", "--problems", str(train), "--teacher", f"embedded@{teacher.url}"),
                *("--name", TEACHER, "--style", "cot", "--temperature", "1", "--ledger", ledger),
                *("--top-logprobs", str(TOP)),
            )
        run_command(
            *("curate", "--problems", str(train), "--ledger", ledger, "--style", "cot"),
            *("--soft-labels", str(TOP), "--vocab", "byt5"),
        )
    if not (work / "vocabulary.model").is_file():
        vocabulary(work, ("answer", "cot"))


def _macros(args: argparse.Namespace, students: Students, model: pathlib.Path) -> dict[str, Any]:
    macros: dict[str, Any] = {"MODEL_DIR": str(model), "RANDOM_SEED": students.seed}
    if args.train_steps:
        macros |= {"TRAIN_STEPS": args.train_steps, "WARMUP_STEPS": min(50, args.train_steps)}
    return macros


def _teacher(work: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train the white-box teacher; return its row."""
    arm = Arm("teacher", f"embedded_{BASE}", (TASK,))
    students = Students(work, work, args.seed)
    macros = {"TRAIN_STEPS": TEACHER_STEPS, **_macros(args, students, work / "teacher")}
    run_gin("train", students, arm, **LARGER, **macros)
    report: dict[str, Any] = {"rows": {}}
    decode(students, arm, TASK, "teacher", report)
    return report["rows"]


def _study(students: Students, args: argparse.Namespace, arms: list[Arm]) -> dict[str, Any]:
    """Train and score every arm with one seed; return the figures."""
    report: dict[str, Any] = {"rows": {}, "training": {}, "seed": students.seed}
    for arm in arms:
        model = students.folder / arm.name
        macros = _macros(args, students, model)
        if arm.name in TAUGHT_BY_T5:
            macros["TEACHER_CHECKPOINT_PATH"] = str(students.work / "teacher")
        if arm.name in BEGUN_AS:
            macros |= _begin(students, arm, macros)
        run_gin("train", students, arm, **macros)
        report["training"][arm.name] = training_of(model)
        decode(students, arm, TASK, arm.name, report)
    compare_with(BASE, report)
    return report


def _begin(students: Students, arm: Arm, macros: dict[str, Any]) -> dict[str, Any]:
    """Train the student that an arm begins with; return what is then set for the arm."""
    half = macros.get("TRAIN_STEPS", STEPS) // 2
    model = students.folder / f"{arm.name}_start"
    first = Arm(model.name, f"embedded_{BEGUN_AS[arm.name]}", arm.tasks)
    steps = {"TRAIN_STEPS": half, "WARMUP_STEPS": min(WARMUP_STEPS, half)}
    run_gin("train", students, first, **macros | {"MODEL_DIR": str(model), **steps})
    return {"INITIAL_CHECKPOINT_PATH": str(model), **steps, **SECOND_HALF}


if __name__ == "__main__":
    sys.exit(main())
