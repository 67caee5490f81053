"""Group-relative optimisation: its objective, its clipping, its divergence, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import grpo
from agents.grpo import GRPOConfig, Steps

LEVELS, STATES, ACTIONS, RUNS, TIME = 3, 5, 4, 6, 7


def softmax(logits):
    power = np.exp(np.asarray(logits, np.float64))
    return power / power.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def scores():
    return jnp.asarray(np.random.default_rng(0).normal(size=(LEVELS, STATES, ACTIONS)), jnp.float32)


@pytest.fixture(scope="module")
def steps(scores):
    """Steps that the policy of ``scores`` might have drawn."""
    rng = np.random.default_rng(1)
    shape = (LEVELS, RUNS, TIME)
    state, action = rng.integers(0, STATES, shape), rng.integers(0, ACTIONS, shape)
    chance = softmax(scores)[np.arange(LEVELS)[:, None, None], state, action]
    return Steps(
        state=jnp.asarray(state, jnp.int32),
        action=jnp.asarray(action, jnp.int32),
        log=jnp.asarray(np.log(chance), jnp.float32),
        credit=jnp.asarray(rng.normal(size=shape), jnp.float32),
        counts=jnp.asarray(rng.random(shape) < 0.7),
    )


def plain(scores, reference, steps, low, high, kl):
    """float64[L] by loops."""
    now, then = np.log(softmax(scores)), np.log(softmax(reference))
    state, action, log, credit, counts = (np.asarray(x) for x in jax.tree.leaves(steps))
    total = np.zeros(LEVELS)
    for i, j, t in np.argwhere(counts):
        place = i, state[i, j, t], action[i, j, t]
        ratio, pay = np.exp(now[place] - log[i, j, t]), credit[i, j, t]
        near = min(max(ratio, 1 - low), 1 + high)
        away = then[place] - now[place]
        total[i] += min(ratio * pay, near * pay) - kl * (np.exp(away) - away - 1)
    return total / RUNS


def test_the_objective_is_clipped_and_summed_over_steps(scores, steps):
    rng = np.random.default_rng(2)
    config = GRPOConfig(low=0.2, high=0.3, kl=0.05)
    moved = scores + jnp.asarray(rng.normal(size=scores.shape) * 0.7, jnp.float32)
    reference = jnp.asarray(rng.normal(size=scores.shape), jnp.float32)
    found = jax.jit(grpo.objective)(moved, reference, steps, config)
    expected = plain(moved, reference, steps, 0.2, 0.3, 0.05)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for other in ((0.3, 0.2, 0.05), (0.2, 0.3, 0.0), (9.0, 9.0, 0.05)):
        assert np.abs(plain(moved, reference, steps, *other) - expected).max() > 1e-3


def test_its_gradient_is_the_policy_gradient_where_the_policy_drew_the_steps(scores, steps):
    config = GRPOConfig(kl=0.7)  # the divergence has no slope at its least
    found = jax.grad(lambda x: grpo.objective(x, scores, steps, config).sum())(scores)
    expected, chance = np.zeros(scores.shape), softmax(scores)
    for i, j, t in np.argwhere(np.asarray(steps.counts)):
        state = steps.state[i, j, t]
        lead = np.eye(ACTIONS)[steps.action[i, j, t]] - chance[i, state]
        expected[i, state] += float(steps.credit[i, j, t]) * lead / RUNS
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "credit", "moves"),
    [(1.5, 1.0, False), (1.5, -1.0, True), (0.5, 1.0, True), (0.5, -1.0, False), (1.1, 1.0, True)],
)
def test_a_ratio_that_has_gone_far_enough_pulls_no_more(ratio, credit, moves):
    scores = jnp.zeros((1, 1, 2))
    one = jnp.zeros((1, 1, 1), jnp.int32)
    log = jnp.full((1, 1, 1), np.log(0.5 / ratio), jnp.float32)
    steps = Steps(one, one, log, jnp.full((1, 1, 1), credit), jnp.ones((1, 1, 1), bool))
    slope = jax.grad(lambda x: grpo.objective(x, scores, steps, GRPOConfig(kl=0.0)).sum())(scores)
    assert bool(jnp.abs(slope).max() > 1e-3) == moves
    if moves:
        assert np.sign(slope[0, 0, 0]) == np.sign(credit)


def test_divergence_is_nothing_at_the_start_and_pulls_back_later(scores, steps):
    idle = steps.replace(credit=jnp.zeros_like(steps.credit))
    config = GRPOConfig(kl=1.0)
    assert (grpo.objective(scores, scores, idle, config) == 0).all()
    learner = grpo.improve(grpo.start(scores, config), idle, config)
    np.testing.assert_allclose(learner.scores, scores, atol=1e-6)
    away = scores + jnp.asarray(np.random.default_rng(3).normal(size=scores.shape), jnp.float32)
    assert (grpo.objective(away, scores, idle, config) < 0).all()
    learner = grpo.start(scores, config).replace(scores=away)
    better = grpo.improve(learner, idle, config)
    before, after = (grpo.objective(x, scores, idle, config) for x in (away, better.scores))
    assert (after > before).all()
    np.testing.assert_array_equal(better.reference, scores)


def test_an_update_is_an_ascent_of_each_level_by_itself(scores, steps):
    config = GRPOConfig(epochs=3, learning_rate=0.03)
    learner = jax.jit(grpo.improve)(grpo.start(scores, config), steps, config)
    before, after = (grpo.objective(x, scores, steps, config) for x in (scores, learner.scores))
    assert (after > before).all()
    for i in range(LEVELS):
        only = jax.tree.map(lambda x, i=i: x[i : i + 1], (scores, steps))
        alone = grpo.improve(grpo.start(only[0], config), only[1], config)
        np.testing.assert_allclose(alone.scores[0], learner.scores[i], atol=1e-6)
    # As many passes as it says, from one state of the optimiser to the next.
    once = GRPOConfig(epochs=1, learning_rate=0.03)
    again = grpo.start(scores, once)
    for _ in range(3):
        again = grpo.improve(again, steps, once)
    np.testing.assert_allclose(again.scores, learner.scores, atol=1e-6)


def test_steps_that_do_not_count_teach_nothing(scores, steps):
    noisy = steps.replace(
        credit=jnp.where(steps.counts, steps.credit, jnp.nan),
        log=jnp.where(steps.counts, steps.log, -90.0),
    )
    config = GRPOConfig()
    one, other = (
        grpo.improve(grpo.start(scores, config), x, config).scores for x in (steps, noisy)
    )
    np.testing.assert_array_equal(one, other)


def test_what_was_not_legal_is_as_if_it_were_not_there(scores, steps):
    wider = jnp.concatenate([scores, 3 * jnp.ones((LEVELS, STATES, 2))], -1)
    reference = jnp.concatenate([-scores, jnp.ones((LEVELS, STATES, 2))], -1)
    can = jnp.broadcast_to(jnp.arange(ACTIONS + 2) < ACTIONS, (*steps.counts.shape, ACTIONS + 2))
    config = GRPOConfig(kl=0.3)

    def total(scores, reference, steps):
        found = grpo.objective(scores, reference, steps, config)
        return found.sum(), found

    slope, found = jax.grad(total, has_aux=True)(wider, reference, steps.replace(legal=can))
    expected = jax.grad(total, has_aux=True)(scores, -scores, steps)
    np.testing.assert_allclose(found, expected[1], atol=1e-6)
    np.testing.assert_allclose(slope[..., :ACTIONS], expected[0], atol=1e-6)
    assert (slope[..., ACTIONS:] == 0).all()
