"""Rooms: square grids with walls, a start and a goal that one walker has to find.

What the families of one walker share lives here; each adds its layout or its way of moving.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Env, Outcome, static


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


class Room(Env):
    """A room: the agent sees its cell only. Walls and border block; the goal ends the episode.

    A family overrides ``layout`` (its walls), ``move`` (where an action leads) or both.

    Attributes:
        size: cells along an edge.
        density: probability that a cell which may be a wall is one, in [0, 1).
    """

    hidden = (tiles.WALL, tiles.START, tiles.GOAL)

    size: int = static(7)
    density: float = 0.2

    def check(self) -> None:
        if self.size < 2:
            raise ValueError(f"{type(self).__name__} size {self.size}: use 2 or more")

    def layout(self, key: jax.Array) -> jax.Array:
        """bool[N]: the walls of a level; the key is consumed."""
        return jax.random.bernoulli(key, self.density, (self.size**2,))

    def move(self, level: Level, cell: jax.Array, action: jax.Array) -> jax.Array:
        """int32[]: the cell that an action leads to."""
        ahead = grid.move(cell, action, self.size)
        return jnp.where(level.walls[ahead], cell, ahead)

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
        walls = self.layout(wall_key)
        start, goal = grid.choose_pair(pair_key, ~walls)
        return Level(walls, start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        cell = self.move(level, state.cell, action)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return state.cell[None]

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index)

    def symmetries(self, level: Level) -> Level:
        """The eight of the square."""
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        return Level(level.walls[origin], image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> jax.Array:
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.cell),
        )

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )
