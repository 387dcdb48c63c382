"""Parameters of any checkpoint: our own, T5X's, Hugging Face's."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath
from flax.traverse_util import unflatten_dict

from t5distill.errors import UserError
from t5distill.student import checkpoints, t5x_format
from t5distill.student.config import T5Config
from t5distill.student.huggingface import open_huggingface
from t5distill.student.network import abstract_model, parameters
from t5distill.student.stored import ParameterPath, Stored, brief


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """The parameters of one checkpoint, not read yet.

    Attributes:
      kind: `t5distill`, `t5x` or `huggingface`.
      where: the checkpoint.
      step: how many updates the parameters have seen, or None where it does not say.
      config: the network's shape.
      record: what config.json says; empty for T5X, which writes none.
      arrays: every parameter by its path.
      load: reads all, given a tree of `jax.ShapeDtypeStruct` with shardings, or None for numpy
        arrays; float32 whatever is on disk.
    """

    kind: str
    where: epath.Path
    step: int | None
    config: T5Config
    record: dict[str, Any]
    arrays: dict[ParameterPath, Stored]
    load: Callable[[Any], Any]


def open_weights(path: epath.PathLike, step: int | str | None = None) -> Weights:
    """Find a checkpoint and say what it holds.

    Args:
      path: a directory that `t5distill train` wrote, one `checkpoint_{step}` in it, the same of
        T5X (or an old one, which is a file), or a Hugging Face directory with config.json and
        safetensors.
      step: a number; `best` (of our own); or None for the best, or else the newest.

    Raises:
      UserError: there is no checkpoint, or it is damaged.
    """
    path = checkpoints.absolute(path)
    if not path.exists():
        raise UserError(f"{path}: no such directory; wanted a checkpoint")
    try:
        return _opened(path, step)
    except _DAMAGED as e:
        raise UserError(f"{path}: a damaged checkpoint, or none: {e!r}; fetch it again") from e


# What the numbers and texts of a file lead to that is not what it should be.
_DAMAGED = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    OSError,
)


def _opened(path: epath.Path, step: int | str | None) -> Weights:
    if not path.is_dir() or _is_t5x_place(path):
        if (found := t5x_format.find(path, step)) is not None:
            return _of_t5x(found)
        if not path.is_dir():
            raise UserError(f"{path}: a file, and no T5X checkpoint; wanted a checkpoint")
    record = checkpoints.read_config(path)
    if not isinstance(record, dict):
        raise UserError(f"{path}: config.json holds no JSON object; wanted a checkpoint's")
    if "model" in record:
        return _of_ours(path, record, step)
    if step is not None:
        raise UserError(f"{path}: a Hugging Face directory has one step, wanted {step}")
    config, arrays = open_huggingface(path, record)
    told = record.get("t5distill")  # what `t5distill export` has put there of ours
    return Weights(
        kind="huggingface",
        where=path,
        step=None,
        config=config,
        record={**record, **(told if isinstance(told, dict) else {})},
        arrays=arrays,
        load=lambda wanted: read_all(arrays, wanted, path),
    )


def _is_t5x_place(path: epath.Path) -> bool:
    """Say whether neither our config.json nor Hugging Face's says what lies at a path."""
    if (path / "config.json").exists():
        return False
    # That of the folder above is of the checkpoint only if we wrote it.
    above = path.parent / "config.json"
    return not (above.exists() and "model" in json.loads(above.read_text()))


def _named(where: epath.Path, load: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `load` with an error of ours for what a damaged file leads to."""

    def read(wanted: Any) -> Any:
        try:
            return load(wanted)
        except (UserError, jax.errors.JaxRuntimeError, MemoryError):
            raise
        except Exception as e:  # Orbax and tensorstore have many
            raise UserError(f"{where} cannot be read: {brief(e)}") from e

    return read


def _of_ours(path: epath.Path, record: dict[str, Any], step: int | str | None) -> Weights:
    config = _own_config(record["model"], path)
    found = checkpoints.find(path, step)
    arrays = checkpoints.orbax_arrays(found / "params")
    _check(found, arrays, config)
    return Weights(
        kind="t5distill",
        where=found,
        step=checkpoints.read_progress(found)["step"],
        config=config,
        record=record,
        arrays=arrays,
        load=_named(found, lambda wanted: checkpoints.load_params(found, wanted=wanted)),
    )


def _of_t5x(path: epath.Path) -> Weights:
    arrays = t5x_format.open_arrays(path)
    config = t5x_format.infer_config(arrays, str(path))
    _check(path, arrays, config)

    def load(wanted: Any) -> Any:
        if wanted is None or not t5x_format.is_orbax(path):
            return read_all(arrays, wanted, path)
        checkpoints.check_shapes(path, unflatten_dict(arrays), wanted)
        return t5x_format.read_onto_mesh(path, wanted)

    return Weights(
        kind="t5x",
        where=path,
        step=t5x_format.step_of(path),
        config=config,
        record={},
        arrays=arrays,
        load=_named(path, load),
    )


def _check(path: epath.Path, arrays: dict[ParameterPath, Stored], config: T5Config) -> None:
    checkpoints.check_shapes(path, unflatten_dict(arrays), parameters(abstract_model(config)))


def read_all(arrays: dict[ParameterPath, Stored], wanted: Any, where: epath.PathLike) -> Any:
    """Read all arrays as float32: onto the devices that `wanted` says, or as numpy arrays."""
    if wanted is None:
        return unflatten_dict({path: _float32(a.read()) for path, a in arrays.items()})
    checkpoints.check_shapes(where, unflatten_dict(arrays), wanted)

    def one(array: Stored, leaf: jax.ShapeDtypeStruct) -> jax.Array:
        assert leaf.sharding is not None
        return jax.make_array_from_callback(
            leaf.shape, leaf.sharding, lambda index: _float32(array.read(index))
        )

    return jax.tree.map(one, unflatten_dict(arrays), wanted)


def _float32(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32)


def _own_config(model: dict[str, Any], path: epath.Path) -> T5Config:
    known = {f.name for f in dataclasses.fields(T5Config)}
    try:
        unknown = sorted(set(model) - known)
        if unknown:
            raise UserError(f"{path}: config.json has the unknown field {unknown[0]}")
        return T5Config(**model)
    except TypeError as e:
        raise UserError(f"{path}: config.json does not describe a network: {e}") from e
