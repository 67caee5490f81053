"""Ballots: what K trajectories of a level decide by vote, and what that costs in actions.

After DeepConf (Fu et al. 2025, arXiv 2508.15260): plain majority and confidence-filtered votes of
all K, and the online procedure, in which a warm-up sets a threshold, a guard stops lanes inside of
the scan, stopped lanes do not vote, and sampling ends with a consensus. To tell what saves what,
the guard and the consensus are also held one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level
from icl.signals.breakdowns import Regime, faltering, fated
from icl.signals.confidence import SCORES, default_window, lowest, token_confidence
from icl.signals.lanes import Agent, Lanes, Snapshot, go, start
from icl.signals.stopping import Guard, account, stops, threshold
from icl.signals.voting import TAU, WARMUP, Vote, consensus, kept, majority, weighted

KEEPS: Mapping[str, float] = MappingProxyType({"low": 0.1, "high": 0.9})
"""The share that is kept, by the paper's names: DeepConf-low keeps few."""


class Poll(struct.PyTreeNode):
    """What one way to vote came to, at each of B budgets in each of L levels.

    Attributes:
        right: bool[B, L], the winner is the right answer.
        actions: int32[B, L], generated for it, those of a warm-up included.
        traces: int32[B, L], begun for it.
        voters: int32[B, L], that voted.
    """

    right: jax.Array
    actions: jax.Array
    traces: jax.Array
    voters: jax.Array


@functools.partial(jax.jit, static_argnames=("budgets", "warmup", "window"))
def ballots(
    env: Env,
    key: jax.Array,
    levels: Level,
    regime: Regime,
    *,
    tau: float | jax.Array = TAU,
    budgets: tuple[int, ...] = (128, 256),
    warmup: int = WARMUP,
    window: int | None = None,
) -> dict[str, Poll]:
    """The votes of the policy of icl/signals/breakdowns.py, as ``polls`` has them.

    Args:
        env: ``commit``, its horizon long enough for several windows.
        key: consumed.
        levels: of it, stacked on L.
        regime: traced.
        tau: the share of the vote that is a consensus.
        budgets: K, each more than ``warmup``.
        warmup: complete trajectories that set the threshold.
        window: n, by default that of the horizon.
    """
    agent_key, start_key, fate_key = jax.random.split(key, 3)
    agent = faltering(env, agent_key, levels, regime)
    begun = fated(agent, fate_key, start(agent, env, start_key, levels, max(budgets)))
    truth = rewarded(env, levels)
    return polls(agent, env, levels, begun, truth, budgets, tau=tau, warmup=warmup, window=window)


def polls(
    agent: Agent,
    env: Env,
    levels: Level,
    begun: Snapshot,
    truth: jax.Array,
    budgets: tuple[int, ...],
    *,
    tau: float | jax.Array = TAU,
    warmup: int = WARMUP,
    window: int | None = None,
    k: int | None = None,
) -> dict[str, Poll]:
    """Every way to vote, on the same lanes, in the order in which they are numbered.

    Args:
        agent: stacked on L.
        env: a family in which some actions answer and end the episode, and no others do.
        levels: stacked on L.
        begun: Snapshot[L, K] of as many lanes as the largest budget.
        truth: int32[L], the actions that are the right answers (``rewarded``).
        budgets: K of each.
        tau: as in ``consensus``.
        warmup: as in ``consensus``.
        window: n, by default that of the horizon.
        k: as in ``token_confidence``.

    Returns:
        By name: ``majority``; ``weighted/SCORE`` of all; ``kept-KEEP/SCORE``, weighted among those
        that are kept; ``consensus``, a majority that ends when it is clear; ``guarded-KEEP``,
        without consensus; and ``online-KEEP``, the paper's. KEEP is low or high, SCORE is one of
        ``SCORES``; the guard and the votes behind it go by the lowest group.

    Raises:
        ValueError: a budget is no more than the warm-up, or not that many lanes have begun.
    """
    if not warmup < min(budgets) or max(budgets) != begun.before.shape[1]:
        raise ValueError(
            f"budgets {budgets} of {begun.before.shape[1]} lanes with a warm-up of {warmup}: use "
            "more than the warm-up, and the largest for the lanes"
        )
    window = default_window(env.horizon) if window is None else window
    guard = Guard(jnp.float32(0), window, k)
    complete, _ = go(agent, env, levels, begun)
    watched = {
        name: _watched(agent, env, levels, begun, complete, keep, warmup, guard)
        for name, keep in KEEPS.items()
    }
    found = [_at_budget(complete, watched, truth, budget, tau, warmup, guard) for budget in budgets]
    return jax.tree.map(lambda *x: jnp.stack(x), *found)


