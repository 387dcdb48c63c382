"""Matrix products that multiply in the dtype of their operands and add up in float32.

Written as `einsum(..., preferred_element_type=float32)`, a bfloat16 product would have its gradient
multiplied in float32, since the gradient of a float32 result is float32. Here the gradient is first
rounded to the dtype of the operands, as it is where the result has that dtype. On a CPU a bfloat16
product with float32 sums takes half the time of one with bfloat16 sums.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp


def product(spec: str, x: jax.Array, y: jax.Array, dtype: Any) -> jax.Array:
    """Return `einsum(spec, x, y)` with float32 sums, as `dtype`.

    Args:
      spec: two operands of one dtype and a result, e.g. `ble,ef->blf`; every index of an operand
        stands in the other operand or in the result.
      x: the first operand.
      y: the second operand.
      dtype: of the result.
    """
    result: Any = _product(spec, x, y, dtype)
    return result


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 3))
def _product(spec: str, x: jax.Array, y: jax.Array, dtype: Any) -> jax.Array:
    return jnp.einsum(spec, x, y, preferred_element_type=jnp.float32).astype(dtype)


def _forward(spec: str, x: jax.Array, y: jax.Array, dtype: Any):
    return _product(spec, x, y, dtype), (x, y)


def _backward(spec: str, dtype: Any, operands: tuple[jax.Array, jax.Array], gradient: jax.Array):
    x, y = operands
    left, _, result = spec.partition("->")
    first, _, second = left.partition(",")
    gradient = gradient.astype(x.dtype)
    return (
        _product(f"{result},{second}->{first}", gradient, y, x.dtype),
        _product(f"{first},{result}->{second}", x, gradient, y.dtype),
    )


_product.defvjp(_forward, _backward)


def dense(x: jax.Array, kernel: jax.Array, dimensions: Any, **_: Any) -> jax.Array:
    """Apply a kernel `[in, out]` to `[batch, length, in]`; a `dot_general` for `nnx.Linear`.

    Raises:
      ValueError: `dimensions` contract anything but the last axis with the first.
    """
    if dimensions != (((x.ndim - 1,), (0,)), ((), ())) or x.ndim != 3:
        raise ValueError(f"dimensions {dimensions} of {x.shape} and {kernel.shape} are not a layer")
    return product("ble,ef->blf", x, kernel, x.dtype)
