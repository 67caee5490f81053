"""boulders: push them onto their targets; they cannot be pulled, so a level can be lost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room

MOST = 2**16  # states


class Level(struct.PyTreeNode):
    """Attributes:
    walls: bool[N] over the N = size² cells.
    boulders: int32[b], the cells where boulders lie at first, in ascending order.
    targets: int32[b], the cells where they belong, in ascending order.
    start: int32[], a cell.
    """

    walls: jax.Array
    boulders: jax.Array
    targets: jax.Array
    start: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    boulders: int32[b], where the boulders lie, in ascending order.
    """

    cell: jax.Array
    boulders: jax.Array


class Boulders(Room):
    """A warehouse after Sokoban (Thinking Rabbit, 1982): b boulders have to be pushed onto b hidden
    targets, whichever onto whichever. What is pushed into a corner stays there for good.

    Observation: int32[1 + b], the agent's cell and the cells of the boulders in ascending order;
    walls and targets are hidden. Actions: up, right, down, left; walls and the border block. Moving
    against a boulder pushes it one cell on, unless a wall, the border or another boulder is behind
    it: then it blocks. Reward: 1 as soon as every boulder lies on a target, which terminates the
    episode; 0 elsewhere.
    Levels: the boulders are uniform over the sets of b cells off the border, start and targets over
    the choices of different cells from the rest; every other cell is a wall with probability
    ``density``.

    Attributes:
        size: cells along an edge, at least 3.
        density: probability of a wall, in [0, 1).
        boulders: b. The states are size² ** (1 + b), which may be 65,536 at most.
    """

    hidden = (tiles.WALL, tiles.START, tiles.GOAL)

    size: int = static(5)
    density: float = 0.15
    boulders: int = static(1)

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(
                f"boulders size {self.size}: to push takes three in a row, use 3 or more"
            )
        if self.boulders < 1:
            raise ValueError(f"boulders boulders {self.boulders}: use 1 or more")
        inner = (self.size - 2) ** 2
        if self.boulders > inner:
            raise ValueError(
                f"boulders boulders {self.boulders}: size {self.size} has {inner} cells off the "
                "border; raise size or lower boulders"
            )
        if self.num_states > MOST:
            raise ValueError(
                f"boulders boulders {self.boulders}: at size {self.size} they can lie in "
                f"{self.num_states:,} ways, {MOST:,} can be solved; lower boulders or size"
            )

    @property
    def num_fields(self) -> int:
        return 1 + self.boulders

    @property
    def num_states(self) -> int:
        return self.size ** (2 * (1 + self.boulders))

    def level(self, key: jax.Array) -> Level:
        wall_key, boulder_key, place_key = jax.random.split(key, 3)
        row, column = jnp.divmod(jnp.arange(self.size**2, dtype=jnp.int32), self.size)
        off = jnp.minimum(row, column) > 0
        off &= jnp.maximum(row, column) < self.size - 1
        boulders = grid.choose_some(boulder_key, off, self.boulders)
        rest = jnp.ones_like(off).at[boulders].set(False)
        start, *targets = grid.choose_some(place_key, rest, 1 + self.boulders)
        targets = jnp.sort(jnp.stack(targets))
        walls = jax.random.bernoulli(wall_key, self.density, off.shape)
        walls = walls.at[boulders].set(False).at[targets].set(False).at[start].set(False)
        return Level(walls, jnp.sort(boulders), targets, start)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, level.boulders)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        ahead = grid.move(state.cell, action, self.size)
        behind = grid.move(ahead, action, self.size)
        pushed = state.boulders == ahead
        stuck = (behind == ahead) | level.walls[behind] | (state.boulders == behind).any()
        blocked = level.walls[ahead] | (pushed.any() & stuck)
        cell = jnp.where(blocked, state.cell, ahead)
        boulders = jnp.sort(jnp.where(pushed & ~blocked, behind, state.boulders))
        won = (boulders == level.targets).all()
        return Outcome(State(cell, boulders), won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        return jnp.append(state.cell, state.boulders)

    def encode(self, level: Level, state: State) -> jax.Array:
        """The cells are its digits; states with boulders out of order are never reached."""
        return (jnp.append(state.cell, state.boulders) * self._weights()).sum()

    def decode(self, level: Level, index: jax.Array) -> State:
        cells = index // self._weights() % self.size**2
        return State(cells[0], cells[1:])

    def _weights(self) -> jax.Array:
        return (self.size**2) ** jnp.arange(self.num_fields, dtype=jnp.int32)

    def symmetries(self, level: Level) -> Level:
        """The eight of the square."""
        image = jnp.asarray(grid.dihedral(self.size))
        return Level(
            walls=level.walls[jnp.argsort(image, axis=1)],
            boulders=jnp.sort(image[:, level.boulders], axis=1),
            targets=jnp.sort(image[:, level.targets], axis=1),
            start=image[:, level.start],
        )

    def draw(self, level: Level, state: State) -> jax.Array:
        """A boulder on a target covers it."""
        cells = jnp.arange(self.size**2)
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.START, level.start),
            (tiles.GOAL, jnp.isin(cells, level.targets)),
            (tiles.BOULDER, jnp.isin(cells, state.boulders)),
            (tiles.AGENT, state.cell),
        )

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            boulders=grid.find_all(cells, self.boulders, tiles.BOULDER),
            targets=grid.find_all(cells, self.boulders, tiles.GOAL),
            start=grid.find(cells, tiles.START, tiles.AGENT),
        )


register("boulders", Boulders)
