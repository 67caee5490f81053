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
from icl.episodes import Moments, Played, play, record


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
        steps: float32, likewise: steps that the episode took.
        hits: float32, likewise: at how many of them the observation was demonstrated.
        references: float32[n, 2], exact expected returns of random play and of the optimum.
    """

    returns: jax.Array
    success: jax.Array
    steps: jax.Array
    hits: jax.Array
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
    played = jax.lax.map(
        lambda inputs: play(actor, *_rows_of(config, families, *inputs)),
        _blocks(config, key, shown),
    )

    def part(x: jax.Array, index: int) -> jax.Array:
        own = x.reshape(blocks, sets, kinds, config.block, *rows)[:, index]
        return jnp.moveaxis(own, 1, 0).reshape(kinds, count, *rows)

    return tuple(
        Result(
            returns=part(played.returns, i),
            success=part(played.success, i),
            steps=part(played.steps, i),
            hits=part(played.hits, i),
            references=shown.references[i],
        )
        for i in range(sets)
    )


def first_block(
    actor: Actor, config: EvaluateConfig, key: jax.Array, families: Families, shown: Shown
) -> tuple[Played, Moments]:
    """What ``evaluate``, given the same, plays in the first ``config.block`` levels of every set,
    with all that happened on the way.

    Returns:
        Played[C, N] and Moments. C is [S, D, block] in one: set, kind of demonstrations, level; N
        is [K + 1, G, R]: k, acting, episode.
    """
    first = jax.tree.map(lambda x: x[0], _blocks(config, key, shown))
    return record(actor, *_rows_of(config, families, *first))


def _blocks(config: EvaluateConfig, key: jax.Array, shown: Shown) -> tuple[Any, ...]:
    """Keys, levels, contexts and lengths of blocks of levels, on the leading axis."""
    blocks = shown.lengths.shape[2] // config.block

    def cut(x: jax.Array, axis: int) -> jax.Array:
        shape = (*x.shape[:axis], blocks, config.block, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis, 0)

    return (
        jax.random.split(key, blocks),
        jax.tree.map(lambda x: cut(x, 1), shown.levels),
        *jax.tree.map(lambda x: cut(x, 2), (shown.contexts, shown.lengths)),
    )


def _rows_of(
    config: EvaluateConfig, families: Families, key: Any, levels: Any, contexts: Any, lengths: Any
) -> tuple[Any, ...]:
    """What ``play`` asks for, of one block: rows [K + 1, G, R] of every context."""
    kinds = lengths.shape[1]
    demos, greedy, _ = jnp.indices((config.demos + 1, len(ACTINGS), config.episodes)).reshape(3, -1)
    flat, length = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (contexts, lengths))
    # Each level of each split once a kind of demonstrations.
    levels = jax.tree.map(
        lambda x: jnp.stack([x] * kinds, axis=1).reshape(-1, *x.shape[2:]), levels
    )
    envs = [family[0].env for family in families]
    return key, envs, levels, flat, length[:, demos], greedy == 1
