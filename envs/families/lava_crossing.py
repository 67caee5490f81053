"""lava-crossing: unseen streams of lava with a gap each; death is final."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid
from envs.core import Env, Outcome, static
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    lava: bool[N] over the N = size² cells.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    lava: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    """

    cell: jax.Array


class LavaCrossing(Env):
    """A room cut by streams of lava, each with one gap; the goal is hidden and so is the lava.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; the border blocks.
    Reward: 1 on entering the goal; 0 elsewhere. Entering the goal or lava terminates the episode.
    Levels: ``streams`` streams, each a row or a column (a fair coin) at a uniform place off the
    border with a uniform gap; start and goal are uniform over the pairs of different cells
    without lava.

    Attributes:
        size: cells along an edge.
        streams: streams of lava.
    """

    size: int = static(7)
    streams: int = static(2)

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(f"lava-crossing size {self.size}: use 3 or more")

    @property
    def num_actions(self) -> int:
        return 4

    @property
    def num_fields(self) -> int:
        return 1

    @property
    def num_symbols(self) -> int:
        return self.size**2

    @property
    def num_states(self) -> int:
        return self.size**2

    def level(self, key: jax.Array) -> Level:
        side_key, place_key, gap_key, pair_key = jax.random.split(key, 4)
        shape = (self.streams,)
        across = jax.random.bernoulli(side_key, shape=shape)
        place = jax.random.randint(place_key, shape, 1, self.size - 1)
        gap = jax.random.randint(gap_key, shape, 0, self.size)
        row, column = jnp.divmod(jnp.arange(self.size**2), self.size)
        on = jnp.where(across[:, None], row[None] == place[:, None], column[None] == place[:, None])
        open_ = jnp.where(across[:, None], column[None] == gap[:, None], row[None] == gap[:, None])
        lava = on.any(0) & ~(on & open_).any(0)
        start, goal = grid.choose_pair(pair_key, ~lava)
        return Level(lava, start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        cell = grid.move(state.cell, action, self.size)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won | level.lava[cell])

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.cell[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        return Level(level.lava[origin], image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> str:
        marks = {int(c): "~" for c in np.flatnonzero(level.lava)}
        marks |= {int(level.start): "S", int(level.goal): "G", int(state.cell): "@"}
        return grid.text(self.size, marks)


register("lava-crossing", LavaCrossing)
