"""Tokens: what the transformer reads at each position of a context.

One token a step. A token carries its own observation and the whole outcome of the token before
it, whatever cell that came from: the chosen action, the reward, the termination and the successor
observation. So what a cell holds, it shows, its last step included.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct


class Steps(struct.PyTreeNode):
    """Steps in the order of a context; ``...`` is usually [context].

    Attributes:
        observation: int32[..., P, F], before acting.
        action: int32[..., P], chosen.
        reward: float32[..., P], earned by it.
        terminated: bool[..., P], it ended the episode in a final state.
        successor: int32[..., P, F], the observation it led to.
        start: bool[..., P], an episode starts here.
        cut: bool[..., P], a cell starts here in mid-episode, and what precedes it is foreign.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    successor: jax.Array
    start: jax.Array
    cut: jax.Array


class Tokens(struct.PyTreeNode):
    """Positions of contexts; ``...`` is usually [context, position].

    Attributes:
        observation: int32[..., F], this step's.
        action: int32[...], chosen at the token before; -1 where there is none.
        reward: float32[...], that it earned.
        terminated: bool[...], whether it ended its episode in a final state.
        successor: int32[..., F], the observation that it led to; -1 where there is none.
        start: bool[...], an episode starts here.
        cut: bool[...], a cell starts here in mid-episode, and what precedes it is foreign to it.
    """

    observation: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    successor: jax.Array
    start: jax.Array
    cut: jax.Array


def tokens_of(steps: Steps) -> Tokens:
    """Tokens[..., P] of Steps[..., P]: each with the outcome of the one before it, the first with
    none."""

    def before(x: jax.Array, empty: float, axis: int) -> jax.Array:
        first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
        rest = jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)
        return jnp.concatenate([jnp.full_like(first, empty), rest], axis=axis)

    return Tokens(
        observation=steps.observation,
        action=before(steps.action, -1, -1),
        reward=before(steps.reward, 0.0, -1),
        terminated=before(steps.terminated, False, -1),
        successor=before(steps.successor, -1, -2),
        start=steps.start,
        cut=steps.cut,
    )


def features(tokens: Tokens, num_symbols: int, num_actions: int) -> jax.Array:
    """float32[..., W], W = ``width(F, V, A)``: a token as indicators side by side.

    The embedding is one matrix over them, so a token is embedded by one matrix product and its
    gradient needs no scatter.
    """

    def indicators(index: jax.Array, count: int) -> jax.Array:
        return (index[..., None] == jnp.arange(count)).astype(jnp.float32)

    def fields(symbols: jax.Array) -> jax.Array:
        flat = indicators(symbols, num_symbols)
        return flat.reshape(*flat.shape[:-2], -1)

    scalars = [tokens.reward, tokens.terminated, tokens.start, tokens.cut]
    return jnp.concatenate(
        [
            fields(tokens.observation),
            fields(tokens.successor),
            indicators(tokens.action, num_actions),
            jnp.stack([x.astype(jnp.float32) for x in scalars], axis=-1),
        ],
        axis=-1,
    )


def width(num_fields: int, num_symbols: int, num_actions: int) -> int:
    """W, the number of features of a token."""
    return 2 * num_fields * num_symbols + num_actions + 4
