"""What judges learn from: thinking and the answers after it, clean runs, and their labels."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Level, static
from envs.families.gauntlet import Gauntlet
from icl.signals.answering import (
    after_thinking,
    answers,
    following,
    forks,
    recorded,
    truths,
    worth,
)
from icl.signals.labels import Terms, step_labels
from icl.signals.thinking import Mind, Record, Thinker, think

BATCH = 16  # levels that are forked together


class Setting(struct.PyTreeNode):
    """How runs are made; numbers are traced.

    Attributes:
        steps: P, of thinking, at most; static.
        runs: N, in each level; static.
        samples: policy samples that label a run, and forks that label a step; static.
        skill: of the policy that is given a template.
        clean: of the policy that clean runs are by, given every right token.
        thinker: who thinks.
    """

    steps: int = static(32)
    runs: int = static(16)
    samples: int = static(8)
    skill: float | jax.Array = 4.0
    clean: float | jax.Array = 2.0
    thinker: Mind = struct.field(default_factory=Thinker)


class Explored(struct.PyTreeNode):
    """Runs that thought, [L, N].

    Attributes:
        record: Record[L, N, P + T], thinking and answer, packed.
        forked: float32[L, N, P + T], what forks from every step of an attempt, and of the answer,
            came to.
        won: float32[L, N], the share of policy samples that succeed, given the template.
        worth: float32[L, N], what that share comes to exactly.
        thinks: bool[L, N].
    """

    record: Record
    forked: jax.Array
    won: jax.Array
    worth: jax.Array
    thinks: jax.Array


class Clean(struct.PyTreeNode):
    """Clean runs, [L, N].

    Attributes:
        record: Record[L, N, T].
        forked: float32[L, N, T], what forks from after every step came to, its reward included.
    """

    record: Record
    forked: jax.Array


def explored(
    env: Gauntlet, key: jax.Array, levels: Level, setting: Setting, *, whole: bool
) -> Explored:
    """Runs and their labels; the key is consumed.

    Args:
        env: a bare gauntlet of single tokens.
        key: consumed.
        levels: stacked on L.
        setting: how.
        whole: all runs think for P steps; else each for a number that is uniform over 0 ... P.
    """
    budget_key, think_key, answer_key, fork_key, sample_key = jax.random.split(key, 5)
    shape = (jax.tree.leaves(levels)[0].shape[0], setting.runs)
    budgets = jax.random.randint(budget_key, shape, 0, setting.steps + 1)
    budgets = jnp.full_like(budgets, setting.steps) if whole else budgets
    thoughts = think(env, think_key, levels, setting.thinker, budgets, setting.steps)
    skill = jnp.float32(setting.skill)
    lanes, snapshots = answers(env, answer_key, levels, thoughts.template, skill)
    answer = recorded(env, levels, lanes)
    both = after_thinking(thoughts.record, answer)
    after = jax.tree.map(
        lambda x, y: jnp.concatenate([x, y], axis=2), thoughts.after, _after(snapshots.episode)
    )
    live = jnp.concatenate([thoughts.record.live, answer.live], axis=2)
    forked = _packed(_forked(env, fork_key, levels, after, setting), live)
    many = jnp.repeat(thoughts.template, setting.samples, axis=1)
    tried, _ = answers(env, sample_key, levels, many, skill)
    return Explored(
        record=both,
        forked=forked,
        won=tried.returns.reshape(*shape, setting.samples).mean(-1),
        worth=worth(env, levels, thoughts.template, skill),
        thinks=budgets > 0,
    )


def clean(env: Gauntlet, key: jax.Array, levels: Level, setting: Setting) -> Clean:
    """Runs of a policy that makes mistakes but no detours; the key is consumed."""
    run_key, fork_key = jax.random.split(key)
    named = truths(env, levels)[:, None]
    templates = jnp.broadcast_to(named, (named.shape[0], setting.runs, *named.shape[2:]))
    lanes, snapshots = answers(env, run_key, levels, templates, jnp.float32(setting.clean))
    after = _after(snapshots.episode)
    return Clean(recorded(env, levels, lanes), _forked(env, fork_key, levels, after, setting))


def labels(env: Gauntlet, key: jax.Array, found: Explored, terms: Terms) -> jax.Array:
    """float32[L, N, P + T]: what the trajectory-aware judge is to say of steps; the key is
    consumed."""
    return step_labels(found.record, key, env.num_symbols, env.num_actions, terms)


def _after(episodes: Any) -> Any:
    """Episode[L, N, T] after every step of those before it; of the last, which ends at the horizon,
    that before it, which is no matter: a gauntlet of single tokens is walked before the horizon or
    not at all by who never waits."""
    return jax.tree.map(lambda x: jnp.concatenate([x[:, :, 1:], x[:, :, -1:]], axis=2), episodes)


def _forked(
    env: Gauntlet, key: jax.Array, levels: Level, after: Any, setting: Setting
) -> jax.Array:
    """float32[L, N, S]: what forks from Episode[L, N, S] came to under the policy of clean runs,
    and what was earned on the way there."""
    count, runs, steps = after.time.shape
    named = truths(env, levels)[:, None]
    templates = jnp.broadcast_to(named, (count, runs * steps, *named.shape[2:]))
    flat = jax.tree.map(lambda x: x.reshape(count, runs * steps, *x.shape[3:]), after)

    def level(given: Any) -> jax.Array:
        key, *rest = given
        one, episodes, template = jax.tree.map(lambda x: x[None], rest)
        agent = following(one, jnp.float32(setting.clean))
        return forks(agent, env, key, one, episodes, template, setting.samples)[0]

    given = (jax.random.split(key, count), levels, flat, templates)
    found = jax.lax.map(level, given, batch_size=min(BATCH, count))
    return found.reshape(count, runs, steps) + after.timestep.reward


def _packed(values: jax.Array, live: jax.Array) -> jax.Array:
    order = jnp.argsort(~live, axis=-1, stable=True)
    return jnp.take_along_axis(values, order, axis=-1)
