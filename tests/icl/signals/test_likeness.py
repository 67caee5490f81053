"""Likeness of ways against Python's difflib, pair by pair."""

import difflib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import instances
from icl.signals.likeness import of_runs, of_steps
from tests.icl.signals.worlds import made, quick

KEY = jax.random.key(5)
STEPS = quick(of_steps, static_argnames="actions")
RUNS = quick(of_runs, static_argnames="runs")


def alike(one, two) -> float:
    return difflib.SequenceMatcher(None, list(one), list(two), autojunk=False).ratio()


@pytest.fixture(scope="module")
def walk():
    """Levels of five moves of two tokens, some of them free."""
    return made(3, spelling=2, density=0.4, horizon=13)


def test_steps_are_compared_in_pairs_that_differ(walk):
    run = instances.demonstrated(walk, jax.random.key(3))
    wanted = instances.steps(walk, run, KEY, moves=2, reference="optimal", last=True)
    found = STEPS(KEY, wanted, actions=walk.env.num_actions)
    guess = jax.random.randint(KEY, wanted.reference.shape, 0, walk.env.num_actions, jnp.int32)
    ways, known, there, length, guess = (
        np.asarray(x)
        for x in (wanted.reference, wanted.known, wanted.there, wanted.length, guess)
    )  # fmt: skip
    optimal, random = [], []
    for level in range(3):
        two, one = [], []
        for i in np.flatnonzero(there[level]):
            own = [ways[level, i, r, : length[level, i]] for r in np.flatnonzero(known[level, i])]
            two += [alike(a, b) for a, b in itertools.permutations(own, 2)]
            one += [
                alike(guess[level, i, r, : length[level, i]], ways[level, i, r, : length[level, i]])
                for r in np.flatnonzero(known[level, i])
            ]
        optimal += [np.mean(two)] if two else []
        random.append(np.mean(one))
    assert len(optimal) > 1 and 0 < np.mean(random) < np.mean(optimal) < 1
    assert found.optimal == pytest.approx(np.mean(optimal), abs=1e-5)
    assert found.random == pytest.approx(np.mean(random), abs=1e-5)


def test_whole_runs_are_compared_where_they_differ(walk):
    found = RUNS(walk, KEY, runs=8)
    assert 0 < found.random < found.optimal < 1
    only = made(3, spelling=2, density=1.0, horizon=13)  # one way to go
    assert np.isnan(RUNS(only, KEY, runs=8).optimal)
