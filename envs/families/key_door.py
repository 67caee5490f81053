"""key-door: fetch the key, open the door, reach the goal behind it."""

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
    walls: bool[N] over the N = size² cells; the partition, the door's cell excepted.
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
    """A room parted by a wall with a locked door; key, door and goal cannot be seen.

    Observation: int32[2], the agent's cell and N + (1 with the key, 0 without). Actions: up,
    right, down, left; walls, the border and the door without the key block; entering the key's
    cell takes it. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: the wall is a column, uniform over those that leave at least one on its right and two
    on its left; the door is uniform on it; start and key are uniform over the pairs of different
    cells on the left, the goal is uniform on the right.

    Attributes:
        size: cells along an edge, at least 4.
    """

    size: int = static(6)

    def check(self) -> None:
        if self.size < 4:
            raise ValueError(f"key-door size {self.size}: use 4 or more")

    @property
    def num_actions(self) -> int:
        return 4

    @property
    def num_fields(self) -> int:
        return 2

    @property
    def num_symbols(self) -> int:
        return self.size**2 + 2

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
        walls = (column == wall) & (cells != door)
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
        return jnp.stack([state.cell, self.size**2 + state.holds])

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

    def draw(self, level: Level, state: State) -> str:
        marks = {int(c): "#" for c in np.flatnonzero(level.walls)}
        marks |= {int(level.door): "D", int(level.start): "S", int(level.goal): "G"}
        if not int(state.holds):
            marks[int(level.key)] = "k"
        return grid.text(self.size, marks | {int(state.cell): "@"})


register("key-door", KeyDoor)
