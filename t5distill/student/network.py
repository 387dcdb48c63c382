"""The T5 network (Raffel et al. 2020; Shazeer 2020 for the gated 1.1 variant) as `nnx` modules.

Attribute names follow T5X, so that `parameters(model)` is the tree found in T5X checkpoints. Masks
and relative positions are one additive float32 bias. Training and cached decoding run the same
layers: the only difference is where a decoder layer's keys and values come from.
"""

from __future__ import annotations

import math
from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp

from t5distill.student.config import T5Config

# Added to the attention logits of masked positions: large, but finite, so that a row of padding
# gives a uniform distribution and not NaN.
MASKED = -1e10

_fan_in = nnx.initializers.variance_scaling(1.0, "fan_in", "normal")
_fan_in_truncated = nnx.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
_ACTIVATIONS = {"relu": jax.nn.relu, "gelu": jax.nn.gelu, "linear": lambda x: x}

KeyValue = tuple[jax.Array, jax.Array]


def _dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Drop whole columns along axis -2 (length), as T5X does: a small mask is drawn."""
    if key is None or rate == 0.0:
        return x
    shape = (*x.shape[:-2], 1, x.shape[-1])
    keep = jax.random.bernoulli(key, 1.0 - rate, shape)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def _split(key: jax.Array | None, count: int) -> list[jax.Array | None]:
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
                inputs, outputs, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs
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
        weights = _dropout(weights, self.config.dropout_rate, key)
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
                kernel_init=_fan_in_truncated,
                dtype=jnp.dtype(config.dtype),
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
        return self.wo(_dropout(hidden, self.config.dropout_rate, key))


def _norm(config: T5Config, rngs: nnx.Rngs) -> nnx.RMSNorm:
    return nnx.RMSNorm(config.emb_dim, epsilon=1e-6, dtype=jnp.dtype(config.dtype), rngs=rngs)


class EncoderLayer(nnx.Module):
    """Self-attention and feed-forward block, each behind a norm and a residual connection."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.rate = config.dropout_rate
        self.pre_attention_layer_norm = _norm(config, rngs)
        self.attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = _norm(config, rngs)
        self.mlp = Mlp(config, rngs=rngs)

    def __call__(self, x: jax.Array, bias: jax.Array, key: jax.Array | None) -> jax.Array:
        """Map `[batch, length, emb]` to the same shape."""
        keys = _split(key, 4)
        h = self.pre_attention_layer_norm(x)
        h = self.attention(h, self.attention.keys_values(h), bias, keys[0])
        x = x + _dropout(h, self.rate, keys[1])
        h = self.mlp(self.pre_mlp_layer_norm(x), keys[2])
        return x + _dropout(h, self.rate, keys[3])


def _written(cache: jax.Array, new: jax.Array, index: jax.Array) -> jax.Array:
    """Return a cache `[batch, heads, slots, head_dim]` with `new` at slot `index`."""
    return jax.lax.dynamic_update_slice_in_dim(cache, new.astype(cache.dtype), index, axis=2)


