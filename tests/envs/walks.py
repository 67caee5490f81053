"""Episodes of one environment, run through the core, for the contract test to look at."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import Env, Episode, advance, begin
from envs.oracle import solve
from tests.envs.worlds import QUICK, raw_levels

COUNT, WALKS, AFTER = 32, 4, 3  # levels, episodes of each, steps beyond the horizon


class World(NamedTuple):
    """One environment, some raw levels [L], and what happened there.

    Attributes:
        env: bare or wrapped.
        levels: stacked, L = COUNT; solvable or not.
        optimal: as ``optima`` returns it.
        actions: int32[L, W, T + AFTER].
        episodes: stacked, [L, W, T + AFTER + 1], the first one included.
    """

    env: Env
    levels: Any
    optimal: jax.Array
    actions: np.ndarray
    episodes: Episode


@jax.jit
def optima(env: Env, levels: Any) -> jax.Array:
    """bool[L, S, A]: the optimal actions; all actions where states cannot be enumerated."""
    if not env.num_states:
        return jnp.ones((COUNT, 1, env.num_actions), bool)
    return jax.vmap(lambda level: solve(env.tabulate(level)).optimal)(levels)


@functools.partial(jax.jit, compiler_options=QUICK)
def walk(env: Env, key: jax.Array, levels: Any, optimal: jax.Array) -> tuple[jax.Array, Episode]:
    """Actions and episodes, as in World; the play is better than random."""

    def one(key, level, optimal):
        def step(episode, key):
            index = env.encode(level, episode.state) if env.num_states else 0
            noise = jax.random.uniform(key, optimal.shape[1:], maxval=2.5)
            action = jnp.argmax(optimal[index].astype(jnp.float32) + noise).astype(jnp.int32)
            after = advance(env, key, level, episode, action)
            return after, (action, after)

        first = begin(env, key, level)
        _, (actions, rest) = jax.lax.scan(step, first, jax.random.split(key, env.horizon + AFTER))
        return actions, jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    keys = jax.random.split(key, (COUNT, WALKS))
    return jax.vmap(jax.vmap(one, (0, None, None)))(keys, levels, optimal)


def walked(env: Env) -> World:
    """The environment with levels and episodes of its own."""
    levels = raw_levels(env, 0, COUNT)
    optimal = optima(env, levels)
    actions, episodes = jax.device_get(walk(env, jax.random.key(1), levels, optimal))
    return World(env, levels, optimal, actions, episodes)
