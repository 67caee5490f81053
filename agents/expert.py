"""Experts for families whose states cannot be enumerated: a trained network behind any wrappers.

An expert is level-conditioned: it sees what ``Env.reveal`` tells of level and state, and chooses
among the actions of the bare family, so one network plays in all levels, padded, scrambled, sticky
or not. ``agents/ppo.py`` trains it; ``agents/checkpoint.py`` keeps it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Level, State
from envs.wrappers import Wrapper

Layer = tuple[jax.Array, jax.Array]  # kernel float32[inputs, outputs], bias float32[outputs]


class Scale(struct.PyTreeNode):
    """Running moments of what was revealed.

    Attributes:
        count: float32[], rows seen.
        mean: float32[n].
        variance: float32[n].
    """

    count: jax.Array
    mean: jax.Array
    variance: jax.Array

    def extend(self, rows: jax.Array) -> Scale:
        """The moments with rows float32[m, n] added (Chan, Golub, LeVeque 1979, pairwise)."""
        count = self.count + rows.shape[0]
        share = rows.shape[0] / count
        shift = rows.mean(0) - self.mean
        within = (1 - share) * self.variance + share * rows.var(0)
        return Scale(count, self.mean + share * shift, within + share * (1 - share) * shift**2)

    def __call__(self, revealed: jax.Array) -> jax.Array:
        """float32[..., n]: what is revealed, standardised and cut off at ±5."""
        floor = 1e-6 * (1 + self.mean**2)  # above the rounding of what never varies
        standard = (revealed - self.mean) * jax.lax.rsqrt(self.variance + floor)
        return jnp.clip(standard, -5.0, 5.0)


class Network(struct.PyTreeNode):
    """A multilayer perceptron with two heads.

    Attributes:
        hidden: layers, each followed by a squared ReLU (So et al. 2021, arXiv 2109.08668).
        policy: the layer to logits float32[A].
        value: the layer to the value float32[1].
    """

    hidden: tuple[Layer, ...]
    policy: Layer
    value: Layer

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits float32[..., A] and value float32[...] of numbers float32[..., n] on one scale."""
        for kernel, bias in self.hidden:
            x = jnp.square(jax.nn.relu(x @ kernel + bias))
        logits = x @ self.policy[0] + self.policy[1]
        return logits, (x @ self.value[0] + self.value[1])[..., 0]


class Expert(struct.PyTreeNode):
    """A policy after the protocol in envs/core.py, without memory.

    Attributes:
        network: the weights.
        scale: moments of what was revealed in training, over n numbers.
        temperature: float32[], of the softmax that actions are drawn from; 0 is greedy.
    """

    network: Network
    scale: Scale
    temperature: jax.Array

    def init(self, key: jax.Array, env: Env, level: Level) -> None:
        """No memory."""

    def act(
        self, key: jax.Array, env: Env, level: Level, state: State, carry: None
    ) -> tuple[jax.Array, None]:
        """An action int32[] of ``env``, which may be wrapped otherwise than in training; the key is
        consumed.

        Raises:
            ValueError: ``env`` is of another family or size than the one trained on.
        """
        revealed = env.reveal(level, state)
        have = (self.scale.mean.size, self.network.policy[1].size)
        need = (revealed.size, env.bare.num_actions)
        if have != need:
            raise ValueError(
                f"the expert knows {have[0]} numbers and {have[1]} actions, "
                f"{type(env.bare).__name__} has {need[0]} and {need[1]}; train one for it"
            )
        logits, _ = self.judge(revealed)
        # Gumbel noise draws from the softmax, and at temperature 0 leaves the largest.
        noise = self.temperature * jax.random.gumbel(key, logits.shape)
        action = jnp.argmax(logits + noise).astype(jnp.int32)
        return outward(env, level, state, action), carry

    def judge(self, revealed: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits float32[..., A] and value float32[...] of what is revealed, float32[..., n]."""
        return self.network(self.scale(revealed))


def outward(env: Env, level: Level, state: State, action: jax.Array) -> jax.Array:
    """int32[]: the action of ``env`` that means the bare family's ``action`` int32[]."""
    if not isinstance(env, Wrapper):
        return action
    inner, within = env.peel(level, state)
    return env.outward(level, outward(env.env, inner, within, action))


def untrained(
    key: jax.Array, env: Env, level: Level, *, width: int = 128, layers: int = 2
) -> Expert:
    """An expert before its training, and what a checkpoint of one is restored into
    (agents/checkpoint.py). Weights are orthogonal (Saxe et al. 2014, arXiv 1312.6120), those of the
    policy small, so that it begins uniform.

    Args:
        key: consumed.
        env: the family, wrapped or not.
        level: any of its levels.
        width: of the hidden layers.
        layers: how many of them.
    """
    reset_key, policy_key, value_key, *keys = jax.random.split(key, layers + 3)
    size = env.reveal(level, env.reset(reset_key, level)).size

    def layer(key: jax.Array, inputs: int, outputs: int, gain: float = 1.0) -> Layer:
        kernel = jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs), jnp.float32)
        return kernel, jnp.zeros(outputs)

    widths = [size] + [width] * layers
    network = Network(
        hidden=tuple(map(layer, keys, widths[:-1], widths[1:])),
        policy=layer(policy_key, widths[-1], env.bare.num_actions, 0.01),
        value=layer(value_key, widths[-1], 1),
    )
    scale = Scale(jnp.float32(0.0), jnp.zeros(size), jnp.ones(size))
    return Expert(network, scale, jnp.float32(1.0))
