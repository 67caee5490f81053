"""Contract 8: exact values, against breadth-first search and dynamic programming in plain Python,
and against simulation."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.policy import Oracle, Random
from envs.oracle import (
    GAMMA,
    TIES,
    doomed,
    optimal_return,
    policy_return,
    random_return,
    solve,
)
from envs.rollout import rollout
from tests.envs import reference
from tests.envs.reference import dynamics, finite_return, plain, steps_to_goal
from tests.envs.worlds import QUICK, each, raw_levels
from tests.envs.worlds import behind as wrapped

NAMES = tuple(reference.FAMILIES)
COUNT = 24  # raw levels of a family, solvable or not
STICKINESS = 0.25
HORIZONS = (7, 16)


@jax.jit
def solutions(env, levels):
    """Solutions and returns of levels: optimal and random by horizon, then the oracle's own."""

    def one(level):
        table = env.tabulate(level)
        solution = solve(table)
        best = [optimal_return(table, t) for t in HORIZONS]
        random = [random_return(table, t) for t in HORIZONS]
        policy = solution.optimal.astype(jnp.float32)
        policy /= policy.sum(1, keepdims=True)
        own = policy_return(table, policy, HORIZONS[-1])
        return solution, jnp.stack(best), jnp.stack(random), own, doomed(solution)

    return jax.vmap(one)(levels)


@pytest.fixture(scope="module", params=NAMES)
def calm(request):
    """(name, env, levels, what ``solutions`` says) without wrappers."""
    env = envs.make(request.param)
    levels = raw_levels(env, 3, COUNT)
    return request.param, env, levels, jax.device_get(solutions(env, levels))


@pytest.fixture(scope="module", params=NAMES)
def sticky(request):
    """The same behind sticky hands, scrambled meanings and one idle action."""
    env = wrapped(envs.make(request.param), STICKINESS)
    levels = raw_levels(env, 4, COUNT)
    return request.param, env, levels, jax.device_get(solutions(env, levels))


def codes(env, level, states):
    """The numbers of states given as tuples of their fields."""
    fields = [jnp.asarray(column, jnp.int32) for column in np.transpose(states)]
    kind = jax.tree.structure(env.reset(jax.random.key(0), level))
    return np.asarray(jax.vmap(lambda *f: env.encode(level, kind.unflatten(f)))(*fields))


def test_values_are_breadth_first_lengths(calm):
    name, env, levels, (solution, best, *_) = calm
    lengths = []
    for i, level in enumerate(each(levels)):
        world = plain(name, level)
        if not reference.deterministic(world):
            pytest.skip("its outcomes are a matter of chance: see the sticky values")
        states = reference.reachable(world)
        numbers = codes(env, level, states)
        distance = {state: steps_to_goal(world, state) for state in states}
        lengths.append(distance[world.start])
        value = [GAMMA ** (distance[s] - 1) for s in states]  # 0 where the goal is out of reach
        assert np.allclose(solution.v[i][numbers], np.array(value)[:, None], atol=2e-6)
        for horizon, exact in zip(HORIZONS, best[i], strict=True):
            assert exact == (lengths[-1] <= horizon)
        for state, number in zip(states, numbers, strict=True):
            if distance[state] < math.inf:
                leads = [step_length(world, distance, state, a) for a in range(world.actions)]
                assert (solution.optimal[i][number] == (np.array(leads) == min(leads))).all()
    kinds = len({length for length in lengths if length < math.inf})
    assert kinds >= 5 or name == "gauntlet"  # a walk of one length


def step_length(world, distance, state, action):
    """Steps to the goal by way of an action."""
    ((_, after, won, over),) = world.outcomes(state, action)
    return 1 if won else math.inf if over else 1 + distance[after]


def test_doomed_states_are_those_without_a_way(calm):
    name, env, levels, (*_, out) = calm
    found = set()
    for i, level in enumerate(each(levels)):
        world = plain(name, level)
        states = reference.reachable(world)
        lost = [steps_to_goal(world, state) == math.inf for state in states]
        assert (out[i][codes(env, level, states)] == lost).all()
        found |= set(lost)
    assert False in found
    assert True in found or name not in ("dark-room", "lava-crossing")


def scrambled(level, values, axes):
    """Values of the reference in the order of the level's actions."""
    for axis in axes:
        values = np.take(values, level.actions, axis=axis)
    return values


def test_sticky_returns_are_exact(sticky):
    name, env, levels, (_, best, random, own, _) = sticky
    uniform = np.full((1, env.num_actions), 1 / env.num_actions)
    for i, level in enumerate(each(levels)):
        world, states = dynamics(plain(name, level.inner), STICKINESS, idle=1)
        policy = np.broadcast_to(uniform, (len(states), env.num_actions))
        for j, horizon in enumerate(HORIZONS):
            assert best[i, j] == pytest.approx(finite_return(world, horizon), abs=2e-5)
            assert random[i, j] == pytest.approx(finite_return(world, horizon, policy), abs=2e-5)
        assert random[i, -1] <= best[i, -1] + 1e-6
        assert own[i] <= best[i, -1] + 1e-6
    assert (best[:, -1] - random[:, -1]).max() > 0.3


def test_the_best_choice_ignores_the_previous_action(sticky):
    name, env, levels, (solution, best, *_) = sticky
    clear = compared = 0
    solvable = np.flatnonzero(best[:, -1])[:6]
    for i, level in enumerate(each(levels)):
        if i not in solvable:
            continue
        world, states = dynamics(plain(name, level.inner), STICKINESS, idle=1)
        brute = reference.discounted(world, GAMMA)
        brute = np.concatenate(
            [scrambled(level, brute[:, :-1], (1, 2)), scrambled(level, brute[:, -1:], (2,))], 1
        )
        numbers = codes(env.env, level, states)
        assert np.allclose(solution.q[i][numbers], brute, atol=5e-6)
        assert np.allclose(solution.v[i][numbers], brute.max(-1), atol=5e-6)
        gap = brute.max(-1, keepdims=True) - brute  # of (state, previous action, chosen action)
        near, far = gap < TIES / 4, gap > TIES * 4
        said = np.broadcast_to(solution.optimal[i][numbers][:, None], gap.shape)
        assert said[near].all() and not said[far].any()
        clear, compared = clear + far.sum(), compared + far.size
    assert clear > min(1000, compared / 4)


@pytest.mark.parametrize(("name", "policy"), [("lava-crossing", Random), ("key-door", Oracle)])
def test_simulation_agrees(name, policy):
    env = wrapped(envs.make(name), STICKINESS)
    levels = raw_levels(env, 4, COUNT)
    _, best, random, own, _ = jax.device_get(solutions(env, levels))
    exact = own if policy is Oracle else random[:, -1]
    play = jax.jit(functools.partial(rollout, rollouts=256), compiler_options=QUICK)
    returns = np.asarray(play(env, policy(), jax.random.key(5), levels).returns)
    error = np.sqrt((exact * (1 - exact)).sum() / returns.shape[1]) / COUNT
    assert 0 < error < 0.02
    assert abs(returns.mean() - exact.mean()) < 4 * error
    spread = np.sqrt(np.maximum(exact * (1 - exact), 1e-3) / returns.shape[1])
    assert (np.abs(returns.mean(1) - exact) < 5 * spread).all()  # level by level
    assert returns.mean() < best[:, -1].mean() + 4 * error
