"""The layers of T5 (Raffel et al. 2020; Shazeer 2020 for the gated 1.1 variant) as `nnx` modules.

Attribute names follow T5X. Masks and relative positions are one additive float32 bias. Training and
cached decoding run the same layers: the only difference is where a decoder layer's keys and values
come from.
"""

from __future__ import annotations

import math

import flax.nnx as nnx
import jax
import jax.numpy as jnp

from t5distill.student.config import T5Config
from t5distill.student.products import dense

# Added to the attention logits of masked positions: large, but finite, so that a row of padding
# gives a uniform distribution and not NaN.
MASKED = -1e10

_fan_in = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")
fan_in_truncated = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
_ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "linear": lambda x: x}

KeyValue = tuple[jax.Array, jax.Array]


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Drop whole columns along axis -2 (length), as T5X does: a small mask is drawn."""
    if key is None or rate == 0.0:
        return x
    shape = (*x.shape[:-2], 1, x.shape[-1])
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def split_key(key: jax.Array | None, count: int) -> list[jax.Array | None]:
    """Split a dropout key; None, which stands for no dropout, stays None."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def relative_position_bucket(
    relative_position: jax.Array, *, bidirectional: bool, num_buckets: int, max_distance: int
) -> jax.Array:
    """Map key position minus query position to a row of the bias table (Raffel et al. 2020, 2.1).

    Half of the buckets are exact distances, the other half grow logarithmically to `max_distance`.

    Args:
      relative_position: int32 `[...]`, key position minus query position.
      bidirectional: True in the encoder, where keys after the query get buckets of their own.
      num_buckets: rows of the table.
      max_distance: distances from here on share the last bucket.

    Returns:
      int32 `[...]` in `[0, num_buckets)`.
    """
    offset = jnp.zeros_like(relative_position)
    distance = -relative_position
    if bidirectional:
        num_buckets //= 2
        offset = jnp.where(distance < 0, num_buckets, 0)
        distance = jnp.abs(distance)
    else:
        distance = jnp.maximum(distance, 0)
    exact = num_buckets // 2
    ratio = jnp.maximum(distance, 1).astype(jnp.float32) / exact
    scale = (num_buckets - exact) / math.log(max_distance / exact)
    # The epsilon keeps log(1) from landing just below zero in float32.
    log_bucket = exact + (jnp.log(ratio + 1e-7) * scale).astype(jnp.int32)
    log_bucket = jnp.minimum(log_bucket, num_buckets - 1)
    return offset + jnp.where(distance < exact, distance, log_bucket)


def attention_bias(
    query_segments: jax.Array, key_segments: jax.Array, *, causal: bool = False
) -> jax.Array:
    """Return 0 where a query may see a key and `MASKED` elsewhere.

    Args:
      query_segments: int32 `[batch, query]`, 0 for padding; packed examples count from 1.
      key_segments: int32 `[batch, key]`.
      causal: also hide keys after the query.

    Returns:
      float32 `[batch, 1, query, key]`.
    """
    visible = (query_segments[:, :, None] == key_segments[:, None, :]) & (
        key_segments[:, None, :] > 0
    )
    if causal:
        visible &= jnp.tril(jnp.ones(visible.shape[1:], jnp.bool_))
    return jnp.where(visible, 0.0, MASKED)[:, None]


