"""The device side of slot decoding: a fixed number of rows, each at its own position.

All rows write their new keys and values at one shared place of a ring, `clock % ring`, so a step is
one dynamic slice update and no scatter. A key's age is how many steps ago it was written, and a row
sees the keys whose age is at most its own position: what an earlier occupant of the row left behind
is older than that. T5's bias depends on the distance between key and query only, which is the age;
one vector `[heads, ring]` therefore serves every row of a step. A row can begin at any step.

Measured with a T5 1.1 small-sized network in float32 on 2 CPU cores: a step of 32 rows takes 30 ms,
of which 23 ms are the products with the layers' and the output's matrices, near what the cores can
do, 4 ms the choice of the largest logit, and the rest attention; 32 prompts times 128 tokens decode
at 870 tokens/s. Top-k and top-p together add 15 ms to a step. With bfloat16 a step takes about
twice as long there.

Shapes: S rows, L layers, H heads, D head_dim, W width of the encoder's output, R ring, B examples
encoded together.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from t5distill.student.config import T5Config
from t5distill.student.layers import MASKED, KeyValue
from t5distill.student.network import T5, bind
from t5distill.student.sampling import row_keys

EOS = 1


class Encoded(NamedTuple):
    """Examples that wait for a slot: each layer's keys and values `[B, H, W, D]`, mask `[B, W]`."""

    cross: list[KeyValue]
    visible: jax.Array


class Slots(NamedTuple):
    """The rows that are being decoded.

    Attributes:
      cache: self-attention's keys and values of each layer, `[S, H, R, D]`.
      cross: cross-attention's keys and values of each layer, `[S, H, W, D]`.
      visible: bool `[S, W]`, where the encoder's input is no padding.
      token: int32 `[S]`, the last token, 0 at the start.
      position: int32 `[S]`, how many tokens the row has.
      active: bool `[S]`, False for a slot that is free or has finished.
      keys: uint32 `[S, 2]`, the rows' sampling keys.
      clock: int32 scalar, the number of steps so far.
    """

    cache: list[KeyValue]
    cross: list[KeyValue]
    visible: jax.Array
    token: jax.Array
    position: jax.Array
    active: jax.Array
    keys: jax.Array
    clock: jax.Array


def pin(x: Any, mesh: Mesh | None, *axes: str | None) -> Any:
    """Fix how an array, or a shape of one, lies on the mesh's axes; without a mesh do nothing."""
    if mesh is None:
        return x
    place = NamedSharding(mesh, PartitionSpec(*axes))
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
    return jax.lax.with_sharding_constraint(x, place)


def pin_heads(pairs: list[KeyValue], mesh: Mesh | None) -> list[KeyValue]:
    """Lay keys and values `[rows, heads, ...]` over the mesh, heads where they divide evenly."""
    if mesh is None or not pairs:
        return pairs
    heads = "model" if pairs[0][0].shape[1] % mesh.shape["model"] == 0 else None
    return [(pin(k, mesh, "data", heads), pin(v, mesh, "data", heads)) for k, v in pairs]


def pinned(slots: Slots, mesh: Mesh | None) -> Slots:
    """Fix how the slots lie on the mesh: rows over `data`, heads over `model`."""
    rows = {
        name: pin(getattr(slots, name), mesh, "data")
        for name in ("visible", "token", "position", "active", "keys")
    }
    return slots._replace(
        cache=pin_heads(slots.cache, mesh), cross=pin_heads(slots.cross, mesh), **rows
    )


@functools.partial(jax.jit, static_argnames="config")
def compute_copy(params: Any, *, config: T5Config) -> Any:
    """Return the matrices of `params` in the compute dtype, so that no step casts them again.

    Norm scales and position tables stay float32, as in training: only what a layer would cast
    anyway is cast here.
    """

    def cast(path: Any, x: jax.Array) -> jax.Array:
        matrix = path[-1].key in ("kernel", "embedding")
        return x.astype(config.dtype) if matrix else x

    return jax.tree_util.tree_map_with_path(cast, params)


@functools.partial(jax.jit, static_argnames=("config", "mesh"))
def encode(params: Any, tokens: jax.Array, *, config: T5Config, mesh: Mesh | None) -> Encoded:
    """Encode int32 tokens `[B, W]`, 0 for padding, and project them for every layer."""
    tokens = pin(tokens, mesh, "data")
    model = bind(config, params)
    cross = model.decoder.cross_keys_values(model.encode(tokens))
    return Encoded(pin_heads(cross, mesh), pin(tokens > 0, mesh, "data"))


