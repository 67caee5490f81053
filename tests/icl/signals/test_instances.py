"""Step instances: cut from an expert's run, the world restored, all optimal ways told apart."""

import itertools

import jax
import numpy as np
import pytest

import envs
from icl.signals import instances
from icl.signals.world import world
from tests.envs.worlds import raw_levels
from tests.icl.signals.worlds import made

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def walk():
    """Levels of five moves of two tokens, some of them free, and the expert's runs."""
    place = made(3, spelling=2, density=0.4, horizon=13)
    return place, instances.demonstrated(place, jax.random.key(3))


def test_a_run_of_n_steps_gives_one_instance_less(walk):
    place, run = walk
    for moves, count, last in ((1, 4, False), (2, 2, False), (1, 5, True)):
        found = instances.steps(place, run, KEY, moves=moves, last=last)
        assert found.there.sum(-1).tolist() == [count] * 3
        lengths = np.asarray(found.length)[np.asarray(found.there)]
        assert (lengths == 2 * moves).all()
        assert found.reference.shape[2:] == (1, 2 * moves)


def test_the_world_is_restored_before_each_step_and_holds_the_experts_actions(walk):
    place, run = walk
    lanes = jax.device_get(run[0])
    found = jax.device_get(instances.steps(place, run, KEY, moves=2))
    states = jax.device_get(instances.steps(place, run, KEY, moves=2, reference="states"))
    assert states.visits and not found.visits
    encode = jax.vmap(jax.vmap(place.env.encode, in_axes=(None, 0)))
    number = encode(place.levels, found.snapshot.episode.state)
    for level, i in zip(*np.nonzero(found.there)):
        at = 4 * i
        assert number[level, i] == lanes.state[level, 0, at]
        assert found.snapshot.episode.time[level, i] == at
        assert found.reference[level, i, 0].tolist() == lanes.action[level, 0, at : at + 4].tolist()
        seen = lanes.state[level, 0, at + 1 : at + 5].tolist()
        assert states.reference[level, i, 0].tolist() == seen


def test_a_whole_run_is_one_instance(walk):
    place, run = walk
    found = jax.device_get(instances.whole(place, run, KEY))
    assert found.there.all() and found.there.shape == (3, 1)
    assert (found.length == 10).all() and (found.snapshot.episode.time == 0).all()
    expert = np.asarray(run[0].action)[:, 0, :10]
    np.testing.assert_array_equal(found.reference[:, 0, 0, :10], expert)


def test_all_optimal_ways_are_found():
    """Against every sequence of actions, in a room where many ways are the shortest."""
    env = envs.make("key-door", size=5, horizon=16)
    place = world(env, raw_levels(env, 1, 4))
    run = instances.demonstrated(place, jax.random.key(1))
    found = jax.device_get(instances.steps(place, run, KEY, moves=3, reference="optimal"))
    target = np.asarray(place.dynamics.target)[..., 0]
    best = np.asarray(jax.vmap(lambda d: instances.solve(d).optimal)(place.dynamics))
    state = np.asarray(run[0].state)[:, 0]
    several = 0
    assert found.there.any()
    for level, i in zip(*np.nonzero(found.there)):
        length, expected = found.length[level, i], set()
        assert length == 3
        for way in itertools.product(range(4), repeat=3):
            at, good = state[level, 3 * i], True
            for action in way:
                good &= bool(best[level, at, action])
                at = target[level, at, action]
            if good:
                expected.add(way)
        known = found.reference[level, i][found.known[level, i]]
        assert {tuple(way) for way in known.tolist()} == expected and len(known) == len(expected)
        assert tuple(np.asarray(run[0].action)[level, 0, 3 * i : 3 * i + 3]) in expected
        several += len(expected) > 1
    assert several


def test_what_cannot_be_told_apart_is_refused(walk, sticky):
    place, run = walk
    with pytest.raises(ValueError, match="up to 10 actions, 8 at most"):
        instances.steps(place, run, KEY, moves=5, last=True)
    free = made(2, spelling=4, density=0.1, moments=6, horizon=25)
    every = instances.demonstrated(free, jax.random.key(1))
    with pytest.raises(ValueError, match=r"in \d+ optimal ways, 32 at most"):
        instances.steps(free, every, KEY, moves=2, reference="optimal")
    stuck = instances.demonstrated(sticky, jax.random.key(1))
    with pytest.raises(ValueError, match="without chance only"):
        instances.steps(sticky, stuck, KEY, reference="optimal")
