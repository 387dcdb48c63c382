"""Sums of token costs over a batch, without the full matrix of logits.

The projection to the vocabulary and the loss (`objective`) are one function: a chunk of positions
is projected, its loss and the gradients of h and W are formed at once, and its logits are dropped.
Three matrix products in all, as plain differentiation has, and nothing is computed twice. On 2 CPU
cores this is faster than the plain form at every size tried, by 1.5 to 3 times (vocabularies 384,
4,096 and 32,128, float32 and bfloat16), so there is no second path. A white-box teacher is
projected chunk by chunk beside the student: no `[batch, length, vocab]` of either exists.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from t5distill.errors import UserError, suggest
from t5distill.formats import quantised
from t5distill.student.objective import Costs, Objective, Soft, Target
from t5distill.student.products import product

# A chunk has at least this many rows (positions of all examples of a device), so that adding to the
# kernel's gradient costs little beside the products; and more while its logits stay in the cache.
CHUNK_ROWS = 512
CHUNK_LOGITS = 1024 * 1024

# Arrays of a batch, `[batch, length * k]`, where the task has soft labels (`formats.quantised`).
SOFT_IDS, SOFT_VALUES = SOFT_FEATURES = ("decoder_soft_ids", "decoder_soft_values")

NORMALIZING_FACTORS = (
    "NUM_REAL_TARGET_TOKENS",
    "NUM_TOTAL_TARGET_TOKENS",
    "AVERAGE_PER_SEQUENCE",
)


class LossSums(NamedTuple):
    """Sums over the tokens of a batch, float32 scalars; those of several batches add up.

    Attributes:
      loss: weighted loss in nats, z-loss included.
      weight: sum of the weights.
      correct: weight of the tokens whose target has the greatest logit (ties count).
      hard: weighted cross-entropy; this and what follows where a teacher speaks, else None.
      soft: weighted divergence from the teacher.
      softened: weight of the tokens with a soft target.
      entropy: weighted entropy of the teacher.
      agreement: weight of the tokens whose likeliest token is the same for both.
    """

    loss: jax.Array
    weight: jax.Array
    correct: jax.Array
    hard: jax.Array | None = None
    soft: jax.Array | None = None
    softened: jax.Array | None = None
    entropy: jax.Array | None = None
    agreement: jax.Array | None = None

    def of_teacher(self) -> dict[str, tuple[jax.Array, jax.Array]]:
        """Return the metrics that only a teacher gives, each as a sum and what it is divided by."""
        if self.softened is None:
            return {}
        per = {
            "hard_loss": (self.hard, self.weight),
            "soft_loss": (self.soft, self.softened),
            "soft_share": (self.softened, self.weight),
            "teacher_entropy": (self.entropy, self.softened),
            "teacher_agreement": (self.agreement, self.softened),
        }
        return {name: (x, y) for name, (x, y) in per.items() if x is not None}

    def means(self) -> dict[str, jax.Array]:
        """Return the metrics of a batch, each over the tokens that it is about."""
        per = {
            "loss": (self.loss, self.weight),
            "token_accuracy": (self.correct, self.weight),
            **self.of_teacher(),
        }
        return {name: x / jnp.maximum(y, 1e-9) for name, (x, y) in per.items()}


class Rows(NamedTuple):
    """What the loss reads of each position; leading axes `[batch, length]`.

    Attributes:
      tokens: int32 targets.
      weights: float32, 0 for padding.
      soft: the likeliest tokens of a teacher, or None.
      teacher: last states of a white-box teacher, `[batch, length, its emb]`, or None.
    """

    tokens: jax.Array
    weights: jax.Array
    soft: Soft | None = None
    teacher: jax.Array | None = None


def loss_sums(
    objective: Objective,
    hidden: jax.Array,
    kernel: jax.Array,
    rows: Rows,
    *,
    teacher_kernel: jax.Array | None = None,
    data_shards: int = 1,
) -> LossSums:
    """Return the sums of an objective over a batch; differentiable in `hidden` and `kernel`.

    Args:
      objective: what a token costs.
      hidden: `[batch, length, emb]`, the decoder's last states.
      kernel: `[emb, vocab]`, multiplied in the dtype of `hidden` with float32 sums.
      rows: what the states are compared with.
      teacher_kernel: `[its emb, vocab]` of a white-box teacher.
      data_shards: devices that the batch axis is spread over. The kernel's gradient is summed over
        them once, after the last chunk, and not once for each chunk.
    """
    batch, length = rows.tokens.shape
    shards = data_shards if batch % data_shards == 0 else 1
    count = batch // shards
    per_chunk = max(1, max(CHUNK_ROWS, CHUNK_LOGITS // kernel.shape[1]) // count)
    chunks = -(-length // per_chunk)
    per_chunk = -(-length // chunks)
    padding = chunks * per_chunk - length

    def split(x: jax.Array) -> jax.Array:
        """`[batch, length, ...]` to `[chunks, shards, rows * positions, ...]`."""
        x = jnp.pad(x, ((0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 2))
        x = x.reshape(shards, count, chunks, per_chunk, *x.shape[2:])
        x = jnp.moveaxis(x, 2, 0)
        return x.reshape(chunks, shards, count * per_chunk, *x.shape[4:])

    rows = rows._replace(weights=rows.weights.astype(jnp.float32))
    return _sums(objective, split(hidden), kernel, jax.tree.map(split, rows), teacher_kernel)


def total(costs: Costs, weights: jax.Array, axis: int | None = None) -> LossSums:
    """Return the sums of token costs `[...]` under weights `[...]`, along an axis or along all."""
    weighted = {
        name: jnp.sum(cost * weights, axis=axis)
        for name, cost in costs._asdict().items()
        if cost is not None
    }
    return LossSums(weight=jnp.sum(weights, axis=axis), **weighted)


def _add_up(sums: LossSums) -> LossSums:
    """Add up `[shards]` sums: like the kernel's gradient, once and not for each chunk."""
    return jax.tree.map(jnp.sum, sums)


