"""The truth about steps: exact advantages, moments of no return and policy gradients.

Exact for Markov policies by dynamic programming over time, state and the action executed last
(envs/oracle.py); for policies with memory by many forks (``forked``).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Episode, Level
from envs.oracle import TIES, Values, optimal_values, policy_return, policy_values
from envs.table import Table as Dynamics
from icl.signals.lanes import Agent, Lanes, Snapshot, at_step, earn, go, start


class Truth(struct.PyTreeNode):
    """What the steps of Lanes[L, N, T] were worth; 0 and False at steps that are not live.

    Attributes:
        value: float32[L, N, T + 1], of the policy before every step and after the last; what a
            lane that a guard stopped was worth then.
        advantage: float32[L, N, T], A^π of the action chosen.
        best: float32[L, N, T + 1], of the best policy.
        fatal: bool[L, N, T], the first step after which nothing can be earned any more. A lane
            that wins has none, and neither has one in which there was nothing to be earned.
        decisive: bool[L, N, T], the best policy loses by some of the actions.
    """

    value: jax.Array
    advantage: jax.Array
    best: jax.Array
    fatal: jax.Array
    decisive: jax.Array


def tables(env: Env, levels: Level) -> Dynamics:
    """The transition tables of levels stacked on L. They depend on nothing but the levels: make
    them once."""
    return jax.vmap(env.tabulate)(levels)


def exact(env: Env, dynamics: Dynamics, scores: jax.Array, lanes: Lanes) -> Truth:
    """Of a Markov policy.

    Args:
        env: the family, wrappers included.
        dynamics: of the levels, stacked on L.
        scores: float32[L, S, A], the policy's logits.
        lanes: Lanes[L, N, T], its rollouts.
    """

    def level(dynamics: Dynamics, scores: jax.Array, lanes: Lanes) -> Truth:
        policy = policy_values(dynamics, jax.nn.softmax(scores), env.horizon)
        best = optimal_values(dynamics, env.horizon)
        time = jnp.arange(env.horizon + 1)
        over = _over(lanes)

        def at(value: jax.Array) -> jax.Array:
            return jnp.where(over, 0.0, value[time, lanes.state, lanes.executed])

        before = time[:-1], lanes.state[:, :-1], lanes.executed[:, :-1]
        chosen = policy.advantage(*before)
        advantage = jnp.take_along_axis(chosen, lanes.action[..., None], axis=-1)[..., 0]
        ideal = at(best.value)
        lost = (ideal[:, :-1] > TIES) & (ideal[:, 1:] <= TIES) & (lanes.reward <= 0) & lanes.live
        return Truth(
            value=at(policy.value),
            advantage=jnp.where(lanes.live, advantage, 0.0),
            best=ideal,
            fatal=lost & (jnp.cumsum(lost, axis=1) == 1) & (lanes.returns <= 0)[:, None],
            decisive=_splits(best, lanes) & lanes.live,
        )

    return jax.vmap(level)(dynamics, scores, lanes)


def decisive(env: Env, dynamics: Dynamics, lanes: Lanes) -> jax.Array:
    """bool[L, N, T]: the steps at which the best policy loses by some of the actions."""

    def level(dynamics: Dynamics, lanes: Lanes) -> jax.Array:
        best = optimal_values(dynamics, env.horizon)
        return _splits(best, lanes) & lanes.live

    return jax.vmap(level)(dynamics, lanes)


def gradient(env: Env, dynamics: Dynamics, scores: jax.Array) -> jax.Array:
    """float32[L, S, A]: the exact gradient of the expected return of each level with respect to
    the logits of its Markov policy."""

    def returns(dynamics: Dynamics, scores: jax.Array) -> jax.Array:
        return policy_return(dynamics, jax.nn.softmax(scores), env.horizon)

    return jax.vmap(jax.grad(returns, argnums=1))(dynamics, scores)


def success(env: Env, dynamics: Dynamics, scores: jax.Array) -> jax.Array:
    """float32[L]: the exact expected return of each level's Markov policy."""

    def level(dynamics: Dynamics, scores: jax.Array) -> jax.Array:
        return policy_return(dynamics, jax.nn.softmax(scores), env.horizon)

    return jax.vmap(level)(dynamics, scores)


