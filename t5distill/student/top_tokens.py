"""What a network would have written at each target token: its k likeliest tokens."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from t5distill.student.config import T5Config
from t5distill.student.network import bind


@functools.partial(jax.jit, static_argnames=("config", "k"))
def top_tokens(
    params: Any, inputs: jax.Array, targets: jax.Array, *, config: T5Config, k: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the likeliest tokens at each target, teacher-forced, with their log-probabilities.

    Logits are formed position by position: there is no `[batch, length, vocab]`.

    Args:
      params: parameter tree as `network.parameters` gives it.
      inputs: int32 `[batch, inputs]`, EOS included, 0 for padding.
      targets: int32 `[batch, length]`, EOS included, 0 for padding.
      config: the network's shape.
      k: how many.

    Returns:
      ids int32 `[batch, length, k]`, likeliest first, their log-probabilities float32
      `[batch, length, k]`, and the targets' own, float32 `[batch, length]`.
    """
    model = bind(config, params)
    hidden = model.hidden(inputs, jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1])

    def at(position: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        states, tokens = position
        log_p = jax.nn.log_softmax(model.logits(states))
        values, ids = jax.lax.top_k(log_p, k)
        return ids, values, jnp.take_along_axis(log_p, tokens[:, None], axis=1)[:, 0]

    columns = jnp.moveaxis(hidden, 1, 0), jnp.moveaxis(targets, 1, 0)
    ids, values, own = jax.lax.map(at, columns)
    return jnp.moveaxis(ids, 0, 1), jnp.moveaxis(values, 0, 1), jnp.moveaxis(own, 0, 1)
