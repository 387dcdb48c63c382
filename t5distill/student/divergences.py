"""How far a student's distribution of the next token is from a teacher's, token by token.

P is the teacher's and Q the student's. Every function takes log-probabilities `[..., vocab]` of the
same shape and returns nats `[...]`, float32. An entry that P does not have is `-inf` in `log_p`.

    forward KL       KL(P || Q) = sum_v P_v log(P_v / Q_v)     Hinton et al. 2015
    reverse KL       KL(Q || P) = sum_v Q_v log(Q_v / P_v)     Gu et al. 2023 (MiniLLM)
    Jensen-Shannon   b KL(P || M) + (1 - b) KL(Q || M),        Agarwal et al. 2023 (GKD)
                     M = b P + (1 - b) Q
    total variation  sum_v |P_v - Q_v| / 2                     Wen et al. 2023 (f-distill)

Jensen-Shannon over b tends to the forward KL as b goes to 0, and over 1 - b to the reverse KL as b
goes to 1; at exactly 0 and 1, where the definition gives 0, these limits stand.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from t5distill.errors import UserError, suggest

DIVERGENCES = ("forward_kl", "reverse_kl", "jensen_shannon", "total_variation")


def forward_kl(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Return KL(P || Q); it makes the student cover all that the teacher might write."""
    p = jnp.exp(log_p)
    return jnp.sum(jnp.where(p > 0, p * (log_p - log_q), 0.0), axis=-1)


def reverse_kl(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Return KL(Q || P); infinite where the student writes what the teacher never would."""
    q = jnp.exp(log_q)
    return jnp.sum(jnp.where(q > 0, q * (log_q - log_p), 0.0), axis=-1)


def jensen_shannon(log_p: jax.Array, log_q: jax.Array, beta: float) -> jax.Array:
    """Return the generalised Jensen-Shannon divergence, with its limits at beta 0 and 1."""
    if beta == 0.0:
        return forward_kl(log_p, log_q)
    if beta == 1.0:
        return reverse_kl(log_p, log_q)
    log_m = jnp.logaddexp(log_p + math.log(beta), log_q + math.log1p(-beta))
    return beta * forward_kl(log_p, log_m) + (1.0 - beta) * forward_kl(log_q, log_m)


def total_variation(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """Return half the sum of absolute differences, between 0 and 1."""
    return 0.5 * jnp.sum(jnp.abs(jnp.exp(log_p) - jnp.exp(log_q)), axis=-1)


def divergence(name: str, log_p: jax.Array, log_q: jax.Array, *, beta: float) -> jax.Array:
    """Return the divergence called `name` (one of `DIVERGENCES`); `beta` is of jensen_shannon."""
    if name == "forward_kl":
        return forward_kl(log_p, log_q)
    if name == "reverse_kl":
        return reverse_kl(log_p, log_q)
    if name == "jensen_shannon":
        return jensen_shannon(log_p, log_q, beta)
    if name == "total_variation":
        return total_variation(log_p, log_q)
    raise UserError(f"the divergence is {name!r}; {suggest(name, DIVERGENCES)}")
