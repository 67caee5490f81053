"""Policies: how often each plays what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from agents.policy import Mixture, Oracle, Random
from envs.levels import draw_levels
from envs.oracle import policy_return, solve
from envs.rollout import rollout
from envs.wrappers import Sticky, wrap

DRAWS = 2000


@pytest.fixture(scope="module")
def room():
    """A dark room without walls, its hidden goal not in line with a corner's cell: (env, level,
    bool[S, A] optimal)."""
    env = wrap(Sticky, envs.make("dark-room", size=4, density=0.0, horizon=8), stickiness=0.0)
    level = env.level(jax.random.key(1))
    level = level.replace(start=jnp.int32(0), goal=jnp.int32(10))
    return env, level, np.asarray(solve(env.tabulate(level)).optimal)


@functools.partial(jax.jit, static_argnames="count")
def played(policy, env, level, key, count: int = DRAWS) -> jax.Array:
    """int32[S, count]: what a policy plays in every state."""
    carry = policy.init(jax.random.fold_in(key, 0), env, level)

    def one(key, index):
        state = env.decode(level, index)
        return policy.act(key, env, level, state, carry)[0]

    keys = jax.random.split(key, (env.num_states, count))
    return jax.vmap(jax.vmap(one, (0, None)))(keys, jnp.arange(env.num_states))


def test_random_is_uniform_in_every_state(room):
    env, level, _ = room
    found = np.asarray(played(Random(), env, level, jax.random.key(0)))
    assert found.dtype == np.int32
    counts = np.stack([np.bincount(row, minlength=4) for row in found])
    assert counts.shape == (16, 4)
    assert stats.chisquare(counts.sum(0)).pvalue > 1e-3
    assert stats.chisquare(counts, axis=1).pvalue.min() > 1e-4


def test_the_oracle_plays_optimal_actions_only_and_all_of_them_alike(room):
    env, level, optimal = room
    found = np.asarray(played(Oracle(), env, level, jax.random.key(1)))
    ties = 0
    for state, row in enumerate(found):
        if state == 10:  # final: nobody acts there
            continue
        best = np.flatnonzero(optimal[state])
        counts = np.bincount(row, minlength=4)
        assert set(np.flatnonzero(counts)) == set(best)
        ties += len(best) > 1
        if len(best) > 1:
            assert stats.chisquare(counts[best]).pvalue > 1e-4
    assert ties >= 4
    # By hand: the goal 10 is right of and below 0; both ways are shortest. Below 2 it is down.
    assert np.flatnonzero(optimal[0]).tolist() == [1, 2]
    assert np.flatnonzero(optimal[2]).tolist() == [2]


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_a_mixture_plays_the_other_as_often_as_it_says(room, epsilon):
    env, level, optimal = room
    policy = Mixture(Oracle(), Random(), epsilon)
    found = np.asarray(played(policy, env, level, jax.random.key(2)))
    alone = [s for s in range(16) if optimal[s].sum() == 1 and s != 10]
    assert len(alone) >= 4
    for state in alone:
        right = int((found[state] == optimal[state].argmax()).sum())
        share = 1 - epsilon + epsilon / 4
        assert stats.binomtest(right, DRAWS, share).pvalue > 1e-4
    # The check would see half as much again of the other.
    if 0 < epsilon < 1:
        assert stats.binomtest(right, DRAWS, 1 - 1.5 * epsilon * 3 / 4).pvalue < 1e-4


def test_the_oracle_in_sticky_levels_earns_its_exact_value():
    """Rollouts under sticky actions against dynamic programming, for play that is uniform over the
    optimal actions; the discount costs next to nothing of the undiscounted optimum."""
    env = wrap(Sticky, envs.make("dark-room", size=4, horizon=6), stickiness=0.3)
    levels = draw_levels(env, jax.random.key(0), 32)

    @jax.jit
    def play(key):
        drawn = levels.levels(jnp.arange(32))

        def exact(level):
            table = env.tabulate(level)
            optimal = solve(table).optimal
            return policy_return(table, optimal / optimal.sum(1, keepdims=True), 6)

        return rollout(env, Oracle(), key, drawn, rollouts=64).returns, jax.vmap(exact)(drawn)

    returns, exact = map(np.asarray, play(jax.random.key(1)))
    optimum = np.asarray(levels.references[:, 1])
    assert (exact <= optimum + 1e-5).all() and (optimum - exact).mean() < 0.01
    error = np.sqrt((returns.var(1) / 64).sum()) / 32
    assert abs(returns.mean() - exact.mean()) < 4 * error < 0.02
    assert optimum.mean() - np.asarray(levels.references[:, 0]).mean() > 0.4
