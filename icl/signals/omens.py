"""Omens: what the confidence of a trajectory foretells of its success, and where it breaks down."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level
from icl.signals.breakdowns import Faltering, Fate, Regime, broken, faltering, fated, spread
from icl.signals.confidence import SCORES, default_window, groups, token_confidence, where
from icl.signals.lanes import Lanes, go, start


class Foretold(struct.PyTreeNode):
    """Of N lanes in each of L levels.

    Attributes:
        auroc: by the name of a score (``SCORES``), float32[L]: the chance that a lane that succeeds
            scores above one that fails, ties count one half; one half where all end alike.
        told: bool[L], some lanes succeed and some fail.
        success: float32[L], share of the lanes.
        steps: float32[L], that a lane takes, mean.
    """

    auroc: dict[str, jax.Array]
    told: jax.Array
    success: jax.Array
    steps: jax.Array


class Found(struct.PyTreeNode):
    """Where the lowest window lies in the lanes that broke down, of each of L levels.

    Attributes:
        near: float32[L], share of those lanes whose lowest window begins within n steps of the
            breakdown.
        chance: float32[L], the same of a window drawn uniformly from each lane.
        lanes: int32[L], how many broke down.
        ended: float32[L], share of them whose episode ended during the breakdown.
    """

    near: jax.Array
    chance: jax.Array
    lanes: jax.Array
    ended: jax.Array


class Omens(struct.PyTreeNode):
    """Attributes:
    local: Foretold, with a breakdown in some of the lanes.
    even: Foretold, of twins whose noise is spread evenly and who fail equally often.
    found: Found.
    """

    local: Foretold
    even: Foretold
    found: Found


@functools.partial(jax.jit, static_argnames=("lanes", "window"))
def omens(
    env: Env,
    key: jax.Array,
    levels: Level,
    regime: Regime,
    *,
    lanes: int = 128,
    window: int | None = None,
) -> Omens:
    """Plays lanes with breakdowns and their twins without.

    Args:
        env: a family of answers, such as ``commit``, its horizon long enough for several windows.
        key: consumed.
        levels: stacked on L.
        regime: traced.
        lanes: N, in each level.
        window: n, by default that of the horizon.
    """
    window = default_window(env.horizon) if window is None else window
    agent_key, start_key, fate_key = jax.random.split(key, 3)
    agent = faltering(env, agent_key, levels, regime)
    begun = fated(agent, fate_key, start(agent, env, start_key, levels, lanes))
    played, _ = go(agent, env, levels, begun)
    twins = begun.replace(memory=spread(agent, begun.memory, played))
    even, _ = go(agent, env, levels, twins)
    found = located(agent, begun.memory, played, window)
    return Omens(foretold(played, window), foretold(even, window), found)


def foretold(lanes: Lanes, window: int, k: int | None = None) -> Foretold:
    """Foretold[L] of Lanes[L, N, T]; k is that of ``token_confidence``."""
    confidence, wins = token_confidence(lanes.logits, k), lanes.returns > 0
    scores = {name: score(confidence, lanes.live, window) for name, score in SCORES.items()}
    return Foretold(
        auroc={name: auroc(x, wins) for name, x in scores.items()},
        told=wins.any(-1) & ~wins.all(-1),
        success=wins.mean(-1),
        steps=lanes.live.sum(-1).mean(-1),
    )


def auroc(scores: jax.Array, wins: jax.Array, among: jax.Array | None = None) -> jax.Array:
    """float32[...]: the area under the receiver operating characteristic, which is the rank
    statistic of Mann and Whitney: the share of the pairs of one that wins and one that does not in
    which the first scores higher; equal scores count one half. One half where there is no pair.

    Args:
        scores: float32[..., N].
        wins: bool[..., N].
        among: bool[..., N], who is counted, by default everyone.
    """
    among = jnp.ones(wins.shape, bool) if among is None else among
    pairs = (wins & among)[..., :, None] & (~wins & among)[..., None, :]
    one, other = scores[..., :, None], scores[..., None, :]
    above = jnp.where(one > other, 1.0, jnp.where(one == other, 0.5, 0.0))
    count = pairs.sum((-2, -1))
    total = jnp.where(pairs, above, 0.0).sum((-2, -1))
    return jnp.where(count > 0, total / jnp.maximum(count, 1), 0.5)


def located(agent: Faltering, fates: Fate, lanes: Lanes, window: int) -> Found:
    """Found[L] of Fate[L, N] and Lanes[L, N, T]."""
    confidence = token_confidence(lanes.logits)
    trouble = broken(agent, fates, lanes)
    broke = trouble.any(-1)
    count = broke.sum(-1)
    begins = groups(confidence, lanes.live, window).exists
    away = jnp.abs(jnp.arange(lanes.live.shape[-1]) - fates.onset[..., None])
    within = (away <= window) & begins
    lowest = where(confidence, lanes.live, window)[..., None]
    hit = jnp.take_along_axis(within, jnp.maximum(lowest, 0), axis=-1)[..., 0]
    chance = within.sum(-1) / jnp.maximum(begins.sum(-1), 1)
    last = lanes.live & (jnp.cumsum(lanes.live, -1) == lanes.live.sum(-1, keepdims=True))
    ended = (trouble & last).any(-1)

    def share(x: jax.Array) -> jax.Array:
        return jnp.where(broke, x, 0.0).sum(-1) / jnp.maximum(count, 1)

    return Found(share(hit), share(chance), count, share(ended))
