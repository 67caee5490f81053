"""Causal attention, whole and cached, behind one file: what runs is chosen here, by device.

Arrays are laid out [batch, head, time, depth].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

MASKED = -1e30
BLOCK = 64  # queries taken together on CPU; each block reads no key after its last query


def attend(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """Causal self-attention.

    On GPU it is cuDNN's fused kernel where that applies (bf16 or fp16); elsewhere the queries go
    in blocks, and the keys that a whole block may not see are never multiplied.

    Args:
        query: float[B, H, T, D], scaled as the model wants it (no 1/sqrt(D) is applied here).
        key: float[B, H, T, D].
        value: float[B, H, T, D].

    Returns:
        float[B, H, T, D].
    """
    if jax.default_backend() == "gpu" and query.dtype in (jnp.bfloat16, jnp.float16):
        swap = [jnp.swapaxes(x, 1, 2) for x in (query, key, value)]
        fused = jax.nn.dot_product_attention(
            *swap, scale=1.0, is_causal=True, implementation="cudnn"
        )
        return jnp.swapaxes(fused, 1, 2)
    length = query.shape[2]
    blocks = []
    for first in range(0, length, BLOCK):
        last = min(first + BLOCK, length)
        scores = jnp.einsum("bhqd,bhkd->bhqk", query[:, :, first:last], key[:, :, :last])
        seen = jnp.arange(last)[None, :] <= jnp.arange(first, last)[:, None]
        weights = _softmax(jnp.where(seen, scores, MASKED))
        blocks.append(jnp.einsum("bhqk,bhkd->bhqd", weights, value[:, :, :last]))
    return blocks[0] if len(blocks) == 1 else jnp.concatenate(blocks, axis=2)


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
