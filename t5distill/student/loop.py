"""The loop on the device that writes tokens, and what of it the calculator decides.

Without a calculator a row's token is its own choice. With one, the host says before each visit
which tokens come next in which rows; those that went on before it had seen their equation go back
a few steps first (`rewind`, a program of its own, since few visits need it).

Shapes: S rows, as in `slots`.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from t5distill.student.config import T5Config
from t5distill.student.layers import KeyValue
from t5distill.student.network import bind
from t5distill.student.sampling import Sampling, choose
from t5distill.student.slots import EOS, Slots, next_logits, pin, pin_heads, pinned


class Forced(NamedTuple):
    """What the calculator has decided before a visit of the device (see `student.calculator`).

    Attributes:
      plan: int32 `[S, steps + 2]`. Of each row: whether its own choice may stand before the first
        forced token (0 or 1), the mask of its first choice (0 for none), and the tokens that
        replace its choices, -1 for none.
      opens: bool `[vocab]`, the tokens that may stand before a forced one.
      masks: bool `[masks, vocab]`, the tokens that each mask forbids; the first is empty.
    """

    plan: jax.Array | np.ndarray
    opens: jax.Array
    masks: jax.Array


# Added to the position in the sampling key where a token is drawn again.
_AGAIN = 1 << 30


class _Carry(NamedTuple):
    """What `run` carries from step to step; the last field is the calculator's."""

    slots: Slots
    emitted: jax.Array
    step: jax.Array
    open: jax.Array | None = None


@functools.partial(jax.jit, static_argnames="mesh", donate_argnames="slots")
def rewind(
    slots: Slots, back: jax.Array | np.ndarray, token: jax.Array | np.ndarray, *, mesh: Mesh | None
) -> Slots:
    """Take some rows back to where they were a few steps ago.

    A row's keys move along the ring, so that the last one it keeps is again one step old; what it
    wrote since is then older than its position.

    Args:
      slots: the rows; donated.
      back: int32 `[S]`, how many steps each row goes back; 0 leaves it as it is.
      token: int32 `[S]`, the last token that a row keeps which goes back.
      mesh: the devices.

    Returns:
      The rows.
    """
    back, token = jnp.asarray(back), jnp.asarray(token)
    rolls = back > 0

    def one_by_one(caches: list[KeyValue]) -> list[KeyValue]:
        # Only these rows are copied, each in its place.
        rows = jnp.argsort(~rolls, stable=True)

        def roll(i: jax.Array, x: jax.Array) -> jax.Array:
            row = jax.lax.dynamic_slice_in_dim(x, rows[i], 1)
            twice = jnp.concatenate([row, row], axis=2)
            ring = x.shape[2]
            row = jax.lax.dynamic_slice_in_dim(twice, ring - back[rows[i]], ring, axis=2)
            return jax.lax.dynamic_update_slice_in_dim(x, row, rows[i], axis=0)

        def roll_all(i: jax.Array, caches: list[KeyValue]) -> list[KeyValue]:
            return jax.tree.map(functools.partial(roll, i), caches)

        return jax.lax.fori_loop(0, jnp.sum(rolls), roll_all, caches)

    def together(caches: list[KeyValue]) -> list[KeyValue]:
        # Rows lie on several devices: each rolls its own.
        roll = jax.vmap(lambda x, n: jnp.roll(x, n, axis=1))
        return jax.tree.map(lambda x: roll(x, back), caches)

    cache = one_by_one(slots.cache) if mesh is None else together(slots.cache)
    rewound = slots._replace(
        cache=pin_heads(cache, mesh),
        token=jnp.where(rolls, token, slots.token),
        position=slots.position - back,
        active=slots.active | rolls,
    )
    return pinned(rewound, mesh)


