"""Trajectories[level, rollout, time]: axes, dtypes, what a step holds, and who repeats whom."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents.policy import Oracle, Random
from envs.core import Env
from envs.oracle import random_return, solve
from envs.rollout import Trajectories, rollout
from tests.envs.worlds import QUICK, behind, each, raw_levels, same

LEVELS, ROLLOUTS, HORIZON = 12, 32, 16
STICKINESS = 0.3
PLAY = jax.jit(rollout, static_argnames="rollouts", compiler_options=QUICK)
SOLVE = jax.jit(lambda env, levels: jax.vmap(lambda x: solve(env.tabulate(x)).optimal)(levels))
SIZES = {"key-door": 4, "lava-crossing": 7}  # two fields, early ends; death
NAMES = tuple(SIZES)


def world(name: str, stickiness: float = STICKINESS):
    env = behind(envs.make(name, size=SIZES[name], horizon=HORIZON), stickiness)
    return env, raw_levels(env, 21, LEVELS)


@functools.cache
def played(name: str, policy: type, seed: int = 0) -> Trajectories:
    env, levels = world(name)
    return jax.device_get(PLAY(env, policy(), jax.random.key(seed), levels, rollouts=ROLLOUTS))


@pytest.fixture(params=[(name, policy) for name in NAMES for policy in (Random, Oracle)])
def group(request) -> Trajectories:
    return played(*request.param)


def test_axes_and_dtypes(group):
    steps = (LEVELS, ROLLOUTS, HORIZON)
    expected = {
        "observation": (np.int32, (*steps, group.observation.shape[-1])),
        "action": (np.int32, steps),
        "reward": (np.float32, steps),
        "terminated": (np.bool_, steps),
        "truncated": (np.bool_, steps),
        "successor": (np.int32, (*steps, group.observation.shape[-1])),
        "valid": (np.bool_, steps),
        "fingerprint": (np.uint32, (LEVELS, 2)),
    }
    assert {k: (v.dtype, v.shape) for k, v in vars(group).items()} == expected
    assert group.returns.shape == (LEVELS, ROLLOUTS)
    assert (group.returns == group.reward.sum(-1)).all()


def test_valid_steps_are_a_prefix_that_ends_with_the_episode(group):
    valid, over = group.valid, group.terminated | group.truncated
    assert valid[..., 0].all()
    assert (valid[..., 1:] == (valid[..., :-1] & ~over[..., :-1])).all()
    assert (over.sum(-1) == 1).all()  # every episode ends once
    assert not (over & ~valid).any()
    assert 0 < valid.mean() < 1
    assert not group.terminated.all(-1).any()
    assert not group.truncated[..., :-1].any()
    assert (group.truncated[..., -1] == (valid[..., -1] & ~group.terminated[..., -1])).all()


def test_steps_join(group):
    going = group.valid[..., 1:]
    assert (group.successor[..., :-1, :][going] == group.observation[..., 1:, :][going]).all()
    assert (group.observation[:, :, 0] == group.observation[:, :1, 0]).all()  # one start a level
    moved = (group.observation != group.successor).any(-1)
    assert moved[group.valid].mean() > 0.2
    # After the end: the last observation, no reward.
    ended = ~group.valid
    assert (group.observation[ended] == group.successor[ended]).all()
    last = np.take_along_axis(group.successor, (group.valid.sum(-1) - 1)[..., None, None], axis=2)
    assert (np.where(ended[..., None], group.observation, last) == last).all()
    assert not group.reward[ended].any()


def test_rewards_come_with_the_goal_only(group):
    assert set(np.unique(group.reward)) <= {0.0, 1.0}
    assert group.terminated[group.reward > 0].all()
    assert group.reward.any()


@pytest.mark.parametrize("policy", [Random, Oracle])
def test_a_key_gives_a_result(policy):
    env, levels = world("key-door")
    again = jax.device_get(PLAY(env, policy(), jax.random.key(0), levels, rollouts=ROLLOUTS))
    assert same(again, played("key-door", policy))
    other = played("key-door", policy, seed=1)
    assert (other.action != again.action).any()
    assert (other.fingerprint == again.fingerprint).all()


def test_fingerprints_are_those_of_the_levels():
    env, levels = world("key-door")
    found = jax.jit(jax.vmap(env.fingerprint))(levels)
    assert (np.asarray(found) == played("key-door", Random).fingerprint).all()


def states(env: Env, level, observation: np.ndarray) -> np.ndarray:
    """The numbers of the states that look like observations int32[..., F] in a level."""

    def look(index):
        return env.observe(level, env.decode(level, index))

    shown = np.asarray(jax.vmap(look)(jnp.arange(env.num_states)))
    weight = env.num_symbols ** np.arange(env.num_fields)
    code = shown @ weight
    assert len(set(code.tolist())) == len(code)
    order = np.argsort(code)
    return order[np.searchsorted(code[order], observation @ weight)]


@pytest.mark.parametrize("name", NAMES)
def test_the_action_is_the_chosen_one(name):
    """Sticky hands execute others, but every action that the oracle is said to take is optimal."""
    env, levels = world(name)
    group, optimal = played(name, Oracle), np.asarray(SOLVE(env, levels))
    tables = jax.device_get(jax.jit(jax.vmap(env.tabulate))(levels))
    slips = 0
    for i in range(LEVELS):
        level = jax.tree.map(lambda x, i=i: x[i], levels)
        valid = group.valid[i]
        state = states(env, level, group.observation[i])[valid]
        action = group.action[i][valid]
        assert optimal[i][state, action].all()
        goes_on = valid & ~group.terminated[i]
        after = states(env, level, group.successor[i])
        here = states(env, level, group.observation[i])[goes_on]
        slips += (tables.target[i][here, group.action[i][goes_on], 0] != after[goes_on]).sum()
    assert slips > 100  # the executed actions were others often enough


def test_rollouts_of_a_level_differ(group):
    distinct = [len(np.unique(rows.reshape(ROLLOUTS, -1), axis=0)) for rows in group.observation]
    assert np.mean(distinct) > 4


def test_ties_alone_make_rollouts_differ():
    env, levels = world("key-door", stickiness=0.0)
    optimal = np.asarray(SOLVE(env, levels))
    group = jax.device_get(PLAY(env, Oracle(), jax.random.key(0), levels, rollouts=ROLLOUTS))
    for i, level in enumerate(each(levels)):
        first = group.action[i, :, 0]
        start = int(level.inner.start) * 2
        assert set(first) == set(np.flatnonzero(optimal[i, start]))
    assert (optimal[np.arange(LEVELS), np.asarray(levels.inner.start) * 2].sum(1) > 1).any()


def test_random_play_earns_its_exact_return():
    env = behind(envs.make("dark-room"), STICKINESS)
    levels = raw_levels(env, 22, 16)
    returns = PLAY(env, Random(), jax.random.key(2), levels, rollouts=512).returns
    exact = np.asarray(
        jax.jit(jax.vmap(lambda level: random_return(env.tabulate(level), env.horizon)))(levels)
    )
    error = np.sqrt((exact * (1 - exact)).sum() / 512) / 16
    assert exact.mean() > 0.02
    assert abs(float(returns.mean()) - exact.mean()) < 4 * error
