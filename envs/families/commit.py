"""commit: explore, then answer; one answer ends the episode, and it takes a clue to be right."""

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
    walls: bool[N] over the N = size² cells.
    start: int32[], a cell.
    clue: int32[], another cell.
    answer: int32[], the right one of the answers, the first is 0.
    """

    walls: jax.Array
    start: jax.Array
    clue: jax.Array
    answer: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    seen: int32[], 1 once it has been where the clue lies, else 0.
    """

    cell: jax.Array
    seen: jax.Array


class Commit(Env):
    """A dark room in which a clue tells the right answer: one answer, and the episode is over.

    Observation: int32[2], the agent's cell and N + (0 before the clue has been seen, 1 + the right
    answer from then on). Actions: up, right, down, left (a wall or the border blocks; entering the
    clue's cell shows it), then the answers. Reward: 1 for the right answer if the clue has been
    seen; any answer terminates the episode, and a wrong or an unfounded one pays 0.
    Levels: every cell is a wall with probability ``density``; start and clue are uniform over the
    pairs of different free cells; the right answer is uniform.

    Attributes:
        size: cells along an edge.
        answers: how many, 2 to 8.
        density: probability of a wall, in [0, 1).
    """

    size: int = static(6)
    answers: int = static(4)
    density: float = 0.2

    def check(self) -> None:
        if self.size < 2:
            raise ValueError(f"commit size {self.size}: use 2 or more")
        if not 2 <= self.answers <= len(tiles.PADS):
            raise ValueError(f"commit answers {self.answers}: use 2 to {len(tiles.PADS)}")

    @property
    def num_actions(self) -> int:
        return 4 + self.answers

    @property
    def num_fields(self) -> int:
        return 2

    @property
    def num_symbols(self) -> int:
        return self.size**2 + 1 + self.answers

    @property
    def num_states(self) -> int:
        return 2 * self.size**2

    def level(self, key: jax.Array) -> Level:
        wall_key, pair_key, answer_key = jax.random.split(key, 3)
        walls = jax.random.bernoulli(wall_key, self.density, (self.size**2,))
        start, clue = grid.choose_pair(pair_key, ~walls)
        return Level(walls, start, clue, jax.random.randint(answer_key, (), 0, self.answers))

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        walks = action < 4
        ahead = grid.move(state.cell, jnp.minimum(action, 3), self.size)
        cell = jnp.where(walks & ~level.walls[ahead], ahead, state.cell)
        seen = jnp.maximum(state.seen, (cell == level.clue).astype(jnp.int32))
        right = (action == 4 + level.answer) & (state.seen == 1)
        return Outcome(State(cell, seen), right.astype(jnp.float32), ~walks)

    def observe(self, level: Level, state: State) -> jax.Array:
        told = jnp.where(state.seen == 1, 1 + level.answer, 0)
        return jnp.stack([state.cell, self.size**2 + told])

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell * 2 + state.seen

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index // 2, index % 2)

    def symmetries(self, level: Level) -> Level:
        """The eight of the square. Which of the answers is right is a name, and left out."""
        image = jnp.asarray(grid.dihedral(self.size))
        origin = jnp.argsort(image, axis=1)
        return Level(
            walls=level.walls[origin],
            start=image[:, level.start],
            clue=image[:, level.clue],
            answer=jnp.zeros(8, jnp.int32),
        )

    def draw(self, level: Level, state: State) -> jax.Array:
        """The room, with the letter of the right answer where the clue lies."""
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.START, level.start),
            (jnp.asarray(tiles.PADS, jnp.int32)[level.answer], level.clue),
            (jnp.where(state.seen == 0, tiles.AGENT, tiles.LADEN), state.cell),
        )

    def view(self, level: Level, state: State) -> jax.Array:
        """The agent alone; once it has seen the clue it is shown by the letter of the answer."""
        told = jnp.asarray(tiles.PADS, jnp.int32)[level.answer]
        here = jnp.where(state.seen == 0, tiles.AGENT, told)
        return grid.paint(self.size, (here, state.cell))

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        clue = grid.find(cells, *tiles.PADS[: self.answers])
        return Level(
            walls=jnp.asarray(cells == tiles.WALL),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            clue=clue,
            answer=jnp.int32(tiles.PADS.index(int(cells[int(clue)]))),
        )


register("commit", Commit)
