"""Lanes fork at any step, memory and key included, and count what they generate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.core import advance, begin
from icl.signals.confidence import groups, lowest, token_confidence
from icl.signals.lanes import at_step, earn, go, joined, start, with_past
from icl.signals.stopping import Guard, stops, until
from tests.envs.worlds import each
from tests.icl.signals.worlds import play, quick, recurrent

RUNS = 10
BEGIN, ADVANCE = quick(begin), quick(advance)


@pytest.fixture(scope="module", params=["calm", "sticky"])
def played(request):
    """(world, agent, lanes, snapshots): a Markov agent in the calm world, one with a memory where
    hands stick."""
    world = request.getfixturevalue(request.param)
    agent = world.leaning(2.0) if request.param == "calm" else recurrent(world)
    return world, agent, *play(world, agent, jax.random.key(3), RUNS)


FORK = quick(lambda world, agent, begun, time: go(agent, world.env, world.levels, begun, time))
EARN = quick(lambda world, agent, begun, time: earn(agent, world.env, world.levels, begun, time))


def forked(world, agent, lanes, lane, time, begun):
    """The forks, with their past, and their snapshots."""
    fork, later = FORK(world, agent, begun, time)
    return with_past(fork, lanes, lane, first=lanes.live.shape[1]), later


def picks(lanes, seed=0, count=10):
    """Lanes and own live steps of theirs, int32[L, n] each."""
    rng, own = np.random.default_rng(seed), np.asarray(lanes.own)
    lane = rng.integers(0, own.shape[1], (own.shape[0], count))
    lane = np.where(own[np.arange(len(own))[:, None], lane].any(-1), lane, 0)
    time = [[rng.choice(np.flatnonzero(own[i, j])) for j in row] for i, row in enumerate(lane)]
    return jnp.asarray(lane, jnp.int32), jnp.asarray(time, jnp.int32)


def rows(x, lane):
    """Those of lanes int32[L, n] of x [L, N, ...]."""
    return np.asarray(x)[np.arange(len(lane))[:, None], np.asarray(lane)]


def test_a_fork_with_its_own_key_replays_the_rest_to_the_bit(played):
    world, agent, lanes, snapshots = played
    lane, time = picks(lanes)
    begun = at_step(snapshots, lane, time, jax.random.key(9))
    keys = jax.vmap(lambda keys, i: keys[i, 0])(snapshots.key, lane)
    again, later = forked(world, agent, lanes, lane, time, begun.replace(key=keys))
    for name in ("state", "executed", "action", "logits", "reward", "live", "terminated"):
        np.testing.assert_array_equal(getattr(again, name), rows(getattr(lanes, name), lane), name)
    # So are the episodes and memories before every later step, and the keys.
    late = np.arange(world.env.horizon) >= np.asarray(time)[..., None]
    data = (jax.tree.leaves(x.replace(key=jax.random.key_data(x.key))) for x in (snapshots, later))
    for before, after in zip(*data):
        np.testing.assert_array_equal(rows(before, lane)[late], np.asarray(after)[late])
    assert jax.tree.leaves(snapshots.memory) or agent.begin(world.env, None) is None


def test_a_fork_with_a_fresh_key_shares_the_past_and_nothing_else(played):
    world, agent, lanes, snapshots = played
    lane, time = picks(lanes)
    begun = at_step(snapshots, lane, time, jax.random.key(9))
    fork, _ = forked(world, agent, lanes, lane, time, begun)
    past = np.arange(world.env.horizon) < np.asarray(time)[..., None]
    for name in ("action", "reward", "logits", "live"):
        old, new = rows(getattr(lanes, name), lane), np.asarray(getattr(fork, name))
        np.testing.assert_array_equal(old[past], new[past], name)
    actions = rows(lanes.action, lane), np.asarray(fork.action)
    assert (actions[0] != actions[1])[~past].mean() > 0.2
    # The state before the fork is shared, and so is what is said of the next action.
    at = np.arange(world.env.horizon + 1) == np.asarray(time)[..., None]
    np.testing.assert_array_equal(rows(lanes.state, lane)[at], np.asarray(fork.state)[at])
    np.testing.assert_array_equal(
        rows(lanes.logits, lane)[at[..., :-1]], np.asarray(fork.logits)[at[..., :-1]]
    )


def test_forks_of_forks_know_whose_steps_they_hold(played):
    world, agent, lanes, snapshots = played
    live, levels = [np.asarray(lanes.live)], len(lanes.live)
    owner = [[[i] * world.env.horizon for i in range(RUNS)] for _ in range(levels)]
    for seed in (1, 2):
        lane, time = picks(lanes, seed)
        first = lanes.live.shape[1]
        begun = at_step(snapshots, lane, time, jax.random.key(seed))
        fork, later = forked(world, agent, lanes, lane, time, begun)
        for level, (left, at) in enumerate(zip(lane.tolist(), time.tolist())):
            for new, (i, t) in enumerate(zip(left, at)):
                owner[level].append(owner[level][i][:t] + [first + new] * (world.env.horizon - t))
        np.testing.assert_array_equal(fork.parent, lane)
        np.testing.assert_array_equal(fork.fork, time)
        live.append(np.asarray(fork.live))
        lanes = joined(lanes, fork)
        snapshots = jax.tree.map(lambda *x: jnp.concatenate(x, 1), snapshots, later)
    live = np.concatenate(live, axis=1)
    np.testing.assert_array_equal(lanes.owner, owner)
    mine = live & (np.asarray(owner) == np.arange(live.shape[1])[:, None])
    np.testing.assert_array_equal(lanes.own, mine)
    # A step is counted once, whoever shares it.
    for level in range(levels):
        steps = {
            (owner[level][i][t], t)
            for i in range(live.shape[1])
            for t in range(world.env.horizon)
            if live[level, i, t]
        }
        assert lanes.generated[level] == len(steps)
    assert (lanes.generated < live.sum((1, 2))).all()


def test_lanes_are_episodes_stepped_one_by_one(played):
    world, agent, lanes, snapshots = played
    env, keys = world.env, jax.random.split(jax.random.key(3))
    begin_keys, lane_keys = (jax.random.split(k, (len(lanes.live), RUNS)) for k in keys)
    speak = quick(lambda agent, level, *rest: agent.logits(env, level, *rest))
    ended = 0
    for i, level in enumerate(each(world.levels)):
        mind = jax.tree.map(lambda x, i=i: x[i], agent)
        for j in range(3):
            episode, memory = BEGIN(env, begin_keys[i, j], level), mind.begin(env, level)
            before = jnp.int32(-1)
            for t in range(env.horizon):
                assert lanes.state[i, j, t] == env.encode(level, episode.state)
                previous = getattr(episode.state, "previous", env.num_actions)
                assert lanes.executed[i, j, t] == previous
                for one, other in zip(
                    jax.tree.leaves(memory), jax.tree.leaves(snapshots.memory), strict=True
                ):
                    np.testing.assert_allclose(one, other[i, j, t], atol=1e-6)
                assert snapshots.before[i, j, t] == before
                over = bool(episode.timestep.last)
                assert lanes.live[i, j, t] == (not over)
                if over:
                    ended += 1
                    assert lanes.reward[i, j, t] == 0
                    continue
                logits, memory = speak(mind, level, episode, before, memory)
                np.testing.assert_allclose(lanes.logits[i, j, t], logits, atol=1e-5)
                act, step = jax.random.split(jax.random.fold_in(lane_keys[i, j], t))
                before = jax.random.categorical(act, logits).astype(jnp.int32)
                episode = ADVANCE(env, step, level, episode, before)
                assert lanes.action[i, j, t] == before
                assert lanes.reward[i, j, t] == episode.timestep.reward
            assert lanes.terminated[i, j] == episode.timestep.terminated
    assert ended > 0
    np.testing.assert_array_equal(lanes.returns, lanes.reward.sum(-1))


def test_what_is_logged_is_the_probability_of_the_action(played):
    *_, lanes, _ = played
    logits = np.asarray(lanes.logits, np.float64)
    picked = np.take_along_axis(logits, np.asarray(lanes.action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(lanes.log, picked - np.log(np.exp(logits).sum(-1)), atol=1e-5)


def test_jit_is_eager(sticky):
    world, agent = sticky, recurrent(sticky)
    lanes, _ = play(world, agent, jax.random.key(3), RUNS)
    begun = start(agent, world.env, jax.random.key(3), world.levels, RUNS)
    eager, _ = go(agent, world.env, world.levels, begun)
    for name, one in vars(eager).items():
        np.testing.assert_allclose(one, getattr(lanes, name), atol=1e-5, err_msg=name)


def test_a_guard_of_each_level_stops_lanes_where_the_groups_say(sticky):
    world, agent = sticky, recurrent(sticky)
    lanes, _ = play(world, agent, jax.random.key(3), RUNS)
    window = 3
    confidence = token_confidence(lanes.logits)
    lows = np.asarray(lowest(confidence, lanes.live, window))
    bars = np.array([np.quantile(row, q) for row, q in zip(lows, (0.3, 0.5, 0.7))], np.float32)
    bars += np.array([1e-3, 2e-3, 3e-3], np.float32)
    found = groups(confidence, lanes.live, window)
    gap = np.abs(np.asarray(found.mean) - bars[:, None, None])[np.asarray(found.exists)]
    assert gap.min() > 1e-5 and len(set(bars.tolist())) == len(bars)

    begun = start(agent, world.env, jax.random.key(3), world.levels, RUNS)
    guard = Guard(jnp.asarray(bars), window)
    held, snapshots = quick(
        lambda agent, env, levels, begun, guard: go(agent, env, levels, begun, guard=guard)
    )(agent, world.env, world.levels, begun, guard)
    stop = stops(confidence, lanes.live, window, bars[:, None])
    live = until(lanes.live, stop)
    np.testing.assert_array_equal(held.live, live)
    np.testing.assert_array_equal(held.stopped, stop >= 0)
    assert 0 < (stop >= 0).sum() < stop.size
    # Whoever is stopped neither acts nor earns nor counts.
    np.testing.assert_array_equal(held.generated, live.sum((1, 2)))
    np.testing.assert_array_equal(held.reward, np.where(live, lanes.reward, 0))
    for i, j in np.argwhere(np.asarray(stop) >= 0):
        after = int(stop[i, j]) + 1
        assert (held.state[i, j, after:] == held.state[i, j, after]).all()
        assert (snapshots.before[i, j, after:] == lanes.action[i, j, after - 1]).all()
        for memory in jax.tree.leaves(snapshots.memory):
            assert (memory[i, j, after:] == memory[i, j, after : after + 1]).all()


def test_what_lanes_earn_is_known_without_their_steps(played):
    world, agent, lanes, snapshots = played
    lane, time = picks(lanes, seed=1, count=12)
    begun = at_step(snapshots, lane, time, jax.random.key(8))
    late = jnp.where(jnp.arange(12) % 4 == 0, world.env.horizon, time)  # nobody wants these
    fork, _ = FORK(world, agent, begun, late)
    earned, generated = EARN(world, agent, begun, late)
    np.testing.assert_array_equal(earned, fork.returns)
    np.testing.assert_array_equal(generated, fork.generated)
    assert (np.asarray(earned)[:, 1:4] > 0).any() and (np.asarray(earned)[:, ::4] == 0).all()


def test_a_lane_that_is_over_does_nothing_more(played):
    world, agent, lanes, snapshots = played
    over = ~np.asarray(lanes.live)
    assert over.any()
    lane = jnp.zeros((len(over), 10), jnp.int32)
    late = jnp.full(lane.shape, world.env.horizon, jnp.int32)
    begun = at_step(snapshots, lane, jnp.zeros_like(lane), jax.random.key(0))
    none, _ = forked(world, agent, lanes, lane, late, begun)
    assert not none.own.any() and none.generated.sum() == 0
