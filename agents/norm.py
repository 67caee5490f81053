"""Root mean square normalisation (Zhang and Sennrich 2019, arXiv 1910.07467)."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

EPSILON = 1e-6


class RMSNorm(nnx.Module):
    """x / sqrt(mean(x²) + ε), times a learned gain, over the last axis.

    Attributes:
        scale: float32[features], the gain.
        dtype: of what comes out; the mean is taken in float32.
    """

    def __init__(self, features: int, dtype: Any, gain: float = 1.0):
        self.scale = nnx.Param(jnp.full((features,), gain, jnp.float32))
        self.dtype = dtype

    def __call__(self, x: jax.Array) -> jax.Array:
        """dtype[..., features] of x float[..., features]."""
        return _norm(x.astype(jnp.float32), self.scale[...]).astype(self.dtype)


@jax.custom_vjp
def _norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    """With a gradient of its own: the derived one reads the array more often (a tenth of an update
    on CPU)."""
    return _forward(x, scale)[0]


def _forward(x: jax.Array, scale: jax.Array) -> tuple[jax.Array, Any]:
    inverse = jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + EPSILON)
    return x * inverse * scale, (x, inverse, scale)


def _backward(residual: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, inverse, scale = residual
    scaled = gradient * scale
    along = (x * scaled).sum(axis=-1, keepdims=True) * inverse**3 / x.shape[-1]
    gain = gradient * x * inverse
    return inverse * scaled - x * along, gain.sum(axis=tuple(range(x.ndim - 1)))


_norm.defvjp(_forward, _backward)
