"""Attempts: episodes that an agent plays in one level one after the other, remembering them.

Nothing is demonstrated. A trial lasts a number of steps; where an episode ends the next one begins
at once in the same level, and the agent's context is all that it did there before (RL²: Duan et al.
2016, arXiv 1611.02779; evaluation of algorithm distillation: Laskin et al. 2022, arXiv 2210.14215).
A token that begins an attempt tells the outcome of the one before it, as in any context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents.tokens import Steps, Tokens
from envs.core import Env, Level
from icl.actor import Actor
from icl.conditions import ACTINGS
from icl.contexts import Context
from icl.demonstrations import Families
from icl.episodes import SEGMENT, last_shown
from icl.evaluate import EvaluateConfig, Result
from icl.stage import Stage, tokens_after


class Trial(struct.PyTreeNode):
    """What rows [C, N] did in L steps. Every step takes place: a trial has no padding.

    Attributes:
        tokens: Tokens[L, C, N], what the actor read.
        logits: float32[L, C, N, A], what it made of it.
        action: int32[L, C, N], chosen.
        reward: float32[L, C, N].
        terminated: bool[L, C, N], the step led to a final state.
        last: bool[L, C, N], the attempt ended here, in a final state or at the horizon.
        attempt: int32[L, C, N], which one the step belongs to.
    """

    tokens: Tokens
    logits: jax.Array
    action: jax.Array
    reward: jax.Array
    terminated: jax.Array
    last: jax.Array
    attempt: jax.Array


def trial(
    actor: Actor,
    key: jax.Array,
    envs: Sequence[Env],
    levels: Sequence[Level],
    greedy: jax.Array,
    steps: int,
) -> Trial:
    """One trial a row.

    Args:
        actor: who acts.
        key: consumed.
        envs: the environment of each share of the levels.
        levels: its levels; the shares together are the C levels, in order.
        greedy: bool[N], whether a row takes the most probable action or draws.
        steps: L.
    """
    stage = Stage(envs, levels, greedy.size)
    begin_key, key = jax.random.split(key)
    episodes = stage.begin(begin_key)
    first = stage.timestep(episodes)
    nothing, none = _nothing(first.observation), jnp.zeros(stage.shape, jnp.int32)
    before = last_shown(nothing, none)
    tokens = before.replace(observation=first.observation, start=jnp.ones_like(before.start))
    carry = (episodes, tokens, actor.read(nothing, none), none)

    def one_step(carry: Any, inputs: Any) -> tuple[Any, Trial]:
        time, key = inputs
        episodes, tokens, memory, attempt = carry
        act_key, step_key, begin_key = jax.random.split(key, 3)
        logits, memory = actor.logits(memory, tokens, time)
        sampled = jax.random.categorical(act_key, logits)
        action = jnp.where(greedy, logits.argmax(-1), sampled).astype(jnp.int32)
        episodes = stage.advance(step_key, episodes, action)
        after = stage.timestep(episodes)
        done = Trial(tokens, logits, action, after.reward, after.terminated, after.last, attempt)
        episodes = stage.chosen(after.last, stage.begin(begin_key), episodes)
        seen = stage.timestep(episodes).observation
        tokens = tokens_after(action, after).replace(observation=seen, start=after.last)
        return (episodes, tokens, memory, attempt + after.last), done

    parts = []
    for start in range(0, steps, SEGMENT):
        count = min(SEGMENT, steps - start)
        episodes, tokens, memory, attempt = carry
        carry = (episodes, tokens, actor.grow(memory, count), attempt)
        keys = jax.random.split(jax.random.fold_in(key, start), count)
        carry, told = jax.lax.scan(one_step, carry, (start + jnp.arange(count), keys))
        parts.append(told)
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)


def attempts(
    actor: Actor, config: EvaluateConfig, key: jax.Array, families: Families, count: int
) -> tuple[Result, ...]:
    """Tests an actor over its own attempts in the first levels of every set.

    Args:
        actor: who acts.
        config: levels, episodes (here: trials of each level) and block; its demos do not matter.
        key: consumed.
        families: the level sets.
        count: E, attempts; a trial of E * T steps holds at least as many.

    Returns:
        One Result a set, with one kind of demonstrations, and attempts 0 … E - 1 in the place of k;
        hits are 0.
    """
    blocks = config.levels // config.block
    sets = [pool for family in families for pool in family]
    envs = [family[0].env for family in families]
    horizon = max(env.horizon for env in envs)
    rows = (len(ACTINGS), config.episodes)
    greedy = jnp.indices(rows)[0].ravel() == 1

    def one_block(inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, ...]:
        key, index = inputs
        levels = [
            jax.tree.map(lambda *x: jnp.concatenate(x), *(pool.levels(index) for pool in family))
            for family in families
        ]
        done = trial(actor, key, envs, levels, greedy, count * horizon)
        at = done.attempt[..., None] == jnp.arange(count)
        won = done.terminated & (done.reward > 0)
        return tuple(
            (x[..., None] * at).sum(0) for x in (done.reward, won, jnp.ones_like(done.reward))
        )

    indices = jnp.arange(config.levels).reshape(blocks, config.block)
    played = jax.lax.map(one_block, (jax.random.split(key, blocks), indices))

    def part(x: jax.Array, own: int) -> jax.Array:
        """float32[blocks, C, N, E] -> [1, n, E, G, R] of one set."""
        x = x.reshape(blocks, len(sets), config.block, *rows, count)[:, own]
        return jnp.moveaxis(x.reshape(1, config.levels, *rows, count), -1, 2)

    found = []
    for i, pool in enumerate(sets):
        returns, won, steps = (part(x, i) for x in played)
        references = pool.references[: config.levels]
        found.append(Result(returns, won > 0, steps, jnp.zeros_like(steps), references))
    return tuple(found)


def _nothing(observation: jax.Array) -> Context:
    """Context[C, 1] in which nothing is valid, for observations [C, N, …]."""
    shape = (observation.shape[0], 1)
    zero, no = jnp.zeros(shape, jnp.int32), jnp.zeros(shape, bool)
    seen = jnp.zeros_like(observation[:, :1])
    steps = Steps(seen, zero, jnp.zeros(shape), no, seen, no, no)
    return Context(steps, no, no, zero - 1, jnp.zeros((shape[0], 2), jnp.int32))