class DecoderLayer(nnx.Module):
    """Causal self-attention, attention to the encoder, feed-forward block."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.rate = config.dropout_rate
        self.pre_self_attention_layer_norm = _norm(config, rngs)
        self.self_attention = Attention(config, rngs=rngs)
        self.pre_cross_attention_layer_norm = _norm(config, rngs)
        self.encoder_decoder_attention = Attention(config, rngs=rngs)
        self.pre_mlp_layer_norm = _norm(config, rngs)
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
        keys = _split(key, 6)
        h = self.pre_self_attention_layer_norm(x)
        seen = self.self_attention.keys_values(h)
        if cache is not None:
            assert index is not None
            seen = (_written(cache[0], seen[0], index), _written(cache[1], seen[1], index))
        h = self.self_attention(h, seen, self_bias, keys[0])
        x = x + _dropout(h, self.rate, keys[1])
        h = self.pre_cross_attention_layer_norm(x)
        h = self.encoder_decoder_attention(h, cross, cross_bias, keys[2])
        x = x + _dropout(h, self.rate, keys[3])
        h = self.mlp(self.pre_mlp_layer_norm(x), keys[4])
        return x + _dropout(h, self.rate, keys[5]), seen


class Encoder(nnx.Module):
    """A stack of encoder layers; names as in T5X."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        self.relpos_bias = RelativePositionBias(config, bidirectional=True, rngs=rngs)
        for i in range(config.num_encoder_layers):
            setattr(self, f"layers_{i}", EncoderLayer(config, rngs=rngs))
        self.encoder_norm = _norm(config, rngs)

    def __call__(self, x: jax.Array, bias: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Map embedded inputs `[batch, length, emb]` to encodings of the same shape."""
        rate = self.config.dropout_rate
        keys = _split(key, self.config.num_encoder_layers + 2)
        bias = bias + self.relpos_bias(x.shape[1])
        x = _dropout(x, rate, keys[-1])
        run = EncoderLayer.__call__
        if self.config.remat == "full":
            run = nnx.remat(run)
        for i in range(self.config.num_encoder_layers):
            x = run(getattr(self, f"layers_{i}"), x, bias, keys[i])
        return _dropout(self.encoder_norm(x), rate, keys[-2])


class Decoder(nnx.Module):
    """A stack of decoder layers and the output projection; names as in T5X."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        self.relpos_bias = RelativePositionBias(config, bidirectional=False, rngs=rngs)
        for i in range(config.num_decoder_layers):
            setattr(self, f"layers_{i}", DecoderLayer(config, rngs=rngs))
        self.decoder_norm = _norm(config, rngs)
        if not config.logits_via_embedding:
            self.logits_dense = nnx.Linear(
                config.emb_dim,
                config.vocab_size,
                use_bias=False,
                kernel_init=_fan_in_truncated,
                dtype=jnp.dtype(config.dtype),
                rngs=rngs,
            )

    def layer(self, i: int) -> DecoderLayer:
        """Return layer `i`."""
        return getattr(self, f"layers_{i}")

    def cross_keys_values(self, encoded: jax.Array) -> list[KeyValue]:
        """Project the encoder's output once for each layer's cross-attention."""
        return [
            self.layer(i).encoder_decoder_attention.keys_values(encoded)
            for i in range(self.config.num_decoder_layers)
        ]

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        self_bias: jax.Array,
        cross_bias: jax.Array,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Run the stack over embedded targets `[batch, length, emb]`; return hidden states."""
        rate = self.config.dropout_rate
        keys = _split(key, self.config.num_decoder_layers + 2)
        self_bias = self_bias + self.relpos_bias(x.shape[1])
        x = _dropout(x, rate, keys[-1])

        def run(layer: DecoderLayer, x: jax.Array, encoded: jax.Array, key: jax.Array | None):
            cross = layer.encoder_decoder_attention.keys_values(encoded)
            return layer(x, cross, self_bias, cross_bias, key=key)[0]

        if self.config.remat == "full":
            run = nnx.remat(run)
        for i in range(self.config.num_decoder_layers):
            x = run(self.layer(i), x, encoded, keys[i])
        return _dropout(self.decoder_norm(x), rate, keys[-2])

    def step(
        self,
        x: jax.Array,
        cross: list[KeyValue],
        self_bias: jax.Array,
        cross_bias: jax.Array,
        cache: list[KeyValue],
        index: jax.Array,
    ) -> tuple[jax.Array, list[KeyValue]]:
        """Decode one position, `x` `[batch, 1, emb]`, with cached keys and values.

        Returns:
          Normed hidden states `[batch, 1, emb]` and the cache with slot `index` written.
        """
        updated = []
        for i in range(self.config.num_decoder_layers):
            x, seen = self.layer(i)(x, cross[i], self_bias, cross_bias, cache=cache[i], index=index)
            updated.append(seen)
        return self.decoder_norm(x), updated


class T5(nnx.Module):
    """Encoder, decoder and the token embedding that they share."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        self.token_embedder = nnx.Embed(
            config.vocab_size,
            config.emb_dim,
            embedding_init=nnx.initializers.normal(1.0),
            dtype=jnp.dtype(config.dtype),
            rngs=rngs,
        )
        self.encoder = Encoder(config, rngs=rngs)
        self.decoder = Decoder(config, rngs=rngs)

    def encode(
        self,
        tokens: jax.Array,
        *,
        segment_ids: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Encode int32 tokens `[batch, inputs]` to `[batch, inputs, emb]`; 0 is padding."""
        segments = (tokens > 0).astype(jnp.int32) if segment_ids is None else segment_ids
        bias = attention_bias(segments, segments)
        return self.encoder(self.token_embedder(tokens), bias, key)

    def hidden(
        self,
        encoder_tokens: jax.Array,
        decoder_tokens: jax.Array,
        *,
        encoder_segments: jax.Array | None = None,
        decoder_segments: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Return the decoder's last hidden states `[batch, targets, emb]`, teacher-forced.

        Args:
          encoder_tokens: int32 `[batch, inputs]`, 0 is padding.
          decoder_tokens: int32 `[batch, targets]`: the targets shifted right by one.
          encoder_segments: int32 `[batch, inputs]` of a packed batch, or None.
          decoder_segments: int32 `[batch, targets]` of a packed batch, or None.
          key: PRNG key of dropout; None switches dropout off.
        """
        keys = _split(key, 2)
        encoded = self.encode(encoder_tokens, segment_ids=encoder_segments, key=keys[0])
        if encoder_segments is None:
            encoder_segments = (encoder_tokens > 0).astype(jnp.int32)
        if decoder_segments is None:
            # Shifted targets begin with 0, which is the start token and not padding; the causal
            # mask alone keeps real positions from seeing the padding after them.
            decoder_segments = jnp.ones_like(decoder_tokens)
        self_bias = attention_bias(decoder_segments, decoder_segments, causal=True)
        cross_bias = attention_bias(decoder_segments, encoder_segments)
        x = self.token_embedder(decoder_tokens)
        return self.decoder(x, encoded, self_bias, cross_bias, keys[1])

    def output_kernel(self) -> jax.Array:
        """Return the matrix `[emb, vocab]` from hidden states to logits."""
        if self.config.logits_via_embedding:
            return self.token_embedder.embedding[...].T * self.config.emb_dim**-0.5
        return self.decoder.logits_dense.kernel[...]

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Map hidden states `[..., emb]` to float32 logits `[..., vocab]`."""
        if self.config.logits_via_embedding:
            # Scaled after the product, and untransposed: a decoding step copies no `[vocab, emb]`.
            embedding = self.token_embedder.embedding[...].astype(hidden.dtype)
            logits = jnp.einsum(
                "...e,ve->...v", hidden, embedding, preferred_element_type=jnp.float32
            )
            return logits * self.config.emb_dim**-0.5
        kernel = self.output_kernel().astype(hidden.dtype)
        return jnp.matmul(hidden, kernel, preferred_element_type=jnp.float32)

    def __call__(self, encoder_tokens: jax.Array, decoder_tokens: jax.Array) -> jax.Array:
        """Return teacher-forced logits, float32 `[batch, targets, vocab]`."""
        return self.logits(self.hidden(encoder_tokens, decoder_tokens))


def parameters(model: T5) -> dict[str, Any]:
    """Return the model's parameters as a nested dict of arrays, named as T5X names them."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))


def abstract_model(config: T5Config) -> T5:
    """Return a model of that shape whose parameters are only shapes and dtypes."""
    return nnx.eval_shape(lambda: T5(config, rngs=nnx.Rngs(0)))


def init_parameters(config: T5Config, seed: int) -> dict[str, Any]:
    """Return freshly initialised float32 parameters."""
    return parameters(T5(config, rngs=nnx.Rngs(seed)))


def bind(config: T5Config, params: dict[str, Any]) -> T5:
    """Return a model that computes with `params` (a tree as `parameters` returns)."""
    graphdef, state = nnx.split(abstract_model(config), nnx.Param)
    nnx.replace_by_pure_dict(state, params)
    return nnx.merge(graphdef, state)
