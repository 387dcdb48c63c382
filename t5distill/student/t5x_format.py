"""T5X's checkpoints on disk: every layout that it has written is read, one is written.

    checkpoint_{step}/state/      one tree of Orbax: `target` and the optimizer's state (since 2024)
    checkpoint_{step}/checkpoint  msgpack that names a zarr folder `target.*` for each array: public
                                  checkpoints, and what is written here, for every T5X reads it
    a file checkpoint_{step}      msgpack that holds every array (before 2021)

Only parameters are read. The arrays of the first two are read one at a time, or in parts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from t5distill.errors import UserError
from t5distill.student import checkpoints
from t5distill.student.config import T5Config
from t5distill.student.stored import ParameterPath, Stored, brief

_FILE, _STATE, _TARGET = "checkpoint", "state", "target"
_NAME = re.compile(r"checkpoint_(\d+)")
# The version of the layout since June 2021.
_VERSION = 3
# Of an array, the bytes in one file; T5X spreads them over hosts, we write from one.
_CHUNK_BYTES = 256 << 20


def is_checkpoint(path: epath.Path) -> bool:
    """Say whether one checkpoint of T5X lies at `path`."""
    if path.is_dir():
        return is_orbax(path) or _packed(path) is not None
    return path.is_file() and bool(_NAME.search(path.name))


def is_orbax(path: epath.Path) -> bool:
    """Say whether a checkpoint of T5X was written by Orbax as one tree."""
    return (path / _STATE / "_METADATA").exists()


def step_of(path: epath.Path) -> int | None:
    """Return the step that a checkpoint's name says."""
    match = _NAME.search(path.name)
    return int(match[1]) if match else None


def read_onto_mesh(path: epath.Path, wanted: Any) -> Any:
    """Read the parameters of a checkpoint that `is_orbax` with the shardings of `wanted`."""
    return checkpoints.read_tree(path / _STATE, {_TARGET: wanted}, partial=True)[_TARGET]


def find(path: epath.Path, step: int | str | None) -> epath.Path | None:
    """Return the checkpoint of T5X that is meant, or None where there is none of T5X's.

    Args:
      path: one checkpoint, or the MODEL_DIR of T5X.
      step: a number, or None for the newest.

    Raises:
      UserError: a MODEL_DIR of T5X has no such step.
    """
    if is_checkpoint(path):
        if step not in (None, step_of(path)):
            raise UserError(f"{path}: one checkpoint, wanted step {step}; name the folder above it")
        return path
    if not path.is_dir():
        return None
    named = ((_NAME.fullmatch(p.name), p) for p in path.iterdir())
    have = {int(match[1]): p for match, p in named if match and is_checkpoint(p)}
    if not have:
        return None
    if step is None:
        return have[max(have)]
    if not isinstance(step, int) or step not in have:
        raise UserError(f"{path}: no T5X checkpoint of step {step}; have {sorted(have)}")
    return have[step]


def open_arrays(path: epath.Path) -> dict[ParameterPath, Stored]:
    """Return the parameters of a checkpoint, unread, by their path in the tree.

    Raises:
      UserError: it is damaged, or of no version that is known.
    """
    if path.is_dir() and is_orbax(path):
        return checkpoints.orbax_arrays(path / _STATE, (_TARGET,))
    file = _packed(path) if path.is_dir() else path
    assert file is not None
    leaves = flatten_dict(_target(file), is_leaf=is_place)
    return {name: from_leaf(file, name, leaf) for name, leaf in leaves.items() if leaf is not None}


def infer_config(arrays: Mapping[ParameterPath, Stored], where: str) -> T5Config:
    """Return the shape of the network that parameters are of; T5X writes none beside them.

    What arrays do not tell is as in every published T5: a gated network's activation is gelu, and
    distances beyond 128 are alike.

    Raises:
      UserError: an array that every T5 has is missing.
    """

    def shape(name: str) -> tuple[int, ...]:
        found = arrays.get(tuple(name.split("/")))
        if found is None:
            stacked = " (layers that are stacked, as with scan_layers, are not read)"
            raise UserError(
                f"{where}: no array {name}{stacked}; wanted the parameters of t5x.examples.t5"
            )
        return found.shape

    def layers(stack: str) -> int:
        numbers = {path[1] for path in arrays if path[0] == stack}
        return sum(name.startswith("layers_") for name in numbers)

    heads, buckets = shape("encoder/relpos_bias/rel_embedding")
    vocab_size, emb_dim = shape("token_embedder/embedding")
    joined = shape("encoder/layers_0/attention/query/kernel")[1]
    gated = ("encoder", "layers_0", "mlp", "wi_0", "kernel") in arrays
    if joined % heads:
        raise UserError(f"{where}: {joined} columns of queries are no multiple of {heads} heads")
    return T5Config(
        vocab_size=vocab_size,
        emb_dim=emb_dim,
        num_heads=heads,
        head_dim=joined // heads,
        mlp_dim=shape("encoder/layers_0/mlp/wo/kernel")[0],
        num_encoder_layers=layers("encoder"),
        num_decoder_layers=layers("decoder"),
        mlp_activations=("gelu", "linear") if gated else ("relu",),
        logits_via_embedding=("decoder", "logits_dense", "kernel") not in arrays,
        relative_attention_num_buckets=buckets,
    )


