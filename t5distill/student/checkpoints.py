"""Checkpoints on disk (Orbax) and the choice among them.

    DIR/config.json            the model's shape, and what a reader needs beside it
    DIR/checkpoint_{step}/     params, optimizer, progress (JSON: step, metrics of that step)
    DIR/best.json              step and metrics of the best evaluated checkpoint

The tree of params is T5X's. Orbax writes to a temporary name (on object stores: until a commit
file), so that a checkpoint with its final name is whole; one being deleted loses its metadata file
first.
"""

from __future__ import annotations

import json
import math
import os
import re
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from t5distill.errors import UserError
from t5distill.student.config import T5Config
from t5distill.student.sharding import path_name
from t5distill.student.stored import ParameterPath, Stored, brief

CONFIG = "config.json"
BEST = "best.json"
_NAME = re.compile(r"checkpoint_(\d+)")
_METADATA = "_CHECKPOINT_METADATA"


class Restored(NamedTuple):
    """What a checkpoint holds: parameters, optax state, and the metrics saved with its step."""

    params: Any
    optimizer: Any
    step: int
    metrics: dict[str, float]


def absolute(path: epath.PathLike) -> epath.Path:
    """Return a path that Orbax takes: it refuses relative ones. Bucket addresses stay."""
    text = os.fspath(path)
    return epath.Path(text if "://" in text else os.path.abspath(text))


def checkpoint_path(directory: epath.PathLike, step: int) -> epath.Path:
    """Return where the checkpoint of that step lies, or will lie."""
    return absolute(directory) / f"checkpoint_{step}"


def is_whole(path: epath.Path) -> bool:
    """Say whether a checkpoint was written to its end, and is not half deleted."""
    return (path / _METADATA).exists() and bool(ocp.utils.is_checkpoint_finalized(path))


def steps(directory: epath.PathLike) -> list[int]:
    """Return the steps of whole checkpoints, ascending."""
    directory = epath.Path(directory)
    if not directory.exists():
        return []
    found = [(m, p) for p in directory.iterdir() if (m := _NAME.fullmatch(p.name))]
    return sorted(int(m.group(1)) for m, p in found if is_whole(p))


def write_json(path: epath.Path, obj: Any) -> None:
    """Write JSON, whole or not at all, on local disks and object stores."""
    temporary = path.parent / f".{path.name}.part"
    temporary.write_text(json.dumps(obj, ensure_ascii=False, indent=2) + "\n")
    temporary.replace(path)


def write_config(directory: epath.PathLike, config: T5Config, record: dict[str, Any]) -> None:
    """Write config.json: the model under `model`, and the fields of `record` beside it.

    Raises:
      UserError: the directory holds a model of another shape.
    """
    directory = epath.Path(directory)
    model = config.to_dict()
    if (directory / CONFIG).exists() and steps(directory):
        old = read_config(directory)["model"]
        # These may change between runs that share a checkpoint.
        free = ("dropout_rate", "dtype", "remat")
        differing = [k for k in model if k not in free and old.get(k) != model[k]]
        if differing:
            said = ", ".join(f"{k} {old.get(k)} there, {model[k]} here" for k in differing)
            raise UserError(f"{directory} holds another model ({said}); give another MODEL_DIR")
    if jax.process_index() == 0:
        directory.mkdir(parents=True, exist_ok=True)
        write_json(directory / CONFIG, {"model": model, **record})


def read_config(directory: epath.PathLike) -> dict[str, Any]:
    """Return config.json of a model directory, or of the directory that a checkpoint lies in.

    Raises:
      UserError: there is none, or it is not JSON.
    """
    directory = epath.Path(directory)
    for place in (directory, directory.parent):
        if (place / CONFIG).exists():
            try:
                return json.loads((place / CONFIG).read_text())
            except ValueError as e:
                raise UserError(f"{place / CONFIG}: not JSON: {e}") from e
    raise UserError(
        f"{directory}: no {CONFIG} there; wanted a directory that `t5distill train` wrote"
    )


def read_progress(path: epath.PathLike) -> dict[str, Any]:
    """Return `{"step": ..., "metrics": {...}}` of one checkpoint."""
    return json.loads((epath.Path(path) / "progress" / "metadata").read_text())


