"""The T5 network: encoder, decoder and embedding, and the tree of its parameters.

Attribute names follow T5X, so that `parameters(model)` is the tree found in T5X checkpoints.
"""

from __future__ import annotations

from typing import Any

import flax.nnx as nnx
import jax
import jax.numpy as jnp

from t5distill.student.config import T5Config
from t5distill.student.layers import (
    DecoderLayer,
    EncoderLayer,
    KeyValue,
    RelativePositionBias,
    attention_bias,
    dropout,
    fan_in_truncated,
    layer_norm,
    split_key,
)


class Encoder(nnx.Module):
    """A stack of encoder layers; names as in T5X."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        self.relpos_bias = RelativePositionBias(config, bidirectional=True, rngs=rngs)
        for i in range(config.num_encoder_layers):
            setattr(self, f"layers_{i}", EncoderLayer(config, rngs=rngs))
        self.encoder_norm = layer_norm(config, rngs)

    def __call__(self, x: jax.Array, bias: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Map embedded inputs `[batch, length, emb]` to encodings of the same shape."""
        rate = self.config.dropout_rate
        keys = split_key(key, self.config.num_encoder_layers + 2)
        bias = bias + self.relpos_bias(x.shape[1])
        x = dropout(x, rate, keys[-1])
        run = EncoderLayer.__call__
        if self.config.remat == "full":
            run = nnx.remat(run)
        for i in range(self.config.num_encoder_layers):
            x = run(getattr(self, f"layers_{i}"), x, bias, keys[i])
        return dropout(self.encoder_norm(x), rate, keys[-2])


class Decoder(nnx.Module):
    """A stack of decoder layers and the output projection; names as in T5X."""

    def __init__(self, config: T5Config, *, rngs: nnx.Rngs):
        self.config = config
        self.relpos_bias = RelativePositionBias(config, bidirectional=False, rngs=rngs)
        for i in range(config.num_decoder_layers):
            setattr(self, f"layers_{i}", DecoderLayer(config, rngs=rngs))
        self.decoder_norm = layer_norm(config, rngs)
        if not config.logits_via_embedding:
            self.logits_dense = nnx.Linear(
                config.emb_dim,
                config.vocab_size,
                use_bias=False,
                kernel_init=fan_in_truncated,
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
        keys = split_key(key, self.config.num_decoder_layers + 2)
        self_bias = self_bias + self.relpos_bias(x.shape[1])
        x = dropout(x, rate, keys[-1])

        def run(layer: DecoderLayer, x: jax.Array, encoded: jax.Array, key: jax.Array | None):
            cross = layer.encoder_decoder_attention.keys_values(encoded)
            return layer(x, cross, self_bias, cross_bias, key=key)[0]

        if self.config.remat == "full":
            run = nnx.remat(run)
        for i in range(self.config.num_decoder_layers):
            x = run(self.layer(i), x, encoded, keys[i])
        return dropout(self.decoder_norm(x), rate, keys[-2])

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
        keys = split_key(key, 2)
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
