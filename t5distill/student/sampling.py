"""The choice of the next token from logits: greedy, or drawn at a temperature from top-k and top-p.

A draw costs one random number for each row and not one for each token of the vocabulary: the
distribution function is inverted in two steps, first over blocks of tokens and then inside a block.
The thresholds of top-k and top-p come from a bisection over the bits of a float, which is exact,
takes 32 passes whatever the vocabulary, and needs no sort.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from t5distill.errors import UserError

_BLOCK = 128


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to choose a token.

    Attributes:
      temperature: 0 takes the most probable token; otherwise logits are divided by it.
      top_k: draw from the k most probable tokens only (tokens that tie with the k-th included); 0
        for all.
      top_p: draw from the smallest set of most probable tokens whose probabilities, after
        temperature and top-k, sum to at least this (Holtzman et al. 2020); 1 for all.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self):
        if not 0.0 <= self.temperature < float("inf"):
            raise UserError(f"TEMPERATURE is {self.temperature}, wanted 0 (greedy) or more")
        if self.top_k < 0:
            raise UserError(f"top_k is {self.top_k}, wanted 0 (all tokens) or more")
        if not 0.0 < self.top_p <= 1.0:
            raise UserError(f"top_p is {self.top_p}, wanted a number in (0, 1]")


def row_keys(seed: jax.Array, examples: jax.Array, samples: jax.Array) -> jax.Array:
    """Return the raw keys `[rows, 2]` of rows by seed, example and sample: never by slot or order.

    Args:
      seed: uint32 scalar.
      examples: int32 `[rows]`.
      samples: int32 `[rows]`.
    """

    def one(example: jax.Array, sample: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(seed), example)
        return jax.random.key_data(jax.random.fold_in(key, sample))

    return jax.vmap(one)(examples, samples)


def choose(
    logits: jax.Array, sampling: Sampling, keys: jax.Array, positions: jax.Array
) -> jax.Array:
    """Return each row's next token, int32 `[rows]`.

    Args:
      logits: float32 `[rows, vocab]`.
      sampling: how to choose.
      keys: uint32 `[rows, 2]`, from `row_keys`.
      positions: int32 `[rows]`, how many tokens the row has; the draw depends on nothing else.
    """
    if sampling.temperature == 0.0:
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)
    logits = truncated(logits / sampling.temperature, sampling)

    def uniform(key: jax.Array, position: jax.Array) -> jax.Array:
        return jax.random.uniform(jax.random.fold_in(jax.random.wrap_key_data(key), position))

    return _invert(jax.nn.softmax(logits), jax.vmap(uniform)(keys, positions))


def truncated(logits: jax.Array, sampling: Sampling) -> jax.Array:
    """Return `logits` `[rows, vocab]`, -inf for tokens outside top-k and top-p."""
    if 0 < sampling.top_k < logits.shape[-1]:

        def enough_tokens(kept: jax.Array) -> jax.Array:
            return jnp.sum(kept, axis=-1) >= sampling.top_k

        logits = _keep_largest(logits, enough_tokens)
    if sampling.top_p < 1.0:
        probabilities = jax.nn.softmax(logits)

        def enough_mass(kept: jax.Array) -> jax.Array:
            return jnp.sum(jnp.where(kept, probabilities, 0.0), axis=-1) >= sampling.top_p

        logits = _keep_largest(logits, enough_mass)
    return logits


def _keep_largest(values: jax.Array, enough: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """Put -inf below each row's largest threshold at which `enough(values >= threshold)` holds."""
    bits = jax.lax.bitcast_convert_type(values, jnp.int32)
    # Two's complement order of these integers is the order of the floats.
    ordered = jnp.where(bits < 0, bits ^ jnp.int32(0x7FFFFFFF), bits)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        # The mean rounded up, without overflow: `low` keeps enough, `high + 1` does not.
        middle = (low | high) - ((low ^ high) >> 1)
        holds = enough(ordered >= middle[:, None])
        return jnp.where(holds, middle, low), jnp.where(holds, high, middle - 1)

    low = jnp.min(ordered, axis=-1)
    low, _ = jax.lax.fori_loop(0, 32, halve, (low, jnp.max(ordered, axis=-1)))
    return jnp.where(ordered >= low[:, None], values, -jnp.inf)


def _invert(probabilities: jax.Array, uniform: jax.Array) -> jax.Array:
    """Return where each row's cumulative distribution passes `uniform` `[rows]` in [0, 1).

    A token of probability zero is never returned: the cumulative sum has to rise at the token.
    """
    rows, vocab = probabilities.shape
    blocks = jnp.pad(probabilities, ((0, 0), (0, -vocab % _BLOCK))).reshape(rows, -1, _BLOCK)
    masses = jnp.sum(blocks, axis=-1)
    block, rest = _first_above(masses, uniform * jnp.sum(masses, axis=-1))
    inside = jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]
    token, _ = _first_above(inside, rest)
    return block * _BLOCK + token


def _first_above(masses: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the first index where the cumulative sum exceeds `target`, and what is left there."""
    cumulative = jnp.cumsum(masses, axis=-1)
    # Rounding may put the target at or above the sum of what it was cut from.
    target = jnp.clip(target, 0.0, jnp.nextafter(cumulative[:, -1], jnp.float32(0.0)))
    index = jnp.argmax(cumulative > target[:, None], axis=-1).astype(jnp.int32)
    before = jnp.take_along_axis(cumulative - masses, index[:, None], axis=-1)[:, 0]
    return index, target - before
