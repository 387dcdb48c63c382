"""Products with float32 sums against plain einsum, in both dtypes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from t5distill.student.products import dense, product

SPECS = [
    ("ble,ef->blf", (2, 3, 8), (8, 5)),
    ("drv,ev->dre", (2, 3, 7), (4, 7)),
    ("dre,drv->dev", (2, 3, 4), (2, 3, 7)),
]


def operands(shapes, dtype):
    keys = jax.random.split(jax.random.key(0), 2)
    return [jax.random.normal(k, s).astype(dtype) for k, s in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("spec", "first", "second"), SPECS)
def test_float32_value_and_gradients_are_those_of_einsum(spec, first, second):
    x, y = operands((first, second), jnp.float32)

    def ours(x, y):
        return jnp.sum(jnp.sin(product(spec, x, y, jnp.float32)))

    def plain(x, y):
        return jnp.sum(jnp.sin(jnp.einsum(spec, x, y)))

    found, wanted = (jax.value_and_grad(f, argnums=(0, 1))(x, y) for f in (ours, plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), found, wanted)


@pytest.mark.parametrize(("spec", "first", "second"), SPECS)
@pytest.mark.parametrize("result", [jnp.float32, jnp.bfloat16])
def test_bfloat16_is_rounded_once_and_its_gradients_stay_bfloat16(spec, first, second, result):
    x, y = operands((first, second), jnp.bfloat16)
    exact = jnp.einsum(spec, x.astype(jnp.float32), y.astype(jnp.float32))
    value, backward = jax.vjp(lambda x, y: product(spec, x, y, result), x, y)
    assert value.dtype == result
    np.testing.assert_allclose(value.astype(jnp.float32), exact, rtol=2**-8, atol=1e-5)
    assert [g.dtype for g in backward(jnp.ones_like(value))] == [jnp.bfloat16, jnp.bfloat16]


def test_float32_sums_do_not_lose_small_terms():
    # In bfloat16 256 + 1 is 256: a sum kept in bfloat16 stops growing there.
    x, y = jnp.ones((1, 1, 4096), jnp.bfloat16), jnp.ones((4096, 1), jnp.bfloat16)
    assert product("ble,ef->blf", x, y, jnp.float32).item() == 4096.0


def test_dense_refuses_other_contractions():
    x, kernel = jnp.ones((2, 3, 4)), jnp.ones((4, 5))
    assert dense(x, kernel, (((2,), (0,)), ((), ()))).shape == (2, 3, 5)
    with pytest.raises(ValueError, match="not a layer"):
        dense(x, jnp.ones((5, 4)), (((2,), (1,)), ((), ())))
