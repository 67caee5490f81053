"""Exact values of tables that no family has: stochastic, with costs, sticky to any degree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from agents.policy import Oracle
from envs.core import Env
from envs.oracle import TIES, doomed, optimal_return, policy_return, random_return, solve
from envs.table import Table
from tests.envs.reference import Dynamics, discounted, finite_return

STATES, ACTIONS, OUTCOMES, HORIZON = 5, 3, 2, 6


def random_table(seed: int, stickiness: float) -> tuple[Table, Dynamics, np.ndarray]:
    """A table, the same dynamics densely, and a policy float[S, A]."""
    rng = np.random.default_rng(seed)
    shape = (STATES, ACTIONS, OUTCOMES)
    target = rng.integers(0, STATES, shape)
    probability = rng.dirichlet(np.ones(OUTCOMES), shape[:2])
    reward = rng.uniform(-1, 1, shape)
    terminated = rng.random(shape) < 0.2
    table = Table(
        target=jnp.asarray(target, jnp.int32),
        probability=jnp.asarray(probability, jnp.float32),
        reward=jnp.asarray(reward, jnp.float32),
        terminated=jnp.asarray(terminated),
        start=jnp.int32(rng.integers(STATES)),
        stickiness=jnp.float32(stickiness),
    )
    move = np.zeros((STATES, ACTIONS, STATES))
    for s, a, k in np.ndindex(shape):
        if not terminated[s, a, k]:
            move[s, a, target[s, a, k]] += probability[s, a, k]
    dense = Dynamics(
        list(np.swapaxes(move, 0, 1)), (probability * reward).sum(-1), int(table.start), stickiness
    )
    return table, dense, rng.dirichlet(np.ones(ACTIONS), STATES)


@jax.jit
def exact(table: Table, policy: jax.Array):
    return (
        solve(table, 0.9),
        optimal_return(table, HORIZON),
        random_return(table, HORIZON),
        policy_return(table, policy, HORIZON),
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1, width=32))
def test_any_table_is_solved_exactly(seed, stickiness):
    table, dense, policy = random_table(seed, stickiness)
    solution, best, random, own = exact(table, jnp.asarray(policy, jnp.float32))
    uniform = np.full((STATES, ACTIONS), 1 / ACTIONS)
    assert best == pytest.approx(finite_return(dense, HORIZON), abs=1e-5)
    assert random == pytest.approx(finite_return(dense, HORIZON, uniform), abs=1e-5)
    assert own == pytest.approx(finite_return(dense, HORIZON, policy), abs=1e-5)
    brute = discounted(dense, 0.9)
    assert np.allclose(solution.q, brute, atol=2e-5)
    assert np.allclose(solution.v, brute.max(-1), atol=2e-5)
    first = brute[:, -1]  # what is executed after nothing is what was chosen
    gap = first.max(-1, keepdims=True) - first
    assert np.asarray(solution.optimal)[gap < 1e-7].all()
    assert not np.asarray(solution.optimal)[gap > 1e-4].any()


class OneStep(Env):
    """One state; each of four actions ends the episode and pays its own reward."""

    rewards: tuple = (1.0, 1.0 - TIES / 2, 1.0 - TIES * 3, 0.0)

    @property
    def num_actions(self) -> int:
        return 4

    @property
    def num_states(self) -> int:
        return 1

    def encode(self, level, state):
        return state

    def tabulate(self, level) -> Table:
        shape = (1, 4, 1)
        return Table(
            target=jnp.zeros(shape, jnp.int32),
            probability=jnp.ones(shape),
            reward=jnp.asarray(self.rewards, jnp.float32).reshape(shape),
            terminated=jnp.ones(shape, bool),
            start=jnp.int32(0),
            stickiness=jnp.float32(0),
        )


def test_ties_within_the_tolerance_are_broken_at_random():
    env, oracle = OneStep(), Oracle()
    carry = oracle.init(jax.random.key(0), env, None)
    assert carry.tolist() == [[True, True, False, False]]

    def act(key):
        return oracle.act(key, env, None, jnp.int32(0), carry)[0]

    actions = np.asarray(jax.vmap(act)(jax.random.split(jax.random.key(1), 400)))
    counts = np.bincount(actions, minlength=4)
    assert counts[2:].sum() == 0
    assert stats.chisquare(counts[:2]).pvalue > 1e-4


def test_a_doomed_state_earns_nothing():
    table = OneStep().tabulate(None)
    assert not doomed(solve(table)).any()
    assert doomed(solve(table.replace(reward=jnp.zeros_like(table.reward)))).all()
