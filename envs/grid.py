"""Square grids: moves, symmetries and pictures, shared by the families that live on one.

A cell is int32 in [0, size * size), row by row from the top left.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from envs import tiles

MOVES = np.array([(-1, 0), (0, 1), (1, 0), (0, -1)], np.int32)  # up, right, down, left


def move(cell: jax.Array, action: jax.Array, size: int) -> jax.Array:
    """int32[]: the cell next to ``cell``, or the cell itself at the border."""
    return shift(cell, jnp.asarray(MOVES)[action], size)


def shift(cell: jax.Array, step: jax.Array, size: int) -> jax.Array:
    """int32[]: the cell that lies ``step`` int32[2] (rows down, columns to the right) away from
    ``cell``; the border takes from the rows, or from the columns, what would leave the grid."""
    row, column = jnp.divmod(cell, size)
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


def choose_some(key: jax.Array, mask: jax.Array, count: int) -> jax.Array:
    """int32[count]: different indices drawn uniformly, in any order, where ``mask`` bool[N] is
    true, which ``count`` or more have to be; the key is consumed."""
    noise = jax.random.uniform(key, mask.shape)
    return jax.lax.top_k(jnp.where(mask, noise, -1.0), count)[1].astype(jnp.int32)


def dihedral(size: int) -> np.ndarray:
    """int32[8, size * size]: the image of each cell under the eight symmetries of the square."""
    cells = np.arange(size * size, dtype=np.int32).reshape(size, size)
    copies = [np.rot90(c, k) for c in (cells, cells.T) for k in range(4)]
    return np.stack([np.argsort(copy.ravel()) for copy in copies]).astype(np.int32)


def turns() -> np.ndarray:
    """int32[8, 4]: what each direction, in the order of ``MOVES``, becomes under the symmetries of
    ``dihedral``, in their order."""
    beside = np.array([1, 5, 7, 3])  # of the middle of 3 × 3 cells
    return np.argmax(dihedral(3)[:, beside, None] == beside, axis=-1).astype(np.int32)


def paint(size: int, *layers: tuple[int | jax.Array, jax.Array]) -> jax.Array:
    """int32[size, size]: floor, and on it the layers (tile, place), the last one on top; a place is
    a cell int32[] or a mask bool[size * size]."""
    cells = jnp.arange(size * size, dtype=jnp.int32)
    picture = jnp.full(size * size, tiles.FLOOR, jnp.int32)
    for tile, place in layers:
        mask = place if place.dtype == bool else cells == place
        picture = jnp.where(mask, tile, picture)
    return picture.reshape(size, size)


def read(picture: np.ndarray, size: int) -> np.ndarray:
    """The tiles int32[size * size] of a square picture int32[size, size].

    Raises:
        ValueError: it has another size.
    """
    if picture.shape != (size, size):
        raise ValueError(
            f"the level is {' x '.join(map(str, picture.shape))} tiles, this environment's are "
            f"{size} x {size}; make it with another size"
        )
    return picture.ravel()


def find(cells: np.ndarray, *wanted: int) -> jax.Array:
    """int32[]: the one cell that holds one of the ``wanted`` tiles.

    Raises:
        ValueError: there is none, or more than one.
    """
    return find_all(cells, 1, *wanted)[0]


def find_all(cells: np.ndarray, count: int, *wanted: int) -> jax.Array:
    """int32[count]: the cells that hold one of the ``wanted`` tiles, in order.

    Raises:
        ValueError: there are fewer, or more.
    """
    places = np.flatnonzero(np.isin(cells, wanted))
    if places.size != count:
        names = " or ".join(repr(tiles.TILES[tile].character) for tile in wanted)
        raise ValueError(
            f"the level has {places.size} cells {names}; it needs exactly "
            f"{'one' if count == 1 else count}"
        )
    return jnp.asarray(places, jnp.int32)


def window(cell: jax.Array, size: int, view: int) -> tuple[jax.Array, jax.Array]:
    """The square of ``view`` * ``view`` cells around a cell, row by row: bool[view²], whether each
    lies inside the grid, and int32[view²], which it is (any one where it lies outside)."""
    offset = jnp.arange(view, dtype=jnp.int32) - view // 2
    row, column = jnp.divmod(cell, size)
    rows, columns = row + offset, column + offset
    inside = ((rows >= 0) & (rows < size))[:, None] & ((columns >= 0) & (columns < size))
    cells = jnp.clip(rows, 0, size - 1)[:, None] * size + jnp.clip(columns, 0, size - 1)
    return inside.ravel(), cells.ravel()


def crop(picture: jax.Array, cell: jax.Array, view: int) -> jax.Array:
    """int32[view, view]: the window of a square picture around a cell; unseen outside of it, and
    starts are not shown."""
    inside, cells = window(cell, picture.shape[0], view)
    seen = picture.ravel()[cells]
    seen = jnp.where(seen == tiles.START, tiles.FLOOR, seen)
    return jnp.where(inside, seen, tiles.UNSEEN).reshape(view, view)


def shelve(picture: jax.Array, kinds: jax.Array, count: jax.Array) -> jax.Array:
    """int32[H + 1, W]: a picture and a row below it with the first ``count`` of the tiles
    ``kinds`` int32[k], k at most W, for what an agent has that no cell shows."""
    shown = jnp.where(jnp.arange(kinds.size) < count, kinds, tiles.BLANK)
    row = jnp.full(picture.shape[1], tiles.BLANK, jnp.int32).at[: kinds.size].set(shown)
    return jnp.concatenate([picture, row[None]])
