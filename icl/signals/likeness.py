"""How alike two ways are that are equally good, by the ratio that SRL pays (similarity.py)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from icl.signals.instances import Instances, demonstrated
from icl.signals.similarity import ratio
from icl.signals.world import World


class Likeness(struct.PyTreeNode):
    """Means over levels; the first of two sequences is the answer.

    Attributes:
        optimal: float32[], of two different optimal ways; NaN where no level has two.
        random: float32[], of uniform actions, as many, and an optimal way.
    """

    optimal: jax.Array
    random: jax.Array


def of_steps(key: jax.Array, wanted: Instances, actions: int) -> Likeness:
    """Of steps.

    Args:
        key: consumed.
        wanted: what steps are held against: all optimal ways (``instances.steps``).
        actions: how many there are.
    """
    ways = wanted.reference
    guess = jax.random.randint(key, ways.shape, 0, actions, jnp.int32)
    known = wanted.known & wanted.there[..., None]
    other = ~jnp.eye(ways.shape[2], dtype=bool)
    pairs = known[..., :, None] & known[..., None, :] & other  # [L, I, R, R]

    def instance(ways: jax.Array, guess: jax.Array, length: jax.Array) -> tuple[jax.Array, ...]:
        def alike(one: jax.Array, two: jax.Array) -> jax.Array:
            return ratio(one, length, two, length)

        against = jax.vmap(jax.vmap(alike, (None, 0)), (0, None))
        return against(ways, ways), jax.vmap(alike)(guess, ways)

    optimal, random = jax.vmap(jax.vmap(instance))(ways, guess, wanted.length)
    return Likeness(_mean(optimal, pairs), _mean(random, known))


def of_runs(world: World, key: jax.Array, runs: int = 16) -> Likeness:
    """Of whole runs of the expert, each action uniform over the optimal set; the key is consumed.
    Runs are compared in pairs, those of a pair that are the same left out."""
    run_key, guess_key = jax.random.split(key)
    lanes, _ = demonstrated(world, run_key, 2 * runs)
    length = lanes.live.sum(-1)
    (one, two), (many, more) = (jnp.split(x, 2, axis=1) for x in (lanes.action, length))
    guess = jax.random.randint(guess_key, one.shape, 0, world.env.num_actions, jnp.int32)
    alike = jax.vmap(jax.vmap(ratio))
    time = jnp.arange(one.shape[-1])
    same = ((one == two) | (time >= many[..., None])).all(-1) & (many == more)
    return Likeness(
        _mean(alike(one, many, two, more), ~same),
        _mean(alike(guess, more, two, more), jnp.ones_like(same)),
    )


def _mean(values: jax.Array, among: jax.Array) -> jax.Array:
    """Over what counts in a level, and then over the levels where something does."""
    axes = tuple(range(1, among.ndim))
    count = among.sum(axes)
    each = jnp.where(among, values, 0.0).sum(axes) / jnp.maximum(count, 1)
    levels = (count > 0).sum()
    return jnp.where(levels > 0, jnp.where(count > 0, each, 0.0).sum() / levels, jnp.nan)
