"""The truth about steps, against dynamic programming in plain Python, finite differences and
play."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.oracle import policy_values
from envs.wrappers import Sticky
from icl.signals import truth
from icl.signals.lanes import Table, go, start
from icl.signals.stopping import Guard
from tests.envs.worlds import each
from tests.icl.signals.worlds import backwards, exactly, plain, play, quick, recurrent, softmax

EXACT = quick(truth.exact)
RUNS = 40


@pytest.fixture(scope="module", params=["calm", "sticky"])
def known(request):
    """(world, Table, Lanes, snapshots, Truth, what plain Python knows of each level)."""
    world = request.getfixturevalue(request.param)
    rng = np.random.default_rng(0)
    agent = world.leaning(2.5)
    noise = rng.normal(size=agent.scores.shape) * 0.7
    noise[..., -1] += 2.5  # waits so often that time runs out, too
    agent = Table(agent.scores + jnp.asarray(noise, jnp.float32))
    lanes, snapshots = play(world, agent, jax.random.key(1), RUNS)
    found = EXACT(world.env, world.dynamics, agent.scores, lanes)
    return world, agent, lanes, snapshots, found, exactly(world, agent.scores)


def walk(lanes, every):
    """(level, lane, time, facts of the level, the row of its state, executed, chosen)."""
    live, state, executed, action = (
        np.asarray(x) for x in (lanes.live, lanes.state, lanes.executed, lanes.action)
    )
    for i, j, t in np.argwhere(live):
        facts = every[i]
        yield i, j, t, facts, facts.number[state[i, j, t]], executed[i, j, t], action[i, j, t]


def test_advantages_and_values_are_those_of_plain_dynamic_programming(known):
    _, _, lanes, _, found, every = known
    found = jax.device_get(found)
    decisive = 0
    for i, j, t, facts, row, previous, action in walk(lanes, every):
        q, best = facts.policy[t, row, previous], facts.best[t, row, previous]
        value = facts.chance[row] @ q
        assert found.value[i, j, t] == pytest.approx(value, abs=2e-6)
        assert found.advantage[i, j, t] == pytest.approx(q[action] - value, abs=2e-6)
        assert found.best[i, j, t] == pytest.approx(best.max(), abs=2e-6)
        assert found.decisive[i, j, t] == (np.ptp(best) > 1e-4)
        decisive += np.ptp(best) > 1e-4
    assert 0.02 < decisive / np.asarray(lanes.live).sum() < 0.98
    idle = ~np.asarray(lanes.live)
    for x in (found.advantage, found.fatal, found.decisive, found.value[..., :-1]):
        assert not x[idle].any()
    assert not found.value[..., -1].any()


def test_decisive_steps_need_no_policy(known):
    world, _, lanes, _, found, _ = known
    alone = quick(truth.decisive)(world.env, world.dynamics, lanes)
    np.testing.assert_array_equal(alone, found.decisive)


def test_advantages_vanish_on_average(known):
    world, agent, *_ = known
    states, actions = agent.scores.shape[1:]
    grid = jnp.meshgrid(
        *(jnp.arange(n) for n in (world.env.horizon, states, actions + 1)), indexing="ij"
    )

    def level(dynamics, scores):
        chance = jax.nn.softmax(scores)
        values = policy_values(dynamics, chance, world.env.horizon)
        return (values.advantage(*grid) * chance[:, None]).sum(-1), values.execute

    left, execute = quick(jax.vmap(level))(world.dynamics, agent.scores)
    assert np.abs(left).max() < 2e-6 < np.abs(execute).max()


def test_advantages_telescope(known):
    """What the policy was worth at first, all advantages and all luck make the return. Without
    sticky hands there is no luck."""
    world, _, lanes, _, found, every = known
    start = np.asarray(found.value)[..., 0]
    total = start + np.asarray(found.advantage).sum(-1)
    for i, facts in enumerate(every):
        luck = np.zeros(RUNS)
        for level, j, t, _, row, previous, action in walk(lanes, every):
            if level == i:
                after = lanes.reward[i, j, t] + found.value[i, j, t + 1]
                luck[j] += after - facts.policy[t, row, previous, action]
        np.testing.assert_allclose(total[i] + luck, lanes.returns[i], atol=1e-5)
        assert (np.abs(luck).max() > 1e-2) == isinstance(world.env, Sticky)


def test_a_fatal_step_is_the_first_after_which_a_win_is_out_of_reach(known):
    world, _, lanes, _, found, _ = known
    spelling, moments = world.env.bare.spelling, world.env.bare.moments
    fatal, state = np.asarray(found.fatal), np.asarray(lanes.state)
    executed, live = np.asarray(lanes.executed), np.asarray(lanes.live)
    sticks = isinstance(world.env, Sticky)
    kinds = {"won": 0, "wrong": 0, "late": 0}
    for i, level in enumerate(each(world.levels)):
        for j in range(RUNS):
            if lanes.returns[i, j] > 0:
                kinds["won"] += 1
                assert not fatal[i, j].any()
                continue
            expected = None
            for t in np.flatnonzero(live[i, j]):
                place, letter = divmod(int(state[i, j, t]) // 4, spelling)
                done = executed[i, j, t + 1] if sticks else lanes.action[i, j, t]
                token = done < world.env.bare.dials
                wrong = token and level.decisive[place] and done != level.right[place, letter]
                left = moments * spelling - place * spelling - letter - int(token)
                late = left > world.env.horizon - t - 1
                if wrong or late:
                    expected = t
                    kinds["wrong" if wrong else "late"] += 1
                    break
            assert np.flatnonzero(fatal[i, j]).tolist() == [expected]
    assert min(kinds.values()) > 0, kinds


def test_a_lane_that_was_stopped_has_met_no_fate(known):
    world, agent, lanes, _, found, _ = known
    guard = Guard(jnp.full(len(lanes.live), 1e9), window=3)  # stops everyone at their third step
    begun = start(agent, world.env, jax.random.key(1), world.levels, RUNS)
    held, _ = quick(lambda w, a, b, g: go(a, w.env, w.levels, b, guard=g))(
        world, agent, begun, guard
    )
    assert held.stopped.all() and (held.generated == 3 * RUNS).all()
    stopped = EXACT(world.env, world.dynamics, agent.scores, held)
    for name in ("value", "best"):
        expected = np.where(np.arange(world.env.horizon + 1) <= 3, getattr(found, name), 0)
        np.testing.assert_allclose(getattr(stopped, name), expected, atol=1e-6)
    fatal = np.asarray(found.fatal) & (np.arange(world.env.horizon) < 3)
    won = np.asarray(lanes.returns) > 0
    np.testing.assert_array_equal(np.asarray(stopped.fatal)[~won], fatal[~won])
    assert not np.asarray(stopped.fatal)[won].any()
    assert 0 < fatal.sum() < np.asarray(found.fatal).sum()


def test_values_by_many_forks_agree(known):
    world, agent, lanes, snapshots, found, _ = known
    count, levels = 4000, len(lanes.live)
    value = np.asarray(found.value)
    lane, time = np.zeros((levels, 2), np.int32), np.zeros((levels, 2), np.int32)
    for i in range(levels):  # the start, and the step nearest to an even chance
        lane[i, 1], time[i, 1] = np.unravel_index(np.abs(value[i] - 0.5).argmin(), value[i].shape)
    mean, actions = quick(truth.forked, static_argnames="count")(
        agent, world.env, jax.random.key(7), world.levels, snapshots,
        jnp.asarray(lane), jnp.asarray(time), count=count,
    )  # fmt: skip
    exact = value[np.arange(levels)[:, None], lane, time]
    assert ((exact > 0.02) & (exact < 0.98)).sum() >= levels
    error = np.sqrt(exact * (1 - exact) / count)
    assert (np.abs(mean - exact) <= 4 * error + 1e-6).all()
    # Each fork takes from one step to all that are left.
    most = (world.env.horizon - time).sum(1) * count
    assert (actions <= most).all() and (actions > most / 4).all()


def test_gradients_are_finite_differences(known):
    world, agent, *_ = known
    found = np.asarray(quick(truth.gradient)(world.env, world.dynamics, agent.scores))
    rng = np.random.default_rng(3)
    for i, level in enumerate(each(world.levels)):
        table, rows = plain(world, level)
        logits = np.asarray(agent.scores[i], np.float64)[list(rows)]

        def worth(logits, table=table):
            chance = softmax(logits)
            q = backwards(table, world.env.horizon, chance)[0, table.start, -1]
            return chance[table.start] @ q

        gradient = found[i][list(rows)]
        assert np.abs(gradient).max() > 1e-2
        for _ in range(6):
            bump = rng.normal(size=logits.shape) * 1e-4
            slope = worth(logits + bump) - worth(logits - bump)
            assert slope / 2e-4 == pytest.approx((gradient * bump).sum() / 1e-4, abs=2e-5)
        unreached = np.setdiff1d(np.arange(len(found[i])), list(rows))
        assert not found[i][unreached].any()


def test_success_is_the_mean_of_play(known):
    world, agent, *_ = known
    exact = np.asarray(quick(truth.success)(world.env, world.dynamics, agent.scores))
    count = 4000
    begun = start(agent, world.env, jax.random.key(11), world.levels, count)
    returns = quick(lambda a, w, b: go(a, w.env, w.levels, b)[0].returns)(agent, world, begun)
    error = np.sqrt(exact * (1 - exact) / count)
    assert (np.abs(returns.mean(1) - exact) < 4 * error).all()
    assert ((exact > 0.02) & (exact < 0.98)).all()


def test_runs_played_again_leave_the_snapshots_that_they_left(calm):
    agent = recurrent(calm)
    lanes, snapshots = play(calm, agent, jax.random.key(3), 6)
    again = quick(truth.replayed)(agent, calm.env, calm.levels, lanes)
    live = np.asarray(lanes.live)
    assert live.any() and not live.all()
    for one, two in zip(
        jax.tree.leaves((snapshots.memory, snapshots.before, snapshots.episode)),
        jax.tree.leaves((again.memory, again.before, again.episode)),
        strict=True,
    ):
        np.testing.assert_array_equal(np.asarray(one)[live], np.asarray(two)[live])


def test_advantages_by_forks_are_the_exact_ones_but_for_their_noise(calm):
    agent, count = calm.leaning(1.0), 400
    lanes, _ = play(calm, agent, jax.random.key(4), 3)
    exact = EXACT(calm.env, calm.dynamics, agent.scores, lanes)
    found = quick(truth.advantages, static_argnames="count")(
        agent, calm.env, jax.random.key(5), calm.levels, lanes, count=count
    )
    away, live = np.asarray(found - exact.advantage), np.asarray(lanes.live)
    assert not away[~live].any() and np.abs(exact.advantage).max() > 0.1
    # The variance of a return of 0 or 1 is at most a quarter; two values make an advantage.
    assert np.sqrt((away[live] ** 2).mean()) < np.sqrt(0.5 / count)
    assert np.abs(away).max() < 5 * np.sqrt(0.5 / count)
