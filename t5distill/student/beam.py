"""Beam search over a fixed batch, with the brevity penalty of Wu et al. 2016 (equation 14).

As in T5X, a sequence's score is its log-probability divided by ((5 + length) / 6) ** alpha, EOS
counted in the length. Live beams compete by log-probability, finished ones by score, and an example
is settled once no live beam could still beat its worst finished one. Finished sequences always come
before sequences that the length limit cut off.

Shapes: B examples, K beams, T max_tokens, V vocabulary.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from t5distill.student.config import T5Config
from t5distill.student.layers import MASKED, KeyValue
from t5distill.student.network import T5, bind
from t5distill.student.slots import EOS, pin, pin_heads

_WORST = -1e9


class _Beams(NamedTuple):
    """The search's state; `done` and `live` are the finished and the growing sequences."""

    step: jax.Array
    live_log_prob: jax.Array  # [B, K], best first
    live_tokens: jax.Array  # [B, K, T]
    done_score: jax.Array  # [B, K], best first, `_WORST` where there is none yet
    done_tokens: jax.Array  # [B, K, T]
    last: jax.Array  # [B, K], the live beams' last tokens
    cache: list[KeyValue]  # [B * K, H, T, D]


def brevity_penalty(length: jax.Array | int, alpha: float) -> jax.Array:
    """Return what divides the log-probability of a sequence of `length` tokens."""
    return jnp.power((5.0 + length) / 6.0, alpha)


def _pick(x: jax.Array, index: jax.Array) -> jax.Array:
    """Gather along axis 1: `[B, K, ...]` and `[B, M]` to `[B, M, ...]`."""
    return jnp.take_along_axis(x, index.reshape(*index.shape, *[1] * (x.ndim - 2)), axis=1)


def _start(batch: int, beam_size: int, max_tokens: int, config: T5Config) -> _Beams:
    shape = (batch, beam_size)
    cache_shape = (batch * beam_size, config.num_heads, max_tokens, config.head_dim)
    # All beams begin alike: only the first may have successors at the first step.
    first = jnp.where(jnp.arange(beam_size) == 0, 0.0, _WORST)
    return _Beams(
        step=jnp.int32(0),
        live_log_prob=jnp.broadcast_to(first, shape),
        live_tokens=jnp.zeros((*shape, max_tokens), jnp.int32),
        done_score=jnp.full(shape, _WORST, jnp.float32),
        done_tokens=jnp.zeros((*shape, max_tokens), jnp.int32),
        last=jnp.zeros(shape, jnp.int32),
        cache=[
            (jnp.zeros(cache_shape, config.dtype), jnp.zeros(cache_shape, config.dtype))
            for _ in range(config.num_decoder_layers)
        ],
    )


def _advance(beams: _Beams, log_probs: jax.Array, alpha: float) -> tuple[_Beams, jax.Array]:
    """Extend every live beam by one token.

    Args:
      beams: the state before.
      log_probs: float32 `[B, K, V]` of the next token.
      alpha: of the brevity penalty.

    Returns:
      The state after, its cache not yet reordered, and int32 `[B, K]`, each live beam's parent.
    """
    _, beam_size, vocab = log_probs.shape
    totals = log_probs + beams.live_log_prob[..., None]
    # Twice as many candidates as beams: even if half of them end now, enough live ones are left.
    total, index = jax.lax.top_k(totals.reshape(totals.shape[0], -1), 2 * beam_size)
    parent, token = index // vocab, index % vocab
    tokens = jax.lax.dynamic_update_slice_in_dim(
        _pick(beams.live_tokens, parent), token[..., None], beams.step, axis=2
    )
    ended = token == EOS
    live_log_prob, live = jax.lax.top_k(jnp.where(ended, _WORST, total), beam_size)
    score = jnp.where(ended, total / brevity_penalty(beams.step + 1, alpha), _WORST)
    done_score, done = jax.lax.top_k(jnp.concatenate([beams.done_score, score], 1), beam_size)
    after = beams._replace(
        step=beams.step + 1,
        live_log_prob=live_log_prob,
        live_tokens=_pick(tokens, live),
        done_score=done_score,
        done_tokens=_pick(jnp.concatenate([beams.done_tokens, tokens], 1), done),
        last=_pick(token, live),
    )
    return after, _pick(parent, live)


