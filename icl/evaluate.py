"""k-shot evaluation: the model acts in levels of which it is shown k demonstrations.

The K demonstrations of a level are prefilled once. Because the model is causal and contexts are
packed, the first k of them are a prefix of that cache, so k = 0 … K are rows that differ only in a
length: no k has a shape, and none recompiles. Every family of every split plays in one scan.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from icl.actor import Actor
from icl.conditions import ACTINGS
from icl.demonstrations import Families, Shown
from icl.episodes import play


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What shapes the evaluation.

    Attributes:
        levels: levels of each family and split, a multiple of ``block``.
        episodes: episodes of each level, k, kind of demonstrations and way of acting.
        demos: K; k runs from 0 to K, at most slots - 1.
        block: levels of each family that play at the same time; it bounds the memory.
    """

    levels: int = 128
    episodes: int = 1
    demos: int = 3
    block: int = 8


class Result(struct.PyTreeNode):
    """What the episodes of one family and split came to.

    Attributes:
        returns: float32[D, n, K + 1, G, R]: kind of demonstrations, level, k, acting (sampled,
            greedy), episode; undiscounted.
        success: bool, likewise: the episode ended in a final state that paid.
        references: float32[n, 2], exact expected returns of random play and of the optimum.
    """

    returns: jax.Array
    success: jax.Array
    references: jax.Array


def evaluate(
    actor: Actor, config: EvaluateConfig, key: jax.Array, families: Families, shown: Shown
) -> tuple[Result, ...]:
    """Plays k-shot episodes.

    Args:
        actor: who acts.
        config: how much.
        key: consumed.
        families: the level sets, for their environments.
        shown: what ``show`` made of them, for ``config.levels`` levels and ``config.demos``
            demonstrations.

    Returns:
        One Result a set, in order.
    """
    sets, kinds, count = shown.lengths.shape[:3]
    blocks = count // config.block
    rows = (config.demos + 1, len(ACTINGS), config.episodes)
    demos, greedy, _ = jnp.indices(rows).reshape(3, -1)

    def cut(x: jax.Array, axis: int) -> jax.Array:
        """Blocks of levels, on the leading axis."""
        shape = (*x.shape[:axis], blocks, config.block, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis, 0)

    def block(inputs: Any) -> tuple[jax.Array, jax.Array]:
        key, levels, contexts, lengths = inputs
        flat, length = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (contexts, lengths))
        # Each level of each split once a kind of demonstrations.
        levels = jax.tree.map(
            lambda x: jnp.stack([x] * kinds, axis=1).reshape(-1, *x.shape[2:]), levels
        )
        envs = [family[0].env for family in families]
        return play(actor, key, envs, levels, flat, length[:, demos], greedy == 1)

    played = jax.lax.map(
        block,
        (
            jax.random.split(key, blocks),
            jax.tree.map(lambda x: cut(x, 1), shown.levels),
            *jax.tree.map(lambda x: cut(x, 2), (shown.contexts, shown.lengths)),
        ),
    )

    def part(x: jax.Array, index: int) -> jax.Array:
        own = x.reshape(blocks, sets, kinds, config.block, *rows)[:, index]
        return jnp.moveaxis(own, 1, 0).reshape(kinds, count, *rows)

    return tuple(
        Result(part(played[0], i), part(played[1], i), shown.references[i]) for i in range(sets)
    )
