"""Segmenters: where the steps of a run are cut into pieces.

Every function gives bool[L, N, T] for Lanes[L, N, T]: a piece begins at this step. Only live steps
begin pieces, and the first step of a run always does.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from envs.core import Env, Level
from envs.families.workshop import CALL, FOLD, Workshop
from icl.signals.lanes import Lanes


def whole(lanes: Lanes) -> jax.Array:
    """One piece a run."""
    return _cut(lanes, jnp.zeros_like(lanes.live))


def steps(lanes: Lanes) -> jax.Array:
    """Every action by itself."""
    return _cut(lanes, jnp.ones_like(lanes.live))


def chunks(lanes: Lanes, length: int | jax.Array) -> jax.Array:
    """Pieces of ``length`` steps each, on the grid of multiples of it."""
    return _cut(lanes, jnp.arange(lanes.live.shape[-1]) % length == 0)


def unsure(lanes: Lanes, probability: float | jax.Array = 0.9) -> jax.Array:
    """Cuts before the actions that were chosen with less than ``probability`` (SPO, Guo et al.
    2025, arXiv 2505.23564)."""
    return _cut(lanes, lanes.log < jnp.log(probability))


def forks(lanes: Lanes) -> jax.Array:
    """Cuts wherever some lane left another or was left: pieces are the edges of the tree."""
    changes = lanes.owner[..., 1:] != lanes.owner[..., :-1]
    changes = jnp.pad(changes, ((0, 0), (0, 0), (1, 0)))
    time = jnp.arange(lanes.live.shape[-1])
    # A lane i is left at step t where a lane forked before t from it, which owns t - 1 in both.
    own = jnp.roll(lanes.owner, 1, axis=-1)
    left = (lanes.fork[:, None, :, None] == time) & (time > 0)  # [L, 1, child, T]
    shares = own[:, :, None, :] == own[:, None, :, :]  # [L, N, child, T]
    return _cut(lanes, changes | (left & shares).any(2))


def moves(env: Env, levels: Level, lanes: Lanes) -> jax.Array:
    """Cuts where a move begins: in families whose moves take several actions, the agent's steps
    (``Env.begins``)."""
    return _cut(lanes, _each_state(env, env.begins, levels, lanes.state[..., :-1]))


def inside(env: Env, levels: Level, lanes: Lanes) -> jax.Array:
    """Cuts in the middle of moves, and nowhere else: the wrong unit."""
    return _cut(lanes, ~_each_state(env, env.begins, levels, lanes.state[..., :-1]))


def goals(env: Env, levels: Level, lanes: Lanes) -> jax.Array:
    """Cuts after each step that reached a sub-goal (``Env.milestone`` rose)."""
    reached = _each_state(env, env.milestone, levels, lanes.state)
    rose = reached[..., 1:-1] > reached[..., :-2]
    return _cut(lanes, jnp.pad(rose, ((0, 0), (0, 0), (1, 0))))


def calls(env: Env, lanes: Lanes) -> jax.Array:
    """Cuts after each token that ends a call of a tool, or folds the memory, in families whose
    tokens tell it (envs/families/workshop.py): thoughts belong to the call that they come before.
    """
    assert isinstance(env, Workshop)
    kind = env.token(lanes.action)
    over = (kind == CALL) | (kind == FOLD)
    return _cut(lanes, jnp.pad(over[..., :-1], ((0, 0), (0, 0), (1, 0))))


def alone(lanes: Lanes, which: jax.Array) -> jax.Array:
    """Cuts before and after the steps bool[L, N, T]: of decisive ones, the oracle's cut points."""
    after = jnp.pad(which[..., :-1], ((0, 0), (0, 0), (1, 0)))
    return _cut(lanes, which | after)


def index(starts: jax.Array) -> jax.Array:
    """int32[..., T]: the number of the piece of each step."""
    return jnp.cumsum(starts, axis=-1).astype(jnp.int32) - 1


def _cut(lanes: Lanes, where: jax.Array) -> jax.Array:
    first = jnp.cumsum(lanes.live, axis=-1) == 1
    return lanes.live & (where | first)


def _each_state(env: Env, tells, levels: Level, numbers: jax.Array) -> jax.Array:
    """What ``tells(level, state)`` says of states with numbers int32[L, N, T]."""

    def level(level: Level, numbers: jax.Array) -> jax.Array:
        told = jax.vmap(lambda i: tells(level, env.decode(level, i)))(jnp.arange(env.num_states))
        return told[numbers]

    return jax.vmap(level)(levels, numbers)
