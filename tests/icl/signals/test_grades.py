"""Grades against numpy, and what the truth itself is graded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import credit, grades, truth
from icl.signals.lanes import Table
from icl.signals.methods import Chains, Valued
from tests.icl.signals.worlds import forest, play, quick

SHAPE = {"levels": 5, "trees": 2, "nodes": 3, "rounds": 2, "horizon": 9}


@pytest.fixture(scope="module")
def trees():
    return forest(np.random.default_rng(0), **SHAPE)[0]


@pytest.fixture(scope="module", params=["calm", "sticky"])
def many(request):
    """(world, scores, many lanes, their Truth, the exact gradient)."""
    world = request.getfixturevalue(request.param)
    scores = world.leaning(2.5).scores
    lanes, _ = play(world, world.leaning(2.5), jax.random.key(1), 3000)
    found = quick(truth.exact)(world.env, world.dynamics, scores, lanes)
    return world, scores, lanes, found, quick(truth.gradient)(world.env, world.dynamics, scores)


def test_a_shared_step_receives_what_all_are_paid_for_it(trees):
    paid = np.random.default_rng(1).normal(size=trees.live.shape).astype(np.float32)
    owner, live = np.asarray(trees.owner), np.asarray(trees.live)
    expected = np.zeros(paid.shape)
    for i, j, t in np.argwhere(live):
        expected[i, owner[i, j, t], t] += paid[i, j, t]
    np.testing.assert_allclose(grades.received(trees, jnp.asarray(paid)), expected, atol=1e-5)
    assert (expected[~np.asarray(trees.own)] == 0).all()


def test_correlation_is_pearsons():
    rng = np.random.default_rng(0)
    for scale, shift in ((1.0, 0.0), (1e-4, 0.0), (3.0, 50.0)):
        one = rng.normal(size=(7, 5, 9))
        two = (scale * (0.4 * one + rng.normal(size=one.shape)) + shift).astype(np.float32)
        one, counts = one.astype(np.float32), rng.random(one.shape) < 0.3
        expected = np.corrcoef(one[counts], two[counts])[0, 1]
        noisy = np.where(counts, two, np.nan).astype(np.float32)  # what does not count is not read
        for x in (two, noisy):
            found = grades.correlation(jnp.asarray(one), jnp.asarray(x), jnp.asarray(counts))
            assert found == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1 / 3, 7.7])
def test_what_never_varies_correlates_with_nothing(constant):
    rng = np.random.default_rng(0)
    other = jnp.asarray(rng.normal(size=(11, 13)), jnp.float32)
    flat, counts = jnp.full(other.shape, constant), jnp.asarray(rng.random(other.shape) < 0.7)
    assert grades.correlation(flat, other, counts) == 0
    assert grades.correlation(other, flat, counts) == 0
    assert grades.correlation(other, other, jnp.zeros_like(counts)) == 0


def test_signs_are_counted_where_the_truth_has_one():
    paid = jnp.array([1.0, -1.0, 0.0, 2.0, -2.0, 1.0])
    advantage = jnp.array([0.5, -0.1, 0.5, -0.3, 0.0, 1.0])
    counts = jnp.array([True, True, True, True, True, False])
    assert grades.sign(paid, advantage, counts) == pytest.approx((1 + 1 + 0.5 + 0) / 4)


def test_a_fatal_step_is_located_by_the_least_credit(trees):
    rng = np.random.default_rng(2)
    live = np.asarray(trees.live)
    paid = rng.integers(-2, 2, live.shape) / 2  # many ties
    fatal = np.zeros_like(live)
    lost = rng.random(live.shape[:2]) < 0.6
    for i, j in np.argwhere(lost):
        fatal[i, j, rng.choice(np.flatnonzero(live[i, j]))] = True
    hits, chances = [], []
    for i, j in np.argwhere(lost):
        steps = np.flatnonzero(live[i, j])
        least = [t for t in steps if paid[i, j, t] == paid[i, j, steps].min()]
        hits.append(any(fatal[i, j, t] for t in least) / len(least))
        chances.append(1 / len(steps))
    # What is not live is never the least.
    noisy = np.where(live, paid, -9.0).astype(np.float32)
    found = grades.located(trees, jnp.asarray(noisy), jnp.asarray(fatal))
    assert found[0] == pytest.approx(np.mean(hits)) and found[1] == pytest.approx(np.mean(chances))
    assert 0 < np.mean(hits) < 1
    none = grades.located(trees, jnp.asarray(noisy), jnp.zeros_like(fatal))
    assert np.isnan(none).all()


def test_idle_pay_is_what_won_runs_get_for_nothing(trees):
    paid = np.random.default_rng(3).normal(size=trees.live.shape)
    part, total = 0.0, 0.0
    for i, j, t in np.argwhere(np.asarray(trees.live)):
        if trees.returns[i, j] <= 0:
            continue
        total += abs(paid[i, j, t])
        stays = trees.state[i, j, t] == trees.state[i, j, t + 1] and trees.reward[i, j, t] == 0
        part += paid[i, j, t] * stays
    assert total > 0 and part != 0
    assert grades.idle(trees, jnp.asarray(paid)) == pytest.approx(float(part / total), abs=1e-5)
    lost = trees.replace(reward=jnp.zeros_like(trees.reward))
    assert grades.idle(lost, jnp.asarray(paid)) == 0


def test_padding_is_what_one_more_idle_step_adds(trees):
    """Of pays made by hand: a step pays like any other, only what changes something pays, and
    what changes something pays for the idle steps before it, too."""
    lanes = jax.tree.map(lambda x: x[None], trees)
    live, won = np.asarray(trees.live), np.asarray(trees.returns > 0)
    still = live & (trees.state[..., 1:] == trees.state[..., :-1]) & (trees.reward == 0)
    still = np.asarray(still)
    many = [still[i][won[i]].sum(-1) for i in range(len(won))]
    assert any(len(set(row.tolist())) > 1 for row in many)

    def padded(paid):
        return float(grades.padding(lanes, jnp.asarray(paid, jnp.float32)[None]))

    assert padded(live / 7) > 0
    level = np.arange(1, len(live) + 1)[:, None, None]  # what levels pay does not matter
    moving = live & ~still
    share = moving.sum(-1, keepdims=True)
    assert padded(np.where(moving, level / np.maximum(share, 1), 0)) == pytest.approx(0, abs=1e-5)
    paid = np.where(moving, (1 + still.sum(-1, keepdims=True)) / np.maximum(share, 1), 0)
    mean = (paid * won[..., None]).sum() / (live & won[..., None]).sum()
    assert padded(paid) == pytest.approx(1 / mean, rel=1e-4)
    assert padded(-paid) == pytest.approx(-1 / mean, rel=1e-4)
    lost = lanes.replace(reward=jnp.zeros_like(lanes.reward))
    assert grades.padding(lost, jnp.asarray(paid)[None]) == 0


def test_cosines_are_of_each_level():
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 4, 6, 3)).astype(np.float32)
    one[3] = 0
    found = grades.cosine(jnp.asarray(one), jnp.asarray(two))
    for i in range(3):
        a, b = one[i].ravel().astype(float), two[i].ravel()
        expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert found[i] == pytest.approx(expected, abs=1e-5)
    assert found[3] == 0


def test_the_estimated_gradient_is_a_sum_over_steps(trees):
    paid = np.random.default_rng(1).normal(size=trees.live.shape)
    found = grades.estimated(trees, jnp.asarray(paid, jnp.float32), 4)
    state, action = np.asarray(trees.state), np.asarray(trees.action)
    power = np.exp(np.asarray(trees.logits, np.float64))
    chance = power / power.sum(-1, keepdims=True)
    expected = np.zeros(found.shape)
    for i, j, t in np.argwhere(np.asarray(trees.live)):
        lead = np.eye(3)[action[i, j, t]] - chance[i, j, t]
        expected[i, state[i, j, t]] += paid[i, j, t] * lead / trees.live.shape[1]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_with_the_truth_for_credit_the_estimator_is_unbiased(many):
    world, _, lanes, found, exact = many
    estimate = grades.estimated(lanes, found.advantage, world.env.num_states)
    assert (grades.cosine(estimate, exact) > 0.98).all()
    size = jnp.sqrt(jnp.square(estimate).sum((1, 2)) / jnp.square(exact).sum((1, 2)))
    np.testing.assert_allclose(size, 1, atol=0.1)
    # Returns are as good in the mean, and noisier; the wrong sign points away.
    returns = jnp.where(lanes.live, lanes.returns[..., None], 0.0)
    other = grades.cosine(grades.estimated(lanes, returns, world.env.num_states), exact)
    assert (other > 0.6).all()
    assert (grades.cosine(-estimate, exact) < -0.98).all()


@quick
def repeated(world, scores, paid, lanes, found, exact, actions):
    """Grades of one batch of lanes, dealt to ten repetitions."""

    def dealt(x):
        x = x.reshape(x.shape[0], 10, -1, *x.shape[2:])
        return jnp.moveaxis(x, 1, 0)

    deal = jax.tree.map(dealt, (lanes, paid, found))
    many, paid, found = deal
    own = jnp.broadcast_to(jnp.arange(many.owner.shape[2])[:, None], many.owner.shape)
    many = many.replace(owner=own)
    gradients = jax.vmap(lambda x, y: grades.estimated(x, y, world.env.num_states))(many, paid)
    return grades.grade(many, paid, found, gradients, exact, actions)


def test_the_truth_is_graded_best(many):
    world, scores, lanes, found, exact = many
    actions = jnp.full((10, len(exact)), 321)
    best = repeated(world, scores, found.advantage, lanes, found, exact, actions)
    assert best.correlation == pytest.approx(1, abs=1e-5)
    assert best.sign == 1 and best.actions == pytest.approx(321)
    assert 0.8 < best.cosine <= 1
    # It may be below 1: where time runs out, more was lost by the waits before.
    assert best.chance < 0.3 < best.located <= 1
    group = repeated(world, scores, credit.group(lanes), lanes, found, exact, actions)
    for name in ("correlation", "sign", "located", "cosine"):
        assert getattr(group, name) < getattr(best, name), name
    assert group.variance > 2 * best.variance > 0
    # A run's own lead says nothing of where.
    assert group.located == pytest.approx(float(group.chance), abs=1e-6)


def test_the_truth_locates_every_wrong_move_of_those_who_never_wait(calm):
    scores = calm.leaning(1.0).scores.at[..., -1].set(-60.0)
    lanes, _ = play(calm, Table(scores), jax.random.key(1), 3000)
    found = quick(truth.exact)(calm.env, calm.dynamics, scores, lanes)
    assert found.fatal.any(-1).sum() > 1000
    hit, chance = grades.located(lanes, found.advantage, found.fatal)
    assert hit == 1 and chance == pytest.approx(0.1)  # of ten steps


def test_grades_of_a_method_are_of_what_it_generated(calm):
    """Forks that only value steps are in the count."""
    scores = calm.leaning(2.5).scores
    exact = quick(truth.gradient)(calm.env, calm.dynamics, scores)

    def graded(method):
        @quick
        def run(keys):
            signal = jax.vmap(lambda key: method(calm, calm.leaning(2.5), key))(keys)
            found = jax.vmap(lambda x: truth.exact(calm.env, calm.dynamics, scores, x))(
                signal.lanes
            )
            gradients = jax.vmap(lambda x, y: grades.estimated(x, y, calm.env.num_states))(
                signal.lanes, signal.credit
            )
            return grades.grade(
                signal.lanes, signal.credit, found, gradients, exact, signal.actions
            ), signal.actions

        return run(jax.random.split(jax.random.key(0), 6))

    for method in (Chains(4), Valued("move", runs=2, forks=4)):
        found, actions = graded(method)
        assert all(np.isfinite(x) for x in jax.tree.leaves(found)), method
        assert found.actions == pytest.approx(actions.mean())
    assert found.actions > 4 * 2 * 10  # the last one's forks
