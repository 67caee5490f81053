"""Whole trajectories, grouped by level: one compiled scan, vmapped over rollouts and levels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, Policy, advance, begin


class Trajectories(struct.PyTreeNode):
    """Groups of rollouts: the leading axes are always [level, rollout, time]. Observations of
    pixels are uint8[L, R, T, 64, 64, 3].

    Attributes:
        observation: int32[L, R, T, F], what the agent saw before acting.
        action: int32[L, R, T], the action chosen (not the one a sticky hand executed).
        reward: float32[L, R, T], paid for the step.
        terminated: bool[L, R, T], the step ended the episode in a final state.
        truncated: bool[L, R, T], the step was the horizon's last.
        successor: int32[L, R, T, F], the observation that the step led to.
        valid: bool[L, R, T], the step took place; a prefix of the time axis. Steps after the end
            hold the last observation, the policy's idle choice and no reward.
        fingerprint: uint32[L, 2], the level's content.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    truncated: jax.Array
    successor: jax.Array
    valid: jax.Array
    fingerprint: jax.Array

    @property
    def returns(self) -> jax.Array:
        """float32[L, R], undiscounted."""
        return self.reward.sum(-1)


def rollout(
    env: Env,
    policy: Policy,
    key: jax.Array,
    levels: Level,
    *,
    rollouts: int,
    memory: Any = None,
) -> Trajectories:
    """Rolls a policy out ``rollouts`` times in every level, to the environment's horizon.

    Args:
        env: the family, wrappers included.
        policy: who acts.
        key: consumed; or keys [L], one a level, that were split from one.
        levels: levels stacked on a leading axis L.
        rollouts: R, episodes of each level.
        memory: what ``policy.init`` would return, where it is known, stacked on L.

    Returns:
        Trajectories[L, R, T] with T = env.horizon.
    """
    count = jax.tree.leaves(levels)[0].shape[0]
    keys = key if key.ndim else jax.random.split(key, count)

    def one_level(key: jax.Array, level: Level, carry: Any) -> dict[str, jax.Array]:
        init_key, rollout_key = jax.random.split(key)
        if memory is None:
            carry = policy.init(init_key, env, level)

        def one_rollout(key: jax.Array) -> dict[str, jax.Array]:
            begin_key, scan_key = jax.random.split(key)

            def one_step(before, keys):
                episode, carry = before
                act_key, step_key = keys
                action, carry = policy.act(act_key, env, level, episode.state, carry)
                after = advance(env, step_key, level, episode, action)
                step = (action, after.timestep)
                return (after, carry), step

            episode = begin(env, begin_key, level)
            keys = jax.vmap(jax.random.split)(jax.random.split(scan_key, env.horizon))
            actions, after = jax.lax.scan(one_step, (episode, carry), keys)[1]
            # A finished episode stays as it is: what was before a step is what came out of the
            # one before, and only the horizon's last step can be truncated.
            observation, over = jax.tree.map(
                lambda first, later: jnp.concatenate([first[None], later[:-1]]),
                (episode.timestep.observation, episode.timestep.terminated),
                (after.observation, after.terminated),
            )
            return {
                "observation": observation,
                "action": actions,
                "reward": after.reward,
                "terminated": after.terminated & ~over,
                "truncated": after.truncated & ~over,
                "successor": after.observation,
                "valid": ~over,
            }

        return jax.vmap(one_rollout)(jax.random.split(rollout_key, rollouts))

    steps = jax.vmap(one_level)(keys, levels, memory)
    return Trajectories(**steps, fingerprint=jax.vmap(env.fingerprint)(levels))
