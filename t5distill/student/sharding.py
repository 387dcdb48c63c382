"""Where arrays live: a mesh of devices with axes `data` and `model`, and rules by parameter name.

The batch is spread over `data`. Over `model` goes the vocabulary, the joined heads and the hidden
width of the feed-forward block, as Megatron and T5X do; everything else is replicated.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from t5distill.errors import UserError

# The first rule whose pattern is found in a parameter's path decides.
RULES = (
    (r"token_embedder/embedding$", PartitionSpec("model", None)),
    (r"logits_dense/kernel$", PartitionSpec(None, "model")),
    (r"(query|key|value)/kernel$", PartitionSpec(None, "model")),
    (r"attention/out/kernel$", PartitionSpec("model", None)),
    (r"mlp/wi(_\d)?/kernel$", PartitionSpec(None, "model")),
    (r"mlp/wo/kernel$", PartitionSpec("model", None)),
)


def make_mesh(model_parallelism: int = 1, devices: Sequence[Any] | None = None) -> Mesh:
    """Return a mesh over all devices: `model` of that size, `data` of the rest.

    Args:
      model_parallelism: devices that one copy of the network is spread over.
      devices: others than those that are there, such as those of a TPU that is only described.

    Raises:
      UserError: the number of devices is no multiple of `model_parallelism`.
    """
    devices = jax.devices() if devices is None else devices
    count = len(devices)
    if model_parallelism < 1 or count % model_parallelism:
        raise UserError(
            f"MODEL_PARALLELISM is {model_parallelism}, wanted a divisor of the number of devices, "
            f"{count}"
        )
    shape = (count // model_parallelism, model_parallelism)
    # `jax.make_mesh` splits an axis of a TPU's torus on v5e only: elsewhere it would have no place
    # for, say, 16 along `model` on 4 x 8 chips.
    arranged = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
    return Mesh(arranged, ("data", "model"), axis_types=(AxisType.Auto, AxisType.Auto))


def path_name(path: tuple[Any, ...]) -> str:
    """Join a key path of `jax.tree_util` with slashes, e.g. `decoder/layers_0/mlp/wo/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def parameter_shardings(mesh: Mesh, params: Any) -> Any:
    """Return a tree like `params` (arrays or shapes) with a sharding for each leaf.

    Raises:
      UserError: a dimension that goes over `model` is no multiple of its size.
    """

    def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = path_name(path)
        spec = next((spec for pattern, spec in RULES if re.search(pattern, name)), PartitionSpec())
        sharding = NamedSharding(mesh, spec)
        for size, axis in zip(leaf.shape, spec, strict=False):
            if axis and size % mesh.shape[axis]:
                raise UserError(
                    f"MODEL_PARALLELISM is {mesh.shape[axis]}, which does not divide {name} "
                    f"{tuple(leaf.shape)}; choose a divisor of {size}"
                )
        return sharding

    return jax.tree_util.tree_map_with_path(one, params)


def placed(shapes: Any, shardings: Any) -> Any:
    """Return a tree of shapes (`jax.ShapeDtypeStruct`) with a tree of shardings like it."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def optimizer_shardings(mesh: Mesh, params: Any, optimizer_state: Any) -> Any:
    """Return shardings for an optax state: whatever mirrors a parameter is placed as it is.

    The factored moments of Adafactor are vectors; they and the counters are replicated.
    """
    specs = {
        path_name(path): (leaf.shape, sharding)
        for (path, leaf), sharding in zip(
            jax.tree_util.tree_leaves_with_path(params),
            jax.tree.leaves(parameter_shardings(mesh, params)),
            strict=True,
        )
    }

    def one(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        parts = path_name(path).split("/")
        for start in range(len(parts)):
            shape, sharding = specs.get("/".join(parts[start:]), (None, None))
            if sharding is not None and shape == leaf.shape:
                return sharding
        return replicated(mesh)

    return jax.tree_util.tree_map_with_path(one, optimizer_state)


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding of an array that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Return the sharding of `[batch, ...]` arrays."""
    return NamedSharding(mesh, PartitionSpec("data"))


def data_layout(mesh: Mesh) -> tuple[int, int]:
    """Return which share of the data this process reads: its index and the number of shares.

    Processes whose devices hold the same rows, as when `model` reaches over processes, read the
    same share.
    """
    rows: dict[int, set[int]] = {}
    for row, devices in enumerate(mesh.devices):
        for device in devices:
            rows.setdefault(device.process_index, set()).add(row)
    shares = sorted({tuple(sorted(held)) for held in rows.values()})
    return shares.index(tuple(sorted(rows[jax.process_index()]))), len(shares)


def global_batch(mesh: Mesh, batch: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Return the global arrays of which this process holds the rows in `batch`.

    Args:
      mesh: as `make_mesh` returns.
      batch: arrays `[local batch, ...]`; every process gives equally many rows.
    """
    sharding = batch_sharding(mesh)
    return {k: jax.make_array_from_process_local_data(sharding, v) for k, v in batch.items()}