def _next_log_probs(
    model: T5, beams: _Beams, cross: list[KeyValue], cross_bias: jax.Array
) -> tuple[jax.Array, list[KeyValue]]:
    """Return log-probabilities `[B, K, V]` and the cache with this step written."""
    max_tokens = beams.live_tokens.shape[-1]
    age = beams.step - jnp.arange(max_tokens, dtype=jnp.int32)
    self_bias = model.decoder.relpos_bias.at(-age[None]) + jnp.where(age >= 0, 0.0, MASKED)
    hidden, cache = model.decoder.step(
        model.token_embedder(beams.last.reshape(-1, 1)),
        cross,
        self_bias,
        cross_bias,
        beams.cache,
        beams.step,
    )
    log_probs = jax.nn.log_softmax(model.logits(hidden[:, 0]))
    return log_probs.reshape(*beams.last.shape, -1), cache


@functools.partial(jax.jit, static_argnames=("config", "mesh", "beam_size", "max_tokens", "alpha"))
def beam_search(
    params: Any,
    tokens: jax.Array,
    *,
    config: T5Config,
    mesh: Mesh | None,
    beam_size: int,
    max_tokens: int,
    alpha: float = 0.6,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the best sequences of each example.

    Args:
      params: of `slots.compute_copy`.
      tokens: int32 `[B, inputs]`, 0 for padding; a row of padding only is not searched.
      config: the network's shape.
      mesh: axes `data` and `model`, or None; B divides evenly over `data`.
      beam_size: K.
      max_tokens: T, EOS included.
      alpha: strength of the brevity penalty; 0 ranks by log-probability.

    Returns:
      int32 `[B, K, T]` sequences, best first (0 after EOS); float32 `[B, K]` scores; bool
      `[B, K]`, whether the sequence ended with EOS. All are replicated over the mesh.
    """
    model = bind(config, params)
    tokens = pin(tokens, mesh, "data")
    cross = model.decoder.cross_keys_values(model.encode(tokens))
    cross = pin_heads(jax.tree.map(lambda x: jnp.repeat(x, beam_size, axis=0), cross), mesh)
    visible = jnp.repeat(tokens > 0, beam_size, axis=0)
    cross_bias = jnp.where(visible, 0.0, MASKED)[:, None, None]
    real = jnp.any(tokens > 0, axis=1)
    final_penalty = brevity_penalty(max_tokens, alpha)
    first_beam = jnp.arange(tokens.shape[0])[:, None] * beam_size

    def more(beams: _Beams) -> jax.Array:
        # Log-probabilities only fall: the longest length gives a live beam's best possible score.
        settled = beams.done_score[:, -1] > beams.live_log_prob[:, 0] / final_penalty
        return (beams.step < max_tokens) & jnp.any(real & ~settled)

    def extend(beams: _Beams) -> _Beams:
        log_probs, cache = _next_log_probs(model, beams, cross, cross_bias)
        beams, parent = _advance(beams, log_probs, alpha)
        rows = (first_beam + parent).reshape(-1)
        cache = pin_heads(jax.tree.map(lambda x: jnp.take(x, rows, axis=0), cache), mesh)
        return beams._replace(cache=cache)

    start = _start(tokens.shape[0], beam_size, max_tokens, config)
    beams = jax.lax.while_loop(more, extend, start._replace(cache=pin_heads(start.cache, mesh)))
    found = jnp.sum(beams.done_score > _WORST / 2, axis=1, keepdims=True)
    place = jnp.arange(beam_size)[None]
    order = jnp.where(place < found, place, beam_size + place - found)
    live_score = beams.live_log_prob / final_penalty
    sequences = _pick(jnp.concatenate([beams.done_tokens, beams.live_tokens], 1), order)
    scores = _pick(jnp.concatenate([beams.done_score, live_score], 1), order)
    return pin(sequences, mesh), pin(scores, mesh), pin(place < found, mesh)