def rank(metrics: dict[str, float]) -> tuple[int, float, float] | None:
    """Return a key that sorts better evaluations first; None where nothing was evaluated.

    Accuracy decides where there is one, then loss: students that all answer nothing right yet still
    differ.
    """
    accuracy, loss = metrics.get("validation_accuracy"), metrics.get("validation_loss")
    if accuracy is None and loss is None:
        return None
    return (
        1 if accuracy is None else 0,
        0.0 if accuracy is None else -accuracy,
        math.inf if loss is None else loss,
    )


def best_step(directory: epath.PathLike) -> int | None:
    """Return the step of the best evaluated whole checkpoint, of equals the earliest."""
    ranks = {
        step: rank(read_progress(checkpoint_path(directory, step))["metrics"])
        for step in steps(directory)
    }
    evaluated = [(key, step) for step, key in ranks.items() if key is not None]
    return min(evaluated)[1] if evaluated else None


class Checkpoints:
    """Writes the checkpoints of one run in the background, and deletes old ones.

    What an interrupted run left half-written is deleted at the start.

    Args:
      directory: MODEL_DIR.
      keep: how many of the newest to keep beside the best one.
    """

    def __init__(self, directory: epath.PathLike, keep: int = 2):
        self.directory = absolute(directory)
        if keep < 1:
            raise UserError(f"KEEP_CHECKPOINTS is {keep}, wanted at least 1")
        self.keep = keep
        best = best_step(self.directory)
        self._best = None if best is None else rank(self._metrics(best))
        if jax.process_index() == 0 and self.directory.exists():
            for path in self.directory.glob("checkpoint_*"):
                if not (_NAME.fullmatch(path.name) and is_whole(path)):
                    path.rmtree()
        self._writer = ocp.AsyncCheckpointer(ocp.CompositeCheckpointHandler())

    def _metrics(self, step: int) -> dict[str, float]:
        return read_progress(checkpoint_path(self.directory, step))["metrics"]

    def improves(self, metrics: dict[str, float]) -> bool:
        """Say whether an evaluation is better than that of every checkpoint so far."""
        key = rank(metrics)
        return key is not None and (self._best is None or key < self._best)

    def save(self, step: int, params: Any, optimizer: Any, metrics: dict[str, float]) -> None:
        """Write a checkpoint; `metrics` are those of an evaluation at this step, or empty.

        Returns once the arrays are copied off the devices; a second save waits for the first.
        """
        self.settle()
        if self.improves(metrics):
            self._best = rank(metrics)
        self._writer.save(
            checkpoint_path(self.directory, step),
            args=ocp.args.Composite(
                params=ocp.args.PyTreeSave(params),
                optimizer=ocp.args.PyTreeSave(optimizer),
                progress=ocp.args.JsonSave({"step": step, "metrics": metrics}),
            ),
            force=True,
        )

    def settle(self) -> None:
        """Wait for the write in progress, note the best checkpoint and delete what is not kept."""
        self._writer.wait_until_finished()
        if jax.process_index() != 0:
            return
        best = best_step(self.directory)
        if best is not None:
            write_json(self.directory / BEST, {"step": best, "metrics": self._metrics(best)})
        have = steps(self.directory)
        for step in set(have) - {*have[-self.keep :], best}:
            path = checkpoint_path(self.directory, step)
            (path / _METADATA).unlink()
            path.rmtree()

    def close(self) -> None:
        """Finish what is in progress."""
        self.settle()
        self._writer.close()

    def restore(self, step: int, params: Any, optimizer: Any) -> Restored:
        """Read one checkpoint onto any mesh.

        Args:
          step: one of `steps(directory)`.
          params: tree of `jax.ShapeDtypeStruct` with shardings.
          optimizer: likewise.
        """
        path = checkpoint_path(self.directory, step)
        progress = read_progress(path)
        return Restored(
            params=read_tree(path / "params", params),
            optimizer=read_tree(path / "optimizer", optimizer),
            step=progress["step"],
            metrics=progress["metrics"],
        )


