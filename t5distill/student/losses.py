"""Token cross-entropy as sums over a batch, without the full matrix of logits.

With hidden states h, kernel W, logits x = h W and log Z = logsumexp(x), a token with target t costs

    log Z - sum_v q_v x_v - entropy(q) + z_loss * (log Z)^2

where q puts 1 - label_smoothing on t and spreads the rest evenly over the other entries. The
constant entropy(q) and the z-loss are those of T5X, so that losses compare. The gradient with
respect to x is weight * ((1 + 2 z_loss log Z) softmax(x) - q).

The projection and the loss are one function: a chunk of positions is projected, its loss and the
gradients of h and W are formed at once, and its logits are dropped. Three matrix products in all,
as plain differentiation has, and nothing is computed twice. On 2 CPU cores this is faster than the
plain form at every size tried, by 1.5 to 3 times (vocabularies 384, 4,096 and 32,128, float32 and
bfloat16), so there is no second path.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5distill.errors import UserError, suggest
from t5distill.student.products import product

# A chunk has at least this many rows (positions of all examples of a device), so that adding to the
# kernel's gradient costs little beside the products; and more while its logits stay in the cache.
CHUNK_ROWS = 512
CHUNK_LOGITS = 1024 * 1024

NORMALIZING_FACTORS = (
    "NUM_REAL_TARGET_TOKENS",
    "NUM_TOTAL_TARGET_TOKENS",
    "AVERAGE_PER_SEQUENCE",
)
LOSSES = ("cross_entropy",)


class LossSums(NamedTuple):
    """Sums over the tokens of a batch, float32 scalars; those of several batches add up.

    Attributes:
      loss: weighted loss in nats, z-loss included.
      weight: sum of the weights.
      correct: weight of the tokens whose target has the greatest logit (ties count).
    """

    loss: jax.Array
    weight: jax.Array
    correct: jax.Array


def cross_entropy_sums(
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    *,
    z_loss: float = 0.0,
    label_smoothing: float = 0.0,
    data_shards: int = 1,
) -> LossSums:
    """Return the sums of the module's loss over a batch; differentiable in `hidden` and `kernel`.

    Args:
      hidden: `[batch, length, emb]`, the decoder's last states.
      kernel: `[emb, vocab]`, multiplied in the dtype of `hidden` with float32 sums.
      targets: int32 `[batch, length]`.
      weights: float32 `[batch, length]`, 0 for padding.
      z_loss: coefficient of (log Z)^2.
      label_smoothing: probability taken from the target.
      data_shards: devices that the batch axis is spread over. The kernel's gradient is summed over
        them once, after the last chunk, and not once for each chunk.
    """
    batch, length = targets.shape
    shards = data_shards if batch % data_shards == 0 else 1
    rows = batch // shards
    per_chunk = max(1, max(CHUNK_ROWS, CHUNK_LOGITS // kernel.shape[1]) // rows)
    chunks = -(-length // per_chunk)
    per_chunk = -(-length // chunks)
    padding = chunks * per_chunk - length

    def split(x: jax.Array) -> jax.Array:
        """`[batch, length, ...]` to `[chunks, shards, rows * positions, ...]`."""
        x = jnp.pad(x, ((0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 2))
        x = x.reshape(shards, rows, chunks, per_chunk, *x.shape[2:])
        x = jnp.moveaxis(x, 2, 0)
        return x.reshape(chunks, shards, rows * per_chunk, *x.shape[4:])

    return _sums(
        float(z_loss),
        float(label_smoothing),
        split(hidden),
        kernel,
        split(targets),
        split(weights.astype(jnp.float32)),
    )


def _zeros(shards: int) -> LossSums:
    return LossSums(*(jnp.zeros(shards, jnp.float32) for _ in LossSums._fields))


def _total(sums: LossSums) -> LossSums:
    """Add up `[shards]` sums: like the kernel's gradient, once and not for each chunk."""
    return LossSums(*(jnp.sum(x) for x in sums))


def _add(a: LossSums, b: LossSums) -> LossSums:
    return LossSums(*(x + y for x, y in zip(a, b, strict=True)))


def _scan(body, start, chunks):
    """Run `jax.lax.scan`, or the body alone where there is one chunk."""
    if chunks[0].shape[0] > 1:
        return jax.lax.scan(body, start, chunks)
    carry, out = body(start, tuple(x[0] for x in chunks))
    return carry, None if out is None else out[None]


