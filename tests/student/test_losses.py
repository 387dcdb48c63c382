"""The fused loss against the dense definition in float64, and its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.errors import UserError
from t5distill.student import losses
from t5distill.student.objective import Objective


def cross_entropy_sums(
    hidden, kernel, targets, weights, *, z_loss=0.0, label_smoothing=0.0, data_shards=1
):
    objective = Objective(z_loss=z_loss, label_smoothing=label_smoothing)
    rows = losses.Rows(jnp.asarray(targets), jnp.asarray(weights))
    return losses.loss_sums(objective, hidden, kernel, rows, data_shards=data_shards)


def dense(hidden, kernel, targets, weights, *, z_loss, smoothing):
    """Return loss, and its gradients, by the definition with every array in full, in float64."""
    vocab = kernel.shape[1]
    rows = hidden.reshape(-1, hidden.shape[-1]).astype(np.float64)
    logits = rows @ kernel.astype(np.float64)
    greatest = logits.max(-1, keepdims=True)
    log_z = np.log(np.exp(logits - greatest).sum(-1, keepdims=True)) + greatest
    on, off = 1.0 - smoothing, smoothing / (vocab - 1)
    wanted = np.full(logits.shape, off)
    wanted[np.arange(len(rows)), targets.reshape(-1)] = on
    entropy = -sum(q * np.log(q) for q in (on, *[off] * (vocab - 1)) if q > 0)
    token = (-(wanted * (logits - log_z)).sum(-1) + z_loss * log_z[:, 0] ** 2) - entropy
    w = weights.reshape(-1).astype(np.float64)
    gradient = ((1 + 2 * z_loss * log_z) * np.exp(logits - log_z) - wanted) * w[:, None]
    by_hidden = (gradient @ kernel.astype(np.float64).T).reshape(hidden.shape)
    correct = (logits.argmax(-1) == targets.reshape(-1)) @ w
    return (token @ w, w.sum(), correct), (by_hidden, rows.T @ gradient)


def example(batch=4, length=13, emb=16, vocab=50, seed=0):
    draw = np.random.default_rng(seed)
    return (
        draw.normal(size=(batch, length, emb)).astype(np.float32),
        draw.normal(size=(emb, vocab)).astype(np.float32),
        draw.integers(0, vocab, (batch, length)).astype(np.int32),
        (draw.random((batch, length)) * (draw.random((batch, length)) < 0.8)).astype(np.float32),
    )


@pytest.mark.parametrize("z_loss, smoothing", [(0.0, 0.0), (1e-2, 0.0), (1e-4, 0.1)])
@pytest.mark.parametrize("chunk_rows, shards", [(10**6, 1), (8, 1), (6, 2), (1, 4)])
def test_sums_and_gradients_equal_the_definition(
    monkeypatch, z_loss, smoothing, chunk_rows, shards
):
    monkeypatch.setattr(losses, "CHUNK_ROWS", chunk_rows)
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 1)
    hidden, kernel, targets, weights = example()

    def fused(hidden, kernel):
        return cross_entropy_sums(
            hidden,
            kernel,
            targets,
            weights,
            z_loss=z_loss,
            label_smoothing=smoothing,
            data_shards=shards,
        )

    wanted, gradients = dense(hidden, kernel, targets, weights, z_loss=z_loss, smoothing=smoothing)
    np.testing.assert_allclose(fused(hidden, kernel)[:3], wanted, rtol=2e-6)
    # A factor behind the loss: the backward pass scales what the forward pass has made.
    got = jax.jit(jax.grad(lambda *a: 3.0 * fused(*a).loss, argnums=(0, 1)))(hidden, kernel)
    for mine, reference in zip(got, gradients, strict=True):
        np.testing.assert_allclose(mine, 3.0 * reference, rtol=1e-4, atol=2e-5)


def test_a_hand_worked_token():
    # Two entries with logits 0 and log 3: probabilities 1/4 and 3/4, log Z = log 4.
    hidden = np.ones((1, 1, 1), np.float32)
    kernel = np.log(np.array([[1.0, 3.0]], np.float32))
    sums = cross_entropy_sums(hidden, kernel, np.array([[1]]), np.array([[2.0]]), z_loss=0.5)
    np.testing.assert_allclose(sums.loss, 2 * (np.log(4 / 3) + 0.5 * np.log(4) ** 2), rtol=1e-6)
    assert (float(sums.weight), float(sums.correct)) == (2.0, 2.0)


def test_extreme_logits_stay_finite():
    hidden, kernel, targets, weights = example()
    value, gradients = jax.value_and_grad(
        lambda h, k: cross_entropy_sums(h, k, targets, weights).loss, argnums=(0, 1)
    )(hidden * 1e4, kernel * 1e4)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)


def test_bfloat16_states_keep_a_float32_kernel_gradient():
    hidden, kernel, targets, weights = example(emb=64)
    half = jnp.asarray(hidden, jnp.bfloat16)

    def loss(hidden, kernel):
        return cross_entropy_sums(hidden, kernel, targets, weights).loss

    value, (by_hidden, by_kernel) = jax.value_and_grad(loss, argnums=(0, 1))(half, kernel)
    assert (by_hidden.dtype, by_kernel.dtype) == (jnp.bfloat16, jnp.float32)
    exact = dense(hidden, kernel, targets, weights, z_loss=0.0, smoothing=0.0)
    np.testing.assert_allclose(value, exact[0][0], rtol=2e-2)
    np.testing.assert_allclose(by_kernel, exact[1][1], atol=0.15)


def test_no_array_of_all_logits_is_made():
    hidden, kernel, targets, weights = example(batch=64, length=64, emb=8, vocab=1024)
    graph = jax.jit(
        jax.grad(lambda h, k: cross_entropy_sums(h, k, targets, weights).loss, (0, 1))
    ).lower(hidden, kernel)
    memory = graph.compile().memory_analysis()
    all_logits = 64 * 64 * 1024 * 4
    assert memory.temp_size_in_bytes < all_logits


def test_average_per_sequence_weighs_packed_examples_alike():
    weights = jnp.asarray([[1, 1, 1, 0, 1, 0]])
    batch = {
        "decoder_target_tokens": jnp.ones((1, 6), jnp.int32),
        "decoder_loss_weights": weights,
        "decoder_segment_ids": jnp.asarray([[1, 1, 1, 2, 2, 0]]),
    }
    got = losses.token_weights(batch, "AVERAGE_PER_SEQUENCE")
    np.testing.assert_allclose(got, [[1 / 3, 1 / 3, 1 / 3, 0, 1, 0]], rtol=1e-6)
    del batch["decoder_segment_ids"]
    got = losses.token_weights(batch, "AVERAGE_PER_SEQUENCE")
    np.testing.assert_allclose(got, weights / 4, rtol=1e-6)


def test_denominators_are_t5x_s():
    sums = losses.LossSums(jnp.float32(6.0), jnp.float32(3.0), jnp.float32(1.0))
    assert losses.denominator(sums, 8, None) == 1.0
    assert losses.denominator(sums, 8, 2.5) == 2.5
    assert losses.denominator(sums, 8, "NUM_TOTAL_TARGET_TOKENS") == 8.0
    assert losses.denominator(sums, 8, "NUM_REAL_TARGET_TOKENS") == 3.0


def test_names_are_checked():
    with pytest.raises(UserError, match="did you mean NUM_REAL_TARGET_TOKENS"):
        losses.check_normalizing("NUM_REAL_TARGET_TOKEN")
    with pytest.raises(UserError, match="did you mean cross_entropy"):
        Objective(loss="crossentropy")