def write(
    path: epath.Path, arrays: Mapping[ParameterPath, Stored], *, step: int, dtype: str = "float32"
) -> int:
    """Write a checkpoint that T5X restores, one array at a time.

    It holds parameters and the step: T5X begins its optimizer afresh (gin/t5x/train.gin).

    Args:
      path: `.../checkpoint_{step}`, which T5X takes the step from; not there yet.
      arrays: the parameters.
      step: how many updates they have seen.
      dtype: `float32` or `bfloat16` on disk.

    Returns:
      How many bytes the arrays take, uncompressed.
    """
    import tensorstore
    from flax import serialization

    target: dict[ParameterPath, Any] = {}
    size = 0
    for name, array in arrays.items():
        folder = ".".join((_TARGET, *name))
        rows = max(1, _CHUNK_BYTES // max(1, array.nbytes // max(1, array.shape[0])))
        spec = {
            "driver": "zarr",
            "dtype": dtype,
            "metadata": {
                "shape": list(array.shape),
                "chunks": [min(rows, array.shape[0]), *array.shape[1:]],
                "compressor": {"id": "gzip", "level": 1},
            },
        }
        place = {"kvstore": _store(path / folder)}
        values = array.read(...).astype(_dtype(dtype))
        tensorstore.open({**spec, **place}, create=True).result().write(values).result()
        size += values.nbytes
        target[name] = {**spec, "kvstore": {"driver": "file", "path": f"{folder}/"}}
    # Last: a folder without this file is no checkpoint.
    state = {"step": np.int32(step), "param_states": {}}
    packed = {"version": _VERSION, "optimizer": {_TARGET: unflatten_dict(target), _STATE: state}}
    (path / _FILE).write_bytes(serialization.msgpack_serialize(packed))
    return size


def _packed(path: epath.Path) -> epath.Path | None:
    """Return the msgpack file of a checkpoint's folder, or None."""
    for file in (path / _STATE / _FILE, path / _FILE):
        if file.exists() and not file.is_dir():
            return file
    return None


def _target(file: epath.Path) -> dict[str, Any]:
    """Return the parameters' part of a msgpack file: arrays, or where they lie."""
    from flax import serialization

    try:
        found = serialization.msgpack_restore(file.read_bytes())
    except Exception as e:  # msgpack raises whatever its bytes lead it to
        raise UserError(f"{file}: not a T5X checkpoint, or cut off: {brief(e)}") from e
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no tree of arrays; wanted a T5X checkpoint")
    if (version := found.get("version", _VERSION)) < 2:
        raise UserError(f"{file}: T5X's layout {version}, wanted 2 or 3; save it anew with T5X")
    tree = found.get("optimizer", found).get(_TARGET)
    if not isinstance(tree, dict) or not tree:
        raise UserError(f"{file}: holds no parameters (optimizer/target)")
    return tree


def is_place(_: Any, x: Any) -> bool:
    """Say whether a node of a checkpoint's tree tells where an array lies; a leaf, then."""
    return isinstance(x, Mapping) and "driver" in x


def from_leaf(file: epath.Path, name: ParameterPath, leaf: Any) -> Stored:
    """Return what a leaf of the msgpack file stands for."""
    label = f"{file.parent}: array {'/'.join(name)}"
    if isinstance(leaf, np.ndarray):
        return Stored(f"{file}: array {'/'.join(name)}", leaf.shape, leaf.dtype, leaf.__getitem__)
    if isinstance(leaf, str) and leaf.startswith("PLACEHOLDER://"):
        leaf = {"kvstore": {"path": leaf.removeprefix("PLACEHOLDER://")}}
    if not isinstance(leaf, dict):
        raise UserError(f"{label} is a {type(leaf).__name__}, wanted an array")
    import tensorstore

    # The last part only: where the checkpoint lay when it was written does not matter.
    stored_at = str(leaf.get("kvstore", {}).get("path") or leaf.get("path") or "")
    place = file.parent / stored_at.strip("/").split("/")[-1]
    spec: dict[str, Any] = {"driver": "zarr", "kvstore": _store(place)}
    spec["fill_missing_data_reads"] = False
    # Copies that went through tools which skip hidden files lack the array's own metadata.
    assume = not (place / ".zarray").exists() and "metadata" in leaf
    if assume:
        spec |= {"metadata": leaf["metadata"], "dtype": leaf["dtype"]}
    try:
        array = tensorstore.open(spec, open=True, read=True, assume_metadata=assume).result()
    except Exception as e:  # tensorstore's errors are of many types
        raise UserError(f"{label} cannot be read: {brief(e)}") from e
    dtype = _dtype(array.dtype.name)
    return Stored(label, tuple(array.shape), dtype, lambda index: array[index].read().result())


def _dtype(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


def _store(place: epath.Path) -> Any:
    """Return where tensorstore finds a folder, on a disk or in a bucket."""
    text = str(place)
    return f"{text}/" if "://" in text else {"driver": "file", "path": f"{text}/"}
