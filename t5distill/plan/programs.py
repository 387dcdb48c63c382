"""The programs that a run will compile: our own update of training and step of decoding.

They are lowered from shapes alone; no array is made.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from t5distill.plan import counting
from t5distill.student import loop, losses, network, sharding, slots, update
from t5distill.student.config import T5Config
from t5distill.student.sampling import Sampling
from t5distill.student.scheduler import FIRST_RING, STEPS, width_bucket
from t5distill.student.settings import Settings


class Lengths(NamedTuple):
    """Tokens of a padded or packed row."""

    inputs: int
    targets: int


class Program(NamedTuple):
    """A program that has been compiled, or found too large to be.

    Attributes:
      name: `training` or `decoding`.
      flops: of the matrix products of one update or one decoded token of every row, all devices.
      memory: bytes of a device, at the most: arguments, results, what lies between, and `beside`;
        None where the compiler refused the program without saying how much it wanted.
      arguments: bytes of a device that the program is given: parameters and all that it keeps.
      accessed: bytes of a device that are read and written, as XLA counts them. It counts a loop's
        body once: that over microbatches is multiplied, those over chunks of the loss are not.
      transfers: what a device sends in one run of the program; None where it was not compiled.
      beside: bytes of a device that lie there while the program runs and are not given to it: of
        decoding, the float32 parameters, and the smaller cache while it grows.
      widths: of decoding, the cached positions and the encoder's.
      seconds: what tracing and compiling took.
      refused: what the compiler says where the program does not fit.
    """

    name: str
    flops: float
    memory: float | None
    arguments: float
    accessed: float
    transfers: counting.Transfers | None
    widths: tuple[int, int]
    seconds: float
    beside: float = 0.0
    refused: str = ""


def training(
    config: T5Config, settings: Settings, mesh: Mesh, batch: int, lengths: Lengths
) -> Program:
    """Compile the update of training, with packed rows.

    Args:
      config: the network.
      settings: optimizer, loss and microbatches.
      mesh: what to compile for.
      batch: rows of all devices and microbatches.
      lengths: of a row.
    """
    shapes = update.abstract_state(config, settings, mesh)
    place = sharding.batch_sharding(mesh)

    def row(length: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((batch, length), jnp.int32, sharding=place)

    wide = {
        name: row(lengths.inputs if name.startswith("encoder") else lengths.targets)
        for name in update.FEATURES
        # Of few styles: weights as large as the targets, soft labels that are k times as large.
        if name not in ("decoder_loss_weights", *losses.SOFT_FEATURES)
    }
    run = update.compile_update(config, settings, mesh, shapes)
    made = _compiled("training", run, (shapes, wide), {}, mesh)
    # Outside the loop the optimizer reads parameters, state and gradients, and writes two of them.
    inside = max(0.0, made.accessed - 3 * made.arguments)
    return made._replace(accessed=made.accessed + (settings.microbatches - 1) * inside)


def decoding(config: T5Config, mesh: Mesh, rows: int, lengths: Lengths) -> Program:
    """Compile the loop of decoding: as many greedy tokens as lie between two visits of the host.

    Args:
      config: the network.
      mesh: what to compile for.
      rows: decoded together, on all devices.
      lengths: of the inputs, and the most tokens of an output.
    """
    params = jax.eval_shape(lambda: network.init_parameters(config, 0))
    shardings = sharding.parameter_shardings(mesh, params)
    copy = jax.eval_shape(lambda p: slots.compute_copy(p, config=config), params)
    ring = FIRST_RING
    while ring < lengths.targets:
        ring *= 2
    width = width_bucket(lengths.inputs, fine=False)
    empty = jax.eval_shape(
        lambda: slots.empty(config=config, mesh=None, rows=rows, width=width, ring=ring)
    )
    whole = sharding.replicated(mesh)
    count = jax.ShapeDtypeStruct((), np.int32, sharding=whole)
    busy = slots.pinned(empty, mesh)
    busy = busy._replace(clock=jax.ShapeDtypeStruct((), np.int32, sharding=whole))
    options = {"config": config, "mesh": mesh, "sampling": Sampling(), "max_steps": STEPS}
    arguments = (sharding.placed(copy, shardings), busy, count, count)
    made = _compiled("decoding", loop.run, arguments, options, mesh, (ring, width))
    beside = sum(map(_local_bytes, jax.tree.leaves(sharding.placed(params, shardings))))
    if ring > FIRST_RING:
        beside += sum(map(_local_bytes, jax.tree.leaves(busy.cache))) / 2
    whole_memory = None if made.memory is None else made.memory + beside
    return made._replace(beside=beside, memory=whole_memory)


def _compiled(
    name: str,
    run: Any,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    mesh: Mesh,
    widths: tuple[int, int] = (0, 0),
) -> Program:
    """Trace, lower and compile; where the compiler finds no room, say how much it wanted."""
    began = time.perf_counter()
    traced = run.trace(*arguments, **options)
    flops = counting.matmul_flops(traced.jaxpr.jaxpr)
    given = sum(_local_bytes(x) for x in jax.tree.leaves(arguments))
    lowered = traced.lower()
    # What is so where the compiler finds no room.
    made = Program(
        name=name,
        flops=flops,
        memory=None,
        arguments=given,
        accessed=0.0,
        transfers=None,
        widths=widths,
        seconds=0.0,
    )
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as e:
        if "RESOURCE_EXHAUSTED" not in str(e):
            raise
        return made._replace(
            memory=counting.memory_wanted(str(e), given),
            seconds=time.perf_counter() - began,
            refused=str(e).splitlines()[0][:300],
        )
    memory = compiled.memory_analysis()
    used = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes
    )
    cost = compiled.cost_analysis() or {}
    return made._replace(
        memory=used,
        accessed=float(cost.get("bytes accessed", 0.0)),
        transfers=counting.transfers(compiled.as_text(), mesh.size),
        seconds=time.perf_counter() - began,
    )


def _local_bytes(x: jax.ShapeDtypeStruct) -> int:
    shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
    return int(np.prod(shape)) * x.dtype.itemsize
