"""Causal attention, whole and cached, behind one file: what runs is chosen here, by device.

Arrays are laid out [batch, head, time, depth].
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from agents import sharding

MASKED = -1e30
BLOCK = 64  # queries taken together in blocks; each reads no key after its last query
LANES = 128  # what a TPU's kernel wants lengths to be a multiple of


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal self-attention.

    Args:
        query: float[B, H, T, D], scaled as the model wants it (no 1/sqrt(D) is applied here).
        key: float[B, H, T, D].
        value: float[B, H, T, D].

    Returns:
        float[B, H, T, D].
    """
    kernels = {"cudnn": _cudnn, "splash": sharding.by_head(_splash), "blocks": _in_blocks}
    return kernels[kernel(jax.default_backend(), query.dtype, query.shape[-1])](query, key, value)


def kernel(backend: str, dtype: Any, depth: int) -> str:
    """What computes ``attend``: ``cudnn``, its fused kernel, on GPU in half precision; ``splash``,
    JAX's Pallas kernel for sparse masks, on TPU; elsewhere ``blocks``, of which the keys that no
    query of a block may see are never multiplied."""
    half = dtype in (jnp.bfloat16, jnp.float16)
    if backend == "gpu" and half and depth % 8 == 0 and depth <= 128:
        return "cudnn"
    return "splash" if backend == "tpu" else "blocks"


def _cudnn(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    swapped = [jnp.swapaxes(x, 1, 2) for x in (query, key, value)]
    fused = jax.nn.dot_product_attention(
        *swapped, scale=1.0, is_causal=True, implementation="cudnn"
    )
    return jnp.swapaxes(fused, 1, 2)


def _splash(
    query: jax.Array, key: jax.Array, value: jax.Array, interpret: bool = False
) -> jax.Array:
    """Padded behind to a multiple of 128: no query before sees that."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash  # heavy, and for TPU

    heads, length = query.shape[1:3]
    rest = ((0, 0), (0, 0), (0, -length % LANES), (0, 0))
    query, key, value = (jnp.pad(x, rest) for x in (query, key, value))
    whole = query.shape[2]
    block = next(size for size in (512, 256, LANES) if whole % size == 0)
    run = splash.make_splash_mha_single_device(
        mask=splash.MultiHeadMask([splash.CausalMask((whole, whole))] * heads),
        block_sizes=splash.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            use_fused_bwd_kernel=True,
        ),
        interpret=interpret,
    )
    output: jax.Array = jax.vmap(run)(query, key, value)  # pyright: ignore[reportAssignmentType]
    return output[:, :, :length]


@jax.custom_vjp
def _in_blocks(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """In blocks of queries, with a backward pass of its own: it keeps the exponentials,
    not the weights, so that neither pass divides an array of the size of the scores, and finds the
    softmax's inner product from the output (Dao et al. 2022, arXiv 2205.14135, appendix B.4)."""
    return _forward(query, key, value)[0]


def _forward(query: jax.Array, key: jax.Array, value: jax.Array) -> tuple[jax.Array, Any]:
    output, kept = [], []
    for first, last in _edges(query.shape[2]):
        scores = jnp.einsum("bhqd,bhkd->bhqk", query[:, :, first:last], key[:, :, :last])
        seen = jnp.arange(last)[None, :] <= jnp.arange(first, last)[:, None]
        scores = jnp.where(seen, scores.astype(jnp.float32), MASKED)
        raised = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
        share = 1 / raised.sum(axis=-1, keepdims=True)
        raised = raised.astype(query.dtype)
        mixed = jnp.einsum("bhqk,bhkd->bhqd", raised, value[:, :, :last])
        output.append((mixed * share).astype(query.dtype))
        kept.append((raised, share))
    joined = jnp.concatenate(output, axis=2)
    return joined, (query, key, value, joined, kept)


def _backward(residual: Any, gradient: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, key, value, output, kept = residual
    inner = (gradient * output).sum(axis=-1, keepdims=True, dtype=jnp.float32)
    queries, keys, values = [], [], []
    for (first, last), (raised, share) in zip(_edges(query.shape[2]), kept):
        rest = ((0, 0), (0, 0), (0, query.shape[2] - last), (0, 0))
        back = (gradient[:, :, first:last] * share).astype(query.dtype)
        values.append(jnp.pad(jnp.einsum("bhqk,bhqd->bhkd", raised, back), rest))
        scores = jnp.einsum("bhqd,bhkd->bhqk", back, value[:, :, :last])
        scores = raised * (scores - inner[:, :, first:last] * share).astype(query.dtype)
        queries.append(jnp.einsum("bhqk,bhkd->bhqd", scores, key[:, :, :last]))
        keys.append(jnp.pad(jnp.einsum("bhqk,bhqd->bhkd", scores, query[:, :, first:last]), rest))
    key_gradient, value_gradient = (functools.reduce(jnp.add, parts) for parts in (keys, values))
    return jnp.concatenate(queries, axis=2), key_gradient, value_gradient


_in_blocks.defvjp(_forward, _backward)


def _edges(length: int) -> list[tuple[int, int]]:
    """First and past-the-last query of every block."""
    return [(first, min(first + BLOCK, length)) for first in range(0, length, BLOCK)]


def weights(query: jax.Array, key: jax.Array) -> jax.Array:
    """What ``attend`` mixes values by, written plainly, for those who want to see it: it holds all
    T × T weights at once, so training never calls it.

    Args:
        query: float[B, H, T, D], scaled as in ``attend``.
        key: float[B, H, T, D].

    Returns:
        float32[B, H, T, T]: how much each query looks at each key; 0 for keys after it.
    """
    scores = jnp.einsum("bhqd,bhkd->bhqk", query, key).astype(jnp.float32)
    seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    return jax.nn.softmax(jnp.where(seen, scores, MASKED), axis=-1)


def attend_cached(
    query: jax.Array,
    prefix: tuple[jax.Array, jax.Array],
    lengths: jax.Array,
    own: tuple[jax.Array, jax.Array],
    time: jax.Array,
) -> jax.Array:
    """One query a row against a read-only prefix that several rows share and a growing cache.

    Args:
        query: float[C, N, H, D], N rows on each of C prefixes, scaled as in ``attend``.
        prefix: keys and values float[C, H, P, D].
        lengths: int32[C, N], how many of the prefix's positions each row sees.
        own: keys and values float[C, N, H, T, D]; entries after ``time`` are not seen.
        time: int32[], the row's newest entry in ``own``.

    Returns:
        float[C, N, H, D].
    """
    shared = jnp.einsum("cnhd,chpd->cnhp", query, prefix[0])
    seen = jnp.arange(prefix[0].shape[2]) < lengths[:, :, None, None]
    fresh = jnp.einsum("cnhd,cnhtd->cnht", query, own[0])
    written = jnp.arange(own[0].shape[3]) <= time
    scores = jnp.concatenate(
        [jnp.where(seen, shared, MASKED), jnp.where(written, fresh, MASKED)], axis=-1
    )
    weights = _softmax(scores)
    split = prefix[0].shape[2]
    return jnp.einsum("cnhp,chpd->cnhd", weights[..., :split], prefix[1]) + jnp.einsum(
        "cnht,cnhtd->cnhd", weights[..., split:], own[1]
    )


def _softmax(scores: jax.Array) -> jax.Array:
    """Softmax over the last axis in float32, handed back in the type of the scores."""
    return jax.nn.softmax(scores.astype(jnp.float32), axis=-1).astype(scores.dtype)
