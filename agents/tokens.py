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
    """Steps in the order of a context; ``...`` is usually [context]. Where observations are pixels,
    they are uint8[..., 64, 64, 3] instead of int32[..., F], here and in Tokens.

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
        successor: int32[..., F], the observation that it led to; -1 where there is none (pixels:
            black).
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

    seen = steps.action.ndim - 1 - steps.successor.ndim  # the position axis of observations
    nothing = 0 if steps.successor.dtype == jnp.uint8 else -1
    return Tokens(
        observation=steps.observation,
        action=before(steps.action, -1, -1),
        reward=before(steps.reward, 0.0, -1),
        terminated=before(steps.terminated, False, -1),
        successor=before(steps.successor, nothing, seen),
        start=steps.start,
        cut=steps.cut,
    )


def halves(tokens: Tokens) -> tuple[Tokens, Tokens]:
    """A token in two: what came of the step before, and what is seen now. Empty fields are as
    where there is nothing."""
    nothing = 0 if tokens.successor.dtype == jnp.uint8 else -1
    none = jnp.zeros_like(tokens.start)
    outcome = tokens.replace(
        observation=jnp.full_like(tokens.observation, nothing), start=none, cut=none
    )
    sight = tokens.replace(
        action=jnp.full_like(tokens.action, -1),
        reward=jnp.zeros_like(tokens.reward),
        terminated=none,
        successor=jnp.full_like(tokens.successor, nothing),
    )
    return outcome, sight


def features(tokens: Tokens, num_symbols: int, num_actions: int) -> jax.Array:
    """float32[..., W], W = ``width(F, V, A)``: a token of symbols as indicators side by side.

    The embedding is one matrix over them, so a token is embedded by one matrix product and its
    gradient needs no scatter.
    """

    def fields(symbols: jax.Array) -> jax.Array:
        flat = _indicators(symbols, num_symbols)
        return flat.reshape(*flat.shape[:-2], -1)

    return jnp.concatenate(
        [fields(tokens.observation), fields(tokens.successor), outcomes(tokens, num_actions)],
        axis=-1,
    )


def outcomes(tokens: Tokens, num_actions: int) -> jax.Array:
    """float32[..., A + 4]: all of a token but its observations, as indicators and scalars."""
    scalars = [tokens.reward, tokens.terminated, tokens.start, tokens.cut]
    return jnp.concatenate(
        [
            _indicators(tokens.action, num_actions),
            jnp.stack([x.astype(jnp.float32) for x in scalars], axis=-1),
        ],
        axis=-1,
    )


def width(num_fields: int, num_symbols: int, num_actions: int) -> int:
    """W, the number of features of a token of symbols."""
    return 2 * num_fields * num_symbols + num_actions + 4


def _indicators(index: jax.Array, count: int) -> jax.Array:
    return (index[..., None] == jnp.arange(count)).astype(jnp.float32)
