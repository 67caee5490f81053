"""The world that signals are graded in: levels of one family, and what is known of them exactly."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Env, Level
from envs.oracle import optimal_return, random_return, solve
from envs.table import Table as Dynamics
from envs.wrappers import Sticky, Wrapper
from icl.signals.lanes import Table
from icl.signals.truth import tables

TURNS = 32  # batches of draws before a family is given up


class World(struct.PyTreeNode):
    """Attributes:
    env: the family, wrappers included; it can be enumerated.
    levels: stacked on L.
    dynamics: the transition tables of the levels, stacked on L.
    """

    env: Env
    levels: Level
    dynamics: Dynamics

    def leaning(self, skill: float | jax.Array, habit: float | jax.Array = 0.0) -> Table:
        """A policy that plays an action of the optimal set (discounted values, envs/oracle.py)
        e^skill times as often as one that is not in it: at 0 all are alike, and the higher the
        surer. Where several are optimal, it plays the first of them e^habit times as often as the
        others: it is sure of what does not matter."""

        def level(dynamics: Dynamics) -> jax.Array:
            best = solve(dynamics).optimal
            first = best & (jnp.cumsum(best, -1) == 1) & (best.sum(-1, keepdims=True) > 1)
            return skill * best + habit * first

        return Table(jax.vmap(level)(self.dynamics))


def world(env: Env, levels: Level) -> World:
    """Of levels stacked on L.

    Raises:
        ValueError: the states of the family cannot be enumerated, so nothing is known exactly; or
            hands stick inside another wrapper, where lanes do not see what was executed.
    """
    if not env.num_states:
        raise ValueError(
            f"{type(env.bare).__name__} has no oracle: its states cannot be enumerated, so credit "
            "cannot be graded there; use a family that `levelburst envs` lists with states"
        )
    inner = env
    while isinstance(inner, Wrapper):
        inner = inner.env
        if isinstance(inner, Sticky):
            raise ValueError(
                f"Sticky lies inside {type(env).__name__}, so what was executed is not seen; put "
                "Sticky outermost"
            )
    return World(env, levels, tables(env, levels))


def drawn(env: Env, key: jax.Array, count: int) -> Level:
    """Levels [count] that can be won: the best policy earns more than random play by the family's
    margin. Equal ones may be among them: nothing is held out here. The key is consumed.

    Raises:
        ValueError: hardly any level can be won.
    """

    @jax.jit
    def look(env: Env, keys: jax.Array) -> tuple[Level, jax.Array]:
        levels = jax.vmap(env.level)(keys)

        def lead(dynamics: Dynamics) -> jax.Array:
            return optimal_return(dynamics, env.horizon) - random_return(dynamics, env.horizon)

        return levels, jax.vmap(lead)(tables(env, levels)) >= env.margin

    parts, found = [], 0
    for turn in range(TURNS):
        keys = jax.random.split(jax.random.fold_in(key, turn), count)
        levels, good = look(env, keys)
        index = np.flatnonzero(good)
        parts.append(jax.tree.map(lambda x, i=index: x[i], levels))
        found += len(index)
        if found >= count:
            return jax.tree.map(lambda *x: jnp.concatenate(x)[:count], *parts)
    raise ValueError(
        f"{type(env.bare).__name__}: {found} of {TURNS * count} levels can be won within "
        f"{env.horizon} steps by the margin {env.margin:g}; raise horizon, or lower margin"
    )
