"""Episodes in context: every row of every level acts at once, all families in one scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents.tokens import Tokens
from envs.core import Env, Episode, Level, State, TimeStep, advance, begin
from icl.actor import Actor
from icl.contexts import Context

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


def play(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    contexts: Context,
    lengths: jax.Array,
    greedy: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """One episode a row: returns float32[C, N] and success bool[C, N].

    Args:
        actor: who acts.
        key: consumed.
        envs: the environment of each share of the contexts.
        levels: its levels, one a context; the shares together are the C contexts, in order.
        contexts: Context[C, P].
        lengths: int32[C, N], how much of its context each row is shown.
        greedy: bool[N].
    """
    return _play(actor, key, envs, levels, contexts, lengths, greedy, record=False)[:2]


def record(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    contexts: Context,
    lengths: jax.Array,
    greedy: jax.Array,
) -> tuple[jax.Array, jax.Array, Moments]:
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
) -> tuple[jax.Array, jax.Array, Any]:
    horizon = max(env.horizon for env in envs)
    counts = [jax.tree.leaves(level)[0].shape[0] for level in levels]
    edges = [sum(counts[:i]) for i in range(len(counts) + 1)]

    def each(index: int, function: Callable[..., Episode], key: jax.Array, *rest: Any) -> Episode:
        """``function(env, key, level, …)`` for every row of every level of one family."""

        def row(key: jax.Array, level: Level, *rest: Any) -> Episode:
            return function(envs[index], key, level, *rest)

        rows = jax.vmap(row, in_axes=(0, None, *(0,) * len(rest)))
        keys = jax.random.split(jax.random.fold_in(key, index), (counts[index], lengths.shape[1]))
        return jax.vmap(rows)(keys, levels[index], *rest)

    def advance_all(key: jax.Array, episodes: list[Episode], action: jax.Array) -> list[Episode]:
        return [
            each(i, advance, key, episode, action[edges[i] : edges[i + 1]])
            for i, episode in enumerate(episodes)
        ]

    begin_key, key = jax.random.split(key)
    episodes = [each(i, begin, begin_key) for i in range(len(envs))]

    def observe(episodes: list[Episode]) -> TimeStep:
        steps = [episode.timestep for episode in episodes]
        return jax.tree.map(lambda *x: jnp.concatenate(x), *steps)

    first = observe(episodes)
    previous = _last_shown(contexts, lengths)
    tokens = previous.replace(observation=first.observation, start=jnp.ones_like(previous.start))
    memory = actor.read(contexts, lengths)
    zeros = jnp.zeros(lengths.shape)
    carry = (episodes, tokens, memory, zeros, zeros.astype(bool))

    def one_step(carry, inputs):
        time, key = inputs
        episodes, tokens, memory, total, success = carry
        before = tokens, [episode.state for episode in episodes]
        act_key, step_key = jax.random.split(key)
        logits, memory = actor.logits(memory, tokens, time)
        sampled = jax.random.categorical(act_key, logits)
        action = jnp.where(greedy, logits.argmax(-1), sampled).astype(jnp.int32)
        running = ~observe(episodes).last
        episodes = advance_all(step_key, episodes, action)
        after = observe(episodes)
        tokens = Tokens(
            observation=after.observation,
            action=action,
            reward=after.reward,
            terminated=after.terminated,
            successor=after.observation,
            start=jnp.zeros_like(tokens.start),
            cut=jnp.zeros_like(tokens.cut),
        )
        success |= running & after.terminated & (after.reward > 0)
        told = (*before, logits, action, after.reward, after.terminated, running)
        carry = (episodes, tokens, memory, total + after.reward, success)
        return carry, told if record else None

    parts = []
    for start in range(0, horizon, SEGMENT):
        steps = min(SEGMENT, horizon - start)
        episodes, tokens, memory, total, success = carry
        carry = (episodes, tokens, actor.grow(memory, steps), total, success)
        keys = jax.random.split(jax.random.fold_in(key, start), steps)
        carry, told = jax.lax.scan(one_step, carry, (start + jnp.arange(steps), keys))
        parts.append(told)
    if not record:
        return carry[3], carry[4], None
    read, states, *rest = jax.tree.map(lambda *x: jnp.concatenate(x), *parts)
    final = [episode.state for episode in carry[0]]
    states = jax.tree.map(lambda x, last: jnp.concatenate([x, last[None]]), states, final)
    return carry[3], carry[4], Moments(tuple(states), read, *rest)


def _last_shown(contexts: Context, lengths: jax.Array) -> Tokens:
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
