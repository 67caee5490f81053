"""Lanes are the episodes of the core, one after the other, and a reset generates nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs import lanes
from envs.core import advance, begin
from tests.envs.worlds import QUICK, each, raw_levels

LANES, LEVELS, STEPS = 8, 10, 150
WORLDS = [
    ("lava-crossing", {"size": 4, "horizon": 9}),
    ("key-door", {"size": 4, "view_size": 3, "horizon": 20}),
]


@pytest.fixture(scope="module", params=WORLDS, ids=[name for name, _ in WORLDS])
def play(request):
    """(env, levels, played [STEPS + 1, LANES], actions [STEPS, LANES]) of random play."""
    name, fields = request.param
    env = envs.make(name, **fields)
    levels = raw_levels(env, 0, LEVELS)
    pool = lanes.buffer(env, jax.random.key(0), levels)
    first = lanes.start(env, pool, jnp.arange(LANES) % LEVELS)

    def step(rows, key):
        act_key, step_key = jax.random.split(key)
        action = jax.random.randint(act_key, (LANES,), 0, 4)
        after = lanes.step(env, pool, step_key, rows, action)
        return after, (after, action)

    keys = jax.random.split(jax.random.key(1), STEPS)
    run = jax.jit(lambda b, k: jax.lax.scan(step, b, k)[1], compiler_options=QUICK)
    played, actions = run(first, keys)
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, played)
    return env, levels, jax.device_get(joined), np.asarray(actions)


def test_lanes_are_episodes_of_the_core(play):
    env, levels, played, actions = play
    stacked, key = each(levels), jax.random.key(0)
    go = jax.jit(advance, compiler_options=QUICK)
    ends = set()
    for lane in range(LANES):
        level = stacked[played.index[0, lane]]
        episode = begin(env, key, level)
        for time in range(STEPS):
            shown = played.timestep.observation[time, lane]
            assert (shown == np.asarray(episode.timestep.observation)).all()
            assert played.time[time, lane] == episode.time
            episode = go(env, key, level, episode, actions[time, lane])
            after = jax.tree.map(lambda x, t=time, n=lane: x[t + 1, n], played.timestep)
            assert after.reward == episode.timestep.reward
            assert after.terminated == episode.timestep.terminated
            assert after.truncated == episode.timestep.truncated
            index = played.index[time + 1, lane]
            if episode.timestep.last:
                ends.add(bool(after.terminated))
                level = stacked[index]
                episode = begin(env, key, level)
            else:
                assert index == played.index[time, lane]
    # Some episodes were cut off, some ended; chance hardly ever opens a door so soon.
    assert ends == ({False} if type(env).__name__ == "KeyDoor" else {True, False})


def test_new_levels_are_uniform(play):
    _, _, played, _ = play
    over = played.timestep.last[1:]
    chosen = np.bincount(played.index[1:][over], minlength=LEVELS)
    assert chosen.sum() >= 50 and len(chosen) == LEVELS
    assert stats.chisquare(chosen).pvalue > 1e-4


def test_a_reset_generates_no_level(play):
    """Neither ``level`` nor ``reset`` of the family is in the program of a step."""
    env, levels, _, _ = play

    class Loud(type(env)):
        def level(self, key):
            raise AssertionError("a step drew a level")

        def reset(self, key, level):
            raise AssertionError("a step made a first state")

    pool = lanes.buffer(env, jax.random.key(0), levels)
    loud = Loud(**{field.name: getattr(env, field.name) for field in dataclasses.fields(env)})
    rows = lanes.start(loud, pool, jnp.zeros(2, jnp.int32))
    jax.eval_shape(lambda b: lanes.step(loud, pool, jax.random.key(0), b, b.index), rows)
