"""maze: corridors of which the agent sees what is near."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from envs import grid, tiles
from envs.core import static
from envs.registry import register
from envs.room import Level, Room, State


class Maze(Room):
    """A maze in partial view: the agent sees the cells around it, and not where it is.

    Observation: int32[v²] for a ``view_size`` of v: the square of v × v cells around the agent, row
    by row; 0 floor, 1 wall or outside, 2 goal. Actions: up, right, down, left; a wall or the border
    blocks. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: cells in even rows and even columns are junctions, those in odd rows and odd columns
    walls, the others passages between two junctions. Passages are opened one by one, each uniform
    over those between junctions that are not yet connected, until all are: the spanning tree
    of Kruskal (Proc. AMS 7, 1956) for a random order. Every passage left is a wall with probability
    ``density``. Start and goal are uniform over the pairs of different free cells.

    Attributes:
        size: cells along an edge, odd, at least 3.
        density: probability that a passage which the tree does not need is a wall, in [0, 1]; at 1
            there is one way only between any two cells.
        view_size: v, cells along an edge of what the agent sees, odd, at least 3.
    """

    hidden = (tiles.START,)

    size: int = static(9)
    density: float = 1.0
    view_size: int = static(3)

    def check(self) -> None:
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(f"maze size {self.size}: use an odd number from 3")
        if self.view_size < 3 or self.view_size % 2 == 0:
            raise ValueError(f"maze view_size {self.view_size}: use an odd number from 3")

    @property
    def num_fields(self) -> int:
        return self.view_size**2

    @property
    def num_symbols(self) -> int:
        return 3

    def layout(self, key: jax.Array) -> jax.Array:
        order_key, keep_key = jax.random.split(key)
        passage, ends = _passages(self.size)
        order = jax.random.permutation(order_key, passage.size)

        def join(group: jax.Array, ends: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Opens the passage between two junctions unless they are in one group already."""
            here, there = group[ends[0]], group[ends[1]]
            return jnp.where(group == there, here, group), here != there

        apart = jnp.arange(self.size**2, dtype=jnp.int32)
        _, needed = jax.lax.scan(join, apart, jnp.asarray(ends)[order])
        kept = jax.random.bernoulli(keep_key, self.density, order.shape)
        row, column = np.divmod(np.arange(self.size**2), self.size)
        pillars = jnp.asarray((row % 2 == 1) & (column % 2 == 1))
        return pillars.at[jnp.asarray(passage)[order]].set(kept & ~needed)

    def observe(self, level: Level, state: State) -> jax.Array:
        inside, cells = grid.window(state.cell, self.size, self.view_size)
        kind = jnp.where(inside & ~level.walls[cells], 0, 1)
        return jnp.where(inside & (cells == level.goal), 2, kind)

    def view(self, level: Level, state: State) -> jax.Array:
        seen = grid.crop(self.draw(level, state), state.cell, self.view_size)
        return jnp.where(seen == tiles.UNSEEN, tiles.WALL, seen)


def _passages(size: int) -> tuple[np.ndarray, np.ndarray]:
    """int32[E], the cells that may be passages, and int32[E, 2], the two junctions beside each."""
    row, column = np.divmod(np.arange(size**2, dtype=np.int32), size)
    across = np.flatnonzero((row % 2 == 0) & (column % 2 == 1))
    upright = np.flatnonzero((row % 2 == 1) & (column % 2 == 0))
    ends = [np.stack([p - s, p + s], axis=1) for p, s in ((across, 1), (upright, size))]
    return np.concatenate([across, upright]).astype(np.int32), np.concatenate(ends).astype(np.int32)


register("maze", Maze)
