"""Exact values of a level by dynamic programming over its transition table.

Sticky actions are solved exactly without enlarging the table. Let X[s, x] be the value of
*executing* x in s. Choosing a after having executed u is worth (1-p) X[s, a] + p X[s, u], so the
best choice in s does not depend on u, and V[s, u] = (1-p) max_a X[s, a] + p X[s, u].
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.table import Table

GAMMA = 0.95
TIES = 1e-5


class Solution(struct.PyTreeNode):
    """Discounted optimal values of one level.

    Attributes:
        execute: float32[S, A], X*: value of executing an action and acting optimally after.
        q: float32[S, A + 1, A], Q* of choosing an action, given the one executed before
            (index A: none, as at the first step).
        v: float32[S, A + 1], V*.
        optimal: bool[S, A], the optimal set; ties within 1e-5.
    """

    execute: jax.Array
    q: jax.Array
    v: jax.Array
    optimal: jax.Array


def _execute(table: Table, value: jax.Array, gamma: float | jax.Array) -> jax.Array:
    """X float32[S, A] from the values float32[S, A + 1] of what comes after."""
    actions = jnp.arange(table.target.shape[1])[None, :, None]
    after = jnp.where(table.terminated, 0.0, value[table.target, actions])
    return (table.probability * (table.reward + gamma * after)).sum(-1)


def _choose(table: Table, execute: jax.Array, chosen: jax.Array) -> jax.Array:
    """V float32[S, A + 1] where the choice in s is worth ``chosen`` float32[S] if carried out."""
    sticky = (1 - table.stickiness) * chosen[:, None] + table.stickiness * execute
    return jnp.concatenate([sticky, chosen[:, None]], axis=1)


def solve(table: Table, gamma: float | jax.Array = GAMMA, tolerance: float = 1e-7) -> Solution:
    """Discounted optimal values by value iteration to a fixed point.

    Args:
        table: the level's dynamics.
        gamma: discount in [0, 1).
        tolerance: stop when no value moves by more; at most 1,000 sweeps.
    """
    states, actions, _ = table.target.shape

    def sweep(carry):
        value, _, count = carry
        execute = _execute(table, value, gamma)
        new = _choose(table, execute, execute.max(1))
        return new, jnp.abs(new - value).max(), count + 1

    def moving(carry):
        return (carry[1] > tolerance) & (carry[2] < 1000)

    start = (jnp.zeros((states, actions + 1)), jnp.float32(jnp.inf), jnp.int32(0))
    value, _, _ = jax.lax.while_loop(moving, sweep, start)
    execute = _execute(table, value, gamma)
    p = table.stickiness
    q = (1 - p) * execute[:, None, :] + p * execute[:, :, None]
    return Solution(
        execute=execute,
        q=jnp.concatenate([q, execute[:, None, :]], axis=1),
        v=_choose(table, execute, execute.max(1)),
        optimal=execute >= execute.max(1, keepdims=True) - TIES,
    )


def optimal_return(table: Table, horizon: int) -> jax.Array:
    """float32[]: the exact expected undiscounted return of the best policy within the horizon."""
    return _returns(table, horizon, lambda execute: execute.max(1))


def policy_return(table: Table, policy: jax.Array, horizon: int) -> jax.Array:
    """float32[]: the exact expected undiscounted return of a Markov policy within the horizon.

    Args:
        table: the level's dynamics.
        policy: float32[S, A], the probability of choosing each action.
        horizon: steps to play.
    """
    return _returns(table, horizon, lambda execute: (policy * execute).sum(1))


def random_return(table: Table, horizon: int) -> jax.Array:
    """float32[]: the exact expected undiscounted return of uniform random play."""
    return _returns(table, horizon, lambda execute: execute.mean(1))


class Values(struct.PyTreeNode):
    """Exact undiscounted values of one policy in one level, with the horizon counted down.

    Attributes:
        execute: float32[T, S, A], of executing an action at a time, and following the policy after.
        value: float32[T + 1, S, A + 1], of being in a state before step t, given the action
            executed last (index A: none). 0 at time T.
        stickiness: float32[].
    """

    execute: jax.Array
    value: jax.Array
    stickiness: jax.Array

    def advantage(self, time: jax.Array, state: jax.Array, executed: jax.Array) -> jax.Array:
        """float32[..., A]: A^π of choosing each action at times int32[...] in states int32[...],
        after int32[...] was executed: what the choice is worth beyond the policy's own."""
        every, actions = self.execute[time, state], self.execute.shape[-1]
        stuck = jnp.take_along_axis(every, jnp.minimum(executed, actions - 1)[..., None], axis=-1)
        sticks = jnp.where(executed == actions, 0.0, self.stickiness)[..., None]
        chosen = (1 - sticks) * every + sticks * stuck
        return chosen - self.value[time, state, executed][..., None]


def policy_values(table: Table, policy: jax.Array, horizon: int) -> Values:
    """Of a Markov policy float32[S, A] of probabilities."""
    return _values(table, horizon, lambda execute: (policy * execute).sum(1))


def optimal_values(table: Table, horizon: int) -> Values:
    """Of the best policy within the horizon."""
    return _values(table, horizon, lambda execute: execute.max(1))


def _values(table: Table, horizon: int, choose) -> Values:
    def back(value, _):
        execute = _execute(table, value, 1.0)
        value = _choose(table, execute, choose(execute))
        return value, (execute, value)

    states, actions, _ = table.target.shape
    nothing = jnp.zeros((states, actions + 1))
    execute, value = jax.lax.scan(back, nothing, length=horizon, reverse=True)[1]
    return Values(execute, jnp.concatenate([value, nothing[None]]), table.stickiness)


def _returns(table: Table, horizon: int, choose) -> jax.Array:
    states, actions, _ = table.target.shape

    def back(value, _):
        execute = _execute(table, value, 1.0)
        return _choose(table, execute, choose(execute)), None

    value, _ = jax.lax.scan(back, jnp.zeros((states, actions + 1)), length=horizon)
    return value[table.start, actions]


def doomed(solution: Solution) -> jax.Array:
    """bool[S]: states from which no reward can be earned any more."""
    return solution.execute.max(1) <= TIES