def forked(
    agent: Agent,
    env: Env,
    key: jax.Array,
    levels: Level,
    snapshots: Snapshot,
    lane: jax.Array,
    time: jax.Array,
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """Values by forks, for policies with memory.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        key: consumed.
        levels: stacked on L.
        snapshots: Snapshot[L, N, T].
        lane: int32[L, n], which lanes.
        time: int32[L, n], before which of their steps.
        count: forks of each; the error of a value falls with the root of it.

    Returns:
        float32[L, n], the mean of what the forks earn from there on; int32[L], actions generated.
    """

    def many(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, count, axis=1)

    begun = at_step(snapshots, many(lane), many(time), key)
    earned, generated = earn(agent, env, levels, begun, many(time))
    return earned.reshape(*lane.shape, count).mean(-1), generated


class Again(struct.PyTreeNode):
    """An Agent that does what was done before, and remembers it as another one would.

    Attributes:
        agent: the other one. The memory is its memory, and the actions int32[T].
    """

    agent: Any

    def begin(self, env: Env, level: Level) -> tuple[Any, jax.Array]:
        """No actions yet; ``replayed`` sets them."""
        return self.agent.begin(env, level), jnp.zeros(env.horizon, jnp.int32)

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: Any
    ) -> tuple[jax.Array, Any]:
        """Of the one action that was chosen."""
        own, actions = memory
        logits, own = self.agent.logits(env, level, episode, before, own)
        done = jnp.arange(logits.shape[-1]) == actions[episode.time]
        return jnp.where(done, 0.0, -jnp.inf), (own, actions)


def replayed(agent: Agent, env: Env, levels: Level, lanes: Lanes) -> Snapshot:
    """Snapshot[L, N, T] before every step of Lanes[L, N, T], by playing their actions again. They
    are those of the lanes where chance has no part in the environment."""
    again = Again(agent)
    begun = start(again, env, jax.random.key(0), levels, lanes.action.shape[1])
    own, _ = begun.memory
    _, snapshots = go(again, env, levels, begun.replace(memory=(own, lanes.action)))
    return snapshots.replace(memory=snapshots.memory[0])


def advantages(
    agent: Agent, env: Env, key: jax.Array, levels: Level, lanes: Lanes, count: int = 1024
) -> jax.Array:
    """float32[L, N, T]: the advantages of the actions of Lanes[L, N, T], for policies with memory
    in environments without chance: what the reward and the value behind a step are more than the
    value before it, each value the mean of forks. 0 at steps that are not live.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        key: consumed.
        levels: stacked on L.
        lanes: the runs.
        count: forks of each step; the error of a value is at most half of 1 / √count times the
            largest return.
    """
    snapshots, horizon = replayed(agent, env, levels, lanes), lanes.action.shape[-1]
    shape = lanes.action.shape[:2]
    lane = jnp.broadcast_to(jnp.arange(shape[1]), shape)

    def value(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        time, key = inputs

        def look() -> jax.Array:
            at = jnp.full(shape, time)
            return forked(agent, env, key, levels, snapshots, lane, at, count)[0]

        there = lanes.live[..., time]
        return jnp.where(there, jax.lax.cond(there.any(), look, lambda: jnp.zeros(shape)), 0.0)

    # A step at a time: all forks at once would not fit the memory.
    found = jax.lax.map(value, (jnp.arange(horizon), jax.random.split(key, horizon)))
    before = jnp.moveaxis(found, 0, -1)
    after = jnp.concatenate([before[..., 1:], jnp.zeros_like(before[..., :1])], axis=-1)
    return jnp.where(lanes.live, lanes.reward + after - before, 0.0)


def _splits(best: Values, lanes: Lanes) -> jax.Array:
    """bool[N, T]: the best policy's choice matters."""
    time = jnp.arange(lanes.live.shape[-1])
    choices = best.advantage(time, lanes.state[:, :-1], lanes.executed[:, :-1])
    return choices.max(-1) - choices.min(-1) > TIES


def _over(lanes: Lanes) -> jax.Array:
    """bool[N, T + 1]: before each step, and after the last, there is nothing to be valued. A lane
    that a guard stopped still has the value of the state that it was stopped in."""
    none = jnp.zeros_like(lanes.live[:, :1])
    before = jnp.concatenate([lanes.live, none], axis=1)
    left = jnp.concatenate([none, lanes.live & ~lanes.terminated[:, None]], axis=1)
    return ~before & ~left