def _scan(body, start, chunks):
    """Run `jax.lax.scan`, or the body alone where there is one chunk."""
    if chunks[0].shape[0] > 1:
        return jax.lax.scan(body, start, chunks)
    carry, out = body(start, jax.tree.map(lambda x: x[0], chunks))
    return carry, None if out is None else out[None]


def _chunk(
    objective: Objective,
    hidden: jax.Array,
    kernel: jax.Array,
    rows: Rows,
    teacher_kernel: jax.Array | None,
) -> tuple[LossSums, jax.Array]:
    """Return one chunk's sums `[shards]` and the gradient `[shards, rows, vocab]` of its logits."""
    teacher = None
    if rows.teacher is not None and teacher_kernel is not None:
        teacher = product("dre,ev->drv", rows.teacher, teacher_kernel, jnp.float32)
    target = Target(rows.tokens, rows.soft, teacher)

    def weighed(logits: jax.Array) -> tuple[jax.Array, LossSums]:
        sums = total(objective.costs(logits, target), rows.weights, axis=1)
        return jnp.sum(sums.loss), sums

    logits = product("dre,ev->drv", hidden, kernel, jnp.float32)
    gradient, sums = jax.grad(weighed, has_aux=True)(logits)
    return sums, gradient.astype(hidden.dtype)


def _zeros(objective: Objective, hidden, kernel, rows, teacher_kernel) -> LossSums:
    """Return the sums of no chunk at all."""
    first = jax.tree.map(lambda x: x[0], (hidden, rows))
    shapes = jax.eval_shape(lambda h, r: _chunk(objective, h, kernel, r, teacher_kernel)[0], *first)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sums(
    objective: Objective,
    hidden: jax.Array,
    kernel: jax.Array,
    rows: Rows,
    teacher_kernel: jax.Array | None,
) -> LossSums:
    """Return the sums over `[chunks, shards, rows, emb]` hidden states, without gradients."""

    def body(so_far: LossSums, chunk):
        h, r = chunk
        sums, _ = _chunk(objective, h, kernel, r, teacher_kernel)
        return jax.tree.map(jnp.add, so_far, sums), None

    kernel = kernel.astype(hidden.dtype)
    start = _zeros(objective, hidden, kernel, rows, teacher_kernel)
    so_far, _ = _scan(body, start, (hidden, rows))
    return _add_up(so_far)


def _sums_forward(objective, hidden, kernel, rows, teacher_kernel):
    """Return the sums, and as residuals the finished gradients of the loss."""
    shards, emb, vocab = hidden.shape[1], *kernel.shape
    dtype = kernel.dtype
    kernel = kernel.astype(hidden.dtype)

    def body(carry, chunk):
        so_far, kernel_gradient = carry
        h, r = chunk
        sums, gradient = _chunk(objective, h, kernel, r, teacher_kernel)
        hidden_gradient = product("drv,ev->dre", gradient, kernel, h.dtype)
        kernel_gradient += product("dre,drv->dev", h, gradient, jnp.float32)
        return (jax.tree.map(jnp.add, so_far, sums), kernel_gradient), hidden_gradient

    zeros = _zeros(objective, hidden, kernel, rows, teacher_kernel)
    start = (zeros, jnp.zeros((shards, emb, vocab), jnp.float32))
    (so_far, kernel_gradient), hidden_gradient = _scan(body, start, (hidden, rows))
    return _add_up(so_far), (hidden_gradient, jnp.sum(kernel_gradient, axis=0).astype(dtype))


def _sums_backward(objective, residuals, cotangents):
    """Scale the gradients found on the way forward; the loss alone has any."""
    hidden_gradient, kernel_gradient = residuals
    scale = cotangents.loss
    return (
        hidden_gradient * scale.astype(hidden_gradient.dtype),
        kernel_gradient * scale.astype(kernel_gradient.dtype),
        None,
        None,
    )


_sums.defvjp(_sums_forward, _sums_backward)


def batch_rows(
    batch: dict[str, jax.Array],
    normalizing: float | str | None,
    *,
    teacher: jax.Array | None = None,
) -> Rows:
    """Return what the loss reads of a batch of model features.

    Args:
      batch: `decoder_target_tokens` `[batch, length]`, and perhaps `SOFT_FEATURES`.
      normalizing: as for `token_weights`.
      teacher: last states of a white-box teacher, which then count and not the soft labels.
    """
    tokens = batch["decoder_target_tokens"]
    soft = None
    if teacher is None and SOFT_IDS in batch:
        shape = (*tokens.shape, -1)
        soft = Soft(
            quantised.ids(batch[SOFT_IDS]).reshape(shape),
            quantised.probabilities(batch[SOFT_VALUES], jnp.exp).reshape(shape),
        )
    return Rows(tokens, token_weights(batch, normalizing), soft, teacher)


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


def check_normalizing(factor: float | str | None) -> None:
    """Raise UserError where LOSS_NORMALIZING_FACTOR is none that this module knows."""
    if isinstance(factor, str) and factor not in NORMALIZING_FACTORS:
        raise UserError(
            f"LOSS_NORMALIZING_FACTOR is {factor!r}; {suggest(factor, NORMALIZING_FACTORS)}"
        )
