"""Demonstrations: what a k-shot test shows before the agent acts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agents.policy import Oracle
from envs.core import Level
from envs.levels import LevelSet
from envs.rollout import Trajectories, rollout
from icl.arms import Arm
from icl.contexts import Context, arrange

Families = tuple[tuple[LevelSet, ...], ...]
"""The level sets of each family, one a split, all behind one interface. The sets of a family share
its environment and its expert."""


class Shown(struct.PyTreeNode):
    """Test levels and what is shown of them; S is the number of sets, D of kinds
    of demonstrations (icl/conditions.py).

    Attributes:
        levels: of each family, its levels stacked on [split, n].
        contexts: Context[S, D, n, K * T].
        lengths: int32[S, D, n, K + 1], the length of the first k slots of each context.
        references: float32[S, n, 2], exact expected returns of random play and of the optimum.
    """

    levels: tuple[Level, ...]
    contexts: Context
    lengths: jax.Array
    references: jax.Array


def show(key: jax.Array, arm: Arm, families: Families, *, count: int, demos: int) -> Shown:
    """Has the sets' experts demonstrate the first ``count`` levels of every set.

    Args:
        key: consumed; the demonstrations do not depend on the arm.
        arm: how they are arranged where they are arranged as trained.
        families: the level sets.
        count: n.
        demos: K; for 0 there is one slot of demonstrations, of which nothing is shown.
    """
    slots = max(demos, 1)
    deal_key, key = jax.random.split(key)
    levels, groups = [], []
    for index, family in enumerate(families):
        shares = [pool.levels(jnp.arange(count)) for pool in family]
        levels.append(jax.tree.map(lambda *x: jnp.stack(x), *shares))
        known = [(share, pool.optimal(jnp.arange(count))) for share, pool in zip(shares, family)]
        joined, memory = jax.tree.map(lambda *x: jnp.concatenate(x), *known)
        demo_key = jax.random.fold_in(key, index)
        expert = family[0].expert or Oracle()
        played = rollout(family[0].env, expert, demo_key, joined, rollouts=slots + 1, memory=memory)
        groups += [
            jax.tree.map(lambda x, i=i: x[i * count : (i + 1) * count], played)
            for i in range(len(family))
        ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *groups)
    # One program arranges all sets and both kinds: an arm is data.
    rules = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), Arm(), arm)
    deal_keys = jax.random.split(deal_key, len(groups))
    one_set = jax.vmap(demonstrate, in_axes=(None, 0, None, None))
    contexts, lengths = jax.vmap(one_set, in_axes=(0, None, 0, None))(
        deal_keys, rules, stacked, slots
    )
    sets = [pool for family in families for pool in family]
    references = jnp.stack([pool.references[:count] for pool in sets])
    return Shown(tuple(levels), contexts, lengths[..., : demos + 1], references)


def demonstrate(
    key: jax.Array, arm: Arm, groups: Trajectories, demos: int
) -> tuple[Context, jax.Array]:
    """Contexts of ``demos`` slots of demonstrations, arranged as an arm does in training.

    The query comes last in every context, so its own steps are no part of the prefix that rows
    are allowed to see.

    Args:
        key: consumed.
        arm: the rule, not one that is ``alone``: that has no slots.
        groups: Trajectories[n, E, T].
        demos: K, at most E - 1.

    Returns:
        Context[n, K * T] and int32[n, K + 1], the length of the first k slots.
    """
    levels, slots, horizon = groups.valid.shape
    last = jnp.full(levels, slots - 1, jnp.int32)
    context = arrange(key, arm, groups, last)
    prefix = jax.tree.map(lambda x: x[:, : demos * horizon], context)
    return prefix, context.slot[:, : demos + 1]