def _decided(
    forced: Forced,
    own: jax.Array,
    logits: jax.Array,
    slots: Slots,
    step: jax.Array,
    open_: jax.Array,
    sampling: Sampling,
    redraws: bool,
) -> tuple[jax.Array, jax.Array]:
    """Return each row's token in place of its own choice, int32 `[S]`, and the new `open_`.

    `open_` is bool `[S]`, the rows that chose to put something before the forced tokens, which are
    then not written.
    """
    plan = jnp.asarray(forced.plan)
    first, mask = plan[:, 0] == 1, plan[:, 1]

    def again(own: jax.Array) -> jax.Array:
        allowed = jnp.where(forced.masks[mask], -jnp.inf, logits)
        drawn = choose(allowed, sampling, slots.keys, slots.position + _AGAIN)
        return jnp.where(mask > 0, drawn, own)

    token = jax.lax.cond(step == 0, again, lambda own: own, own) if redraws else own
    wanted = jax.lax.dynamic_index_in_dim(plan, step + 2, axis=1, keepdims=False)
    open_ |= (step == 0) & first & forced.opens[own] & (own != wanted)
    return jnp.where((wanted >= 0) & ~open_, wanted, token), open_


def _placed(logits: jax.Array, mesh: Mesh | None, *, whole: bool) -> jax.Array:
    """Lay logits `[S, vocab]` over the mesh: the vocabulary too, and then in each row's device.

    The greatest is found where its part of the vocabulary lies; a draw needs the row as a whole.
    Were a row asked for at once, the kernel `[emb, vocab]` would be sent and not the logits.
    """
    if mesh is not None and logits.shape[1] % mesh.shape["model"] == 0:
        logits = pin(logits, mesh, "data", "model")
        if not whole:
            return logits
    return pin(logits, mesh, "data")


@functools.partial(
    jax.jit,
    static_argnames=("config", "mesh", "sampling", "max_steps", "redraws"),
    donate_argnames="slots",
)
def run(
    params: Any,
    slots: Slots,
    max_tokens: jax.Array,
    floor: jax.Array,
    forced: Forced | None = None,
    *,
    config: T5Config,
    mesh: Mesh | None,
    sampling: Sampling,
    max_steps: int,
    redraws: bool = False,
) -> tuple[Slots, jax.Array, jax.Array]:
    """Decode until `max_steps` steps are done or no more than `floor` rows are active.

    Args:
      params: of `compute_copy`.
      slots: the rows; donated.
      max_tokens: int32 scalar, where a row ends without EOS. No active row may outgrow the ring.
      floor: int32 scalar; with 0 the loop ends when every row has.
      forced: what the calculator has decided; without one, nothing of it is compiled.
      config: the network.
      mesh: the devices.
      sampling: how to choose tokens.
      max_steps: the most steps.
      redraws: whether any first choice has a mask. Few visits have one, and to look for it in each
        step would cost a tiny network a tenth of its time: those visits are a program of their own.

    Returns:
      The rows, int32 `[S, max_steps]` tokens (meaningless after a row's end; the complement `~t` of
      a token that the row did not choose itself), and the number of steps.
    """
    model = bind(config, params)
    cross = slots.cross  # stays outside the loop's carry: the loop does not change it

    def more(carry: _Carry) -> jax.Array:
        return (carry.step < max_steps) & (jnp.sum(carry.slots.active) > floor)

    def advance(carry: _Carry) -> _Carry:
        slots, step = carry.slots, carry.step
        logits, cache = next_logits(model, slots._replace(cross=cross))
        logits = _placed(logits, mesh, whole=sampling.temperature > 0.0 or redraws)
        token = choose(logits, sampling, slots.keys, slots.position)
        noted = token
        if forced is not None and carry.open is not None:
            own = token
            token, open_ = _decided(forced, own, logits, slots, step, carry.open, sampling, redraws)
            noted = jnp.where(own == token, token, ~token)
            carry = carry._replace(open=open_)
        position = slots.position + 1
        emitted = jax.lax.dynamic_update_slice_in_dim(carry.emitted, noted[:, None], step, axis=1)
        slots = slots._replace(
            cache=cache,
            token=token,
            position=position,
            active=slots.active & (token != EOS) & (position < max_tokens),
            clock=slots.clock + 1,
        )
        return carry._replace(slots=pinned(slots, mesh), emitted=emitted, step=step + 1)

    rows = slots.token.shape[0]
    emitted = jnp.zeros((rows, max_steps), jnp.int32)
    carry = _Carry(slots._replace(cross=[]), emitted, jnp.int32(0))
    if forced is not None:
        carry = carry._replace(open=jnp.zeros(rows, jnp.bool_))
    end = jax.lax.while_loop(more, advance, carry)
    after = end.slots._replace(cross=cross)
    return after, pin(end.emitted, mesh), pin(end.step, mesh)
