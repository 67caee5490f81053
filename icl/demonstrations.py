"""Demonstrations: what a k-shot test shows before the agent acts."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct

from agents.policy import Mixture, Oracle, Random
from envs.core import Level
from envs.levels import LevelSet
from envs.rollout import Trajectories, rollout
from icl.arms import Arm
from icl.contexts import Context, arrange
from icl.variants import EPSILON, VARIANTS

Families = tuple[tuple[LevelSet, ...], ...]
"""The level sets of each family, one a split, all behind one interface. The sets of a family share
its environment and its expert."""


RULES = {"reordered": Arm(chunk=1, shuffled=True)}  # kinds that are arrangements


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


def show(
    key: jax.Array,
    arm: Arm,
    families: Families,
    *,
    count: int,
    demos: int,
    kinds: Sequence[str] = ("whole", "as-trained"),
) -> Shown:
    """Has the sets' experts demonstrate the first ``count`` levels of every set.

    Args:
        key: consumed; the demonstrations do not depend on the arm.
        arm: how they are arranged where they are arranged as trained.
        families: the level sets.
        count: n.
        demos: K; for 0 there is one slot of demonstrations, of which nothing is shown.
        kinds: D kinds of demonstrations, of icl/conditions.py.
    """
    slots = max(demos, 1)
    deal_key, key = jax.random.split(key)
    levels, expert, poor = [], [], []
    for index, family in enumerate(families):
        shares = [pool.levels(jnp.arange(count)) for pool in family]
        levels.append(jax.tree.map(lambda *x: jnp.stack(x), *shares))
        known = [(share, pool.optimal(jnp.arange(count))) for share, pool in zip(shares, family)]
        joined, memory = jax.tree.map(lambda *x: jnp.concatenate(x), *known)
        own = jax.random.fold_in(key, index)
        policy = family[0].expert or Oracle()

        def cut(played: Trajectories, sets: int = len(family)) -> list[Trajectories]:
            return [
                jax.tree.map(lambda x, i=i: x[i * count : (i + 1) * count], played)
                for i in range(sets)
            ]

        env, shape = family[0].env, {"rollouts": slots + 1}
        expert += cut(rollout(env, policy, own, joined, memory=memory, **shape))
        if "suboptimal" in kinds:
            mixed = Mixture(policy, Random(), EPSILON)
            both = None if memory is None else (memory, None)
            own = jax.random.fold_in(own, 1)
            poor += cut(rollout(env, mixed, own, joined, memory=both, **shape))
    groups, poor = (
        jax.tree.map(lambda *x: jnp.stack(x), *y) if y else None for y in (expert, poor)
    )
    num_actions = max(family[0].env.num_actions for family in families)
    deal_keys = jax.random.split(deal_key, len(expert))
    alter_keys = jax.vmap(lambda k: jax.random.fold_in(k, 1))(deal_keys)

    def altered(kind: str) -> Trajectories:
        """Trajectories[S, n, E, T] of one kind."""
        if kind == "suboptimal":
            return poor
        if kind not in VARIANTS:
            return groups
        return jax.vmap(lambda k, g: VARIANTS[kind](k, g, num_actions))(alter_keys, groups)

    # One program arranges all sets and kinds: an arm is data.
    by_kind = [arm if kind == "as-trained" else RULES.get(kind, Arm()) for kind in kinds]
    rules = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *by_kind)
    shown = jax.tree.map(lambda *x: jnp.stack(x, axis=1), *[altered(kind) for kind in kinds])
    one_set = jax.vmap(demonstrate, in_axes=(None, 0, 0, None))
    contexts, lengths = jax.vmap(one_set, in_axes=(0, None, 0, None))(
        deal_keys, rules, shown, slots
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
