"""ice: a dark room with a slippery floor; who moves slides until something is in the way."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import grid
from envs.core import static
from envs.registry import register
from envs.room import Level, Room


class Ice(Room):
    """A sheet of ice with walls to stop at: most places can be passed, but not stood on, and some
    moves cannot be taken back. Walls and goal are hidden.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left: the agent slides that
    way until a wall or the border is ahead. Reward: 1 on stopping at the goal, which terminates the
    episode; 0 elsewhere, sliding over the goal included.
    Levels: every cell is a wall with probability ``density``; start and goal are uniform over the
    pairs of different free cells.

    Attributes:
        size: cells along an edge.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(10)
    density: float = 0.2

    def move(self, level: Level, cell: jax.Array, action: jax.Array) -> jax.Array:
        def slide(_, at: jax.Array) -> jax.Array:
            ahead = grid.move(at, action, self.size)
            return jnp.where(level.walls[ahead], at, ahead)

        return jax.lax.fori_loop(0, self.size - 1, slide, cell)


register("ice", Ice)
