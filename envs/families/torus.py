"""torus: a dark room without a border; who leaves on one side comes back on the other."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import grid
from envs.core import static
from envs.registry import register
from envs.room import Level, Room


class Torus(Room):
    """A room whose opposite borders are joined; walls and goal are hidden.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left, from the last row to
    the first one and from the last column to the first one, too; a wall blocks. Reward: 1 on
    entering the goal, which terminates the episode; 0 elsewhere.
    Levels: every cell is a wall with probability ``density``; start and goal are uniform over the
    pairs of different free cells.

    Attributes:
        size: cells along an edge.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(9)
    density: float = 0.3

    def move(self, level: Level, cell: jax.Array, action: jax.Array) -> jax.Array:
        place = jnp.stack(jnp.divmod(cell, self.size)) + jnp.asarray(grid.MOVES)[action]
        row, column = place % self.size
        ahead = row * self.size + column
        return jnp.where(level.walls[ahead], cell, ahead)

    def symmetries(self, level: Level) -> Level:
        """The eight of the square, each moved along until the start is cell 0."""
        square = super().symmetries(level)
        row, column = jnp.divmod(jnp.arange(self.size**2, dtype=jnp.int32), self.size)

        def moved(copy: Level) -> Level:
            down, right = jnp.divmod(copy.start, self.size)
            image = (row - down) % self.size * self.size + (column - right) % self.size
            return Level(copy.walls[jnp.argsort(image)], image[copy.start], image[copy.goal])

        return jax.vmap(moved)(square)


register("torus", Torus)
