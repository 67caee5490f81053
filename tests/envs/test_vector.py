"""Episodes side by side are the core's episodes, one after the other, and resets generate nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs import vector
from envs.core import advance, begin
from tests.envs.worlds import QUICK, each, raw_levels

LANES, LEVELS, STEPS = 16, 10, 130
WORLDS = [
    ("lava-crossing", {"size": 4, "horizon": 9}),
    ("key-door", {"size": 4, "view_size": 3, "horizon": 30}),
]


@pytest.fixture(scope="module", params=WORLDS, ids=[name for name, _ in WORLDS])
def play(request):
    """(env, levels, batches [STEPS + 1, LANES], actions [STEPS, LANES]) of random play."""
    name, fields = request.param
    env = envs.make(name, **fields)
    levels = raw_levels(env, 0, LEVELS)
    pool = vector.buffer(env, jax.random.key(0), levels)
    first = vector.start(env, pool, jnp.arange(LANES) % LEVELS)

    def step(batch, key):
        act_key, step_key = jax.random.split(key)
        action = jax.random.randint(act_key, (LANES,), 0, 4)
        after = vector.step(env, pool, step_key, batch, action)
        return after, (after, action)

    keys = jax.random.split(jax.random.key(1), STEPS)
    run = jax.jit(lambda b, k: jax.lax.scan(step, b, k)[1], compiler_options=QUICK)
    batches, actions = run(first, keys)
    joined = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, batches)
    return env, levels, jax.device_get(joined), np.asarray(actions)


def test_lanes_are_episodes_of_the_core(play):
    env, levels, batches, actions = play
    stacked, key = each(levels), jax.random.key(0)
    go = jax.jit(advance, compiler_options=QUICK)
    ends = set()
    for lane in range(LANES):
        level = stacked[batches.index[0, lane]]
        episode = begin(env, key, level)
        for time in range(STEPS):
            shown = batches.timestep.observation[time, lane]
            assert (shown == np.asarray(episode.timestep.observation)).all()
            assert batches.time[time, lane] == episode.time
            episode = go(env, key, level, episode, actions[time, lane])
            after = jax.tree.map(lambda x, t=time, n=lane: x[t + 1, n], batches.timestep)
            assert after.reward == episode.timestep.reward
            assert after.terminated == episode.timestep.terminated
            assert after.truncated == episode.timestep.truncated
            index = batches.index[time + 1, lane]
            if episode.timestep.last:
                ends.add(bool(after.terminated))
                level = stacked[index]
                episode = begin(env, key, level)
            else:
                assert index == batches.index[time, lane]
    assert ends == {True, False}  # some episodes were won, some cut off


def test_new_levels_are_uniform(play):
    _, _, batches, _ = play
    over = batches.timestep.last[1:]
    chosen = np.bincount(batches.index[1:][over], minlength=LEVELS)
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

    pool = vector.buffer(env, jax.random.key(0), levels)
    loud = Loud(**{field.name: getattr(env, field.name) for field in dataclasses.fields(env)})
    batch = vector.start(loud, pool, jnp.zeros(2, jnp.int32))
    jax.eval_shape(lambda b: vector.step(loud, pool, jax.random.key(0), b, b.index), batch)
