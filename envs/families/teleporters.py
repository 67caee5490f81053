"""teleporters: a dark room in which some cells lead elsewhere."""

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
    link: int32[N], where entering a cell leads: to itself, or to the partner of a pad.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    walls: jax.Array
    link: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    """

    cell: jax.Array


class Teleporters(Env):
    """A room with a hidden goal and pairs of pads: entering one puts the agent on its partner.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks, and a blocked move does not use the pad under the agent. Reward: 1 on reaching the
    goal, which terminates the episode; 0 elsewhere. Levels: 2 * ``pairs`` pads, the start and the
    goal are different cells drawn uniformly; every other cell is a wall with probability
    ``density``.

    Attributes:
        size: cells along an edge.
        pairs: pairs of pads.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(7)
    pairs: int = static(4)
    density: float = 0.2

    def check(self) -> None:
        if self.size**2 < 2 * self.pairs + 2:
            raise ValueError(
                f"teleporters size {self.size}: {self.pairs} pairs of pads, start and goal need "
                f"{2 * self.pairs + 2} cells; raise size or lower pairs"
            )

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
        wall_key, place_key = jax.random.split(key)
        cells = jax.random.permutation(place_key, jnp.arange(self.size**2, dtype=jnp.int32))
        pads, start, goal = cells[: 2 * self.pairs], cells[-1], cells[-2]
        walls = jax.random.bernoulli(wall_key, self.density, (self.size**2,))
        walls = walls.at[pads].set(False).at[start].set(False).at[goal].set(False)
        link = jnp.arange(self.size**2, dtype=jnp.int32).at[pads].set(jnp.roll(pads, self.pairs))
        return Level(walls, link, start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        ahead = grid.move(state.cell, action, self.size)
        blocked = level.walls[ahead] | (ahead == state.cell)
        cell = jnp.where(blocked, state.cell, level.link[ahead])
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
        link = jnp.take_along_axis(image, level.link[origin], axis=1)
        return Level(level.walls[origin], link, image[:, level.start], image[:, level.goal])

    def draw(self, level: Level, state: State) -> str:
        marks = {int(c): "#" for c in np.flatnonzero(level.walls)}
        letters = iter("abcdefghijklmnopqrstuvwxyz")
        for cell, partner in enumerate(np.asarray(level.link).tolist()):
            if cell < partner:
                marks |= dict.fromkeys((cell, partner), next(letters))
        marks |= {int(level.start): "S", int(level.goal): "G", int(state.cell): "@"}
        return grid.text(self.size, marks)


register("teleporters", Teleporters)
