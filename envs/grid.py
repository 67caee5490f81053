"""Square grids: moves, symmetries and text, shared by the families that live on one.

A cell is int32 in [0, size * size), row by row from the top left.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)  # up, right, down, left


def move(cell: jax.Array, action: jax.Array, size: int) -> jax.Array:
    """int32[]: the cell next to ``cell``, or the cell itself at the border."""
    row, column = jnp.divmod(cell, size)
    step = jnp.asarray(MOVES)[action]
    row = jnp.clip(row + step[0], 0, size - 1)
    column = jnp.clip(column + step[1], 0, size - 1)
    return row * size + column


def choose(key: jax.Array, mask: jax.Array) -> jax.Array:
    """int32[]: an index drawn uniformly where ``mask`` bool[N] is true; the key is consumed."""
    noise = jax.random.uniform(key, mask.shape)
    return jnp.argmax(jnp.where(mask, noise, -1.0)).astype(jnp.int32)


def choose_pair(key: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Two different indices drawn uniformly where ``mask`` bool[N] is true."""
    first_key, second_key = jax.random.split(key)
    first = choose(first_key, mask)
    return first, choose(second_key, mask & (jnp.arange(mask.size) != first))


def dihedral(size: int) -> np.ndarray:
    """int32[8, size * size]: the image of each cell under the eight symmetries of the square."""
    cells = np.arange(size * size, dtype=np.int32).reshape(size, size)
    copies = [np.rot90(c, k) for c in (cells, cells.T) for k in range(4)]
    return np.stack([np.argsort(copy.ravel()) for copy in copies]).astype(np.int32)


def text(size: int, characters: dict[int, str]) -> str:
    """The grid as lines of text; ``.`` where ``characters`` names nothing."""
    cells = [characters.get(cell, ".") for cell in range(size * size)]
    return "\n".join("".join(cells[row * size : (row + 1) * size]) for row in range(size))
