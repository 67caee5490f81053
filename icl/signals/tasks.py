"""Tasks that one network learns: levels of several families as tables of one shape.

Families differ in their code, tables do not: which task is played is data, so that one compiled
program trains any of them, or all together, and the branches of a tree of orders side by side.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct

from agents.perceptron import Perceptron, sight
from envs.core import Env, Level, static
from envs.oracle import optimal_return, policy_return, random_return, solve
from envs.table import Table
from icl.signals.coverage import Open, reached, visited


class Tasks(struct.PyTreeNode):
    """n levels of each of K tasks, stacked on [K, n]. S states are those of the largest; the
    numbers above a task's own are states that nothing leads to.

    Attributes:
        table: the dynamics, with one outcome of every action.
        sight: int8[K, n, S, V], what the agent sees in every state.
        met: bool[K, n, S], the states that can be reached.
        optimal: bool[K, n, S, A], the optimal actions; all of them where nothing is paid.
        open: bool[K], tasks that are judged by coverage.
        cells: int32[K, n], in how many states one can be at all.
        random: float32[K, n], the expected return of random play, exact; of open tasks the
            coverage, simulated.
        best: float32[K, n], the exact return of the best policy; of open tasks the bound that no
            run can exceed, a new cell at every step until there is none.
        horizon: T, steps of an episode.
    """

    table: Table
    sight: jax.Array
    met: jax.Array
    optimal: jax.Array
    open: jax.Array
    cells: jax.Array
    random: jax.Array
    best: jax.Array
    horizon: int = static(16)

    def at(self, task: jax.Array, level: jax.Array) -> Tasks:
        """The levels int32[L] of tasks int32[L], stacked on L."""
        return self.replace(
            open=self.open[task],
            **{
                name: jax.tree.map(lambda x: x[task, level], getattr(self, name))
                for name in ("table", "sight", "met", "optimal", "cells", "random", "best")
            },
        )


class Runs(struct.PyTreeNode):
    """N runs of each of L levels.

    Attributes:
        state: int32[L, N, T + 1], before every step and after the last.
        action: int32[L, N, T].
        log: float32[L, N, T], its log-probability.
        live: bool[L, N, T], the step took place.
        reward: float32[L, N, T].
    """

    state: jax.Array
    action: jax.Array
    log: jax.Array
    live: jax.Array
    reward: jax.Array

    @property
    def returns(self) -> jax.Array:
        """float32[L, N]."""
        return self.reward.sum(-1)


def play(own: Tasks, scores: jax.Array, key: jax.Array, runs: int) -> Runs:
    """``runs`` episodes in each of the levels that ``Tasks.at`` gave, under the logits
    float32[L, S, A]; the key is consumed."""
    levels, _, actions = scores.shape
    rows = jnp.arange(levels)[:, None]
    log = jax.nn.log_softmax(scores)

    def step(carry: tuple[jax.Array, jax.Array], noise: jax.Array):
        state, over = carry
        action = jnp.argmax(log[rows, state] + noise, -1).astype(jnp.int32)
        place = rows, state, action
        after, reward, ends = (
            x[..., 0][place] for x in (own.table.target, own.table.reward, own.table.terminated)
        )
        done = (state, action, log[place], ~over, jnp.where(over, 0.0, reward))
        return (jnp.where(over | ends, state, after), over | ends), done

    first = jnp.broadcast_to(own.table.start[:, None], (levels, runs))
    noise = jax.random.gumbel(key, (own.horizon, levels, runs, actions))
    carry = (first, jnp.zeros(first.shape, bool))
    (last, _), found = jax.lax.scan(step, carry, noise)
    state, action, log, live, reward = (jnp.moveaxis(x, 0, -1) for x in found)
    return Runs(jnp.concatenate([state, last[..., None]], -1), action, log, live, reward)


def covered(own: Tasks, runs: Runs) -> jax.Array:
    """float32[L, N]: the share of the cells, the first one left out, that each run was in."""
    count = visited(runs.state, own.sight.shape[-2])
    return (count - 1) / jnp.maximum(own.cells - 1, 1)[:, None]


def tabulated(
    families: Sequence[tuple[Env, Level]], key: jax.Array, view: int, trials: int = 256
) -> Tasks:
    """The tasks of families with their levels, n each.

    Args:
        families: an environment and its levels stacked on n; ``Open`` ones are judged by coverage.
        key: consumed, for what is simulated.
        view: tiles along an edge of what the agent sees, odd.
        trials: random runs that an open level's reference is the mean of.

    Raises:
        ValueError: a family is not deterministic, or families differ in actions or horizon.
    """
    horizons = {env.horizon for env, _ in families}
    actions = {env.num_actions for env, _ in families}
    if len(horizons) > 1 or len(actions) > 1:
        raise ValueError(
            f"tasks of one network: horizons {sorted(horizons)} and numbers of actions "
            f"{sorted(actions)} differ; make families with the same"
        )
    states = max(env.num_states for env, _ in families)
    horizon = horizons.pop()
    parts = [_one(env, levels, states=states, view=view) for env, levels in families]
    for (env, _), (table, *_) in zip(families, parts, strict=True):
        if table.target.shape[-1] > 1 or float(table.stickiness.max()) > 0:
            raise ValueError(
                f"{type(env.bare).__name__}: an action has several outcomes, and tasks are tables "
                "with one; take the family without stickiness, or another"
            )
    table, seen, met = jax.tree.map(lambda *x: jnp.stack(x), *parts)
    is_open = jnp.asarray([isinstance(env.bare, Open) for env, _ in families])
    random, best, optimal = _exact(table, horizon=horizon)
    cells = met.sum(-1).astype(jnp.int32)
    new = jnp.minimum(cells - 1, horizon) / jnp.maximum(cells - 1, 1)
    tasks = Tasks(
        table=table,
        sight=seen,
        met=met,
        optimal=optimal,
        open=is_open,
        cells=cells,
        random=random,
        best=jnp.where(is_open[:, None], new, best),
        horizon=horizon,
    )
    keys = jax.random.split(key, len(families))
    drift = _wander(tasks, keys, trials)
    return tasks.replace(random=jnp.where(is_open[:, None], drift, random))


@functools.partial(jax.jit, static_argnames=("states", "view"))
def _one(env: Env, levels: Level, *, states: int, view: int) -> tuple[Table, jax.Array, jax.Array]:
    """A family's tables, sights and reachable states, padded to so many states."""
    index = jnp.arange(env.num_states, dtype=jnp.int32)

    def level(level: Level) -> tuple[Table, jax.Array, jax.Array]:
        table = env.tabulate(level)
        seen = jax.vmap(lambda i: sight(env, level, env.decode(level, i), view))(index)
        return table, seen, reached(table)

    table, seen, met = jax.vmap(level)(levels)
    more = states - env.num_states

    def wide(x: jax.Array) -> jax.Array:
        return jnp.pad(x, ((0, 0), (0, more), *((0, 0),) * (x.ndim - 2)))

    table = table.replace(
        **{x: wide(getattr(table, x)) for x in ("target", "probability", "reward", "terminated")}
    )
    return table, wide(seen), wide(met)