def answers(lanes: Lanes) -> jax.Array:
    """int32[L, N]: what each lane of Lanes[L, N, T] answered, the action that ended its episode;
    −1 where none did."""
    last = jnp.maximum(lanes.live.sum(-1, keepdims=True) - 1, 0)
    action = jnp.take_along_axis(lanes.action, last, axis=-1)[..., 0]
    return jnp.where(lanes.terminated, action, -1).astype(jnp.int32)


def rewarded(env: Env, levels: Level) -> jax.Array:
    """int32[L]: the action that is rewarded somewhere in each of the levels stacked on L, as the
    wrapped environment numbers actions: where only one answer is right, that one."""
    rewards = jax.vmap(lambda level: env.tabulate(level).reward.max((0, 2)))(levels)
    return rewards.argmax(-1).astype(jnp.int32)


class Watched(struct.PyTreeNode):
    """Lanes under a guard.

    Attributes:
        lanes: Lanes[L, K, T]: the warm-up complete, the others frozen where they were stopped.
        stop: int32[L, K], the step of that; −1 of those that vote.
    """

    lanes: Lanes
    stop: jax.Array


def _watched(
    agent: Agent,
    env: Env,
    levels: Level,
    begun: Snapshot,
    complete: Lanes,
    keep: float,
    warmup: int,
    guard: Guard,
) -> Watched:
    """Plays all lanes behind the warm-up again, each level under its own threshold."""
    window = guard.window
    first = jax.tree.map(lambda x: x[:, :warmup], complete)
    rest = jax.tree.map(lambda x: x[:, warmup:], begun)
    confidence = token_confidence(first.logits, guard.k)
    bar = threshold(confidence, first.live, window, keep)
    played, _ = go(agent, env, levels, rest, guard=guard.replace(threshold=bar))
    low = stops(confidence, first.live, window, bar[:, None])
    at = jnp.where(played.stopped, played.live.sum(-1) - 1, -1)
    lanes = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), first, played)
    return Watched(lanes, jnp.concatenate([low, at], axis=1).astype(jnp.int32))


def _at_budget(
    complete: Lanes,
    watched: Mapping[str, Watched],
    truth: jax.Array,
    budget: int,
    tau: float | jax.Array,
    warmup: int,
    guard: Guard,
) -> dict[str, Poll]:
    """Poll[L] of the first ``budget`` lanes."""
    window, choices = guard.window, complete.logits.shape[-1]
    complete, watched = jax.tree.map(lambda x: x[:, :budget], (complete, dict(watched)))
    said, live = answers(complete), complete.live
    confidence = token_confidence(complete.logits, guard.k)
    never = jnp.full(said.shape, -1, jnp.int32)

    def poll(vote: Vote, voters: jax.Array, actions: jax.Array, traces: jax.Array) -> Poll:
        number = (voters & (said >= 0)).sum(-1)
        return Poll(vote.winner == truth, actions, traces, number)

    def whole(vote: Vote, voters: jax.Array) -> Poll:
        return poll(vote, voters, live.sum((-2, -1)), jnp.full(truth.shape, budget))

    everyone = jnp.ones(said.shape, bool)
    found = {"majority": whole(majority(said, choices), everyone)}
    for name, score in SCORES.items():
        weight = score(confidence, live, window)
        found[f"weighted/{name}"] = whole(weighted(said, weight, choices), everyone)
        for label, keep in KEEPS.items():
            among = kept(weight, keep)
            vote = weighted(said, weight, choices, among)
            found[f"kept-{label}/{name}"] = whole(vote, among)

    def until(stop: jax.Array, live: jax.Array, weight: jax.Array, used: jax.Array) -> Poll:
        cost = account(live, stop, warmup=warmup, used=used)
        vote = weighted(said, weight, choices, cost.votes)
        return poll(vote, cost.votes, cost.actions, used)

    ones = jnp.ones(said.shape)
    agreed = functools.partial(consensus, said, choices=choices, tau=tau, warmup=warmup)
    found["consensus"] = until(never, live, ones, agreed(ones))
    for label, one in watched.items():
        told = token_confidence(one.lanes.logits, guard.k)
        # What a stopped lane would have answered is not known: it has no weight.
        weight = jnp.where(one.stop < 0, lowest(told, one.lanes.live, window), 0.0)
        full = jnp.full(truth.shape, budget, jnp.int32)
        found[f"guarded-{label}"] = until(one.stop, one.lanes.live, weight, full)
        found[f"online-{label}"] = until(one.stop, one.lanes.live, weight, agreed(weight))
    return found
