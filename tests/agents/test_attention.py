"""Attention: in blocks and over a cache, against the one written without thought for speed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import attention
from agents.attention import BLOCK, LANES, attend, attend_cached, weights


def naive(query, key, value, ahead: int = 0) -> np.ndarray:
    """Softmax attention over [B, H, T, D], position by position in NumPy's float64; each position
    sees ``ahead`` too far."""
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    rows = []
    for t in range(query.shape[2]):
        last = t + 1 + ahead
        scores = (query[:, :, t : t + 1] * key[:, :, :last]).sum(-1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights = weights / weights.sum(-1, keepdims=True)
        rows.append((weights[..., None] * value[:, :, :last]).sum(2))
    return np.stack(rows, axis=2)


def triple(length: int, seed: int = 0) -> tuple[jax.Array, ...]:
    drawn = np.random.default_rng(seed).normal(size=(3, 2, 2, length, 4))
    return tuple(jnp.asarray(drawn, jnp.float32))


@pytest.mark.parametrize("length", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 3])
def test_attention_in_blocks_is_attention(length):
    query, key, value = triple(length)
    found = jax.jit(attend)(query, key, value)
    np.testing.assert_allclose(found, naive(query, key, value), atol=1e-5)


def test_attention_that_looks_ahead_is_found():
    query, key, value = triple(BLOCK + 1)
    found = jax.jit(attend)(query, key, value)
    peeking = naive(query, key, value, ahead=1)
    assert (np.abs(found - peeking)[:, :, :-1].max(axis=(0, 1, 3)) > 1e-3).all()


@pytest.mark.parametrize("length", [1, BLOCK + 3])
def test_the_weights_are_those_that_attention_mixes_by(length):
    query, key, value = triple(length)
    found = jax.jit(weights)(query, key)
    assert found.shape == (2, 2, length, length) and found.dtype == jnp.float32
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    assert not np.triu(found, 1).any()
    mixed = np.einsum("bhqk,bhkd->bhqd", found, value)
    np.testing.assert_allclose(mixed, attend(query, key, value), atol=1e-5)


def test_large_scores_stay_finite():
    query, key, value = triple(BLOCK + 1)
    assert np.isfinite(attend(query * 1e4, key, value)).all()


def test_attention_over_a_cache_is_attention_over_what_each_row_sees():
    """2 prefixes; 3 rows that see 0, 3 and all 5 of its positions; 2 of 4 own entries written."""
    rng = np.random.default_rng(1)
    query = rng.normal(size=(2, 3, 2, 4)).astype(np.float32)
    prefix = tuple(rng.normal(size=(2, 2, 2, 5, 4)).astype(np.float32))
    own = tuple(rng.normal(size=(2, 2, 3, 2, 4, 4)).astype(np.float32))
    lengths = np.array([[0, 3, 5], [5, 0, 3]], np.int32)
    found = jax.jit(attend_cached)(query, prefix, lengths, own, jnp.int32(1))
    assert found.shape == (2, 3, 2, 4)
    for context, row in np.ndindex(2, 3):
        seen = int(lengths[context, row])
        pair = [
            np.concatenate([shared[context, :, :seen], mine[context, row, :, :2]], axis=1)[None]
            for shared, mine in zip(prefix, own, strict=True)
        ]
        # The one query stands last: it sees all of them.
        queries = np.broadcast_to(query[context, row][None, :, None], pair[0].shape)
        expected = naive(queries, *pair)[0, :, -1]
        np.testing.assert_allclose(found[context, row], expected, atol=1e-5)


def test_half_precision_is_close_and_stays_half():
    query, key, value = (x.astype(jnp.bfloat16) for x in triple(BLOCK + 1))
    found = attend(query, key, value)
    assert found.dtype == jnp.bfloat16
    whole = attend(*(x.astype(jnp.float32) for x in (query, key, value)))
    np.testing.assert_allclose(found.astype(jnp.float32), whole, atol=0.05)


def plainly(query, key, value):
    """Softmax attention whose gradient JAX derives."""
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key)
    scores = jnp.where(jnp.tril(jnp.ones(scores.shape[-2:], bool)), scores, -jnp.inf)
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), value)


def gradients(attention, length: int) -> list[np.ndarray]:
    """Of a sum with random weights, with respect to query, key and value."""
    weights = triple(length, seed=1)[0]
    derive = jax.grad(lambda *x: (attention(*x) * weights).sum(), argnums=(0, 1, 2))
    return [np.asarray(x) for x in jax.jit(derive)(*triple(length))]


@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK, 2 * BLOCK + 3])
def test_the_gradient_is_the_derived_one(length):
    for own, derived in zip(gradients(attend, length), gradients(plainly, length)):
        np.testing.assert_allclose(own, derived, atol=2e-5)


def test_a_gradient_without_the_inner_product_is_found():
    whole = attention._backward

    def forgets(residual, gradient):
        query, key, value, output, kept = residual
        return whole((query, key, value, 0 * output, kept), gradient)

    twin = jax.custom_vjp(lambda *x: attention._forward(*x)[0])
    twin.defvjp(attention._forward, forgets)
    found, derived = gradients(twin, BLOCK + 1), gradients(plainly, BLOCK + 1)
    assert all(np.abs(a - b).max() > 1e-2 for a, b in zip(found[:2], derived[:2]))


def test_gradients_in_half_precision_are_near():
    half = [x.astype(jnp.bfloat16) for x in triple(BLOCK + 1)]
    derive = jax.grad(lambda *x: attend(*x).astype(jnp.float32).sum(), argnums=(0, 1, 2))
    for found, whole in zip(derive(*half), derive(*(x.astype(jnp.float32) for x in half))):
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(found.astype(jnp.float32), whole, atol=0.3)


def interpreted(query, key, value):
    """The TPU's kernel, computed step by step on CPU."""
    return attention._splash(query, key, value, interpret=True)


def test_the_kernel_of_a_tpu_is_attention():
    length = LANES + 3  # it is padded
    query, key, value = triple(length)
    np.testing.assert_allclose(interpreted(query, key, value), naive(query, key, value), atol=1e-5)
    for own, derived in zip(gradients(interpreted, length), gradients(plainly, length)):
        np.testing.assert_allclose(own, derived, atol=2e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_kernel_of_a_tpu_is_lowered_for_one(dtype):
    """Cross-compilation to a TPU's program, forwards and backwards; no TPU is needed for that."""
    shape = jax.ShapeDtypeStruct((2, 2, 2 * LANES, 64), dtype)
    derive = jax.grad(lambda *x: attention._splash(*x).astype(jnp.float32).sum(), (0, 1, 2))
    lowered = jax.export.export(jax.jit(derive), platforms=["tpu"])(shape, shape, shape)
    assert lowered.mlir_module().count("tpu_custom_call") >= 2


@pytest.mark.parametrize(
    ("backend", "dtype", "depth", "expected"),
    [
        ("cpu", jnp.float32, 64, "blocks"),
        ("cpu", jnp.bfloat16, 64, "blocks"),
        ("gpu", jnp.float32, 64, "blocks"),
        ("gpu", jnp.bfloat16, 64, "cudnn"),
        ("gpu", jnp.float16, 128, "cudnn"),
        ("gpu", jnp.bfloat16, 20, "blocks"),
        ("gpu", jnp.bfloat16, 256, "blocks"),
        ("tpu", jnp.float32, 32, "splash"),
        ("tpu", jnp.bfloat16, 128, "splash"),
    ],
)
def test_what_computes_it_depends_on_the_device(backend, dtype, depth, expected):
    assert attention.kernel(backend, jnp.dtype(dtype), depth) == expected
