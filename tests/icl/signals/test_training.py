"""Learning within a budget of actions, against the same loop in plain Python."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import grpo
from agents.grpo import GRPOConfig
from icl.signals import credit, truth
from icl.signals.lanes import Table
from icl.signals.methods import Chains, Forest
from icl.signals.training import learn
from tests.icl.signals.worlds import made, quick

PARTS = 4
SUCCESS = quick(truth.success)
LEARN = functools.partial(quick, static_argnames=("method", "parts"))(learn)


@pytest.fixture(scope="module")
def easy():
    return made(3, seed=2, moments=3, horizon=6)


def wrong(lanes):
    return -credit.group(lanes)


def reference(world, method, key, policy, config, budget):
    """(scores, curves of entropy and of idle steps, updates) of every level, in its own loop."""
    draw = quick(method.__call__)
    improve = quick(grpo.improve)
    found = []
    for level in range(len(policy.scores)):
        learner = grpo.start(policy.scores, config)
        used, updates, reached, after = 0, 0, [(0, learner.scores[level])], []
        for time in range(10_000):
            signal = draw(world, Table(learner.scores), jax.random.fold_in(key, time))
            log = np.log(np.asarray(jax.nn.softmax(signal.lanes.logits[level])))
            live, state = (np.asarray(x[level]) for x in (signal.lanes.live, signal.lanes.state))
            spread = -(np.exp(log) * log).sum(-1)[live].mean()
            still = (state[:, 1:] == state[:, :-1]) & (signal.lanes.reward[level] == 0)
            after.append((spread, still[live].mean()))
            if used + signal.actions[level] > budget:
                break
            lanes = signal.lanes
            steps = grpo.Steps(
                lanes.state[..., :-1], lanes.action, lanes.log, signal.credit, lanes.live
            )
            learner = improve(learner, steps, config)
            used, updates = used + int(signal.actions[level]), updates + 1
            reached.append((used, learner.scores[level]))
            if used == budget:
                break
        assert used <= budget
        shown = [
            max(i for i, (n, _) in enumerate(reached) if n * PARTS <= part * budget)
            for part in range(PARTS + 1)
        ]
        scores = jnp.stack([reached[i][1] for i in shown])
        told = np.array([after[max(i - 1, 0)] for i in shown])
        found.append((scores, told, updates))
    return found


def test_learning_is_a_loop_that_ends_with_the_budget(easy):
    method = Forest("step")
    key, config, budget = jax.random.key(4), GRPOConfig(learning_rate=0.3), 101
    start = easy.leaning(1.0)
    policy, curve = LEARN(easy, method, key, start, config, jnp.int32(budget), parts=PARTS)
    for i, (scores, told, updates) in enumerate(
        reference(easy, method, key, start, config, budget)
    ):
        assert curve.updates[i] == updates > 1
        np.testing.assert_allclose(policy.scores[i], scores[-1], atol=2e-4)
        np.testing.assert_allclose(np.stack([curve.entropy, curve.idle])[:, i].T, told, atol=2e-4)
        for part in range(PARTS + 1):
            every = easy.leaning(0.0).scores.at[i].set(scores[part])
            worth = SUCCESS(easy.env, easy.dynamics, every)[i]
            assert curve.success[i, part] == pytest.approx(float(worth), abs=2e-4)


def test_who_is_done_stays_done(easy):
    """A level ends where its next group is too dear, whatever the other levels do meanwhile."""

    class Dear(Chains):
        def __call__(self, world, agent, key):
            signal = super().__call__(world, agent, key)
            dice = jax.random.randint(jax.random.fold_in(key, 7), signal.actions.shape, 1, 90)
            return signal.replace(actions=dice)

    key, config = jax.random.key(0), GRPOConfig(learning_rate=0.3)
    budget, method = 200, Dear(2)
    _, curve = LEARN(easy, method, key, easy.leaning(0.0), config, jnp.int32(budget), parts=PARTS)
    draw = quick(lambda t: method(easy, easy.leaning(0.0), jax.random.fold_in(key, t)).actions)
    rolls = np.stack([draw(t) for t in range(80)], 1)
    expected = [int((np.cumsum(row) <= budget).argmin()) for row in rolls]
    greedy = []
    for row in rolls:
        used = count = 0
        for roll in row:
            used, count = (used + roll, count + 1) if used + roll <= budget else (used, count)
        greedy.append(count)
    assert curve.updates.tolist() == expected != greedy


def test_a_budget_that_pays_for_no_group_changes_nothing(easy):
    start = easy.leaning(1.0)
    policy, curve = LEARN(
        easy, Chains(4), jax.random.key(4), start, GRPOConfig(), jnp.int32(5), parts=PARTS
    )
    np.testing.assert_array_equal(policy.scores, start.scores)
    assert (curve.updates == 0).all()
    exact = SUCCESS(easy.env, easy.dynamics, start.scores)
    np.testing.assert_allclose(curve.success, jnp.stack([exact] * (PARTS + 1), 1), atol=1e-6)


def test_success_rises_and_falls_with_the_sign_of_credit(easy):
    config, budget = GRPOConfig(learning_rate=0.2), jnp.int32(1500)
    good, bad = Chains(8), dataclasses.replace(Chains(8), rule=wrong)
    up, down = (
        LEARN(easy, method, jax.random.key(0), easy.leaning(1.0), config, budget, parts=PARTS)[1]
        for method in (good, bad)
    )
    assert (up.success[:, -1] > up.success[:, 0] + 0.2).all() and (up.success[:, -1] > 0.8).all()
    assert (down.success[:, -1] < down.success[:, 0] - 0.1).all()
    np.testing.assert_allclose(up.success[:, 0], down.success[:, 0])
    assert (up.entropy[:, -1] < up.entropy[:, 0]).all()
    assert (up.updates >= 20).all()
