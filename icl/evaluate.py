"""k-shot evaluation: the model acts in levels of which it is shown k demonstrations.

The K demonstrations of a level are prefilled once. Because the model is causal and contexts are
packed, the first k of them are a prefix of that cache, so k = 0 … K are rows that differ only in a
length: no k has a shape, and none recompiles. Every family of every split plays in one scan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents.policy import Oracle
from agents.tokens import Tokens
from envs.core import Env, Episode, Level, TimeStep, advance, begin
from envs.levels import LevelSet
from envs.rollout import Trajectories, rollout
from icl.actor import Actor
from icl.arms import Arm
from icl.contexts import Context, arrange

SEGMENT = 32  # the growing cache grows by so many steps
ACTINGS = ("sampled", "greedy")
DEMONSTRATIONS = ("whole", "as-trained")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What shapes the evaluation.

    Attributes:
        levels: levels of each family and split, a multiple of ``block``.
        episodes: episodes of each level, k, kind of demonstrations and way of acting.
        demos: K; k runs from 0 to K, at most slots - 1.
        block: levels of each family that play at the same time; it bounds the memory.
    """

    levels: int = 128
    episodes: int = 1
    demos: int = 3
    block: int = 16


class Result(struct.PyTreeNode):
    """What the episodes of one family and split came to.

    Attributes:
        returns: float32[D, n, K + 1, G, R]: kind of demonstrations, level, k, acting (sampled,
            greedy), episode; undiscounted.
        success: bool, likewise: the episode ended in a final state that paid.
        references: float32[n, 2], exact expected returns of random play and of the optimum.
    """

    returns: jax.Array
    success: jax.Array
    references: jax.Array


def demonstrate(
    key: jax.Array, arm: Arm, groups: Trajectories, demos: int
) -> tuple[Context, jax.Array]:
    """Contexts of ``demos`` slots of demonstrations, arranged as an arm does in training.

    The query comes last in every context, so its own steps are no part of the prefix that rows
    are allowed to see.

    Args:
        key: consumed.
        arm: the rule; one that is ``alone`` has no slots and is shown whole demonstrations.
        groups: Trajectories[n, E, T].
        demos: K, at most E - 1.

    Returns:
        Context[n, K * T] and int32[n, K + 1], the length of the first k slots.
    """
    levels, slots, horizon = groups.valid.shape
    rule = Arm() if arm.alone else arm
    last = jnp.full(levels, slots - 1, jnp.int32)
    context = arrange(key, rule, groups, last)
    prefix = jax.tree.map(lambda x: x[:, : demos * horizon], context)
    return prefix, context.slot[:, : demos + 1]


def evaluate(
    actor: Actor,
    config: EvaluateConfig,
    key: jax.Array,
    arm: Arm,
    families: tuple[tuple[LevelSet, ...], ...],
) -> tuple[tuple[Result, ...], ...]:
    """Plays k-shot episodes in the first ``config.levels`` levels of every set.

    Args:
        actor: who acts.
        config: how much.
        key: consumed; the demonstrations do not depend on the actor or the arm.
        arm: how demonstrations are arranged where they are arranged as trained.
        families: the level sets of each family, one a split, all behind one interface. The sets
            of a family share its environment.

    Returns:
        One Result a set.
    """
    count, demos = config.levels, config.demos
    deal_key, play_key, key = jax.random.split(key, 3)
    sets = [pool for family in families for pool in family]
    envs = [family[0].env for family in families]
    levels, groups = [], []
    for index, family in enumerate(families):
        shares = [pool.levels(jnp.arange(count)) for pool in family]
        levels.append(jax.tree.map(lambda *x: jnp.stack(x), *shares))
        joined = jax.tree.map(lambda *x: jnp.concatenate(x), *shares)
        demo_key = jax.random.fold_in(key, index)
        played = rollout(envs[index], Oracle(), demo_key, joined, rollouts=demos + 1)
        groups += [
            jax.tree.map(lambda x, i=i: x[i * count : (i + 1) * count], played)
            for i in range(len(family))
        ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *groups)
    deal_keys = jax.random.split(deal_key, len(sets))

    def shown(rule: Arm) -> tuple[Context, jax.Array]:
        return jax.vmap(lambda k, g: demonstrate(k, rule, g, demos))(deal_keys, stacked)

    # [set, kind of demonstrations, block, level, …] from here on, played block by block.
    pairs = zip(*(jax.tree.leaves(shown(rule)) for rule in (Arm(), arm)), strict=True)
    form = jax.tree.structure(jax.eval_shape(lambda: shown(arm)))
    contexts, lengths = jax.tree.unflatten(form, [jnp.stack(pair, axis=1) for pair in pairs])
    blocks = count // config.block

    def cut(x: jax.Array, axis: int) -> jax.Array:
        """Blocks of levels, on the leading axis."""
        shape = (*x.shape[:axis], blocks, config.block, *x.shape[axis + 1 :])
        return jnp.moveaxis(x.reshape(shape), axis, 0)

    contexts, lengths = jax.tree.map(lambda x: cut(x, 2), (contexts, lengths))
    shape = (demos + 1, len(ACTINGS), config.episodes)
    place = jnp.indices(shape).reshape(3, -1)

    def play(inputs):
        key, levels, contexts, lengths = inputs
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:]), (contexts, lengths))
        # Each level of each split twice, once a kind of demonstrations.
        doubled = jax.tree.map(
            lambda x: jnp.stack([x, x], axis=1).reshape(-1, *x.shape[2:]), levels
        )
        return _play(actor, key, envs, doubled, flat[0], flat[1][:, place[0]], place[1] == 1)

    cut_levels = jax.tree.map(lambda x: cut(x, 1), levels)
    keys = jax.random.split(play_key, blocks)
    played = jax.lax.map(play, (keys, cut_levels, contexts, lengths))

    def result(index: int, pool: LevelSet) -> Result:
        def part(x: jax.Array) -> jax.Array:
            own = x.reshape(blocks, len(sets), 2, config.block, *shape)[:, index]
            return jnp.moveaxis(own, 1, 0).reshape(2, count, *shape)

        return Result(part(played[0]), part(played[1]), pool.references[:count])

    results = iter([result(i, pool) for i, pool in enumerate(sets)])
    return tuple(tuple(next(results) for _ in family) for family in families)


def _play(
    actor: Actor,
    key: jax.Array,
    envs: list[Env],
    levels: list[Level],
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
    memory = actor.read(contexts, lengths, horizon)
    zeros = jnp.zeros(lengths.shape)
    carry = (episodes, tokens, memory, zeros, zeros.astype(bool))

    def one_step(carry, inputs):
        time, key = inputs
        episodes, tokens, memory, total, success = carry
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
        return (episodes, tokens, memory, total + after.reward, success), None

    for start in range(0, horizon, SEGMENT):
        steps = min(SEGMENT, horizon - start)
        episodes, tokens, memory, total, success = carry
        carry = (episodes, tokens, actor.grow(memory, steps), total, success)
        keys = jax.random.split(jax.random.fold_in(key, start), steps)
        carry, _ = jax.lax.scan(one_step, carry, (start + jnp.arange(steps), keys))
    return carry[3], carry[4]


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
        successor=at(steps.successor, -1),
        start=jnp.zeros_like(shown),
        cut=jnp.zeros_like(shown),
    )
