"""Films: what one episode looks like, frame by frame, whoever plays it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import Env, Level, Policy, advance, begin


class Film(NamedTuple):
    """One episode of t steps, on the host.

    Attributes:
        frames: int32[t + 1, H, W], the tiles of ``draw`` before the first and after every step;
            None where the family draws nothing.
        actions: int32[t], as chosen.
        rewards: float32[t].
        terminated: the last state is final; otherwise the horizon cut the episode off.
    """

    frames: np.ndarray | None
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool

    @property
    def steps(self) -> int:
        """t."""
        return len(self.actions)


def draws(env: Env) -> bool:
    """Whether the family has pictures: ``draw`` is optional."""
    return type(env.bare).draw is not Env.draw


def film(env: Env, policy: Policy, key: jax.Array, level: Level) -> Film:
    """Plays one episode in a level and films it to its end.

    Args:
        env: the family, wrappers included.
        policy: who acts.
        key: consumed.
        level: one level, not stacked.
    """
    frames, actions, rewards, terminated, valid = jax.device_get(_film(env, policy, key, level))
    steps = int(valid.sum())
    return Film(
        frames=None if frames is None else frames[: steps + 1],
        actions=actions[:steps],
        rewards=rewards[:steps],
        terminated=bool(terminated[steps - 1]),
    )


@jax.jit
def _film(env: Env, policy: Policy, key: jax.Array, level: Level):
    """Frames [T + 1] or None; actions, rewards, terminated and valid [T]."""
    init_key, begin_key, scan_key = jax.random.split(key, 3)

    def one_step(memory, key):
        episode, carry = memory
        act_key, step_key = jax.random.split(key)
        action, carry = policy.act(act_key, env, level, episode.state, carry)
        after = advance(env, step_key, level, episode, action)
        step = after.timestep
        return (after, carry), (
            env.draw(level, after.state) if draws(env) else None,
            action,
            step.reward,
            step.terminated,
            ~episode.timestep.last,
        )

    first = begin(env, begin_key, level)
    memory = (first, policy.init(init_key, env, level))
    _, (frames, *rest) = jax.lax.scan(one_step, memory, jax.random.split(scan_key, env.horizon))
    if frames is not None:
        frames = jnp.concatenate([env.draw(level, first.state)[None], frames])
    return frames, *rest
