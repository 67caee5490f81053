"""Aggregators against plain Python, on runs of many lengths."""

import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import aggregators, segments
from icl.signals.aggregators import AGGREGATORS
from tests.icl.signals.worlds import forest

LEVELS, HORIZON = 6, 9
WAYS = {
    "own": lambda left: left[0],
    "sum": sum,
    "mean": np.mean,
    "tail": lambda left: left[-1],
    "bottom-10": lambda left: np.mean(sorted(left)[: max(1, -(-len(left) // 10))]),
    "min": min,
}


@pytest.fixture(scope="module")
def lanes():
    shape = {"levels": LEVELS, "trees": 2, "nodes": 3, "rounds": 2, "horizon": HORIZON}
    return forest(np.random.default_rng(0), **shape)[0]


def gains(lanes, length):
    """float32[L, N, T], alike in a piece."""
    count, runs = lanes.live.shape[:2]
    gain = np.random.default_rng(2).normal(size=(count, runs, -(-HORIZON // length)))
    return gain.repeat(length, -1)[..., :HORIZON].astype(np.float32)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("name", WAYS)
def test_a_step_is_paid_of_its_piece_and_those_behind_it(lanes, name, length):
    live, gain = np.asarray(lanes.live), gains(lanes, length)
    paid = AGGREGATORS[name](lanes, segments.chunks(lanes, length), jnp.asarray(gain))
    assert live.any() and not live.all()
    for i, j, t in np.ndindex(live.shape):
        count = -(-int(live[i, j].sum()) // length)
        left = gain[i, j, ::length][t // length : count].astype(float)
        expected = WAYS[name](left) if live[i, j, t] else 0
        assert paid[i, j, t] == pytest.approx(expected, abs=1e-5)


def test_the_lowest_tenth_of_many_pieces_is_more_than_the_least():
    long = forest(np.random.default_rng(1), levels=2, trees=2, nodes=1, rounds=1, horizon=40)[0]
    gain = np.random.default_rng(3).normal(size=long.live.shape).astype(np.float32)
    paid = np.asarray(AGGREGATORS["bottom-10"](long, segments.steps(long), jnp.asarray(gain)))
    for i, j in np.ndindex(paid.shape[:2]):
        count = int(np.asarray(long.live)[i, j].sum())
        few = max(1, -(-count // 10))
        assert paid[i, j, 0] == pytest.approx(sorted(gain[i, j, :count])[:few] @ np.ones(few) / few)
    assert (np.asarray(long.live).sum(-1) > 20).any()


def test_what_gained_nothing_is_paid_nothing(lanes):
    for pay in AGGREGATORS.values():
        assert (pay(lanes, segments.steps(lanes), jnp.zeros_like(lanes.reward)) == 0).all()


@pytest.mark.parametrize("length", [1, 3])
def test_pure_pays_the_softly_worst_piece(lanes, length):
    live = np.asarray(lanes.live)
    gain = gains(lanes, length)
    starts = segments.chunks(lanes, length)
    soft = aggregators.soft_least(lanes, starts, jnp.asarray(gain), 0.3)
    hard = aggregators.soft_least(lanes, starts, jnp.asarray(gain), 1e-4)
    for i, j in np.ndindex(live.shape[:2]):
        count = -(-int(live[i, j].sum()) // length)
        pieces = gain[i, j, ::length][:count].astype(float)
        weight = np.exp(-pieces / 0.3)
        shaped = weight / weight.sum() * pieces
        worst = int(pieces.argmin())
        for t in range(HORIZON):
            piece = t // length
            if not live[i, j, t]:
                assert soft[i, j, t] == hard[i, j, t] == 0
                continue
            assert soft[i, j, t] == pytest.approx(shaped[piece:].sum(), abs=1e-5)
            least = pieces[piece:].min() if piece <= worst else 0
            assert hard[i, j, t] == pytest.approx(least, abs=1e-5)
