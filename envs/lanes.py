"""Lanes: many episodes side by side, for learners that want steps rather than trajectories.

Levels live in a buffer: a finished episode goes on in another level of it, whose first state was
made beforehand, so a reset generates nothing, and every step observes once.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, State, TimeStep


class Buffer(struct.PyTreeNode):
    """Levels to play in.

    Attributes:
        levels: stacked on a leading axis L.
        first: their first states, likewise.
    """

    levels: Level
    first: State

    @property
    def size(self) -> int:
        """L."""
        return jax.tree.leaves(self.levels)[0].shape[0]


class Lanes(struct.PyTreeNode):
    """N running episodes.

    Attributes:
        index: int32[N], the level of each in the buffer.
        level: the levels themselves, stacked on N.
        state: stacked on N.
        time: int32[N], steps taken in the episode.
        timestep: TimeStep[N]: the observation to act on, which after the end of an episode is the
            first of the next one; reward, terminated and truncated of the step before it.
    """

    index: jax.Array
    level: Level
    state: State
    time: jax.Array
    timestep: TimeStep


def buffer(env: Env, key: jax.Array, levels: Level) -> Buffer:
    """A buffer of levels stacked on a leading axis; the key is consumed."""
    count = jax.tree.leaves(levels)[0].shape[0]
    return Buffer(levels, jax.vmap(env.reset)(jax.random.split(key, count), levels))


def start(env: Env, levels: Buffer, index: jax.Array) -> Lanes:
    """The beginning of episodes in the levels with index int32[N]."""
    level, state = _at(levels, index)
    zeros = jnp.zeros(index.shape)
    no = jnp.zeros(index.shape, bool)
    timestep = TimeStep(jax.vmap(env.observe)(level, state), zeros, no, no)
    return Lanes(index, level, state, jnp.zeros(index.shape, jnp.int32), timestep)


def step(env: Env, levels: Buffer, key: jax.Array, lanes: Lanes, action: jax.Array) -> Lanes:
    """One step of every episode under action int32[N]; where it is the last, a new episode begins
    in a uniform level of the buffer. The key is consumed."""
    step_key, level_key = jax.random.split(key)
    keys = jax.random.split(step_key, action.shape[0])
    outcome = jax.vmap(env.step)(keys, lanes.level, lanes.state, action)
    time = lanes.time + 1
    terminated = jnp.asarray(outcome.terminated, bool)
    truncated = (time >= env.horizon) & ~terminated
    over = terminated | truncated
    # Half the draws of randint, of which random play is made; as uniform, to one in 2³² / L.
    index = (jax.random.bits(level_key, over.shape) % levels.size).astype(jnp.int32)
    index = jnp.where(over, index, lanes.index)
    level, first = _at(levels, index)
    state = jax.vmap(lambda o, new, old: jax.tree.map(lambda a, b: jnp.where(o, a, b), new, old))(
        over, first, outcome.state
    )
    return Lanes(
        index=index,
        level=level,
        state=state,
        time=jnp.where(over, 0, time),
        timestep=TimeStep(
            observation=jax.vmap(env.observe)(level, state),
            reward=jnp.asarray(outcome.reward, jnp.float32),
            terminated=terminated,
            truncated=truncated,
        ),
    )


def _at(levels: Buffer, index: jax.Array) -> tuple[Level, State]:
    return jax.tree.map(lambda x: x[index], (levels.levels, levels.first))
