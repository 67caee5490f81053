"""Distances: how far the reward is from the start, and levels in which it is far."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import Env, Level
from envs.levels import LevelSet, Split, draw_levels
from envs.oracle import GAMMA, TIES, solve


@jax.jit
def distances(env: Env, levels: Level) -> jax.Array:
    """int32[L]: the steps of a best episode in each of the levels stacked on L, of a family whose
    dynamics are deterministic and whose only reward is 1 at the end; 0 where there is none to be
    had. It is read off the discounted value of the start, γ to the power of distance − 1."""

    def level(level: Level) -> jax.Array:
        table = env.tabulate(level)
        value = solve(table).v[table.start, -1]
        steps = 1 + jnp.log(jnp.maximum(value, TIES)) / jnp.log(GAMMA)
        return jnp.where(value > TIES, jnp.round(steps), 0).astype(jnp.int32)

    return jax.vmap(level)(levels)


def far_levels(
    env: Env, key: jax.Array, count: int, nearest: int, farthest: int, *, split: Split = "all"
) -> tuple[LevelSet, np.ndarray]:
    """Different levels whose distance lies within bounds.

    Args:
        env: a family, as for ``distances``.
        key: consumed.
        count: how many.
        nearest: steps, the fewest.
        farthest: steps, the most.
        split: as in ``draw_levels``.

    Returns:
        A LevelSet that holds them, and int32[count], their indices in it.

    Raises:
        ValueError: fewer than one level in 48 is of that kind, or the family has too few.
    """
    drawn = 6 * count
    while drawn <= 48 * count:
        levels = draw_levels(env, key, drawn, split=split)
        away = np.asarray(_in_blocks(env, levels, count))
        found = np.flatnonzero((nearest <= away) & (away <= farthest))
        if found.size >= count:
            return levels, found[:count].astype(np.int32)
        drawn *= 2
    raise ValueError(
        f"{type(env.bare).__name__} has too few levels of {nearest} to {farthest} steps: "
        f"{count} asked for, {found.size} found in {levels.ids.size} levels; raise size or "
        "density, or allow for shorter ones"
    )


def _in_blocks(env: Env, levels: LevelSet, block: int) -> np.ndarray:
    """int32[n]: the distances of a whole set, so many levels at a time."""
    size = levels.ids.shape[0]
    part = functools.partial(distances, env)
    return np.concatenate(
        [part(levels.levels(jnp.arange(i, i + block))) for i in range(0, size, block)]
    )
