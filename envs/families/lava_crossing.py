"""lava-crossing: unseen streams of lava with a gap each; death is final."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room, State


class Level(struct.PyTreeNode):
    """Attributes:
    lava: bool[N] over the N = size² cells.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    lava: jax.Array
    start: jax.Array
    goal: jax.Array


class LavaCrossing(Room):
    """A room cut by streams of lava, each with one gap; the goal is hidden and so is the lava.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; the border blocks.
    Reward: 1 on entering the goal; 0 elsewhere. Entering the goal or lava terminates the episode.
    Levels: ``streams`` streams, each a row or a column (a fair coin) at a uniform place off the
    border with a uniform gap; any other cell is lava with probability ``density``; start and
    goal are uniform over the pairs of different cells without lava.

    Attributes:
        size: cells along an edge.
        density: probability of lava off the streams, in [0, 1).
        streams: streams of lava.
    """

    hidden = (tiles.LAVA, tiles.START, tiles.GOAL)

    density: float = 0.0
    streams: int = static(2)

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(f"lava-crossing size {self.size}: use 3 or more")

    def level(self, key: jax.Array) -> Level:
        side_key, place_key, gap_key, pair_key = jax.random.split(key, 4)
        shape = (self.streams,)
        across = jax.random.bernoulli(side_key, shape=shape)
        place = jax.random.randint(place_key, shape, 1, self.size - 1)
        gap = jax.random.randint(gap_key, shape, 0, self.size)
        row, column = jnp.divmod(jnp.arange(self.size**2), self.size)
        on = jnp.where(across[:, None], row[None] == place[:, None], column[None] == place[:, None])
        open_ = jnp.where(across[:, None], column[None] == gap[:, None], row[None] == gap[:, None])
        scattered = jax.random.bernoulli(jax.random.fold_in(key, 4), self.density, (self.size**2,))
        lava = on.any(0) & ~(on & open_).any(0) | scattered
        start, goal = grid.choose_pair(pair_key, ~lava)
        return Level(lava, start, goal)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        cell = grid.move(state.cell, action, self.size)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won | level.lava[cell])

    def symmetries(self, level: Level) -> Level:
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        return Level(level.lava[origin], image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> jax.Array:
        return grid.paint(
            self.size,
            (tiles.LAVA, level.lava),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.cell),
        )

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            lava=jnp.asarray(cells == tiles.LAVA),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("lava-crossing", LavaCrossing)
