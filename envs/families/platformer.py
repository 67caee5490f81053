"""platformer: seen from the side, with gravity, jumps and spikes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import grid, tiles
from envs.core import Outcome, static
from envs.registry import register
from envs.room import Room

LEFT, RIGHT, JUMP, STAY = range(4)  # actions
ABOVE, ASIDE, BELOW, BESIDE = range(4)  # directions, in the order of grid.MOVES


class Level(struct.PyTreeNode):
    """Attributes:
    solid: bool[N] over the N = size² cells: ground and platforms.
    spikes: bool[N], deadly cells.
    start: int32[], a cell.
    goal: int32[], another cell.
    """

    solid: jax.Array
    spikes: jax.Array
    start: jax.Array
    goal: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    cell: int32[], where the agent is.
    lift: int32[], how many steps it goes on rising, in [0, jump - 1].
    """

    cell: jax.Array
    lift: jax.Array


class Platformer(Room):
    """Platforms over ground with gaps, seen from the side, after Procgen's CoinRun (Cobbe et al.,
    arXiv 1912.01588): the way up takes jumps, and spikes kill. The map is hidden.

    Observation: int32[2], the agent's cell and N + its ``lift``, the steps that it goes on rising.
    Actions: left, right, jump, stay. A step is, in this order: (1) jump, with something solid or
    the lower border right below, sets lift to ``jump``; (2) left and right move one cell aside,
    also in the air, unless a solid cell or the border is there; (3) with lift above 0 the agent
    rises by a cell and lift falls by 1, or where a solid cell or the border is above it stays and
    lift is 0; with lift 0 it falls by a cell unless it stands on something solid or on the border.
    Reward: 1 where a step ends on the goal; 0 elsewhere. Ending a step on the goal or on spikes
    terminates the episode.
    Levels: tiers are the bottom row and every second row above it, the top row excepted. The start
    is uniform over the cells right above those of a tier, the goal over those of them that are
    ``size`` // 2 or more columns away from it; the cells below the two are solid, every other cell
    of a tier is with probability ``cover``. Cells of the bottom row that are not solid hold spikes;
    so does, with probability ``density``, every other cell right above a solid cell of a tier.

    Attributes:
        size: cells along an edge, at least 3.
        density: probability of spikes on a platform, in [0, 1).
        cover: probability that a cell of a tier is solid, in (0, 1].
        jump: cells that a jump rises; at least 2 lead from tier to tier.
    """

    hidden = (tiles.WALL, tiles.SPIKES, tiles.START, tiles.GOAL)

    size: int = static(8)
    density: float = 0.15
    cover: float = 0.7
    jump: int = static(2)

    def check(self) -> None:
        if self.size < 3:
            raise ValueError(f"platformer size {self.size}: use 3 or more")
        if not 1 <= self.jump <= self.size:
            raise ValueError(
                f"platformer jump {self.jump}: at size {self.size} use 1 to {self.size}"
            )

    @property
    def num_fields(self) -> int:
        return 2

    @property
    def num_symbols(self) -> int:
        return self.size**2 + self.jump

    @property
    def num_states(self) -> int:
        return self.size**2 * self.jump

    def level(self, key: jax.Array) -> Level:
        solid_key, spike_key, start_key, goal_key = jax.random.split(key, 4)
        cells = jnp.arange(self.size**2, dtype=jnp.int32)
        row, column = jnp.divmod(cells, self.size)
        tier = ((self.size - 1 - row) % 2 == 0) & (row > 0)
        places = jnp.roll(tier, -self.size)
        start = grid.choose(start_key, places)
        far = jnp.abs(column - start % self.size) >= self.size // 2
        goal = grid.choose(goal_key, places & far)
        taken = (cells == start) | (cells == goal)
        solid = jax.random.bernoulli(solid_key, self.cover, cells.shape)
        solid = tier & (solid | jnp.roll(taken, self.size))
        spikes = jax.random.bernoulli(spike_key, self.density, cells.shape)
        spikes &= jnp.roll(solid, -self.size) & ~taken
        return Level(solid, spikes | ((row == self.size - 1) & ~solid), start, goal)

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(level.start, jnp.int32(0))

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        def way(cell: jax.Array, direction: int | jax.Array) -> tuple[jax.Array, jax.Array]:
            """The cell in a direction, and bool[]: one can go there."""
            ahead = grid.move(cell, jnp.asarray(direction), self.size)
            return ahead, (ahead != cell) & ~level.solid[ahead]

        _, falls = way(state.cell, BELOW)
        lift = jnp.where((action == JUMP) & ~falls, self.jump, state.lift)
        aside, free = way(state.cell, jnp.where(action == LEFT, BESIDE, ASIDE))
        cell = jnp.where(free & (action <= RIGHT), aside, state.cell)
        (above, clear), (below, falls) = way(cell, ABOVE), way(cell, BELOW)
        rises = lift > 0
        cell = jnp.where(rises & clear, above, jnp.where(~rises & falls, below, cell))
        lift = jnp.where(rises & clear, lift - 1, 0)
        won = cell == level.goal
        return Outcome(State(cell, lift), won.astype(jnp.float32), won | level.spikes[cell])

    def observe(self, level: Level, state: State) -> jax.Array:
        return jnp.stack([state.cell, self.size**2 + state.lift])

    def encode(self, level: Level, state: State) -> jax.Array:
        return state.cell * self.jump + state.lift

    def decode(self, level: Level, index: jax.Array) -> State:
        return State(index // self.jump, index % self.jump)

    def symmetries(self, level: Level) -> Level:
        """Gravity leaves the mirror image only, with left and right exchanged."""
        cells = np.arange(self.size**2, dtype=np.int32).reshape(self.size, self.size)
        image = jnp.asarray(np.stack([cells.ravel(), cells[:, ::-1].ravel()]))
        return Level(
            level.solid[image], level.spikes[image], image[:, level.start], image[:, level.goal]
        )

    def draw(self, level: Level, state: State) -> jax.Array:
        return grid.paint(
            self.size,
            (tiles.WALL, level.solid),
            (tiles.SPIKES, level.spikes),
            (tiles.START, level.start),
            (tiles.GOAL, level.goal),
            (tiles.AGENT, state.cell),
        )

    def view(self, level: Level, state: State) -> jax.Array:
        """The agent's cell, and in a row below an arrow for each step that it goes on rising."""
        arrows = jnp.full(self.jump - 1, tiles.WIND_UP, jnp.int32)
        return grid.shelve(super().view(level, state), arrows, state.lift)

    def from_tiles(self, picture: np.ndarray) -> Level:
        cells = grid.read(picture, self.size)
        return Level(
            solid=jnp.asarray(cells == tiles.WALL),
            spikes=jnp.asarray(cells == tiles.SPIKES),
            start=grid.find(cells, tiles.START, tiles.AGENT),
            goal=grid.find(cells, tiles.GOAL),
        )


register("platformer", Platformer)
