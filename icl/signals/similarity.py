"""How alike two short sequences are, as Python's difflib has it, compiled.

SRL (Deng et al. 2025, arXiv 2510.25992) pays a step by 2M / (|S1| + |S2|), M the elements in
matching blocks: the longest common block, and so on to the left and to the right of it (Ratcliff
and Obershelp 1988). Which block comes first where several are equally long decides what is left to
match, so the ratio depends on the order of its arguments. Here, as in ``difflib.SequenceMatcher``
without junk, the block that begins earliest in the first sequence is taken, and of those the
earliest in the second.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def matched(first: jax.Array, many: jax.Array, second: jax.Array, more: jax.Array) -> jax.Array:
    """int32[]: M, the elements in matching blocks of ``first[:many]`` and ``second[:more]``.

    Args:
        first: int32[m].
        many: int32[], its length; what stands behind is not read.
        second: int32[n].
        more: int32[], its length.
    """
    rows, columns = jnp.arange(len(first))[:, None], jnp.arange(len(second))
    same = (first[:, None] == second) & (rows < many) & (columns < more)

    def take(_, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        # The longest block of all is the longest of its own stretch, and stretches do not touch:
        # so no stack of stretches is needed, only what may still be matched.
        open_, total = carry
        length = _lengths(open_)
        best = length.max()
        row, column = jnp.divmod(jnp.argmax(length), len(second))  # the first of equals
        left = (rows < row) & (columns < column)
        right = (rows >= row + best) & (columns >= column + best)
        return open_ & (left | right), total + best

    most = min(len(first), len(second))
    return jax.lax.fori_loop(0, most, take, (same, jnp.int32(0)))[1]


def ratio(first: jax.Array, many: jax.Array, second: jax.Array, more: jax.Array) -> jax.Array:
    """float32[] in [0, 1]: ``difflib.SequenceMatcher(None, first[:many], second[:more]).ratio()``;
    arguments as in ``matched``. Two empty sequences are the same."""
    total = many + more
    twice = 2 * matched(first, many, second, more)
    return jnp.where(total > 0, twice / jnp.maximum(total, 1), 1.0).astype(jnp.float32)


def _lengths(same: jax.Array) -> jax.Array:
    """int32[m, n]: how long the block is that begins at each pair; 0 where they differ."""

    def row(below: jax.Array, line: jax.Array) -> tuple[jax.Array, jax.Array]:
        length = jnp.where(line, 1 + jnp.append(below[1:], 0), 0)
        return length, length

    none = jnp.zeros(same.shape[1], jnp.int32)
    return jax.lax.scan(row, none, same, reverse=True, unroll=True)[1]
