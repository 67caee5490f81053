"""Calls of tools: which of them are right, what they are worth, and which tokens are paid for them.

ToolPO (DeepAgent, Li et al. 2025, arXiv 2510.21618): a run earns R for its success, and for its
actions R_action = λ₁ Σ C(call) + λ₂ S_pref; both are compared with the mean of the group, and the
second lead is paid to the tokens of calls and folds only. What makes a call correct was never
released: here are three exact meanings of it, in the family ``workshop``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env
from envs.families.workshop import (
    CALL,
    CRAFT,
    FOLD,
    IDLE,
    QUERY,
    RECALL,
    THOUGHT,
    TOOL,
    Workshop,
)
from envs.oracle import TIES, solve
from icl.signals.lanes import Lanes
from icl.signals.world import World

MEANINGS = ("executes", "improves", "matches")


class Calls(struct.PyTreeNode):
    """What the calls in Lanes[L, N, T] came to. A call is told at the step that ends it, and is
    nothing at all other steps; an item that no tool was named for is a call, too, and never right.

    Attributes:
        ends: bool[L, N, T], the step ends a call.
        executes: bool[L, N, T], the call could be carried out and did not fail.
        improves: bool[L, N, T], V* is higher after the call than before its first token: the best
            policy's discounted value, so that it rises only where the call brings the goal nearer.
        matches: bool[L, N, T], it is the call that the oracle would have made before its first
            token, the first one of its optimal set (the tools in their order, then the items).
        spelled: bool[L, N, T], tokens of calls and folds, finished or not: all but thoughts.
        folds: bool[L, N, T], the step empties the memory.
        queries: bool[L, N, T], the step ends a query that changed nothing.
        preference: float32[L, N], S_pref = (L_direct − L_fold) / (L_direct + L_fold): L_fold is the
            length of the run, L_direct what the same calls would have taken without its folds.
    """

    ends: jax.Array
    executes: jax.Array
    improves: jax.Array
    matches: jax.Array
    spelled: jax.Array
    folds: jax.Array
    queries: jax.Array
    preference: jax.Array

    def right(self, meaning: str) -> jax.Array:
        """bool[L, N, T]: C(call) by one of ``MEANINGS``."""
        return getattr(self, meaning)


def tells(env: Env) -> bool:
    """The family tells its calls, and nothing stands between what is chosen and what is done."""
    return isinstance(env, Workshop)


def calls(world: World, lanes: Lanes) -> Calls:
    """Of Lanes[L, N, T] in a world that ``tells`` them.

    Raises:
        TypeError: it does not.
    """
    env = world.env
    if not isinstance(env, Workshop):
        raise TypeError(f"{type(env).__name__} does not tell its calls of tools; use workshop")
    numbers = jnp.arange(env.num_states, dtype=jnp.int32)
    actions = jnp.arange(env.num_actions, dtype=jnp.int32)
    kinds = env.token(actions)

    def level(level, dynamics, lanes: Lanes) -> Calls:
        states = jax.vmap(lambda number: env.decode(level, number))(numbers)
        fits = jax.vmap(
            lambda state: jax.vmap(lambda action: env.fits(level, state, action))(actions)
        )(states)
        best = solve(dynamics)
        worth, oracle = best.v[:, -1], best.optimal.argmax(1)
        state, after = lanes.state[:, :-1], lanes.state[:, 1:]
        kind, here = kinds[lanes.action], states.open[state]
        ends = lanes.live & (kind == CALL)

        # What it does: the outcome of a call that works comes first (Workshop.outcomes).
        cell = state, lanes.action, 0
        works = (after == dynamics.target[cell]) & (lanes.reward == dynamics.reward[cell])
        executes = ends & fits[state, lanes.action] & works

        # What it is worth, from before its first token on.
        time = jnp.arange(lanes.live.shape[-1])
        first = jax.lax.cummax(jnp.where(here == IDLE, time, 0), axis=1)
        before = jnp.take_along_axis(state, first, axis=1)
        gained = (lanes.reward > 0) | (worth[after] > worth[before] + TIES)

        # What the oracle would have called there: a tool, in a full memory again, and an item.
        tool = oracle
        second = oracle[dynamics.target[numbers, tool, 0]]
        third = oracle[dynamics.target[dynamics.target[numbers, tool, 0], second, 0]]
        item = jnp.where(kinds[second] == CALL, second, third)
        said = jnp.where(here == CRAFT, 0, jnp.where(here == QUERY, 1, -1)) + env.thoughts
        truth = (tool[before] == said) & (item[before] == lanes.action) & (here >= CRAFT)

        crafted = executes & (here == CRAFT)
        return Calls(
            ends=ends,
            executes=executes,
            improves=ends & (here >= CRAFT) & gained,
            matches=ends & truth,
            spelled=lanes.live & (kind != THOUGHT),
            folds=lanes.live & (kind == FOLD),
            queries=executes & (here == QUERY) & (states.known[after] == states.known[state]),
            preference=_preference(env, lanes, kind, here, states.open[after], crafted),
        )

    return jax.vmap(level)(world.levels, world.dynamics, lanes)


def _preference(
    env: Workshop,
    lanes: Lanes,
    kind: jax.Array,
    here: jax.Array,
    after: jax.Array,
    crafted: jax.Array,
) -> jax.Array:
    """float32[N]: S_pref, from what was being spelled before and after every step int32[N, T], and
    the crafts that were carried out bool[N, T]. Without folds the memory is full from the M-th
    craft on, and every later one has to be looked for."""
    craft = lanes.live & (kind == TOOL) & (lanes.action == env.thoughts)
    opens = craft & (here != CRAFT) & (here != RECALL)
    many = jnp.cumsum(crafted, axis=1) - crafted
    without = (opens & (many >= env.memory)).sum(1) - (opens & (after == RECALL)).sum(1)
    length = lanes.live.sum(1)
    direct = length - (lanes.live & (kind == FOLD)).sum(1) + without
    return (direct - length) / jnp.maximum(direct + length, 1)


def action_reward(
    calls: Calls,
    meaning: str,
    *,
    mean: bool = False,
    right: float | jax.Array = 1.0,
    folded: float | jax.Array = 1.0,
) -> jax.Array:
    """float32[L, N]: R_action of every run.

    Args:
        calls: of its steps.
        meaning: of a correct call, one of ``MEANINGS``.
        mean: over the calls of the run (0 where there are none), in place of the paper's sum.
        right: λ₁, of correct calls.
        folded: λ₂, of the preference for folding.
    """
    earned = calls.right(meaning).sum(-1).astype(jnp.float32)
    count = jnp.maximum(calls.ends.sum(-1), 1) if mean else 1
    return right * earned / count + folded * calls.preference


def attributed(lanes: Lanes, action: jax.Array, tokens: jax.Array) -> jax.Array:
    """Credit float32[L, N, T]: A_success + M · A_action, each a lead over the mean of the group,
    not divided by its spread.

    Args:
        lanes: Lanes[L, N, T].
        action: float32[L, N], R_action.
        tokens: M, bool[L, N, T], the tokens that are paid for actions.
    """
    success, lead = (x - x.mean(-1, keepdims=True) for x in (lanes.returns, action))
    paid = success[..., None] + jnp.where(tokens, lead[..., None], 0.0)
    return jnp.where(lanes.live, paid, 0.0)


class Habits(struct.PyTreeNode):
    """How a policy uses its tools: means over the runs of a level, then over levels; precision is
    a share of all calls.

    Attributes:
        executes, improves, matches: float32[], share of the calls that are right; NaN without any.
        calls: float32[], of a run.
        queries: float32[], of them, queries that changed nothing.
        folds: float32[], of a run.
        thoughts: float32[], of a run, tokens that change nothing.
        preference: float32[], S_pref.
        length: float32[], tokens of a run.
    """

    executes: jax.Array
    improves: jax.Array
    matches: jax.Array
    calls: jax.Array
    queries: jax.Array
    folds: jax.Array
    thoughts: jax.Array
    preference: jax.Array
    length: jax.Array


def habits(calls: Calls, lanes: Lanes) -> Habits:
    """Of Lanes[L, N, T]."""
    many = calls.ends.sum()

    def share(which: jax.Array) -> jax.Array:
        return jnp.where(many > 0, which.sum() / jnp.maximum(many, 1), jnp.nan)

    def each(which: jax.Array) -> jax.Array:
        return which.sum(-1).mean()

    return Habits(
        **{meaning: share(calls.right(meaning)) for meaning in MEANINGS},
        calls=each(calls.ends),
        queries=each(calls.queries),
        folds=each(calls.folds),
        thoughts=each(lanes.live & ~calls.spelled),
        preference=calls.preference.mean(),
        length=each(lanes.live),
    )