class RelativePositionBias(nnx.Module):
    """The learned bias on attention logits by relative position, shared by a stack's layers."""

    def __init__(self, config: T5Config, *, bidirectional: bool, rngs: nnx.Rngs):
        self.bidirectional = bidirectional
        self.num_buckets = config.relative_attention_num_buckets
        self.max_distance = config.relative_attention_max_distance
        init = nnx.initializers.variance_scaling(1.0, "fan_avg", "uniform")
        self.rel_embedding = nnx.Param(
            init(rngs.params(), (config.num_heads, self.num_buckets), jnp.float32)
        )

    def at(self, relative_position: jax.Array) -> jax.Array:
        """Return the bias `[1, heads, query, key]` for positions `[query, key]` (key - query)."""
        buckets = relative_position_bucket(
            relative_position,
            bidirectional=self.bidirectional,
            num_buckets=self.num_buckets,
            max_distance=self.max_distance,
        )
        return self.rel_embedding[...][:, buckets][None]

    def __call__(self, length: int) -> jax.Array:
        """Return the bias `[1, heads, length, length]` of a whole sequence."""
        position = jnp.arange(length, dtype=jnp.int32)
        return self.at(position[None, :] - position[:, None])


class Attention(nnx.Module):
    """Multi-head attention with unscaled logits: T5 folds 1/sqrt(d) into the query's init."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        joined = config.num_heads * config.head_dim
        dtype = jnp.dtype(config.dtype)

        def linear(inputs: int, outputs: int, init=_fan_in) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=False,
                kernel_init=init,
                dtype=dtype,
                dot_general=dense,
                rngs=rngs,
            )

        scaled = nnx.initializers.variance_scaling(1.0 / config.head_dim, "fan_in", "normal")
        self.query = linear(config.emb_dim, joined, scaled)
        self.key = linear(config.emb_dim, joined)
        self.value = linear(config.emb_dim, joined)
        self.out = linear(joined, config.emb_dim)

    def _heads(self, x: jax.Array) -> jax.Array:
        """`[batch, length, joined]` to `[batch, heads, length, head_dim]`."""
        x = x.reshape(*x.shape[:2], self.config.num_heads, self.config.head_dim)
        return x.transpose(0, 2, 1, 3)

    def keys_values(self, x: jax.Array) -> KeyValue:
        """Project `[batch, length, emb]` to keys and values `[batch, heads, length, head_dim]`."""
        return self._heads(self.key(x)), self._heads(self.value(x))

    def __call__(
        self, x: jax.Array, key_value: KeyValue, bias: jax.Array, key: jax.Array | None = None
    ) -> jax.Array:
        """Attend from `x` `[batch, query, emb]` to `key_value` under `bias`; return like `x`.

        Args:
          x: queries' inputs.
          key_value: keys and values, `[batch, heads, key, head_dim]` each.
          bias: broadcasts to `[batch, heads, query, key]`, float32.
          key: PRNG key of dropout, or None.
        """
        keys, values = key_value
        query = self._heads(self.query(x))
        logits = jnp.einsum("bnqd,bnkd->bnqk", query, keys, preferred_element_type=jnp.float32)
        weights = jax.nn.softmax(logits + bias, axis=-1).astype(values.dtype)
        weights = dropout(weights, self.config.dropout_rate, key)
        attended = jnp.einsum("bnqk,bnkd->bqnd", weights, values)
        return self.out(attended.reshape(*attended.shape[:2], -1))


class Mlp(nnx.Module):
    """Feed-forward block: `wo(act(wi x))`, or gated `wo(act(wi_0 x) * wi_1 x)` (Shazeer 2020)."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config

        def linear(inputs: int, outputs: int) -> nnx.Linear:
            return nnx.Linear(
                inputs,
                outputs,
                use_bias=False,
                kernel_init=fan_in_truncated,
                dtype=jnp.dtype(config.dtype),
                dot_general=dense,
                rngs=rngs,
            )

        if len(config.mlp_activations) == 1:
            self.wi = linear(config.emb_dim, config.mlp_dim)
        else:
            self.wi_0 = linear(config.emb_dim, config.mlp_dim)
            self.wi_1 = linear(config.emb_dim, config.mlp_dim)
        self.wo = linear(config.mlp_dim, config.emb_dim)

    def __call__(self, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Map `[batch, length, emb]` to the same shape."""
        activations = self.config.mlp_activations
        if len(activations) == 1:
            hidden = _ACTIVATIONS[activations[0]](self.wi(x))
        else:
            hidden = _ACTIVATIONS[activations[0]](self.wi_0(x))
            hidden = hidden * _ACTIVATIONS[activations[1]](self.wi_1(x))
        return self.wo(dropout(hidden, self.config.dropout_rate, key))


def layer_norm(config: T5Config, rngs: nnx.Rngs) -> nnx.RMSNorm:
    """Return T5's norm: by the root mean square, without centring and without bias."""
    return nnx.RMSNorm(config.emb_dim, epsilon=1e-6, dtype=jnp.dtype(config.dtype), rngs=rngs)


class EncoderLayer(nnx.Module):
    """Self-attention and feed-forward block, each behind a norm and a residual connection."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.rate = config.dropout_rate
        self.pre_attention_layer_norm = layer_norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = layer_norm(config, rngs)
        self.mlp = Mlp(config, rngs=rngs)

    def __call__(self, x: jax.Array, bias: jax.Array, key: jax.Array | None) -> jax.Array:
        """Map `[batch, length, emb]` to the same shape."""
        keys = split_key(key, 4)
        h = self.pre_attention_layer_norm(x)
        h = self.attention(h, self.attention.keys_values(h), bias, keys[0])
        x = x + dropout(h, self.rate, keys[1])
        h = self.mlp(self.pre_mlp_layer_norm(x), keys[2])
        return x + dropout(h, self.rate, keys[3])


def _written(cache: jax.Array, new: jax.Array, index: jax.Array) -> jax.Array:
    """Return a cache `[batch, heads, slots, head_dim]` with `new` at slot `index`."""
    return jax.lax.dynamic_update_slice_in_dim(cache, new.astype(cache.dtype), index, axis=2)


class DecoderLayer(nnx.Module):
    """Causal self-attention, attention to the encoder, feed-forward block."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.rate = config.dropout_rate
        self.pre_self_attention_layer_norm = layer_norm(config, rngs)
        self.self_attention = Attention(config, rngs=rngs)
        self.pre_cross_attention_layer_norm = layer_norm(config, rngs)
        self.encoder_decoder_attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = layer_norm(config, rngs)
        self.mlp = Mlp(config, rngs=rngs)

    def __call__(
        self,
        x: jax.Array,
        cross: KeyValue,
        self_bias: jax.Array,
        cross_bias: jax.Array,
        *,
        key: jax.Array | None = None,
        cache: KeyValue | None = None,
        index: jax.Array | None = None,
    ) -> tuple[jax.Array, KeyValue]:
        """Run the layer over `x` `[batch, length, emb]`.

        Args:
          x: the residual stream.
          cross: keys and values of the encoder's output, `[batch, heads, inputs, head_dim]`.
          self_bias: broadcasts to `[batch, heads, length, keys]`.
          cross_bias: broadcasts to `[batch, heads, length, inputs]`.
          key: PRNG key of dropout, or None.
          cache: self-attention's keys and values so far, `[batch, heads, slots, head_dim]`; the new
            ones are written at slot `index` and attention runs over the whole cache.
          index: int32 scalar, with `cache`.

        Returns:
          The residual stream, and the keys and values that self-attention saw.
        """
        keys = split_key(key, 6)
        h = self.pre_self_attention_layer_norm(x)
        seen = self.self_attention.keys_values(h)
        if cache is not None:
            assert index is not None
            seen = (_written(cache[0], seen[0], index), _written(cache[1], seen[1], index))
        h = self.self_attention(h, seen, self_bias, keys[0])
        x = x + dropout(h, self.rate, keys[1])
        h = self.pre_cross_attention_layer_norm(x)
        h = self.encoder_decoder_attention(h, cross, cross_bias, keys[2])
        x = x + dropout(h, self.rate, keys[3])
        h = self.mlp(self.pre_mlp_layer_norm(x), keys[4])
        return x + dropout(h, self.rate, keys[5]), seen
