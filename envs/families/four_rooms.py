"""four-rooms: two walls cross in the dark; each of their four arms has a gap."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs.core import static
from envs.registry import register
from envs.room import Room


class FourRooms(Room):
    """Four rooms of all proportions, joined by four doorways, after Sutton, Precup and Singh
    (Artificial Intelligence 112, 1999); walls and goal are hidden.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: a row and a column, each uniform over those off the border, are walls; each of the four
    arms from their crossing to the border has one gap, uniform on it; any other cell is a wall with
    probability ``density``; start and goal are uniform over the pairs of different free cells.

    Attributes:
        size: cells along an edge, at least 3.
        density: probability of a wall off the cross, in [0, 1).
    """

    size: int = static(9)
    density: float = 0.0

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(f"four-rooms size {self.size}: use 3 or more")

    def layout(self, key: jax.Array) -> jax.Array:
        place_key, gap_key, scatter_key = jax.random.split(key, 3)
        at_row, at_column = jax.random.randint(place_key, (2,), 1, self.size - 1)
        row, column = jnp.divmod(jnp.arange(self.size**2, dtype=jnp.int32), self.size)
        cross = (row == at_row) | (column == at_column)
        # Of the arms up, right, down and left of the crossing: the first cell, one past the last.
        low = jnp.stack([jnp.int32(0), at_column + 1, at_row + 1, jnp.int32(0)])
        high = jnp.stack([at_row, jnp.int32(self.size), jnp.int32(self.size), at_column])
        up, right, down, left = jax.random.randint(gap_key, (4,), low, high)
        open_ = (column == at_column) & ((row == up) | (row == down))
        open_ |= (row == at_row) & ((column == left) | (column == right))
        scattered = jax.random.bernoulli(scatter_key, self.density, cross.shape)
        return (cross & ~open_) | (scattered & ~cross)


register("four-rooms", FourRooms)
