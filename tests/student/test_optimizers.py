"""Schedules at hand-worked points, and which matrices Adafactor factors."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from t5distill.errors import UserError
from t5distill.student import optimizers
from t5distill.student.settings import Settings


@pytest.mark.parametrize(
    "name, values",
    [
        # Finished updates 0, 1, 3, 4, 7 and 11 of 12, warm-up 4, peak 8.
        ("constant", [2, 4, 8, 8, 8, 8]),
        ("rsqrt", [2, 4, 8, 8 * (4 / 5) ** 0.5, 8 * (4 / 8) ** 0.5, 8 * (4 / 12) ** 0.5]),
        ("linear", [2, 4, 8, 8, 5, 1]),
        ("cosine", [2, 4, 8, 8, 4 + 4 * np.cos(np.pi * 3 / 8), 4 + 4 * np.cos(np.pi * 7 / 8)]),
    ],
)
def test_schedules(name, values):
    schedule = optimizers.make_schedule(name, learning_rate=8.0, warmup_steps=4, train_steps=12)
    got = [schedule(count) for count in (0, 1, 3, 4, 7, 11)]
    np.testing.assert_allclose(got, values, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(schedule)(jnp.int32(7)), values[4], rtol=1e-6)


def test_adafactor_factors_matrices_with_both_sides_of_128():
    shapes = {"a": (128, 256), "b": (127, 512), "c": (512,), "d": (8, 32)}
    params = {name: jnp.ones(shape) for name, shape in shapes.items()}
    factored = optimizers.make_optimizer("adafactor", lambda _: 1.0).init(params)[0]
    assert factored.v_row["a"].shape == (128,)
    assert factored.v_col["a"].shape == (256,)
    assert factored.v["a"].shape == (1,)
    for name in ("b", "c", "d"):
        assert factored.v[name].shape == shapes[name]


def test_adafactor_s_first_updates_by_hand():
    # One scalar-like vector p = (3, 4), rms sqrt(12.5); gradient g constant, so that the second
    # moment is g^2 at every step whatever the decay, the update g / |g| has rms 1, is not clipped,
    # and is scaled by learning rate and rms of p.
    optimizer = optimizers.make_optimizer("adafactor", lambda _: 0.1)
    params = {"p": jnp.asarray([3.0, 4.0])}
    state = optimizer.init(params)
    for _ in range(2):
        p = np.asarray(params["p"])
        updates, state = optimizer.update({"p": jnp.asarray([2.0, -0.5])}, state, params)
        step = 0.1 * np.sqrt((p**2).mean())
        np.testing.assert_allclose(updates["p"], [-step, step], rtol=1e-5)
        params = optax.apply_updates(params, updates)


def test_adafactor_s_factored_moment_by_hand():
    # At the first update decay is 0, so the moments are those of this gradient: with all entries 1
    # but one row of 2, rows have means 1 and 4, and the outer product of row and column means over
    # the whole mean gives v = 1 and 4 back: the update is 1 everywhere, rms of p is 1.
    gradient = np.ones((128, 128), np.float32)
    gradient[0] = 2.0
    params = {"p": jnp.ones((128, 128))}
    optimizer = optimizers.make_optimizer("adafactor", lambda _: 0.5)
    updates, _ = optimizer.update({"p": jnp.asarray(gradient)}, optimizer.init(params), params)
    np.testing.assert_allclose(updates["p"], -0.5 * np.ones((128, 128)), rtol=1e-5)


@pytest.mark.parametrize(
    "setting, message",
    [
        ({"optimizer": "adafacter"}, "OPTIMIZER is 'adafacter'; did you mean adafactor"),
        ({"schedule": "cosin"}, "SCHEDULE is 'cosin'; did you mean cosine"),
        ({"warmup_steps": 11}, "WARMUP_STEPS is 11"),
        ({"learning_rate": 0.0}, "LEARNING_RATE"),
        ({"microbatches": 0}, "MICROBATCHES is 0"),
        ({"train_steps": 1.5}, "TRAIN_STEPS is 1.5"),
        ({"label_smoothing": 1.0}, "LABEL_SMOOTHING"),
    ],
)
def test_settings_are_checked(setting, message):
    with pytest.raises(UserError, match=message):
        Settings(**{"train_steps": 10, **setting})


def test_muon_makes_a_matrix_s_update_orthogonal():
    # The gradient's singular values differ by orders of magnitude; those of the update do not: the
    # Newton-Schulz iteration of Jordan et al. 2024 takes them to 1 within about 0.3, and optax
    # scales them by the root of the ratio of the sides. What is no matrix goes by Adam.
    left, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))
    right, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(24, 16)))
    gradient = left @ np.diag(np.geomspace(1.0, 0.02, 16)) @ right.T
    params = {"kernel": jnp.zeros((16, 24)), "scale": jnp.zeros(16)}
    optimizer = optimizers.make_optimizer("muon", lambda _: 1.0)
    gradients = {"kernel": jnp.asarray(gradient), "scale": jnp.full(16, 0.5)}
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    values = np.linalg.svd(updates["kernel"], compute_uv=False) / np.sqrt(24 / 16)
    assert values.min() > 0.6 and values.max() < 1.3
    assert (np.asarray(updates["scale"]) < 0).all()
