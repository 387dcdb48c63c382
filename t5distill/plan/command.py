"""`t5distill plan`: memory, time and cost of a run on chips that need not be there."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HELP = (
    "Compile the training and decoding steps of a model for a mesh of chips that need not be "
    "there, and say what memory, time and money they take. TPUs are compiled for by their own "
    "compiler where libtpu is installed (pip install '.[plan]'); other chips are estimated "
    "on simulated processors. Without --chip every known one is held against the estimate."
)
EXAMPLE = (
    "t5distill plan --model flan_t5_xl --mesh 4x2 --batch 64 --lengths 512,256 --chip v5e "
    "--gin.DTYPE=\"'bfloat16'\" --gin.REMAT=\"'full'\""
)
STEPS = ("training", "decoding")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("--model", required=True, metavar="M", help="a file of gin/models, e.g. flan_t5_base")
    add("--mesh", required=True, metavar="DATAxMODEL", help="devices along each axis, e.g. 4x2")
    add("--batch", type=int, metavar="B", help="rows of an update, of all devices (BATCH_SIZE)")
    add("--lengths", metavar="I,T", help="tokens of inputs and targets (TASK_FEATURE_LENGTHS)")
    add("--chip", metavar="NAME", help="v3 v4 v5e v5p v6e a100-40 a100-80 h100 h200 b200 l4")
    add("--recipe", metavar="FILE", help="of gin/recipes, for batch, lengths, optimizer, steps")
    add("--only", choices=STEPS, help="compile one of the two steps")
    add("--decode_rows", type=int, metavar="N", help="decoded together (128 for each along data)")
    add("--price", type=float, metavar="DOLLARS", help="of a chip and hour (list price, TPUs only)")
    add("--out", metavar="FILE", help="write the figures as JSON too")
    add("--gin_bindings", action="append", default=[], metavar="NAME=VALUE", help="as for train")


def run(args: argparse.Namespace) -> int:
    """Compile what is asked for and print it; exit code 1 where a step does not fit."""
    from t5distill import quiet
    from t5distill.plan import chips, devices

    chip = None if args.chip is None else chips.chip(args.chip)
    devices.set_environment()
    quiet.import_tensorflow()
    from t5distill.plan import page, programs, wanted

    plan = wanted.read(args)
    devices.simulate(plan.data * plan.parallelism)
    target = devices.target(chip, (plan.data, plan.parallelism))
    page.head(plan, chip, target)
    made = []
    for step in STEPS:
        if args.only not in (None, step):
            continue
        with waiting(f"compiling {step} for {target.name}"):
            if step == "training":
                one = programs.training(
                    plan.config, plan.settings, target.mesh, plan.batch, plan.lengths
                )
            else:
                one = programs.decoding(plan.config, target.mesh, plan.rows, plan.lengths)
        made.append(one)
    figures = page.table(plan, chip, target, made)
    if args.out:
        pathlib.Path(args.out).write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if all(f["fits"] is not False for f in figures["steps"]) else 1


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say what is waited for, on a terminal with the seconds so far."""
    began, done = time.monotonic(), threading.Event()
    shows = sys.stderr.isatty()

    def tick() -> None:
        while not done.wait(1.0):
            print(f"\r{what} ... {time.monotonic() - began:.0f} s", end="", file=sys.stderr)

    if not shows:
        print(f"{what} ...", file=sys.stderr, flush=True)
    ticker = threading.Thread(target=tick, daemon=True)
    if shows:
        ticker.start()
    try:
        yield
    finally:
        done.set()
        if shows:
            ticker.join()
            print("\r\033[K", end="", file=sys.stderr)