def _chunk(
    z_loss: float,
    smoothing: float,
    h: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
) -> tuple[LossSums, jax.Array]:
    """Return one chunk's sums `[shards]` and the gradient `[shards, rows, vocab]` of its logits."""
    vocab = kernel.shape[1]
    on, off = 1.0 - smoothing, smoothing / (vocab - 1)
    entropy = -(on * math.log(on) + (vocab - 1) * off * math.log(off + 1e-20))
    logits = product("dre,ev->drv", h, kernel, jnp.float32)
    greatest = jnp.max(logits, axis=-1)
    exponentials = jnp.exp(logits - greatest[..., None])
    partition = jnp.sum(exponentials, axis=-1)
    log_z = jnp.log(partition) + greatest
    # A comparison and a sum, not a gather: they stay local where devices share the vocabulary.
    hit = jax.lax.broadcasted_iota(jnp.int32, logits.shape, 2) == targets[..., None]
    target_logit = jnp.sum(jnp.where(hit, logits, 0.0), axis=-1)
    token_loss = log_z - target_logit + z_loss * jnp.square(log_z) - entropy
    if smoothing:
        token_loss += off * (vocab * target_logit - jnp.sum(logits, axis=-1))
    sums = LossSums(
        jnp.sum(token_loss * weights, axis=1),
        jnp.sum(weights, axis=1),
        jnp.sum((target_logit >= greatest) * weights, axis=1),
    )
    scale = (1.0 + 2.0 * z_loss * log_z) / partition
    gradient = exponentials * scale[..., None] - jnp.where(hit, on, off)
    return sums, (gradient * weights[..., None]).astype(h.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sums(
    z_loss: float,
    smoothing: float,
    hidden: jax.Array,
    kernel: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
) -> LossSums:
    """Return the sums over `[chunks, shards, rows, emb]` hidden states, without gradients."""

    def body(total: LossSums, chunk):
        h, t, w = chunk
        sums, _ = _chunk(z_loss, smoothing, h, kernel, t, w)
        return _add(total, sums), None

    kernel = kernel.astype(hidden.dtype)
    total, _ = _scan(body, _zeros(hidden.shape[1]), (hidden, targets, weights))
    return _total(total)


def _sums_forward(z_loss, smoothing, hidden, kernel, targets, weights):
    """Return the sums, and as residuals the finished gradients of the loss."""
    shards, emb, vocab = hidden.shape[1], *kernel.shape
    dtype = kernel.dtype
    kernel = kernel.astype(hidden.dtype)

    def body(carry, chunk):
        total, kernel_gradient = carry
        h, t, w = chunk
        sums, gradient = _chunk(z_loss, smoothing, h, kernel, t, w)
        hidden_gradient = product("drv,ev->dre", gradient, kernel, h.dtype)
        kernel_gradient += product("dre,drv->dev", h, gradient, jnp.float32)
        return (_add(total, sums), kernel_gradient), hidden_gradient

    start = (_zeros(shards), jnp.zeros((shards, emb, vocab), jnp.float32))
    (total, kernel_gradient), hidden_gradient = _scan(body, start, (hidden, targets, weights))
    return _total(total), (hidden_gradient, jnp.sum(kernel_gradient, axis=0).astype(dtype))


def _sums_backward(z_loss, smoothing, residuals, cotangents):
    """Scale the gradients found on the way forward; weight and correct have none."""
    hidden_gradient, kernel_gradient = residuals
    scale = cotangents.loss
    return (
        hidden_gradient * scale.astype(hidden_gradient.dtype),
        kernel_gradient * scale.astype(kernel_gradient.dtype),
        None,
        None,
    )


_sums.defvjp(_sums_forward, _sums_backward)


def token_weights(batch: dict[str, jax.Array], normalizing: float | str | None) -> jax.Array:
    """Return the loss weights float32 `[batch, length]` that a normalising factor asks for.

    They are the batch's `decoder_loss_weights`, or 1 where the target is not padding. With
    `AVERAGE_PER_SEQUENCE` they are divided by their sum over each (packed) example.
    """
    targets = batch["decoder_target_tokens"]
    weights = batch.get("decoder_loss_weights", targets > 0)
    weights = weights.astype(jnp.float32)
    if normalizing != "AVERAGE_PER_SEQUENCE":
        return weights
    segments = batch.get("decoder_segment_ids")
    if segments is None:
        total = jnp.sum(weights, axis=-1, keepdims=True)
    else:
        same = (segments[:, :, None] == segments[:, None, :]).astype(jnp.float32)
        total = jnp.einsum("bqk,bk->bq", same, weights)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1.0), 0.0)


def denominator(
    sums: LossSums, positions: int, normalizing: float | str | None
) -> jax.Array | float:
    """Return what the summed loss is divided by, as T5X's LOSS_NORMALIZING_FACTOR defines it.

    Args:
      sums: sums of the whole batch.
      positions: batch * length, padding included.
      normalizing: a name of `NORMALIZING_FACTORS`, a number, or None for the plain sum.
    """
    if normalizing is None:
        return 1.0
    if normalizing == "NUM_TOTAL_TARGET_TOKENS":
        return float(positions)
    if isinstance(normalizing, str):
        # A batch of padding alone has loss 0, not NaN.
        return jnp.maximum(sums.weight, 1e-9)
    return float(normalizing)


def check_names(loss: str, normalizing: float | str | None) -> None:
    """Raise UserError where LOSS or LOSS_NORMALIZING_FACTOR is none that this module knows."""
    if loss not in LOSSES:
        raise UserError(f"LOSS is {loss!r}; {suggest(loss, LOSSES)}")
    if isinstance(normalizing, str) and normalizing not in NORMALIZING_FACTORS:
        raise UserError(
            f"LOSS_NORMALIZING_FACTOR is {normalizing!r}; "
            f"{suggest(normalizing, NORMALIZING_FACTORS)}"
        )
