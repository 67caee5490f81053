"""Variants: demonstrations that were altered, to see what in them a model makes use of.

Each takes the experts' trajectories of one set of levels and gives them in another form; names and
meanings stand in icl/conditions.py. ``suboptimal`` is no alteration but another policy's play, and
``as-trained`` and ``reordered`` are arrangements: those three are made in icl/demonstrations.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp

from envs.rollout import Trajectories

CORRUPTION = 0.25  # probability that an action shown is replaced
EPSILON = 0.5  # probability that the suboptimal expert plays at random

Variant = Callable[[jax.Array, Trajectories, int], Trajectories]
"""(key, Trajectories[n, E, T], A) -> Trajectories[n, E, T]; the key is consumed."""


def foreign(key: jax.Array, groups: Trajectories, num_actions: int) -> Trajectories:
    """Every level is shown the trajectories of the next one."""
    return jax.tree.map(lambda x: jnp.roll(x, 1, axis=0), groups)


def swapped(key: jax.Array, groups: Trajectories, num_actions: int) -> Trajectories:
    """Every level's first trajectory is that of the next level."""
    other = foreign(key, groups, num_actions)
    first = jnp.arange(groups.valid.shape[1]) == 0

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        if x.ndim < 3:  # of the level, not of its trajectories
            return x
        return jnp.where(first.reshape(1, -1, *(1,) * (x.ndim - 2)), y, x)

    return jax.tree.map(pick, groups, other)


def truncated(key: jax.Array, groups: Trajectories, num_actions: int) -> Trajectories:
    """The first half of each trajectory, rounded up."""
    length = groups.valid.sum(-1, keepdims=True)
    early = jnp.arange(groups.valid.shape[2]) < (length + 1) // 2
    return groups.replace(valid=groups.valid & early)


def corrupted(key: jax.Array, groups: Trajectories, num_actions: int) -> Trajectories:
    """Each action is replaced by a uniformly random one with probability ``CORRUPTION``; what it
    led to stays."""
    coin_key, action_key = jax.random.split(key)
    shape = groups.action.shape
    replaced = jax.random.bernoulli(coin_key, CORRUPTION, shape)
    noise = jax.random.randint(action_key, shape, 0, num_actions)
    return groups.replace(action=jnp.where(replaced, noise, groups.action))


def relabelled(key: jax.Array, groups: Trajectories, num_actions: int) -> Trajectories:
    """Every action a becomes (a + s) mod A with one s in 1 … A - 1 a level: whoever copies the
    context plays another action than the expert at every step."""
    shift = jax.random.randint(key, (groups.action.shape[0], 1, 1), 1, max(num_actions, 2))
    return groups.replace(action=(groups.action + shift) % num_actions)


VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "foreign": foreign,
        "swapped": swapped,
        "truncated": truncated,
        "corrupted": corrupted,
        "relabelled": relabelled,
    }
)
