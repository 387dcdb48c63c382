"""`t5distill reproduce`: every stage of a recipe in order, from problems to a report."""

from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from t5distill.errors import UserError, suggest

if TYPE_CHECKING:
    from t5distill.reproduce.experiment import Experiment

HELP = (
    "Run every stage of a recipe: prepare, generate, curate, train, select, infer, score, report. "
    "What is there already is not done again, so the same command goes on after an interruption; "
    "recipes in one --workdir share problems, the teacher's replies and equal students."
)
EXAMPLE = "t5distill reproduce magister_gsm8k --tiny --workdir runs/tiny"
RUN_FILE = "gin/runs/reproduce.gin"
ENTRY = "t5distill.reproduce.experiment.Experiment"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add = parser.add_argument
    add("recipes", nargs="+", metavar="RECIPE", help="a name in gin/recipes, or a gin file")
    add("--workdir", required=True, metavar="DIR", help="where everything goes")
    add(
        "--tiny",
        action="store_true",
        help="embedded problems, a simulated teacher and students of 0.3 million parameters: "
        "minutes on a laptop, no key, no download",
    )
    add(
        "--sizes",
        type=int,
        nargs=4,
        metavar=("TRAIN", "VALIDATION", "TEST", "HELD_OUT"),
        help=f"embedded problems of --tiny ({' '.join(map(str, TINY_SIZES))})",
    )
    add("--seeds", type=int, default=1, metavar="N", help="students of each row (1)")
    add("--seed", type=int, default=0, help="the first one's, and of generated problems (0)")
    add(
        "--raw",
        action="append",
        default=[],
        metavar="BENCHMARK=PATH",
        help="a benchmark's official files, as `prepare --raw` takes them; may be repeated",
    )
    add("--teacher", metavar="SPEC", help="in the recipe's place, as `generate --teacher`")
    add("--budget", metavar="B", help="as `generate --budget`: most that the ledger may cost")
    add("--price-prompt", type=float, metavar="P", help="money for 1M prompt tokens")
    add("--price-completion", type=float, metavar="P", help="likewise, of replies")
    add(
        "--missing",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="go on where no attempt brought an answer to at most so many of a teacher's samples, "
        "e.g. 0.01 (0)",
    )
    add("--model", metavar="NAME", help="a model file in the recipe's place, e.g. flan_t5_small")
    add("--dry-run", action="store_true", help="print the commands of all stages; run none")
    add(
        "--gin_bindings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a macro of the recipe or of every student; also written --gin.NAME=VALUE",
    )


TINY_SIZES = (1000, 100, 200, 50)
# What else lies in --workdir.
TAKEN = ("data", "students", "ensembles")


def run(args: argparse.Namespace) -> int:
    """Reproduce each recipe in turn."""
    from t5distill import places
    from t5distill.reproduce import reproduction
    from t5distill.reproduce.options import Options

    if args.seeds < 1:
        raise UserError(f"--seeds {args.seeds}: wanted at least 1")
    if not 0.0 <= args.missing < 1.0:
        raise UserError(f"--missing {args.missing}: wanted a share in [0, 1)")
    _check_sizes(args)
    if places.is_remote(args.workdir):
        raise UserError(f"--workdir {args.workdir}: wanted a folder on this machine")
    raw = _raw(args.raw)
    # All are read first: a mistake in the last one is no reason to wait for the others.
    experiments = [read(name, args) for name in args.recipes]
    stems = [pathlib.Path(file).stem for file, _ in experiments]
    if odd := [s for i, s in enumerate(stems) if s in stems[:i] or s in TAKEN]:
        raise UserError(f"{odd[0]}: a folder of another name is wanted for it; rename the recipe")
    for file, experiment in experiments:
        reproduction.reproduce(
            pathlib.Path(file).stem,
            file,
            experiment,
            options=Options(
                work=pathlib.Path(args.workdir).resolve(),
                tiny=args.tiny,
                sizes=tuple(args.sizes or TINY_SIZES),
                seeds=tuple(range(args.seed, args.seed + args.seeds)),
                raw=raw,
                cost={
                    "budget": args.budget,
                    "price-prompt": args.price_prompt,
                    "price-completion": args.price_completion,
                },
                missing=args.missing,
                given=tuple(args.gin_bindings),
                dry=args.dry_run,
            ),
        )
    return 0


def _check_sizes(args: argparse.Namespace) -> None:
    """Raise UserError where an option stands that would change nothing."""
    if args.sizes is not None and min(args.sizes) < 1:
        raise UserError(f"--sizes {' '.join(map(str, args.sizes))}: wanted at least 1 of each")
    idle = ("model", "teacher", "raw", "budget") if args.tiny else ("sizes",)
    for name in idle:
        if getattr(args, name):
            has = "has its own" if args.tiny else "is of"
            raise UserError(f"--{name}: --tiny {has}; wanted one of the two")


def read(name: str, args: argparse.Namespace) -> tuple[str, Experiment]:
    """Return a recipe's file, as `--gin_file` takes it, and what it says.

    Raises:
      UserError: there is no such recipe, it sets what nobody knows, or it is no experiment.
    """
    import dataclasses

    from t5distill import gin_files

    file = name if name.endswith(".gin") else f"gin/recipes/{name}.gin"
    files = argparse.Namespace(
        gin_file=[RUN_FILE, file], gin_bindings=args.gin_bindings, gin_search_paths=""
    )
    checked = gin_files.checked(files, run_file=RUN_FILE, entry=ENTRY)
    experiment: Experiment = gin_files.configured(checked, files, entry=ENTRY)()
    changes: dict[str, Any] = {}
    if args.teacher:
        changes["teacher"] = args.teacher
    if args.model:
        gin_files.find(f"gin/models/{args.model}.gin", gin_files.search_roots())
        compared = {arm.model or experiment.model for arm in experiment.arms if not arm.combine}
        if len(compared) > 1:
            raise UserError(
                f"--model {args.model}: {name} compares {', '.join(sorted(compared))}; wanted "
                "--gin.STUDENTS with the models to compare"
            )
        changes["model"] = args.model
        changes["students"] = {k: {**v, "model": None} for k, v in experiment.students.items()}
    experiment = dataclasses.replace(experiment, **changes)
    return file, experiment.tiny() if args.tiny else experiment


def _raw(given: Sequence[str]) -> Mapping[str, str]:
    from t5distill.problems.benchmarks import OFFICIAL

    raw: dict[str, str] = {}
    for text in given:
        benchmark, equals, path = text.partition("=")
        if not equals or not path:
            raise UserError(f"--raw {text}: wanted BENCHMARK=PATH, e.g. gsm8k=downloads/gsm8k")
        if benchmark not in OFFICIAL and benchmark != "bbh":
            raise UserError(f"--raw {text}: {suggest(benchmark, [*OFFICIAL, 'bbh'])}")
        if benchmark in raw:
            raise UserError(f"--raw {text}: {benchmark} is {raw[benchmark]} already")
        # From wherever the same command is typed again.
        raw[benchmark] = os.path.abspath(path) if os.path.exists(path) else path
    return raw
