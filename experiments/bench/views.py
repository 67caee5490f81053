"""Observations like the rivals': what our families show is made the same size as theirs."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import grid
from envs.core import Level, Outcome, State, static
from envs.wrappers import Wrapper


class Square(Wrapper):
    """A room shown as int32[v * v * 2]: for each cell of the square around the agent, row by row,
    what it is (0 floor, 1 wall or outside, 2 goal) and how (3), as XLand's v * v * 2 symbols."""

    view_size: int = static(7)
    size: int = static(1)

    @property
    def num_fields(self) -> int:
        """2 v²."""
        return 2 * self.view_size**2

    @property
    def num_symbols(self) -> int:
        """4."""
        return 4

    def observe(self, level: Level, state: State) -> jax.Array:
        """int32[2 v²]."""
        inside, cells = grid.window(state.cell, self.size, self.view_size)
        kind = jnp.where(inside & ~level.walls[cells], 0, 1)
        kind = jnp.where(inside & (cells == level.goal), 2, kind)
        return jnp.stack([kind, jnp.full_like(kind, 3)], axis=-1).ravel()


class Coordinates(Wrapper):
    """A room shown as int32[4]: row and column of the agent and of the goal, as gymnax does."""

    size: int = static(1)

    @property
    def num_fields(self) -> int:
        """4."""
        return 4

    @property
    def num_symbols(self) -> int:
        """One for each row or column."""
        return self.size

    def observe(self, level: Level, state: State) -> jax.Array:
        """int32[4]."""
        both = jnp.stack([state.cell, level.goal])
        return jnp.stack(jnp.divmod(both, self.size), axis=-1).ravel()


class Slip(Wrapper):
    """With probability ``chance`` another action, uniform over all, takes the chosen one's place,
    as in gymnax's FourRooms."""

    chance: float = 4 / 9

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        """One step; the key is consumed. One draw says whether and where to."""
        slip_key, step_key = jax.random.split(key)
        draw = jax.random.uniform(slip_key) / self.chance
        other = jnp.minimum(draw * self.num_actions, self.num_actions - 1).astype(jnp.int32)
        return self.env.step(step_key, level, state, jnp.where(draw < 1, other, action))