@functools.partial(jax.jit, static_argnames=("config", "mesh", "rows", "width", "ring"))
def empty(*, config: T5Config, mesh: Mesh | None, rows: int, width: int, ring: int) -> Slots:
    """Return `rows` free slots."""

    def pairs(length: int) -> list[KeyValue]:
        shape = (rows, config.num_heads, length, config.head_dim)
        return [
            (jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))
            for _ in range(config.num_decoder_layers)
        ]

    slots = Slots(
        cache=pairs(ring),
        cross=pairs(width),
        visible=jnp.zeros((rows, width), jnp.bool_),
        token=jnp.zeros(rows, jnp.int32),
        position=jnp.zeros(rows, jnp.int32),
        active=jnp.zeros(rows, jnp.bool_),
        keys=jnp.zeros((rows, 2), jnp.uint32),
        clock=jnp.zeros((), jnp.int32),
    )
    return pinned(slots, mesh)


@functools.partial(jax.jit, static_argnames="mesh", donate_argnames="slots")
def admit(
    slots: Slots,
    encoded: Encoded,
    rows: jax.Array,
    sources: jax.Array,
    names: jax.Array,
    seed: jax.Array,
    *,
    mesh: Mesh | None,
) -> Slots:
    """Start new rows in free slots.

    Args:
      slots: the rows; donated.
      encoded: where the new rows' examples are, no wider than the slots.
      rows: int32 `[B]`, the slot of each new row; an index past the last slot is ignored.
      sources: int32 `[B]`, the example's place in `encoded`.
      names: int32 `[2, B]`, the example's and the sample's number, for the sampling key.
      seed: uint32 scalar.
      mesh: the devices.
    """

    def put(old: jax.Array, new: jax.Array) -> jax.Array:
        # A narrower example is padded; `visible` is False there.
        padding = [(0, o - n) for o, n in zip(old.shape[1:], new.shape[1:], strict=True)]
        new = jnp.pad(new[sources], [(0, 0), *padding])
        return old.at[rows].set(new.astype(old.dtype), mode="drop")

    def fill(old: jax.Array, value: Any) -> jax.Array:
        return old.at[rows].set(value, mode="drop")

    slots = slots._replace(
        cross=jax.tree.map(put, slots.cross, encoded.cross),
        visible=put(slots.visible, encoded.visible),
        token=fill(slots.token, 0),
        position=fill(slots.position, 0),
        active=fill(slots.active, True),
        keys=fill(slots.keys, row_keys(seed, names[0], names[1])),
    )
    return pinned(slots, mesh)


def next_logits(model: T5, slots: Slots) -> tuple[jax.Array, list[KeyValue]]:
    """Return every row's logits for its next token, float32 `[S, vocab]`, and the cache after."""
    places = jnp.arange(slots.cache[0][0].shape[2], dtype=jnp.int32)
    age = (slots.clock - places) % places.size
    unseen = jnp.where(age[None] <= slots.position[:, None], 0.0, MASKED)
    hidden, cache = model.decoder.step(
        model.token_embedder(slots.token[:, None]),
        slots.cross,
        model.decoder.relpos_bias.at(-age[None]) + unseen[:, None, None],
        jnp.where(slots.visible, 0.0, MASKED)[:, None, None],
        slots.cache,
        slots.clock % places.size,
    )
    return model.logits(hidden[:, 0]), cache


@functools.partial(jax.jit, static_argnames=("mesh", "ring"))
def grow(slots: Slots, *, mesh: Mesh | None, ring: int) -> Slots:
    """Return the slots with a longer ring, ages unchanged."""
    old = slots.cache[0][0].shape[2]

    def extend(x: jax.Array) -> jax.Array:
        # The place that would be written next holds the oldest key: bring it to the front, and the
        # ring's new part follows the youngest.
        x = jnp.roll(x, -(slots.clock % old), axis=2)
        return jnp.pad(x, [(0, 0), (0, 0), (0, ring - old), (0, 0)])

    return pinned(
        slots._replace(cache=jax.tree.map(extend, slots.cache), clock=jnp.int32(old)), mesh
    )


@functools.partial(jax.jit, static_argnames=("mesh", "width"))
def narrow(slots: Slots, *, mesh: Mesh | None, width: int) -> Slots:
    """Return the slots with a smaller width; every active row's example has to fit into it."""
    cross = jax.tree.map(lambda x: x[:, :, :width], slots.cross)
    return pinned(slots._replace(cross=cross, visible=slots.visible[:, :width]), mesh)


@functools.partial(jax.jit, static_argnames="mesh")
def select(slots: Slots, rows: jax.Array, *, mesh: Mesh | None) -> Slots:
    """Return the slots `rows` (int32 `[rows]`) only; an index past the last gives a free slot."""
    live = rows < slots.token.shape[0]
    taken = jax.tree.map(
        lambda x: x if x.ndim == 0 else jnp.take(x, rows, axis=0, mode="clip"), slots
    )
    return pinned(taken._replace(active=taken.active & live), mesh)
