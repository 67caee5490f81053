"""Breakdowns: what is injected is what happens, and the twins fail as often."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from icl.signals.breakdowns import (
    MOVES,
    NEVER,
    REGIMES,
    Regime,
    broken,
    faltering,
    fated,
    spread,
)
from icl.signals.confidence import token_confidence
from icl.signals.distances import distances, far_levels
from icl.signals.lanes import go, start

LEVELS, LANES = 6, 40


@pytest.fixture(scope="module")
def rooms():
    """(environment, levels stacked on L) of a small commit, its answers a few steps away."""
    env = envs.make("commit", size=6, horizon=20)
    levels, which = far_levels(env, jax.random.key(0), LEVELS, 6, 12)
    return env, levels.levels(jnp.asarray(which))


@jax.jit
def play(env, levels, regime):
    """(Faltering[L], Fate[L, N], Lanes, Fate and Lanes of the twins)."""
    agent = faltering(env, jax.random.key(1), levels, regime)
    begun = fated(agent, jax.random.key(2), start(agent, env, jax.random.key(3), levels, LANES))
    lanes, _ = go(agent, env, levels, begun)
    fates = spread(agent, begun.memory, lanes)
    twins, _ = go(agent, env, levels, begun.replace(memory=fates))
    return agent, begun.memory, lanes, fates, twins


@pytest.fixture(scope="module")
def played(rooms):
    """played(**fields of Regime) -> what ``play`` gives; one program, whatever the numbers."""

    def run(**fields):
        regime = jax.tree.map(jnp.asarray, Regime(**fields))
        return play(*rooms, regime)

    return run


def walk(env, level) -> int:
    """Steps of a best episode: breadth first over cells, to the clue; the answer is one more."""
    walls, size = np.asarray(level.walls), env.size
    seen, edge, steps = {int(level.start)}, [int(level.start)], 0
    while int(level.clue) not in seen:
        steps += 1
        near = set()
        for cell in edge:
            row, column = divmod(cell, size)
            for r, c in (
                (row - 1, column),
                (row + 1, column),
                (row, column - 1),
                (row, column + 1),
            ):
                if 0 <= r < size and 0 <= c < size and not walls[r * size + c]:
                    near.add(r * size + c)
        edge = sorted(near - seen)
        seen |= near
    return steps + 1


def test_distances_are_those_of_a_search(rooms):
    env, levels = rooms
    found = distances(env, levels).tolist()
    assert found == [walk(env, jax.tree.map(lambda x, i=i: x[i], levels)) for i in range(LEVELS)]
    assert all(6 <= x <= 12 for x in found)
    lost = jax.tree.map(lambda x: x[:1], levels)
    lost = lost.replace(walls=jnp.ones_like(lost.walls).at[0, lost.start[0]].set(False))
    assert distances(env, lost).tolist() == [0]


def test_too_few_far_levels_are_an_error(rooms):
    with pytest.raises(ValueError, match="too few levels of 19 to 20 steps: 2 asked for"):
        far_levels(rooms[0], jax.random.key(0), 2, 19, 20)


def test_without_trouble_it_plays_as_the_oracle_does(played, rooms):
    agent, fates, lanes, _, twins = played(
        rarest=0.0, commonest=0.0, step_noise=0.0, sharpness=19.0
    )
    assert (fates.onset == NEVER).all() and (fates.misreads == NEVER).all()
    assert (lanes.returns == 1).all()
    steps = np.asarray(lanes.live.sum(-1))
    np.testing.assert_array_equal(steps, np.broadcast_to(agent.distance[:, None], steps.shape))
    jax.tree.map(np.testing.assert_array_equal, lanes, twins)


def test_a_breakdown_is_flat_for_its_length_and_then_over(played):
    agent, fates, lanes, _, _ = played(rarest=0.5, commonest=0.5, muddled=0.0, step_noise=0.0)
    onset, time = np.asarray(fates.onset), np.arange(20)
    inside = (time >= onset[..., None]) & (time < onset[..., None] + 7)
    trouble = np.asarray(broken(agent, fates, lanes))
    np.testing.assert_array_equal(trouble, inside & np.asarray(lanes.live))
    assert 0.4 < (onset < NEVER).mean() < 0.6
    drawn = onset < NEVER
    assert (onset < np.asarray(agent.distance)[:, None])[drawn].all()
    assert len(np.unique(onset[drawn])) > 4
    sharp = np.asarray(lanes.logits.max(-1)) / np.asarray(fates.tone)[..., None]
    live = np.asarray(lanes.live)
    np.testing.assert_allclose(sharp[trouble], 3.0, rtol=1e-5)
    np.testing.assert_allclose(sharp[live & ~trouble], 10.0, rtol=1e-5)
    confidence = np.asarray(token_confidence(lanes.logits))
    assert confidence[trouble].max() < confidence[live & ~trouble].min()
    late = np.asarray(played(earliest=0.75)[1].onset)
    first = np.floor(0.75 * np.asarray(agent.distance))[:, None]
    assert (late >= first).all() and (late[late < NEVER] < 12).all() and (late < NEVER).any()
    # Who does not break down succeeds, who does mostly fails; some recover.
    wins = np.asarray(lanes.returns) > 0
    broke = trouble.any(-1)
    assert wins[~broke].mean() > 0.97
    assert 0.1 < wins[broke].mean() < 0.6


def test_a_muddled_lane_gives_the_next_answer_and_is_sure_of_it(played, rooms):
    _, levels = rooms
    _, fates, lanes, _, _ = played(rarest=1.0, commonest=1.0, muddled=1.0, slump=9.0)
    assert (fates.onset < NEVER).all()
    np.testing.assert_array_equal(fates.misreads, fates.onset)
    last = np.asarray(lanes.live.sum(-1))[..., None] - 1
    action = np.take_along_axis(np.asarray(lanes.action), last, axis=-1)[..., 0]
    next_one = MOVES + (np.asarray(levels.answer)[:, None] + 1) % 4
    assert (action == next_one).mean() > 0.95
    assert not np.asarray(lanes.returns)[action == next_one].any()


def test_confident_lanes_are_wrong_only_where_levels_mislead(played):
    agent, fates, lanes, _, _ = played(rarest=0.0, commonest=0.0, misled=0.5, deluded=0.4)
    deluded, misled = np.asarray(fates.misreads == 0), np.asarray(agent.misled)
    assert 0 < misled.sum() < LEVELS
    assert not deluded[~misled].any() and 0.25 < deluded[misled].mean() < 0.55
    assert not np.asarray(lanes.returns)[deluded].any()
    assert np.asarray(lanes.returns)[~deluded].mean() > 0.97
    confidence = np.asarray(token_confidence(lanes.logits)[..., 0])
    assert confidence[deluded].mean() > confidence[~deluded].mean() + 1


def test_twins_lack_the_same_in_sum_and_fail_as_often(played):
    agent, fates, lanes, even, twins = played(step_noise=0.0)
    broke = np.asarray(broken(agent, fates, lanes))
    some = broke.any(-1)
    assert (even.onset == NEVER).all() and 0 < some.sum() < some.size
    lacking = np.asarray(broke.sum(-1)) * (10.0 - 3.0)
    total = -np.asarray(even.lift) * np.asarray(agent.distance)[:, None]
    np.testing.assert_allclose(total, lacking, rtol=1e-5)
    sharp = np.asarray(twins.logits.max(-1)) / np.asarray(fates.tone)[..., None]
    live = np.asarray(twins.live)
    assert np.ptp(np.where(live, sharp, sharp[..., :1]), axis=-1).max() < 1e-4  # no stretch
    straight = np.asarray(live.sum(-1) == np.asarray(agent.distance)[:, None])
    assert straight.mean() > 0.9
    missing = 10.0 * live.sum(-1) - np.where(live, sharp, 0).sum(-1)
    np.testing.assert_allclose(missing[straight], lacking[straight], rtol=1e-4, atol=1e-3)
    wins, won = np.asarray(lanes.returns > 0), np.asarray(twins.returns > 0)
    assert (wins == won).mean() > 0.95
    jax.tree.map(np.testing.assert_array_equal, even.tone, fates.tone)


def test_the_named_regimes_are_one_program():
    shapes = {jax.tree.structure(regime) for regime in REGIMES.values()}
    assert len(shapes) == 1 and len(REGIMES) == 6
