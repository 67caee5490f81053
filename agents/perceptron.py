"""A small network that reads pictures of levels, one and the same in all families.

What it sees is a square of tiles with the agent in its middle, so a wall, a goal or an agent is the
same thing in every family that is drawn: what training in one family changes, others feel.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agents.expert import Layer
from envs import tiles
from envs.core import Env, Level, State

AGENTS = (tiles.AGENT, tiles.LADEN)
KINDS = (
    tiles.WALL,
    tiles.LADEN,
    tiles.GOAL,
    tiles.KEY,
    tiles.DOOR,
    tiles.WIND_RIGHT,
    tiles.UNSEEN,
)
"""The tiles that are told apart; all others look like floor."""


class Perceptron(struct.PyTreeNode):
    """Attributes:
    hidden: layers, each followed by a squared ReLU (So et al. 2021, arXiv 2109.08668).
    policy: the layer to logits float32[A].
    """

    hidden: tuple[Layer, ...]
    policy: Layer

    def __call__(self, sight: jax.Array) -> jax.Array:
        """Logits float32[..., A] of what is seen, int8[..., V]."""
        x = sight.astype(jnp.float32)
        for kernel, bias in self.hidden:
            x = jnp.square(jax.nn.relu(x @ kernel + bias))
        return x @ self.policy[0] + self.policy[1]


def untrained(
    key: jax.Array, view: int, actions: int, *, width: int = 64, layers: int = 2
) -> Perceptron:
    """A network before its training, which plays nearly at random. Weights are orthogonal (Saxe et
    al. 2014, arXiv 1312.6120), those of the policy small.

    Args:
        key: consumed.
        view: tiles along an edge of what it sees.
        actions: A.
        width: of the hidden layers.
        layers: how many of them.
    """
    policy_key, *keys = jax.random.split(key, layers + 1)

    def layer(key: jax.Array, inputs: int, outputs: int, gain: float = 1.0) -> Layer:
        kernel = jax.nn.initializers.orthogonal(gain)(key, (inputs, outputs), jnp.float32)
        return kernel, jnp.zeros(outputs)

    widths = [len(KINDS) * view**2] + [width] * layers
    return Perceptron(
        hidden=tuple(map(layer, keys, widths[:-1], widths[1:])),
        policy=layer(policy_key, widths[-1], actions, 0.01),
    )


def sight(env: Env, level: Level, state: State, view: int) -> jax.Array:
    """int8[V], V = view² · kinds: around the agent, row by row, its own place in the middle, which
    of ``KINDS`` lies there (0 or 1 each). What lies beyond the picture is unseen.

    Args:
        env: a family that is drawn (``Env.draw``), with one agent in the picture.
        level: one level.
        state: one state.
        view: tiles along an edge, odd.
    """
    picture = env.draw(level, state)
    row, column = jnp.divmod(jnp.argmax(jnp.isin(picture, jnp.asarray(AGENTS))), picture.shape[1])
    wide = jnp.pad(picture, view // 2, constant_values=tiles.UNSEEN)
    near = jax.lax.dynamic_slice(wide, (row, column), (view, view))
    return (near[..., None] == jnp.asarray(KINDS)).ravel().astype(jnp.int8)


def merged(networks: Perceptron) -> Perceptron:
    """The mean of the weights of networks that are stacked on a leading axis (model soups, Wortsman
    et al. 2022, arXiv 2203.05482)."""
    return jax.tree.map(lambda x: x.mean(0), networks)
