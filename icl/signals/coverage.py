"""Coverage: a task without one right answer, and the noisy judge who compares its runs.

A run is the better, the more of a room it has been in. Nobody says how much that is: of two runs of
a group a judge says which covers more, and errs the more often the less they differ. That is the
part that open-ended tasks have in Omni-Thinker (arXiv 2507.14783), whose judge is a language model
that compares two answers.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs import grid, tiles
from envs.core import Outcome, State
from envs.room import Level, Room
from envs.table import Table


class Open(Room):
    """A room without a goal: no step is paid, and an episode ends with the horizon. Its levels are
    those of any other room; it is ``icl.signals.coverage.judged`` who says what a run earned."""

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        """One transition that pays nothing and does not end."""
        moved = super().step(key, level, state, action)
        return Outcome(moved.state, jnp.float32(0.0), jnp.zeros((), bool))

    def draw(self, level: Level, state: State) -> jax.Array:
        """As of any room, without the goal."""
        return grid.paint(
            self.size,
            (tiles.WALL, level.walls),
            (tiles.START, level.start),
            (tiles.AGENT, state.cell),
        )


def reached(table: Table) -> jax.Array:
    """bool[S]: the states that some sequence of actions leads to from the first one, which is among
    them."""
    states = table.target.shape[0]
    ways = (table.probability > 0) & ~table.terminated

    def spread(_, met: jax.Array) -> jax.Array:
        from_met = (ways & met[:, None, None]).ravel()
        return met.at[table.target.ravel()].max(from_met)

    return jax.lax.fori_loop(0, states, spread, jnp.arange(states) == table.start)


def visited(state: jax.Array, states: int) -> jax.Array:
    """int32[...]: how many different numbers below ``states`` are among int32[..., T]."""
    return (state[..., None] == jnp.arange(states)).any(-2).sum(-1).astype(jnp.int32)


def judged(key: jax.Array, covered: jax.Array, temperature: float | jax.Array) -> jax.Array:
    """float32[..., N]: the share of the other runs of its group that each run was preferred to.

    Every pair of runs is compared once; the judge prefers the first with probability
    sigmoid((c_first − c_second) / temperature), as in Bradley and Terry (Biometrika 39, 1952).
    So the rewards of a group have the mean 1/2.

    Args:
        key: consumed.
        covered: float32[..., N], how much each run covers; N is 2 or more.
        temperature: above 0; the higher, the more the judge errs.
    """
    runs = covered.shape[-1]
    lead = (covered[..., :, None] - covered[..., None, :]) / temperature
    says = jax.random.uniform(key, lead.shape) < jax.nn.sigmoid(lead)
    once = jnp.triu(says, 1)
    wins = once | jnp.tril(~jnp.swapaxes(once, -1, -2), -1)
    return wins.sum(-1).astype(jnp.float32) / (runs - 1)
