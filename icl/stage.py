"""The stage: episodes of many levels of several families side by side, as one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from agents.tokens import Tokens
from envs.core import Env, Episode, Level, TimeStep, advance, begin

Episodes = list[Episode]
"""Of each family, its running episodes, stacked on [c, N]: level, row."""


class Stage:
    """Every family's share is played by its own code, and the shares are set side by side: a choice
    among families for each row would run all of them for all rows.

    Args:
        envs: the environment of each share.
        levels: its levels, stacked on a leading axis; the shares together are the C levels.
        rows: N, episodes at the same time in each level.
    """

    def __init__(self, envs: Sequence[Env], levels: Sequence[Level], rows: int):
        counts = [jax.tree.leaves(level)[0].shape[0] for level in levels]
        self.envs, self.levels, self.rows, self.counts = envs, levels, rows, counts
        self.edges = [sum(counts[:i]) for i in range(len(counts) + 1)]

    @property
    def horizon(self) -> int:
        """T, of the longest episodes."""
        return max(env.horizon for env in self.envs)

    @property
    def shape(self) -> tuple[int, int]:
        """C and N."""
        return self.edges[-1], self.rows

    def begin(self, key: jax.Array) -> Episodes:
        """All episodes at their start; the key is consumed."""
        return [self._each(i, begin, key) for i in range(len(self.envs))]

    def advance(self, key: jax.Array, episodes: Episodes, action: jax.Array) -> Episodes:
        """One step of all of them under action int32[C, N]; the key is consumed."""
        return [
            self._each(i, advance, key, episode, action[self.edges[i] : self.edges[i + 1]])
            for i, episode in enumerate(episodes)
        ]

    def timestep(self, episodes: Episodes) -> TimeStep:
        """Their latest TimeStep[C, N]."""
        steps = [episode.timestep for episode in episodes]
        return jax.tree.map(lambda *x: jnp.concatenate(x), *steps)

    def chosen(self, where: jax.Array, first: Episodes, second: Episodes) -> Episodes:
        """``first`` where bool[C, N] holds, ``second`` elsewhere."""

        def pick(i: int, x: jax.Array, y: jax.Array) -> jax.Array:
            own = where[self.edges[i] : self.edges[i + 1]]
            return jnp.where(own.reshape(*own.shape, *(1,) * (x.ndim - 2)), x, y)

        return [
            jax.tree.map(lambda x, y, i=i: pick(i, x, y), one, two)
            for i, (one, two) in enumerate(zip(first, second, strict=True))
        ]

    def _each(
        self, index: int, function: Callable[..., Episode], key: jax.Array, *rest: Any
    ) -> Episode:
        """``function(env, key, level, …)`` for every row of every level of one family."""

        def row(key: jax.Array, level: Level, *rest: Any) -> Episode:
            return function(self.envs[index], key, level, *rest)

        rows = jax.vmap(row, in_axes=(0, None, *(0,) * len(rest)))
        shape = (self.counts[index], self.rows)
        keys = jax.random.split(jax.random.fold_in(key, index), shape)
        return jax.vmap(rows)(keys, self.levels[index], *rest)


def tokens_after(action: jax.Array, after: TimeStep) -> Tokens:
    """What is read next: what came of an action int32[...], and what is seen now."""
    no = jnp.zeros(action.shape, bool)
    return Tokens(
        observation=after.observation,
        action=action,
        reward=after.reward,
        terminated=after.terminated,
        successor=after.observation,
        start=no,
        cut=no,
    )
