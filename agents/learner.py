"""Tabular Q-learning in one level: a learner whose episodes, in order, show how it got better.

Watkins and Dayan 1992, on the numbers that a family gives its states. What an agent did while it
learned is the context of algorithm distillation (Laskin et al. 2022, arXiv 2210.14215).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Env, Level, advance, begin
from envs.oracle import GAMMA
from envs.rollout import Trajectories


class Learner(struct.PyTreeNode):
    """Settings; all are numbers, so that changing one never recompiles.

    Attributes:
        rate: of learning, in (0, 1].
        gamma: discount in [0, 1).
        optimism: the value that every state and action begins with. At 1 all are tried before
            any is trusted; 0.5 learned faster, within 100 episodes and within 400, in dark-room
            and in key-door (rate 0.5, 256 levels).
        explore: chance of a uniform random action in the first episode; it falls in a line.
        exploit: that chance in the last episode.
    """

    rate: float | jax.Array = 0.5
    gamma: float | jax.Array = GAMMA
    optimism: float | jax.Array = 0.5
    explore: float | jax.Array = 0.1
    exploit: float | jax.Array = 0.0

    def act(self, key: jax.Array, values: jax.Array, chance: jax.Array) -> jax.Array:
        """int32[]: the best action by ``values`` float32[A], ties broken at random, or with
        probability ``chance`` float32[] any action. The key is consumed."""
        coin_key, any_key, tie_key = jax.random.split(key, 3)
        noise = jax.random.uniform(tie_key, values.shape)
        best = jnp.argmax(jnp.where(values == values.max(), noise, -1.0))
        other = jax.random.randint(any_key, (), 0, values.size)
        return jnp.where(jax.random.bernoulli(coin_key, chance), other, best).astype(jnp.int32)


def episode(
    env: Env, learner: Learner, key: jax.Array, level: Level, q: jax.Array, chance: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """One episode of learning after every step.

    Args:
        env: the family, wrappers included; its states can be enumerated.
        learner: the settings.
        key: consumed.
        level: one level.
        q: float32[S, A], the values so far.
        chance: float32[], of a random action.

    Returns:
        The values float32[S, A] after it, and its steps [T]: the fields of Trajectories.
    """
    begin_key, scan_key = jax.random.split(key)

    def one_step(carry, keys):
        before, q = carry
        act_key, step_key = keys
        over = before.timestep.last
        state = env.encode(level, before.state)
        action = learner.act(act_key, q[state], chance)
        after = advance(env, step_key, level, before, action)
        now = after.timestep
        # The horizon cuts an episode off and tells nothing of the state's worth: only a final
        # state is worth nothing. A final state's number may be anything, so it is not read.
        later = jnp.where(now.terminated, 0.0, q[env.encode(level, after.state)].max())
        error = now.reward + learner.gamma * later - q[state, action]
        q = q.at[state, action].add(jnp.where(over, 0.0, learner.rate * error))
        step = {
            "observation": before.timestep.observation,
            "action": action,
            "reward": now.reward,
            "terminated": now.terminated & ~over,
            "truncated": now.truncated & ~over,
            "successor": now.observation,
            "valid": ~over,
        }
        return (after, q), step

    start = begin(env, begin_key, level)
    keys = jax.vmap(jax.random.split)(jax.random.split(scan_key, env.horizon))
    (_, q), steps = jax.lax.scan(one_step, (start, q), keys)
    return q, steps


def kept(attempts: int, episodes: int) -> np.ndarray:
    """int32[E], ascending: which of the episodes are shown; the last always, and with two or more
    the first.

    Raises:
        ValueError: fewer episodes than attempts, or no attempt.
    """
    if not 1 <= attempts <= episodes:
        raise ValueError(
            f"attempts = {attempts} of episodes = {episodes}: expected 1 <= attempts <= episodes"
        )
    return np.rint(np.linspace(episodes - 1, 0, attempts)[::-1]).astype(np.int32)


def history(
    env: Env,
    learner: Learner,
    key: jax.Array,
    levels: Level,
    *,
    attempts: int,
    episodes: int,
) -> Trajectories:
    """What a learner that starts anew in every level did there, from its first episode on.

    Args:
        env: the family, wrappers included.
        learner: the settings, the same in all levels.
        key: consumed; or keys [L], one a level, that were split from one.
        levels: levels stacked on a leading axis L.
        attempts: E, the episodes shown, evenly spaced through learning.
        episodes: n, the episodes that the learner plays; at least E.

    Returns:
        Trajectories[L, E, T] with T = env.horizon, the attempts in the order of learning.

    Raises:
        ValueError: the states cannot be enumerated, or E does not lie in 1 ... n.
    """
    if not env.num_states:
        raise ValueError(f"{type(env.bare).__name__} cannot number its states: no table to learn")
    shown = kept(attempts, episodes)
    # Where an episode is put; all that are not shown go to one more place, and are overwritten.
    place = np.full(episodes, attempts, np.int32)
    place[shown] = np.arange(attempts)
    count = jax.tree.leaves(levels)[0].shape[0]
    keys = key if key.ndim else jax.random.split(key, count)

    def one_level(key: jax.Array, level: Level) -> dict[str, jax.Array]:
        def one_episode(carry, given):
            q, book = carry
            key, place, chance = given
            q, steps = episode(env, learner, key, level, q, chance)
            book = jax.tree.map(lambda all, one: all.at[place].set(one), book, steps)
            return (q, book), None

        q = jnp.full((env.num_states, env.num_actions), learner.optimism, jnp.float32)
        page = jax.eval_shape(lambda: episode(env, learner, key, level, q, jnp.float32(0))[1])
        book = jax.tree.map(lambda x: jnp.zeros((attempts + 1, *x.shape), x.dtype), page)
        done = jnp.linspace(0.0, 1.0, episodes)
        chance = learner.explore + (learner.exploit - learner.explore) * done
        given = (jax.random.split(key, episodes), jnp.asarray(place), chance)
        (_, book), _ = jax.lax.scan(one_episode, (q, book), given)
        return jax.tree.map(lambda x: x[:attempts], book)

    steps = jax.vmap(one_level)(keys, levels)
    return Trajectories(**steps, fingerprint=jax.vmap(env.fingerprint)(levels))
