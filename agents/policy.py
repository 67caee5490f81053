"""Policies after the protocol in envs/core.py: random, oracle, mixtures."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, Policy, State
from envs.oracle import GAMMA, solve


class Random(struct.PyTreeNode):
    """Uniform random play."""

    def init(self, key: jax.Array, env: Env, level: Level) -> None:
        """No memory."""

    def act(
        self, key: jax.Array, env: Env, level: Level, state: State, carry: None
    ) -> tuple[jax.Array, None]:
        """A uniform action int32[]; the key is consumed."""
        return jax.random.randint(key, (), 0, env.num_actions), None


class Oracle(struct.PyTreeNode):
    """Optimal play on the discounted values of the wrapped dynamics, ties broken at random.

    Attributes:
        gamma: discount in [0, 1).
    """

    gamma: float = GAMMA

    def init(self, key: jax.Array, env: Env, level: Level) -> jax.Array:
        """bool[S, A]: the optimal actions of every state."""
        return solve(env.tabulate(level), self.gamma).optimal

    def act(
        self, key: jax.Array, env: Env, level: Level, state: State, carry: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """A uniform optimal action int32[]; the key is consumed."""
        optimal = carry[env.encode(level, state)]
        noise = jax.random.uniform(key, optimal.shape)
        return jnp.argmax(jnp.where(optimal, noise, -1.0)).astype(jnp.int32), carry


class Mixture(struct.PyTreeNode):
    """Plays ``other`` with probability ``epsilon`` at each step, and ``policy`` otherwise.

    Attributes:
        policy: the better one, as a rule.
        other: the one mixed in.
        epsilon: probability in [0, 1].
    """

    policy: Policy = struct.field(default_factory=Oracle)
    other: Policy = struct.field(default_factory=Random)
    epsilon: float = 0.1

    def init(self, key: jax.Array, env: Env, level: Level) -> tuple[Any, Any]:
        """The memories of both."""
        first, second = jax.random.split(key)
        return self.policy.init(first, env, level), self.other.init(second, env, level)

    def act(
        self, key: jax.Array, env: Env, level: Level, state: State, carry: tuple[Any, Any]
    ) -> tuple[jax.Array, tuple[Any, Any]]:
        """An action int32[] of one of the two; the key is consumed."""
        coin_key, first_key, second_key = jax.random.split(key, 3)
        one, memory = self.policy.act(first_key, env, level, state, carry[0])
        two, other = self.other.act(second_key, env, level, state, carry[1])
        swap = jax.random.bernoulli(coin_key, self.epsilon)
        return jnp.where(swap, two, one), (memory, other)
