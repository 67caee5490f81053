"""Trees of rollouts: chains from the start, and forks from steps of what has grown so far.

Tree-GRPO (Ji et al. 2025, arXiv 2509.21240), section 3.2: M chains start M trees; L times, N nodes
of every tree are drawn and expanded to the end. A group has M (L N + 1) leaves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from envs.core import Env, Level
from icl.signals.lanes import Agent, Lanes, Snapshot, at_step, go, joined, start, with_past

Forkable = Callable[[Lanes], jax.Array]
"""bool[L, N, T] of Lanes[L, N, T]: the steps that a lane may fork before (segments.py)."""


def grow(
    agent: Agent,
    env: Env,
    key: jax.Array,
    levels: Level,
    forkable: Forkable,
    *,
    trees: int,
    nodes: int,
    rounds: int,
) -> tuple[Lanes, jax.Array]:
    """A forest in every level.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        key: consumed.
        levels: stacked on L.
        forkable: the unit of forks; the root is always one. A step that some lane was forked
            before is one node still, however many lanes go on from it.
        trees: M.
        nodes: N, drawn in every tree in each round, uniformly and with replacement.
        rounds: L of the paper; 0 grows chains only.

    Returns:
        Lanes[L, M (L N + 1)], and int32[M (L N + 1)], the tree of each.
    """
    start_key, key = jax.random.split(key)
    lanes, snapshots = go(agent, env, levels, start(agent, env, start_key, levels, trees))
    tree, time = jnp.arange(trees, dtype=jnp.int32), jnp.arange(env.horizon)
    for turn in range(rounds):
        draw_key, fork_key = jax.random.split(jax.random.fold_in(key, turn))
        root = (lanes.parent == jnp.arange(lanes.live.shape[1]))[..., None] & (time == 0)
        # The step that a fork was made before is its parent's node, not another one.
        open_ = lanes.own & (root | (forkable(lanes) & (time > lanes.fork[..., None])))
        new_tree = jnp.repeat(jnp.arange(trees, dtype=jnp.int32), nodes)
        lane, at = _drawn(draw_key, open_, tree, new_tree)
        begun = at_step(snapshots, lane, at, fork_key)
        forked, later = go(agent, env, levels, begun, at)
        forked = with_past(forked, lanes, lane, first=lanes.live.shape[1])
        lanes, tree = joined(lanes, forked), jnp.concatenate([tree, new_tree])
        snapshots = _joined(snapshots, later)
    return lanes, tree


def leaves(trees: int, nodes: int, rounds: int) -> int:
    """Lanes of one level."""
    return trees * (rounds * nodes + 1)


def _drawn(
    key: jax.Array, open_: jax.Array, tree: jax.Array, wanted: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Lanes and times int32[L, n]: of each tree in ``wanted`` int32[n] a node among the open ones
    bool[L, N, T], uniformly; the key is consumed."""
    levels, _, horizon = open_.shape
    among = open_[:, None] & (tree == wanted[:, None])[None, :, :, None]  # [L, n, N, T]
    noise = jax.random.uniform(key, (levels, len(wanted), among[0, 0].size))
    flat = among.reshape(noise.shape)
    best = jnp.where(flat, noise, -1.0).argmax(-1).astype(jnp.int32)
    return best // horizon, best % horizon


def _joined(first: Snapshot, second: Snapshot) -> Any:
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), first, second)
