"""knight: a chess knight looks for a goal that cannot be seen."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import static
from envs.registry import register
from envs.room import Level, Room

# (rows, columns), clockwise from two up and one to the right.
JUMPS = np.array([(-2, 1), (-1, 2), (1, 2), (2, 1), (2, -1), (1, -2), (-1, -2), (-2, -1)], np.int32)


class Knight(Room):
    """A chess board with squares that the knight cannot land on; they and the goal are hidden.

    Observation: int32[1], the agent's cell. Actions: the eight moves of a knight, clockwise from
    two up and one to the right; it jumps over walls, but a move that ends on a wall or off the
    board is not made. Reward: 1 on landing on the goal, which terminates the episode; 0 elsewhere.
    Levels: every cell is a wall with probability ``density``; start and goal are uniform over the
    pairs of different free cells.

    Attributes:
        size: cells along an edge, at least 3.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(9)
    density: float = 0.5

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(f"knight size {self.size}: use 3 or more")

    @property
    def num_actions(self) -> int:
        return 8

    def move(self, level: Level, cell: jax.Array, action: jax.Array) -> jax.Array:
        place = jnp.stack(jnp.divmod(cell, self.size)) + jnp.asarray(JUMPS)[action]
        row, column = jnp.clip(place, 0, self.size - 1)
        ahead = row * self.size + column
        off = ((place < 0) | (place >= self.size)).any()
        return jnp.where(off | level.walls[ahead], cell, ahead)


register("knight", Knight)
