"""key-door: fetch the key, open the door, reach the goal behind it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Env, Outcome, static
from envs.registry import register


class Level(struct.PyTreeNode):
    """Attributes:
    walls: bool[N] over the N = size² cells; the partition, the door's cell excepted, and others.
    door: int32[], the cell that needs the key.
    key: int32[], the cell where the key lies.
    start: int32[], a cell.
    goal: int32[], a cell on the other side.
    """

    walls: jax.Array
    door: jax.Array
    key: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    holds: int32[], 1 with the key, 0 without.
    """

    cell: jax.Array
    holds: jax.Array


class KeyDoor(Env):
    """A room parted by a wall with a locked door; by default nothing of it can be seen.

    Observation: int32[2], the agent's cell and N + (1 with the key, 0 without); with a
    ``view_size`` of v, int32[v * v * 2] instead: for each cell of the square around the agent, row
    by row, what it is (0 floor, 1 wall or outside, 2 key, 3 door, 4 goal) and 5 + (1 if the agent
    holds the key, 0 if not). Actions: up, right, down, left; walls, the border and the door without
    the key block; entering the key's cell takes it. Reward: 1 on entering the goal, which
    terminates the episode; 0 elsewhere.
    Levels: the wall is a column, uniform over those that leave at least one on its right and two
    on its left; the door is uniform on it; start and key are uniform over the pairs of different
    cells on the left, the goal is uniform on the right; any other cell off the column is a wall
    with probability ``density``.

    Attributes:
        size: cells along an edge, at least 4.
        density: probability of a wall off the column, in [0, 1).
        view_size: v, cells along an edge of what the agent sees, odd; 0 for its own cell only.
    """

    hidden = (tiles.WALL, tiles.DOOR, tiles.KEY, tiles.START, tiles.GOAL)

    size: int = static(6)
    density: float = 0.0
    view_size: int = static(0)

    def check(self) -> None:
        if self.size < 4:
            raise ValueError(f"key-door size {self.size}: use 4 or more")
        if self.view_size and self.view_size % 2 == 0:
            raise ValueError(f"key-door view_size {self.view_size}: use an odd number, or 0")

    @property
    def num_actions(self) -> int:
        return 4

    @property
    def num_fields(self) -> int:
        return 2 * self.view_size**2 or 2

    @property
    def num_symbols(self) -> int:
        return 7 if self.view_size else self.size**2 + 2

    @property
    def num_states(self) -> int:
        return 2 * self.size**2

    def level(self, key: jax.Array) -> Level:
        wall_key, door_key, pair_key, goal_key = jax.random.split(key, 4)
        wall = jax.random.randint(wall_key, (), 2, self.size - 1)
        door = jax.random.randint(door_key, (), 0, self.size) * self.size + wall
        cells = jnp.arange(self.size**2, dtype=jnp.int32)
        column = cells % self.size
        start, key_cell = grid.choose_pair(pair_key, column < wall)
        goal = grid.choose(goal_key, column > wall)
        scattered = jax.random.bernoulli(jax.random.fold_in(key, 4), self.density, cells.shape)
        scattered &= (cells != start) & (cells != key_cell) & (cells != goal)
        walls = ((column == wall) | scattered) & (cells != door)
        return Level(walls, door.astype(jnp.int32), key_cell, start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        ahead = grid.move(state.cell, action, self.size)
        blocked = level.walls[ahead] | ((ahead == level.door) & (state.holds == 0))
        cell = jnp.where(blocked, state.cell, ahead)
        holds = jnp.maximum(state.holds, (cell == level.key).astype(jnp.int32))
        won = cell == level.goal
        return Outcome(State(cell, holds), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        if not self.view_size:
            return jnp.stack([state.cell, self.size**2 + state.holds])
        inside, cells = grid.window(state.cell, self.size, self.view_size)
        kind = jnp.where(inside & ~level.walls[cells], 0, 1)
        kind = jnp.where(inside & (cells == level.key) & (state.holds == 0), 2, kind)
        kind = jnp.where(inside & (cells == level.door), 3, kind)
        kind = jnp.where(inside & (cells == level.goal), 4, kind)
        holds = jnp.full_like(kind, 5) + state.holds
        return jnp.stack([kind, holds], axis=-1).ravel()

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell * 2 + state.holds

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index // 2, index % 2)

    def symmetries(self, level: Level) -> Level:
        """The wall always stands upright and the start on its left: only the mirror image
        top to bottom is left of the square's symmetries."""
        mirror = np.arange(self.size**2).reshape(self.size, self.size)[::-1].ravel()
        image = jnp.stack([jnp.arange(self.size**2), jnp.asarray(mirror)]).astype(jnp.int32)
        return Level(
            walls=level.walls[image],
            door=image[:, level.door],
            key=image[:, level.key],
            start=image[:, level.start],
            goal=image[:, level.goal],
        )

    def draw(self, level: Level, state: State) -> jax.Array:
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.DOOR, level.door),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (jnp.where(state.holds == 0, tiles.KEY, tiles.FLOOR), level.key),
            (jnp.where(state.holds == 0, tiles.AGENT, tiles.LADEN), state.cell),
        )

    def view(self, level: Level, state: State) -> jax.Array:
        if not self.view_size:
            return super().view(level, state)
        seen = grid.crop(self.draw(level, state), state.cell, self.view_size)
        return jnp.where(seen == tiles.UNSEEN, tiles.WALL, seen)

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            door=grid.find(cells, tiles.DOOR),
            key=grid.find(cells, tiles.KEY),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("key-door", KeyDoor)
