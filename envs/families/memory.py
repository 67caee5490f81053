"""memory: a cue at the entrance, a corridor without it, and a choice that is final."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room


class Level(struct.PyTreeNode):
    """Attributes:
    walls: bool[N] over the N = size² cells.
    start: int32[], a cell.
    doors: int32[c], cells; door i is the right one after cue i.
    """

    walls: jax.Array
    start: jax.Array
    doors: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent stands.
    cue: int32[], 0 before it is drawn, then 1 + its number, in [0, c].
    """

    cell: jax.Array
    cue: jax.Array


class Memory(Room):
    """A corridor to a hall with c doors, after the T-maze (Bakker, NeurIPS 2001) and MiniGrid's
    Memory (Chevalier-Boisvert et al., arXiv 2306.13831). Which door pays depends on a cue that is
    drawn anew for every episode and can be seen at the entrance only.

    Observation: int32[2], the agent's cell and N + what it sees of the cue: 1 + the cue's number
    (0 to c - 1) while it stands on the start after the first step, 0 else. Actions: up, right,
    down, left; walls and the border block. The first action, whichever it is, moves nothing and
    draws the cue, uniform over the c. Reward: 1 on entering the door that the level pairs with
    the cue; 0 elsewhere. Entering any door terminates the episode.
    Levels: the left column is wall, the right one wall and c doors at different cells, uniform over
    the ordered choices; the column beside it, the hall, is free. The columns between hold the
    corridor: it leaves each to the right at a row of its own, uniform, and runs up or down in
    between; the start is in the first of them, where it is left. Any other cell of these columns
    is a wall with probability ``density``.

    Attributes:
        size: cells along an edge, at least 4.
        density: probability of a wall beside the corridor, in [0, 1].
        cues: c, at least 2, at most 8 and ``size``.
    """

    hidden = (tiles.WALL, tiles.START, tiles.UNSEEN, *tiles.PADS)

    size: int = static(7)
    density: float = 0.7
    cues: int = static(2)

    def check(self) -> None:
        if self.size < 4:
            raise ValueError(f"memory size {self.size}: use 4 or more")
        most = min(self.size, len(tiles.PADS))
        if not 2 <= self.cues <= most:
            raise ValueError(f"memory cues {self.cues}: at size {self.size} use 2 to {most}")

    @property
    def num_fields(self) -> int:
        return 2

    @property
    def num_symbols(self) -> int:
        return self.size**2 + self.cues + 1

    @property
    def num_states(self) -> int:
        return self.size**2 * (self.cues + 1)

    def level(self, key: jax.Array) -> Level:
        exit_key, door_key, wall_key = jax.random.split(key, 3)
        row, column = jnp.divmod(jnp.arange(self.size**2, dtype=jnp.int32), self.size)
        first, hall = 1, self.size - 2
        exits = jax.random.randint(exit_key, (hall - first,), 0, self.size)  # of each column
        entry, leave = (exits[jnp.clip(column - c, 0, hall - 2)] for c in (first + 1, first))
        corridor = (row >= jnp.minimum(entry, leave)) & (row <= jnp.maximum(entry, leave))
        scattered = jax.random.bernoulli(wall_key, self.density, row.shape)
        inner = (column >= first) & (column < hall)
        walls = jnp.where(inner, ~corridor & scattered, column != hall)
        rows = jax.random.permutation(door_key, jnp.arange(self.size, dtype=jnp.int32))
        doors = rows[: self.cues] * self.size + self.size - 1
        return Level(walls.at[doors].set(False), exits[0] * self.size + first, doors)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        return self._after(level, state, action, jax.random.randint(key, (), 1, self.cues + 1))

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        """One for each cue that might be drawn; they are the same once one has been."""
        cues = jnp.arange(1, self.cues + 1, dtype=jnp.int32)
        after = jax.vmap(lambda cue: self._after(level, state, action, cue))(cues)
        return jnp.full(self.cues, 1 / self.cues), after

    def _after(self, level: Level, state: State, action: jax.Array, drawn: jax.Array) -> Outcome:
        """What follows where ``drawn`` int32[] is the cue if there is none yet."""
        looks = state.cue == 0
        ahead = grid.move(state.cell, action, self.size)
        cell = jnp.where(looks | level.walls[ahead], state.cell, ahead)
        cue = jnp.where(looks, drawn, state.cue)
        won = cell == level.doors[cue - 1]
        return Outcome(State(cell, cue), won.astype(jnp.float32), (cell == level.doors).any())

    def observe(self, level: Level, state: State) -> jax.Array:
        seen = jnp.where(state.cell == level.start, state.cue, 0)
        return jnp.stack([state.cell, self.size**2 + seen])

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell * (self.cues + 1) + state.cue

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index // (self.cues + 1), index % (self.cues + 1))

    def symmetries(self, level: Level) -> Level:
        """The eight of the square, and the names of the cues: doors in order."""
        image = jnp.asarray(grid.dihedral(self.size))
        walls = level.walls[jnp.argsort(image, axis=1)]
        return Level(walls, image[:, level.start], jnp.sort(image[:, level.doors], axis=1))

    def draw(self, level: Level, state: State) -> jax.Array:
        """The cue is shown on the left of the start, with the letter of the door that it means."""
        letters = jnp.asarray((tiles.UNSEEN, *tiles.PADS), jnp.int32)
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            *((tiles.PADS[i], level.doors[i]) for i in range(self.cues)),
            (letters[state.cue], level.start - 1),
            (tiles.START, level.start),
            (tiles.AGENT, state.cell),
        )

    def view(self, level: Level, state: State) -> jax.Array:
        """The agent's cell, and the cue where it is seen."""
        letters = jnp.asarray((tiles.FLOOR, *tiles.PADS), jnp.int32)
        seen = jnp.where(state.cell == level.start, state.cue, 0)
        return grid.paint(self.size, (letters[seen], level.start - 1), (tiles.AGENT, state.cell))

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        start = grid.find(cells, tiles.START, tiles.AGENT)
        cue = grid.find(cells, tiles.UNSEEN)
        if cue + 1 != start or start % self.size == 0:
            raise ValueError(
                "the cue '?' of the level is elsewhere; put it on the left of the start"
            )
        return Level(
            walls=jnp.asarray(np.isin(cells, (tiles.WALL, tiles.UNSEEN))),
            start=start,
            doors=jnp.stack([grid.find(cells, tile) for tile in tiles.PADS[: self.cues]]),
        )


register("memory", Memory)
