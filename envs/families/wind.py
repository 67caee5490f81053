"""wind: an open field where cells have winds that carry the agent off, now and then."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room, State

WINDS = (tiles.WIND_UP, tiles.WIND_RIGHT, tiles.WIND_DOWN, tiles.WIND_LEFT)


class Level(struct.PyTreeNode):
    """Attributes:
    wind: int32[N] over the N = size² cells; 0 calm, 1 up, 2 right, 3 down, 4 left.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    wind: jax.Array
    start: jax.Array
    goal: jax.Array


class Wind(Room):
    """A field where the wind blows in gusts: the windy gridworld of Sutton and Barto
    (Reinforcement Learning, 2nd edition, 2018, example 6.5 and exercise 6.10), but each cell has a
    wind of its own. Winds and goal are hidden.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left. With probability
    ``gust`` a step is the action's plus one cell along the wind of the cell that it leaves,
    both at once; else it is the action's. The border takes the part of a step that would cross it.
    Reward: 1 where a step ends on the goal, which terminates the episode; 0 elsewhere.
    Levels: start and goal are uniform over the pairs of different cells, and calm; every other cell
    has a wind with probability ``density``, its direction uniform over the four.

    Attributes:
        size: cells along an edge.
        density: probability of a wind, in [0, 1].
        gust: probability that a wind blows at a step, in [0, 1].
    """

    hidden = (tiles.START, tiles.GOAL, *WINDS)

    size: int = static(9)
    density: float = 0.5
    gust: float = 0.7

    def level(self, key: jax.Array) -> Level:
        pair_key, windy_key, side_key = jax.random.split(key, 3)
        cells = jnp.arange(self.size**2, dtype=jnp.int32)
        start, goal = grid.choose_pair(pair_key, cells >= 0)
        windy = jax.random.bernoulli(windy_key, self.density, cells.shape)
        windy &= (cells != start) & (cells != goal)
        side = jax.random.randint(side_key, cells.shape, 0, len(WINDS))
        return Level(jnp.where(windy, side + 1, 0), start, goal)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        return self._carried(level, state, action, jax.random.bernoulli(key, self.gust))

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        gust = jnp.float32(self.gust)
        blows = jnp.array([True, False])
        each = jax.vmap(lambda b: self._carried(level, state, action, b))(blows)
        return jnp.stack([gust, 1 - gust]), each

    def _carried(self, level: Level, state: State, action: jax.Array, blows: jax.Array) -> Outcome:
        """The step when the wind blows, bool[], or does not."""
        wind = level.wind[state.cell]
        moves = jnp.asarray(grid.MOVES)
        push = jnp.where(blows & (wind > 0), moves[wind - 1], 0)
        cell = grid.shift(state.cell, moves[action] + push, self.size)
        won = cell == level.goal
        return Outcome(State(cell), won.astype(jnp.float32), won)

    def symmetries(self, level: Level) -> Level:
        """The eight of the square; they turn the winds, too."""
        image = jnp.asarray(grid.dihedral(self.size))
        turn = jnp.asarray(np.pad(grid.turns() + 1, ((0, 0), (1, 0))))
        wind = jnp.take_along_axis(turn, level.wind[jnp.argsort(image, axis=1)], axis=1)
        return Level(wind, image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> jax.Array:
        return grid.paint(
            self.size,
            (jnp.asarray(WINDS)[level.wind - 1], level.wind > 0),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.cell),
        )

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        wind = np.argmax(cells[:, None] == np.array([-1, *WINDS]), axis=1)
        return Level(
            wind=jnp.asarray(wind, jnp.int32),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("wind", Wind)
