"""multi-room: a chain of rooms, from the first to the last through every doorway."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import grid
from envs.core import static
from envs.registry import register
from envs.room import Level, Room


class MultiRoom(Room):
    """A chain of rooms side by side, a doorway in every wall between them, as MiniGrid's MultiRoom
    (Chevalier-Boisvert et al., arXiv 2306.13831) chains rooms; walls, doorways and goal are hidden.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: the walls are ``rooms`` - 1 columns, uniform over the sets of columns that leave every
    room at least one column; each has a doorway, uniform on it; the start is uniform in the first
    room, the goal in the last; any other cell off the columns is a wall with probability
    ``density``.

    Attributes:
        size: cells along an edge, at least 2 * ``rooms`` - 1.
        density: probability of a wall off the columns, in [0, 1).
        rooms: of the chain, at least 2.
    """

    size: int = static(8)
    density: float = 0.05
    rooms: int = static(3)

    def check(self) -> None:
        if self.rooms < 2:
            raise ValueError(f"multi-room rooms {self.rooms}: use 2 or more")
        if self.size < 2 * self.rooms - 1:
            raise ValueError(
                f"multi-room size {self.size}: {self.rooms} rooms and the walls between them need "
                f"{2 * self.rooms - 1} columns; raise size or lower rooms"
            )

    def level(self, key: jax.Array) -> Level:
        wall_key, door_key, start_key, goal_key, scatter_key = jax.random.split(key, 5)
        count = self.rooms - 1
        # Walls that may touch, drawn from fewer columns, are put one column further apart each.
        touching = jax.random.permutation(wall_key, self.size - 1 - count)[:count]
        place = jnp.sort(touching) + jnp.arange(count, dtype=touching.dtype) + 1
        door = jax.random.randint(door_key, (count,), 0, self.size)
        cells = jnp.arange(self.size**2, dtype=jnp.int32)
        row, column = jnp.divmod(cells, self.size)
        on = column == place[:, None]
        open_ = (on & (row == door[:, None])).any(0)
        start = grid.choose(start_key, column < place[0])
        goal = grid.choose(goal_key, column > place[-1])
        scattered = jax.random.bernoulli(scatter_key, self.density, cells.shape)
        scattered &= ~on.any(0) & (cells != start) & (cells != goal)
        return Level((on.any(0) & ~open_) | scattered, start, goal)


register("multi-room", MultiRoom)
