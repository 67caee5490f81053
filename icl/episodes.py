"""Episodes in context: every row of every level acts at once, all families in one scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents.retrieval import hit
from agents.tokens import Tokens
from envs.core import Env, Level, State
from icl.actor import Actor
from icl.contexts import Context
from icl.stage import Stage, tokens_after

SEGMENT = 32  # the growing cache grows by so many steps


class Moments(struct.PyTreeNode):
    """The steps of all rows, one after the other; steps behind the end of an episode included.

    Attributes:
        states: of each family, its states before every step and after the last, stacked on
            [T + 1, c, N], where c are its contexts.
        tokens: Tokens[T, C, N], what the actor read.
        logits: float32[T, C, N, A], what it made of it.
        action: int32[T, C, N], chosen.
        reward: float32[T, C, N].
        terminated: bool[T, C, N], the episode has ended in a final state, by this step or before.
        running: bool[T, C, N], the step took place.
    """

    states: tuple[State, ...]
    tokens: Tokens
    logits: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    running: jax.Array


class Played(struct.PyTreeNode):
    """What the episodes of rows [C, N] came to.

    Attributes:
        returns: float32[C, N], undiscounted.
        success: bool[C, N], the episode ended in a final state that paid.
        steps: float32[C, N], how many it took.
        hits: float32[C, N], at how many of them the observation was one that its row is shown.
    """

    returns: jax.Array
    success: jax.Array
    steps: jax.Array
    hits: jax.Array


def play(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    contexts: Context,
    lengths: jax.Array,
    greedy: jax.Array,
) -> Played:
    """One episode a row.

    Args:
        actor: who acts.
        key: consumed.
        envs: the environment of each share of the contexts.
        levels: its levels, one a context; the shares together are the C contexts, in order.
        contexts: Context[C, P].
        lengths: int32[C, N], how much of its context each row is shown.
        greedy: bool[N].
    """
    return _play(actor, key, envs, levels, contexts, lengths, greedy, record=False)[0]


def record(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    contexts: Context,
    lengths: jax.Array,
    greedy: jax.Array,
) -> tuple[Played, Moments]:
    """As ``play``, the very same episodes, with all that happened on the way."""
    return _play(actor, key, envs, levels, contexts, lengths, greedy, record=True)


def _play(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    contexts: Context,
    lengths: jax.Array,
    greedy: jax.Array,
    *,
    record: bool,
) -> tuple[Played, Any]:
    stage = Stage(envs, levels, lengths.shape[1])
    begin_key, key = jax.random.split(key)
    episodes = stage.begin(begin_key)
    first = stage.timestep(episodes)
    previous = last_shown(contexts, lengths)
    tokens = previous.replace(observation=first.observation, start=jnp.ones_like(previous.start))
    memory = actor.read(contexts, lengths)
    zeros = jnp.zeros(lengths.shape)
    carry = (episodes, tokens, memory, Played(zeros, zeros.astype(bool), zeros, zeros))

    def one_step(carry, inputs):
        time, key = inputs
        episodes, tokens, memory, so_far = carry
        before = tokens, [episode.state for episode in episodes]
        act_key, step_key = jax.random.split(key)
        logits, memory = actor.logits(memory, tokens, time)
        sampled = jax.random.categorical(act_key, logits)
        action = jnp.where(greedy, logits.argmax(-1), sampled).astype(jnp.int32)
        running = ~stage.timestep(episodes).last
        episodes = stage.advance(step_key, episodes, action)
        after = stage.timestep(episodes)
        so_far = Played(
            returns=so_far.returns + after.reward,
            success=so_far.success | running & after.terminated & (after.reward > 0),
            steps=so_far.steps + running,
            hits=so_far.hits + (running & _met(contexts, lengths, tokens.observation)),
        )
        told = (*before, logits, action, after.reward, after.terminated, running)
        carry = (episodes, tokens_after(action, after), memory, so_far)
        return carry, told if record else None

    parts = []
    for start in range(0, stage.horizon, SEGMENT):
        steps = min(SEGMENT, stage.horizon - start)
        episodes, tokens, memory, so_far = carry
        carry = (episodes, tokens, actor.grow(memory, steps), so_far)
        keys = jax.random.split(jax.random.fold_in(key, start), steps)
        carry, told = jax.lax.scan(one_step, carry, (start + jnp.arange(steps), keys))
        parts.append(told)
    if not record:
        return carry[3], None
    read, states, *rest = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    final = [episode.state for episode in carry[0]]
    states = jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), states, final)
    return carry[3], Moments(tuple(states), read, *rest)


def _met(contexts: Context, lengths: jax.Array, observation: jax.Array) -> jax.Array:
    """bool[C, N]: rows whose observation, int32[C, N, F], is among those that they are shown."""
    place = jnp.arange(contexts.valid.shape[1])

    def row(observation: jax.Array, seen: jax.Array, length: jax.Array) -> jax.Array:
        return hit(observation, seen, place < length)

    rows = jax.vmap(row, in_axes=(0, None, 0))
    return jax.vmap(rows)(observation, contexts.steps.observation, lengths)


def last_shown(contexts: Context, lengths: jax.Array) -> Tokens:
    """Tokens[C, N] that carry the outcome of the last step that each row is shown, if any: what
    the first token of its episode says about the token before it."""
    last = jnp.maximum(lengths - 1, 0)
    shown = lengths > 0

    def at(x: jax.Array, empty: Any) -> jax.Array:
        index = last.reshape(*last.shape, *(1,) * (x.ndim - 2))
        value = jnp.take_along_axis(x, index, axis=1)
        mask = shown.reshape(*shown.shape, *(1,) * (x.ndim - 2))
        return jnp.where(mask, value, jnp.asarray(empty, x.dtype))

    steps = contexts.steps
    return Tokens(
        observation=at(steps.observation, 0),
        action=at(steps.action, -1),
        reward=at(steps.reward, 0.0),
        terminated=at(steps.terminated, False),
        successor=at(steps.successor, 0 if steps.successor.dtype == jnp.uint8 else -1),
        start=jnp.zeros_like(shown),
        cut=jnp.zeros_like(shown),
    )
