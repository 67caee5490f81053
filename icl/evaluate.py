"""k-shot evaluation: the model acts in levels of which it is shown k demonstrations.

The K demonstrations of a level are prefilled once. Because the model is causal and contexts are
packed, the first k of them are a prefix of that cache, so k = 0 … K are rows that differ only in a
length: no k has a shape, and none recompiles. Every family of every split plays in one scan.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.policy import Oracle
from agents.retrieval import Reader
from agents.tokens import Tokens
from agents.transformer import Cache, Parameters
from envs.core import Env, Episode, Level, advance, begin, static
from envs.levels import LevelSet
from envs.rollout import Trajectories, rollout
from icl.contexts import NAMED, Arm, Context, arrange

SEGMENT = 32  # the growing cache grows by so many steps
ACTINGS = ("sampled", "greedy")
DEMONSTRATIONS = ("whole", "as-trained")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
    """What shapes the evaluation.

    Attributes:
        levels: levels of each family and split.
        episodes: episodes of each level, k, kind of demonstrations and way of acting.
        demos: K; k runs from 0 to K, at most slots - 1.
    """

    levels: int = 128
    episodes: int = 1
    demos: int = 3


class Rows(NamedTuple):
    """The rows that play on one context, N of them: every k × acting × episode.

    Attributes:
        demos: int32[N], k.
        greedy: bool[N], take the most probable action instead of sampling at temperature 1.
    """

    demos: jax.Array
    greedy: jax.Array


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


class Actor(Protocol):
    """Something that acts from a context: the transformer or a reader."""

    def read(self, contexts: Context, lengths: jax.Array, steps: int) -> Any:
        """The memory of rows [C, N] on contexts [C], of which each sees lengths int32[C, N]."""
        ...

    def grow(self, memory: Any, steps: int) -> Any:
        """The memory with room for ``steps`` more steps of the episode."""
        ...

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """Logits float32[C, N, A] for Tokens[C, N] at step ``time``, and the memory after it."""
        ...


class ModelActor(struct.PyTreeNode):
    """The transformer with its caches.

    Attributes:
        parameters: the model's.
        graph: the model's definition.
    """

    parameters: Parameters
    graph: nnx.GraphDef = static(None)

    def read(self, contexts: Context, lengths: jax.Array, steps: int) -> Any:
        model = nnx.merge(self.graph, self.parameters)
        own = model.empty(*lengths.shape, 0)
        return model.prefill(contexts.tokens), lengths, own

    def grow(self, memory: Any, steps: int) -> Any:
        prefix, lengths, own = memory
        widths = ((0, 0), (0, 0), (0, 0), (0, steps), (0, 0))
        return prefix, lengths, jax.tree.map(lambda x: jnp.pad(x, widths), own)

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        prefix, lengths, own = memory
        model = nnx.merge(self.graph, self.parameters)
        logits, own = model.decode(tokens, prefix, lengths, own, time)
        return logits, (prefix, lengths, own)


class ReaderActor(struct.PyTreeNode):
    """A reader of the demonstrations.

    Attributes:
        reader: the hash map or the nearest neighbour.
        num_actions: A.
    """

    reader: Reader
    num_actions: int = static(0)

    def read(self, contexts: Context, lengths: jax.Array, steps: int) -> Any:
        return contexts.tokens.observation, contexts.action, lengths

    def grow(self, memory: Any, steps: int) -> Any:
        return memory

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        def row(observation, seen, action, length):
            valid = jnp.arange(seen.shape[0]) < length
            return self.reader.logits(observation, seen, action, valid, self.num_actions)

        rows = jax.vmap(row, in_axes=(0, None, None, 0))
        return jax.vmap(rows)(tokens.observation, *memory), memory


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
    rule = NAMED["bursty"] if arm.alone else arm
    last = jnp.full(levels, slots - 1, jnp.int32)
    context = arrange(key, rule, groups, last)
    prefix = jax.tree.map(lambda x: x[:, : demos * horizon], context)
    return prefix, context.slot[:, : demos + 1]


def evaluate(
    actor: Actor, config: EvaluateConfig, key: jax.Array, arm: Arm, sets: tuple[LevelSet, ...]
) -> tuple[Result, ...]:
    """Plays k-shot episodes in the first ``config.levels`` levels of every set.

    Args:
        actor: who acts.
        config: how much.
        key: consumed; the demonstrations do not depend on the actor or the arm.
        arm: how demonstrations are arranged where they are arranged as trained.
        sets: level sets behind one interface; every set is a family and split of its own.

    Returns:
        One Result a set.
    """
    count, demos = config.levels, config.demos
    groups, levels, contexts, lengths = [], [], [], []
    for index, pool in enumerate(sets):
        demo_key, deal_key = jax.random.split(jax.random.fold_in(key, index))
        levels.append(pool.levels(jnp.arange(count)))
        groups.append(rollout(pool.env, Oracle(), demo_key, levels[-1], rollouts=demos + 1))
        for rule in (NAMED["bursty"], arm):
            context, length = demonstrate(deal_key, rule, groups[-1], demos)
            contexts.append(context)
            lengths.append(length)
    joined, length = _join(contexts), jnp.concatenate(lengths)
    shape = (demos + 1, len(ACTINGS), config.episodes)
    place = jnp.indices(shape).reshape(3, -1)
    rows = Rows(demos=place[0], greedy=place[1] == 1)
    envs = [pool.env for pool in sets]
    play_key = jax.random.fold_in(key, len(sets))
    returns, success = _play(actor, play_key, envs, levels, joined, length[:, rows.demos], rows)

    def result(index: int, pool: LevelSet) -> Result:
        def part(x: jax.Array) -> jax.Array:
            own = x[2 * index * count : 2 * (index + 1) * count]
            return own.reshape(2, count, *shape)

        return Result(part(returns), part(success), pool.references[:count])

    return tuple(result(i, pool) for i, pool in enumerate(sets))


def _play(
    actor: Actor,
    key: jax.Array,
    envs: list[Env],
    levels: list[Level],
    contexts: Context,
    lengths: jax.Array,
    rows: Rows,
) -> tuple[jax.Array, jax.Array]:
    """Returns float32[C, N] and success bool[C, N] of one episode a row.

    The contexts of a family are its levels twice, once a kind of demonstrations.
    """
    horizon = max(env.horizon for env in envs)
    shares = [2 * jax.tree.leaves(level)[0].shape[0] for level in levels]
    edges = [sum(shares[:i]) for i in range(len(shares) + 1)]
    doubled = [jax.tree.map(lambda x: jnp.concatenate([x, x]), level) for level in levels]

    def each(function, env: Env, key: jax.Array, level: Level, *arguments: Any) -> Any:
        """``function(env, key, level, …)`` for every row of every level of a family."""
        inner = jax.vmap(lambda k, l, *a: function(env, k, l, *a), in_axes=(0, None, *(0,) * len(arguments)))
        keys = jax.random.split(key, lengths[edges[0] : edges[0] + jax.tree.leaves(level)[0].shape[0]].shape)
        return jax.vmap(inner)(keys, level, *arguments)

    def step_families(key: jax.Array, episodes: list[Episode], action: jax.Array) -> list[Episode]:
        keys = jax.random.split(key, len(envs))
        return [
            each(advance, env, k, level, episode, action[edges[i] : edges[i + 1]])
            for i, (env, k, level, episode) in enumerate(zip(envs, keys, doubled, episodes, strict=True))
        ]

    begin_key, key = jax.random.split(key)
    begin_keys = jax.random.split(begin_key, len(envs))
    episodes = [
        each(begin, env, k, level) for env, k, level in zip(envs, begin_keys, doubled, strict=True)
    ]

    def observe(episodes: list[Episode]) -> Any:
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
        action = jnp.where(rows.greedy, logits.argmax(-1), sampled).astype(jnp.int32)
        running = ~observe(episodes).last
        episodes = step_families(step_key, episodes, action)
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

    outcome = contexts.outcome
    return Tokens(
        observation=jnp.zeros_like(at(outcome.successor, 0)),
        action=at(outcome.action, -1),
        reward=at(outcome.reward, 0.0),
        terminated=at(outcome.terminated, False),
        successor=at(outcome.successor, -1),
        start=jnp.zeros_like(shown),
        cut=jnp.zeros_like(shown),
    )


def _join(contexts: list[Context]) -> Context:
    return jax.tree.map(lambda *x: jnp.concatenate(x), *contexts)
