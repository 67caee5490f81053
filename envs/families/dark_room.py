"""dark-room: find a goal that cannot be seen, among walls that cannot be seen."""

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
    walls: bool[N] over the N = size² cells.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    walls: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    """

    cell: jax.Array


class DarkRoom(Env):
    """A square room with scattered walls and a hidden goal.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: every cell is a wall with probability ``density``; start and goal are uniform over the
    pairs of different free cells.

    Attributes:
        size: cells along an edge.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(7)
    density: float = 0.2

    def check(self) -> None:
        if self.size < 2:
            raise ValueError(f"dark-room size {self.size}: use 2 or more")

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
        wall_key, pair_key = jax.random.split(key)
        walls = jax.random.bernoulli(wall_key, self.density, (self.size**2,))
        start, goal = grid.choose_pair(pair_key, ~walls)
        return Level(walls, start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        ahead = grid.move(state.cell, action, self.size)
        cell = jnp.where(level.walls[ahead], state.cell, ahead)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.cell[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        return Level(level.walls[origin], image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> str:
        marks = {int(c): "#" for c in np.flatnonzero(level.walls)}
        marks |= {int(level.start): "S", int(level.goal): "G", int(state.cell): "@"}
        return grid.text(self.size, marks)


register("dark-room", DarkRoom)
