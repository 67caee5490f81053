"""heist: coloured keys in order, each behind the lock of the one before."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room

CHAMBERS = 4


class Level(struct.PyTreeNode):
    """Attributes:
    walls: bool[N] over the N = size² cells.
    keys: int32[k], the cell of each key.
    locks: int32[k], the cell of the lock that each key opens.
    start: int32[], a cell.
    goal: int32[], a cell.
    """

    walls: jax.Array
    keys: jax.Array
    locks: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    held: int32[], how many keys it holds, in [0, k]: always the first ones.
    """

    cell: jax.Array
    held: jax.Array


class Heist(Room):
    """Four chambers and k coloured keys, after the Heist of Procgen (Cobbe et al., arXiv
    1912.01588): key i opens lock i, and behind it lies the next key, or at last the goal. The agent
    sees its cell and what it holds; the map is hidden.

    Observation: int32[2], the agent's cell and N + the number of keys held. Actions: up, right,
    down, left; walls, the border and the locks whose key is not held block. Entering the cell of
    the next key takes it, other keys stay where they are. Reward: 1 on entering the goal, which
    terminates the episode; 0 elsewhere.
    Levels: a wall of one row and a wall of one column cross, each at a uniform place with two or
    more rows or columns on either side; they leave four chambers. A tour through all four starts
    in a uniform chamber and goes clockwise or counter-clockwise (a fair coin); each of the three
    arms of the cross on its way has a gap at a uniform cell. k of the three gaps, uniform over the
    sets of k, hold the locks in the order of the tour, and so part it into k + 1 zones. Start and
    first key are uniform over the pairs of different cells of the first zone, each other key is
    uniform in its zone and the goal in the last; any other cell off the cross is a wall with
    probability ``density``.

    Attributes:
        size: cells along an edge, at least 5.
        density: probability of a wall off the cross, in [0, 1).
        keys: k, from 1 to 3.
    """

    hidden = (tiles.WALL, tiles.START, tiles.GOAL, *tiles.ITEMS, *tiles.LOCKS)

    size: int = static(6)
    density: float = 0.05
    keys: int = static(2)

    def check(self) -> None:
        if self.size < 5:
            raise ValueError(f"heist size {self.size}: four chambers need 5 or more")
        if not 1 <= self.keys < CHAMBERS:
            raise ValueError(f"heist keys {self.keys}: four chambers have room for 1, 2 or 3")

    @property
    def num_fields(self) -> int:
        return 2

    @property
    def num_symbols(self) -> int:
        return self.size**2 + self.keys + 1

    @property
    def num_states(self) -> int:
        return self.size**2 * (self.keys + 1)

    def level(self, key: jax.Array) -> Level:
        cross_key, gap_key, tour_key, lock_key, place_key, scatter_key = jax.random.split(key, 6)
        cells = jnp.arange(self.size**2, dtype=jnp.int32)
        row, column = jnp.divmod(cells, self.size)
        middle = jax.random.randint(cross_key, (2,), 2, self.size - 2)
        below, right = row > middle[0], column > middle[1]
        # Clockwise from the top left: chamber i, and arm i between it and the next chamber.
        chamber = jnp.where(below, 3 - right.astype(jnp.int32), right.astype(jnp.int32))
        across, upright = row == middle[0], column == middle[1]
        arm = jnp.where(across, jnp.where(right, 1, 3), jnp.where(below, 2, 0))
        arm = jnp.where(across ^ upright, arm, -1)

        first_key, turn_key = jax.random.split(tour_key)
        first = jax.random.randint(first_key, (), 0, CHAMBERS)
        back = jax.random.bernoulli(turn_key)
        leg = jnp.arange(CHAMBERS - 1, dtype=jnp.int32)
        passed = jnp.where(back, first - 1 - leg, first + leg) % CHAMBERS
        gaps = jax.vmap(lambda key, i: grid.choose(key, arm == i))(
            jax.random.split(gap_key, CHAMBERS - 1), passed
        )
        locked = jax.random.permutation(lock_key, leg) < self.keys
        locks = gaps[jnp.argsort(~locked, stable=True)[: self.keys]]

        order = jnp.where(back, first - chamber, chamber - first) % CHAMBERS  # on the tour
        before = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(locked.astype(jnp.int32))])
        zone = jnp.where(across | upright, -1, before[order])
        start_key, *place_keys = jax.random.split(place_key, self.keys + 1)
        start, key_cell = grid.choose_pair(start_key, zone == 0)
        later = [grid.choose(key, zone == i) for i, key in enumerate(place_keys, 1)]
        *keys, goal = key_cell, *later

        level = Level(across | upright, jnp.stack(keys), locks, start, goal)
        taken = jnp.concatenate([level.keys, jnp.stack([start, goal])])
        scattered = jax.random.bernoulli(scatter_key, self.density, cells.shape)
        scattered = scattered.at[taken].set(False)
        return level.replace(walls=(level.walls | scattered).at[gaps].set(False))

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        ahead = grid.move(state.cell, action, self.size)
        missing = jnp.arange(self.keys) >= state.held
        blocked = level.walls[ahead] | ((level.locks == ahead) & missing).any()
        cell = jnp.where(blocked, state.cell, ahead)
        takes = (level.keys == cell) & (jnp.arange(self.keys) == state.held)
        won = cell == level.goal
        held = state.held + takes.any().astype(jnp.int32)
        return Outcome(State(cell, held), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return jnp.stack([state.cell, self.size**2 + state.held])

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell * (self.keys + 1) + state.held

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index // (self.keys + 1), index % (self.keys + 1))

    def symmetries(self, level: Level) -> Level:
        """The eight of the square."""
        image = jnp.asarray(grid.dihedral(self.size))
        return Level(
            walls=level.walls[jnp.argsort(image, axis=1)],
            keys=image[:, level.keys],
            locks=image[:, level.locks],
            start=image[:, level.start],
            goal=image[:, level.goal],
        )

    def draw(self, level: Level, state: State) -> jax.Array:
        """Keys that are held, and the locks they open, are gone."""
        left = [state.held <= i for i in range(self.keys)]
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            *(
                (jnp.where(x, tiles.LOCKS[i], tiles.FLOOR), level.locks[i])
                for i, x in enumerate(left)
            ),
            *(
                (jnp.where(x, tiles.ITEMS[i], tiles.FLOOR), level.keys[i])
                for i, x in enumerate(left)
            ),
            (jnp.where(state.held == 0, tiles.AGENT, tiles.LADEN), state.cell),
        )

    def view(self, level: Level, state: State) -> jax.Array:
        """The agent's cell, and in a row below the keys that it holds."""
        keys = jnp.asarray(tiles.ITEMS[: self.keys], jnp.int32)
        return grid.shelve(super().view(level, state), keys, state.held)

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            keys=jnp.stack([grid.find(cells, tile) for tile in tiles.ITEMS[: self.keys]]),
            locks=jnp.stack([grid.find(cells, tile) for tile in tiles.LOCKS[: self.keys]]),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("heist", Heist)
