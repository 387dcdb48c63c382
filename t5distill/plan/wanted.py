"""What a plan is asked for: command line and gin files, checked."""

from __future__ import annotations

import argparse
import dataclasses
import math
import pathlib
from typing import Any

from t5distill import gin_files
from t5distill.errors import UserError
from t5distill.plan.programs import Lengths
from t5distill.student.config import T5Config
from t5distill.student.decoding import ROWS
from t5distill.student.settings import Settings
from t5distill.train import RUN_FILE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A run to be planned.

    Attributes:
      model: name of the model file.
      data: devices along `data`.
      batch: rows of an update.
      lengths: of a row.
      rows: decoded together.
      config: the network.
      settings: of training.
      steps: TRAIN_STEPS where it is said, or None.
      price: dollars of a chip and hour, where given.
      parallelism: devices along `model`.
    """

    model: str
    data: int
    parallelism: int
    batch: int
    lengths: Lengths
    rows: int
    config: T5Config
    settings: Settings
    steps: int | None
    price: float | None


def read(args: argparse.Namespace) -> Plan:
    """Read the files that the command line names; raise UserError for what does not fit."""
    data, parallelism = _pair(args.mesh, "x", "--mesh", "DATAxMODEL, e.g. 4x2")
    roots = gin_files.search_roots()
    files = [gin_files.read(gin_files.find(RUN_FILE, roots)), _named(args.model, "models", roots)]
    if args.recipe:
        files.append(_named(args.recipe, "recipes", roots))
    bindings = list(args.gin_bindings)
    values = {name: value for file in files[1:] for name, (value, _, _) in file.macros.items()}
    bound = {b.partition("=")[0].strip() for b in bindings}
    set_here = values.keys() | bound
    if "MODEL_PARALLELISM" in bound:
        raise UserError("MODEL_PARALLELISM is the second number of --mesh; leave it out")
    # What a plan has no use for is given a value, so that the rest is checked as for `train`.
    unused = {"MODEL_DIR": "'plan'", "MIXTURE_OR_TASK_NAME": "'plan'", "TRAIN_STEPS": "1000"}
    unused["TASK_FEATURE_LENGTHS"] = "{'inputs': 1, 'targets': 1}"
    bindings += [f"{k}={v}" for k, v in unused.items() if k not in set_here]
    gin_files.check(files, bindings, run_file=RUN_FILE)
    given = argparse.Namespace(gin_search_paths="", gin_bindings=bindings)

    def made(entry: str) -> Any:
        try:
            return gin_files.configured(files, given, entry=entry)()
        except TypeError as e:
            # A number was wanted, and a text given.
            raise UserError(f"a macro of the model or recipe is of the wrong kind: {e}") from e

    config = made("t5distill.student.config.T5Config")
    settings = made("t5distill.student.settings.Settings")
    batch = _macro("BATCH_SIZE") if args.batch is None else args.batch
    if args.lengths is not None:
        lengths = Lengths(*_pair(args.lengths, ",", "--lengths", "INPUTS,TARGETS, e.g. 512,256"))
    elif "TASK_FEATURE_LENGTHS" in set_here:
        lengths = _lengths(_macro("TASK_FEATURE_LENGTHS"))
    else:
        raise UserError("--lengths is not given, and no recipe that says them; e.g. 512,256")
    least = data * settings.microbatches
    if not isinstance(batch, int) or batch < 1 or batch % least:
        raise UserError(
            f"--batch is {batch!r}, wanted a multiple of {least}: {data} devices along data times "
            f"{settings.microbatches} MICROBATCHES"
        )
    rows = ROWS * data if args.decode_rows is None else args.decode_rows
    if rows < 1 or rows % data:
        raise UserError(f"--decode_rows is {rows}, wanted a multiple of {data} devices along data")
    if args.price is not None and not 0 < args.price < math.inf:
        raise UserError(f"--price is {args.price}, wanted dollars of a chip and hour")
    if args.out and not pathlib.Path(args.out).absolute().parent.is_dir():
        raise UserError(f"--out {args.out}: there is no such folder")
    return Plan(
        model=files[1].path.stem,
        data=data,
        parallelism=parallelism,
        batch=batch,
        lengths=lengths,
        rows=rows,
        config=config,
        settings=settings,
        steps=settings.train_steps if "TRAIN_STEPS" in set_here else None,
        price=args.price,
    )


def _named(name: str, folder: str, roots: list[pathlib.Path]) -> gin_files.GinFile:
    """Read a model or recipe by its bare name or by its path."""
    bare = not name.endswith(".gin") and "/" not in name
    file = gin_files.read(gin_files.find(f"gin/{folder}/{name}.gin" if bare else name, roots))
    if file.is_run_file:
        raise UserError(f"{name} is a run file; wanted one of gin/{folder}")
    return file


def _lengths(found: Any) -> Lengths:
    match found:
        case {"inputs": int(inputs), "targets": int(targets)} if inputs > 0 and targets > 0:
            return Lengths(inputs, targets)
    raise UserError(
        f"TASK_FEATURE_LENGTHS is {found!r}, wanted e.g. {{'inputs': 512, 'targets': 256}}"
    )


def _macro(name: str) -> Any:
    import gin

    return gin.query_parameter(f"{name}/macro.value")


def _pair(text: str, between: str, flag: str, wanted: str) -> tuple[int, int]:
    parts = text.split(between)
    if len(parts) != 2 or not all(p.strip().isdecimal() and int(p) > 0 for p in parts):
        raise UserError(f"{flag} is {text!r}, wanted {wanted}")
    return int(parts[0]), int(parts[1])