def read_tree(path: epath.Path, wanted: Any, *, partial: bool = False) -> Any:
    """Read one tree of arrays with the shapes, dtypes and shardings of `wanted`.

    With `partial` the file may hold more than is wanted.
    """
    return ocp.PyTreeCheckpointHandler().restore(
        path,
        args=ocp.args.PyTreeRestore(
            wanted,
            restore_args=ocp.checkpoint_utils.construct_restore_args(wanted),
            partial_restore=partial,
        ),
    )


def orbax_arrays(place: epath.Path, prefix: ParameterPath = ()) -> dict[ParameterPath, Stored]:
    """Return the arrays below `prefix` of a tree that Orbax wrote, unread."""
    reader = ocp.PyTreeCheckpointHandler()
    try:
        tree: Any = reader.metadata(place).tree
        for part in prefix:
            tree = tree[part]
    except (KeyError, ValueError, TypeError, OSError) as e:
        raise UserError(f"{place}: no tree of parameters there: {brief(e)}") from e

    def stored(name: ParameterPath, found: Any) -> Stored:
        def read(index: Any) -> np.ndarray:
            whole = (*prefix, *name)
            wanted = ocp.args.PyTreeRestore(
                item=unflatten_dict({whole: found}),
                restore_args=unflatten_dict({whole: ocp.RestoreArgs(restore_type=np.ndarray)}),
                partial_restore=True,
            )
            [array] = jax.tree.leaves(reader.restore(place, args=wanted))
            return array[index]

        shape, dtype = tuple(found.shape), np.dtype(found.dtype)
        return Stored(f"{place}: array {'/'.join(name)}", shape, dtype, read)

    return {name: stored(name, found) for name, found in flatten_dict(tree).items()}


def find(path: epath.PathLike, step: int | str | None = None) -> epath.Path:
    """Return the checkpoint that a path and a step mean.

    Args:
      path: a MODEL_DIR, or one `checkpoint_{step}` in it.
      step: a number; `best`; or None for the best where evaluations chose one, else the newest.

    Raises:
      UserError: there is no such whole checkpoint.
    """
    path = absolute(path)
    if _NAME.fullmatch(path.name) and step is None:
        if is_whole(path):
            return path
        raise UserError(f"{path}: no whole checkpoint; found in its place: {steps(path.parent)}")
    have = steps(path)
    if not have:
        raise UserError(f"{path}: no checkpoint there; wanted checkpoint_STEP as train writes it")
    if step is None or step == "best":
        best = best_step(path)
        if best is not None:
            return checkpoint_path(path, best)
        if step == "best":
            raise UserError(
                f"{path}: no checkpoint was evaluated, so there is no best; have {have}"
            )
        return checkpoint_path(path, have[-1])
    if int(step) not in have:
        raise UserError(f"{path}: no checkpoint of step {step}; have {have}")
    return checkpoint_path(path, int(step))


def load_params(
    path: epath.PathLike, step: int | str | None = None, *, wanted: Any = None
) -> dict[str, Any]:
    """Return the float32 parameters of a checkpoint, without its optimizer state.

    Args:
      path: a MODEL_DIR, or one checkpoint in it.
      step: as for `find`.
      wanted: a tree of `jax.ShapeDtypeStruct` with shardings, to read straight onto a mesh; None
        gives numpy arrays.

    Raises:
      UserError: there is no such checkpoint, or it is of another network.
    """
    place = find(path, step) / "params"
    reader = ocp.PyTreeCheckpointHandler()
    shapes = dict(reader.metadata(place).tree)
    if wanted is None:
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), shapes)
        return reader.restore(place, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    check_shapes(place.parent, shapes, wanted)
    return read_tree(place, wanted)


def check_shapes(name: epath.PathLike, found: Any, wanted: Any) -> None:
    """Raise UserError unless two trees have the same leaves with the same shapes."""
    have = {path_name(p): tuple(x.shape) for p, x in jax.tree_util.tree_leaves_with_path(found)}
    want = {path_name(p): tuple(x.shape) for p, x in jax.tree_util.tree_leaves_with_path(wanted)}
    differing = sorted(k for k in {*have, *want} if have.get(k) != want.get(k))
    if differing:
        first = differing[0]
        raise UserError(
            f"{name} is of another network: {first} is {have.get(first, 'missing')} there and "
            f"{want.get(first, 'missing')} here ({len(differing)} differ); is the model file right?"
        )