@functools.partial(jax.jit, static_argnames="horizon")
def _exact(table: Table, *, horizon: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of tables [K, n]: the returns float32[K, n] of random and of the best play, and the optimal
    actions bool[K, n, S, A]."""

    def level(table: Table) -> tuple[jax.Array, jax.Array, jax.Array]:
        ends = random_return(table, horizon), optimal_return(table, horizon)
        return *ends, solve(table).optimal

    return jax.vmap(jax.vmap(level))(table)


@functools.partial(jax.jit, static_argnames="trials")
def _wander(tasks: Tasks, keys: jax.Array, trials: int) -> jax.Array:
    """float32[K, n]: mean coverage of random runs in every level."""
    count = tasks.cells.shape[1]

    def task(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        own = tasks.at(jnp.full(count, given[0]), jnp.arange(count))
        flat = 0 * own.table.reward[..., 0]  # zeros that XLA does not fold for half a minute
        return covered(own, play(own, flat, given[1], trials)).mean(-1)

    return jax.lax.map(task, (jnp.arange(len(keys)), keys))


def scored(tasks: Tasks, network: Perceptron, key: jax.Array, runs: int) -> jax.Array:
    """float32[K]: the normalised score of every task, Σ(return − random) / Σ(best − random) over
    its levels. Exact, but for open tasks, whose coverage is the mean of ``runs`` runs of each
    level. The key is consumed; with the same key, networks are compared on the same dice."""
    count = tasks.cells.shape[1]

    def task(given: tuple[jax.Array, jax.Array]) -> jax.Array:
        number, key = given
        own = tasks.at(jnp.full(count, number), jnp.arange(count))
        scores = network(own.sight)
        exact = jax.vmap(lambda t, p: policy_return(t, p, tasks.horizon))(
            own.table, jax.nn.softmax(scores)
        )
        found = jnp.where(own.open, covered(own, play(own, scores, key, runs)).mean(-1), exact)
        return (found - own.random).sum() / (own.best - own.random).sum()

    kinds = len(tasks.open)
    return jax.lax.map(task, (jnp.arange(kinds), jax.random.split(key, kinds)))
