"""Omens: the rank statistic and the search for breakdowns, against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from icl.signals.breakdowns import Regime, broken, faltering, fated
from icl.signals.confidence import SCORES, token_confidence
from icl.signals.distances import far_levels
from icl.signals.lanes import go, start
from icl.signals.omens import auroc, located, omens

LEVELS, LANES, WINDOW = 5, 24, 4


def plain_auroc(scores, wins) -> float:
    good, bad = scores[wins], scores[~wins]
    if not good.size or not bad.size:
        return 0.5
    points = [1.0 if x > y else 0.5 if x == y else 0.0 for x in good for y in bad]
    return sum(points) / len(points)


def test_auroc_is_that_of_a_loop():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (20, 17)).astype(np.float32)  # with ties
    wins = rng.random((20, 17)) < 0.5
    wins[0], wins[1] = True, False
    among = rng.random((20, 17)) < 0.7
    expected = [plain_auroc(*row) for row in zip(scores, wins)]
    np.testing.assert_allclose(jax.jit(auroc)(scores, wins), expected, rtol=1e-6)
    assert expected[:2] == [0.5, 0.5]
    some = [plain_auroc(x[m], w[m]) for x, w, m in zip(scores, wins, among)]
    masked = np.where(among, scores, np.nan)  # who is not counted has no say
    np.testing.assert_allclose(auroc(masked, wins, among), some, rtol=1e-6)
    assert np.abs(np.subtract(some, expected)).max() > 0.05
    assert auroc(jnp.arange(4.0), jnp.arange(4) > 1) == 1
    assert auroc(-jnp.arange(4.0), jnp.arange(4) > 1) == 0


@pytest.fixture(scope="module")
def rooms():
    env = envs.make("commit", size=8, horizon=24)
    levels, which = far_levels(env, jax.random.key(0), LEVELS, 10, 16)
    return env, levels.levels(jnp.asarray(which))


def test_lowest_windows_are_looked_for_where_lanes_broke_down(rooms):
    env, levels = rooms

    @jax.jit
    def run(levels, regime):
        agent = faltering(env, jax.random.key(1), levels, regime)
        begun = fated(agent, jax.random.key(2), start(agent, env, jax.random.key(3), levels, LANES))
        lanes, _ = go(agent, env, levels, begun)
        found = located(agent, begun.memory, lanes, WINDOW)
        told = token_confidence(lanes.logits), broken(agent, begun.memory, lanes)
        return begun.memory.onset, lanes, found, *told

    # A breakdown that can hardly be told from noise, so that it is missed, too.
    regime = jax.tree.map(jnp.asarray, Regime(slump=7.0, step_noise=0.4, muddled=0.0))
    onset, lanes, found, confidence, trouble = jax.device_get(run(levels, regime))
    for row in range(LEVELS):
        near, chance, ended = [], [], []
        for lane in range(LANES):
            steps = int(lanes.live[row, lane].sum())
            if onset[row, lane] >= steps:
                continue
            told = confidence[row, lane, :steps]
            width = min(WINDOW, steps)
            means = [told[i : i + width].mean() for i in range(steps - width + 1)]
            close = [abs(i - onset[row, lane]) <= WINDOW for i in range(len(means))]
            near.append(close[int(np.argmin(means))])
            chance.append(np.mean(close))
            ended.append(trouble[row, lane, steps - 1])
        assert found.lanes[row] == len(near) > 0
        for name, values in (("near", near), ("chance", chance), ("ended", ended)):
            assert getattr(found, name)[row] == pytest.approx(np.mean(values), abs=1e-6)
    assert 0.3 < found.near.mean() < 1 and (found.chance < found.near + 0.5).all()


def test_a_breakdown_is_foretold_locally_and_spread_noise_is_not(rooms):
    env, levels = rooms
    regime = jax.tree.map(jnp.asarray, Regime(step_noise=0.3, lane_noise=0.2, slump=4.0))
    found = jax.device_get(omens(env, jax.random.key(0), levels, regime, lanes=64))
    assert set(found.local.auroc) == set(SCORES)
    assert found.local.told.all() and found.even.told.all()
    np.testing.assert_allclose(found.even.success, found.local.success, atol=0.05)
    local, even = (
        {name: float(x.mean()) for name, x in part.auroc.items()}
        for part in (found.local, found.even)
    )
    assert local["lowest"] > local["mean"]
    assert even["lowest"] < even["mean"]
    assert min(local.values()) > max(even.values())
    assert (found.found.near > found.found.chance + 0.1).all()
    assert (found.local.steps < found.even.steps).all()  # some answer while they are broken
    # Without trouble nothing is foretold, for all succeed.
    calm = jax.tree.map(jnp.asarray, Regime(rarest=0.0, commonest=0.0, sharpness=19.0))
    none = omens(env, jax.random.key(0), levels, calm, lanes=64)
    assert not none.local.told.any() and (none.local.auroc["mean"] == 0.5).all()
    assert not none.found.lanes.any() and not none.found.near.any()
