"""The norm, and the gradient that it brings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.norm import EPSILON, RMSNorm


def drawn(*shape: int, seed: int = 0) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def plainly(x, scale):
    return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * scale


def norm(x, scale, dtype=jnp.float32):
    module = RMSNorm(x.shape[-1], dtype)
    module.scale[...] = scale
    return module(x)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 4, 6)])
def test_values_and_gradients_are_the_derived_ones(shape):
    x, scale, weights = drawn(*shape), drawn(shape[-1], seed=1), drawn(*shape, seed=2)
    np.testing.assert_allclose(norm(x, scale), plainly(x, scale), atol=1e-6)
    own, derived = (
        jax.grad(lambda x, s, f=f: (f(x, s) * weights).sum(), argnums=(0, 1))(x, scale)
        for f in (norm, plainly)
    )
    for found, expected in zip(own, derived):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_length_of_a_row_does_not_matter():
    x, scale = drawn(4, 8), drawn(8, seed=1)
    np.testing.assert_allclose(norm(x, scale), norm(1000 * x, scale), atol=1e-4)
    assert np.isfinite(jax.grad(lambda x: norm(x, scale).sum())(jnp.zeros((2, 8)))).all()


def test_half_precision_takes_its_mean_in_full():
    x = jnp.full((1, 1024), 3.0, jnp.bfloat16)
    found = norm(x, jnp.ones(1024), jnp.bfloat16)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(jnp.float32), 1.0)


def test_the_gain_is_what_was_asked_for():
    np.testing.assert_array_equal(RMSNorm(4, jnp.float32, gain=2.5).scale[...], 2.5)
