"""Answering: the clean run after a run of thinking, by a policy that is given what that found."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Episode, Level
from envs.families.gauntlet import Gauntlet
from icl.signals.lanes import Agent, Lanes, Snapshot, earn, go, start
from icl.signals.thinking import NEVER, Record, chances


class Follower(struct.PyTreeNode):
    """The policy that answers: it plays what its template says, other tokens alike where that says
    nothing, and never waits. An Agent (icl/signals/lanes.py) whose memory is the template
    bool[M, A - 1] of the lane.

    Attributes:
        skill: how often it plays a token of the template, e^skill to 1 for any other.
    """

    skill: jax.Array

    def begin(self, env: Env, level: Level) -> jax.Array:
        """An empty template; ``following`` hands them out."""
        return jnp.zeros((env.bare.moments, env.num_actions - 1), bool)  # type: ignore[attr-defined]

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """What the template says of the place; memory stays as it is."""
        said = self.skill * memory[episode.state.place]
        return jnp.append(said, NEVER), memory


def answers(
    env: Gauntlet, key: jax.Array, levels: Level, templates: jax.Array, skill: jax.Array
) -> tuple[Lanes, Snapshot]:
    """Clean runs, each after its template bool[L, N, M, A - 1]; the key is consumed."""
    agent = following(levels, skill)
    begun = start(agent, env, key, levels, templates.shape[1]).replace(memory=templates)
    return go(agent, env, levels, begun)


def following(levels: Level, skill: jax.Array) -> Follower:
    """Follower[L]."""
    return Follower(jnp.broadcast_to(skill, jax.tree.leaves(levels)[0].shape[:1]))


def truths(env: Gauntlet, levels: Level) -> jax.Array:
    """bool[L, M, A - 1]: the template that names every right token; of a moment that does not
    matter it says nothing."""
    named = levels.right[..., :1] == jnp.arange(env.dials)
    return named & levels.decisive[..., None]


def recorded(env: Gauntlet, levels: Level, lanes: Lanes) -> Record:
    """Record[L, N, T] of clean runs."""

    def level(level: Level, lanes: Lanes) -> Record:
        fine, hope = chances(env, level)
        seen = jax.vmap(lambda index: env.observe(level, env.decode(level, index)))(
            jnp.arange(env.num_states)
        )
        state, after = lanes.state[:, :-1], lanes.state[:, 1:]
        none = jnp.zeros(lanes.live.shape, bool)
        return Record(
            observation=seen[state],
            action=lanes.action,
            successor=seen[after],
            start=none.at[:, 0].set(True),
            answer=~none,
            live=lanes.live,
            open=lanes.live & hope[state],
            optimal=lanes.live & fine[state, lanes.action],
            promise=jnp.zeros(lanes.live.shape),
            drop=jnp.zeros(lanes.live.shape),
            informs=none,
        )

    return jax.vmap(level)(levels, lanes)


def after_thinking(thought: Record, answer: Record) -> Record:
    """Record[..., P + T]: the live steps of a run's thinking [..., P], then those of its answer
    [..., T], packed."""
    both = jax.tree.map(lambda x, y: jnp.concatenate([x, y], axis=2), thought, answer)
    order = jnp.argsort(~both.live, axis=-1, stable=True)

    def packed(x: jax.Array) -> jax.Array:
        index = order.reshape(*order.shape, *(1,) * (x.ndim - order.ndim))
        return jnp.take_along_axis(x, index, axis=2)

    return jax.tree.map(packed, both)


def forks(
    agent: Agent,
    env: Env,
    key: jax.Array,
    levels: Level,
    after: Episode,
    memory: Any,
    count: int,
) -> jax.Array:
    """float32[L, n]: what ``count`` forks of Episode[L, n] earn from there on, in the mean: the
    automatic label of a step that led there (Wang et al. 2024, arXiv 2312.08935), soft.

    Args:
        agent: of each level, stacked on L.
        env: the family.
        key: consumed.
        levels: stacked on L.
        after: the episodes; one that is over earns nothing any more.
        memory: of the agent, stacked on [L, n].
        count: K.
    """
    shape = after.time.shape

    def many(x: jax.Array) -> jax.Array:
        return jnp.repeat(x, count, axis=1)

    keys = jax.random.split(key, (shape[0], shape[1] * count))
    before = jnp.full(keys.shape, -1, jnp.int32)
    begun = Snapshot(jax.tree.map(many, after), jax.tree.map(many, memory), before, keys)
    earned, _ = earn(agent, env, levels, begun, many(after.time))
    return earned.reshape(*shape, count).mean(-1)


def worth(env: Gauntlet, levels: Level, templates: jax.Array, skill: jax.Array) -> jax.Array:
    """float32[L, N]: the exact success of the Follower after each template bool[L, N, M, A - 1]:
    it never waits, so every decisive moment is passed or not by itself."""
    chance = jax.nn.softmax(skill * templates, axis=-1)  # [L, N, M, A - 1]
    leads = truths(env, levels) | ~levels.decisive[..., None]
    return jnp.where(leads[:, None], chance, 0.0).sum(-1).prod(-1)
