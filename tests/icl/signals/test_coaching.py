"""Learning from an expert: what is drawn, what it costs, and what comes of it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.grpo import GRPOConfig
from icl.signals import coaching, instances, truth
from icl.signals.coaching import Playing, Stepwise
from tests.icl.signals.worlds import made, quick

CONFIG = GRPOConfig(learning_rate=0.1, kl=0.0)
LEARN = functools.partial(quick, static_argnames="parts")(coaching.learn)
PARTS = 4


@pytest.fixture(scope="module")
def walk():
    """Three moves of one token, an expert's runs, and every step as an instance."""
    place = made(2, moments=3, density=1.0, horizon=5)
    run = instances.demonstrated(place, jax.random.key(3))
    wanted = instances.steps(place, run, jax.random.key(4), last=True)
    return place, run, wanted


def test_instances_are_drawn_until_the_batch_is_full_or_none_is_left():
    rng = np.random.default_rng(0)
    there, good = rng.random((400, 6)) < 0.8, rng.random((400, 6)) < 0.5
    have, fine = jnp.asarray(there), jnp.asarray(good)
    asked, kept = jax.device_get(coaching.drawn(jax.random.key(0), have, fine, 2))
    assert not (asked & ~there).any() and ((asked & good) == kept).all()
    full = kept.sum(-1) == 2
    assert (kept.sum(-1) <= 2).all() and (asked[~full] == there[~full]).all()
    # Where the batch was filled, it was the last one drawn that filled it: on the average, of n
    # with g good ones, 2 (n + 1) / (g + 1) are drawn.
    many, fine = there.sum(-1), (there & good).sum(-1)
    expected = np.where(fine >= 2, 2 * (many + 1) / (fine + 1), many)
    assert asked.sum(-1).mean() == pytest.approx(expected.mean(), rel=0.03)
    every = coaching.drawn(jax.random.key(1), have, have, 3)[0]
    assert (every.sum(-1) == np.minimum(many, 3)).all()


def test_a_lesson_pays_each_groups_lead_and_counts_all_that_was_written(walk):
    place, _, wanted = walk
    first = coaching.begin(place.leaning(0.0))
    given = {}
    teach = quick(lambda teacher, *rest: teacher(*rest))
    for spread in (-1.0, 0.6):
        teacher = Stepwise(wanted, batch=2, spread=spread, group=4, longest=4)
        lesson = jax.device_get(teach(teacher, place, first, jax.random.key(5)))
        given[spread] = lesson
        steps = jax.tree.map(lambda x: x.reshape(2, -1, 4, *x.shape[2:]), lesson.steps)
        words = steps.counts.sum(-1)  # [L, I, G]
        groups = words.sum(-1) > 0
        assert (groups.sum(-1) == lesson.kept).all() and (lesson.kept <= lesson.asked).all()
        lead = steps.credit[..., 0]
        assert np.abs(lead.sum(-1)[groups]).max(initial=0) < 1e-4
        spreads = lead.std(-1)[groups]
        assert (np.isclose(spreads, 1, atol=1e-4) | np.isclose(spreads, 0)).all()
        np.testing.assert_array_equal(steps.credit[~steps.counts & ~steps.legal.any(-1)], 0)
        assert (np.take_along_axis(steps.legal, steps.action[..., None], -1))[steps.counts].all()
    plain, strict = given[-1.0], given[0.6]
    assert (plain.kept == 2).all() and (plain.actions == plain.steps.counts.sum((1, 2))).all()
    assert (strict.asked > strict.kept).any()
    assert (strict.actions > strict.steps.counts.sum((1, 2)))[strict.asked > strict.kept].all()


def test_playing_never_says_end(walk):
    place, _, _ = walk
    lesson = quick(Playing(4).__call__)(
        place, coaching.begin(place.leaning(0.0)), jax.random.key(0)
    )
    assert (lesson.steps.action < 3).all() and (lesson.steps.legal[..., 3:] == 0).all()
    np.testing.assert_array_equal(lesson.actions, lesson.steps.counts.sum((1, 2)))
    log = jnp.where(lesson.steps.counts, jnp.exp(lesson.steps.log), 1 / 3)
    np.testing.assert_allclose(log, 1 / 3, atol=1e-6)


def test_steps_teach_what_the_budget_pays_for_and_play_goes_on_from_there(walk):
    place, _, wanted = walk
    first = coaching.begin(place.leaning(0.0), 4)
    teachers = (Stepwise(wanted, batch=2, longest=4), Playing())
    both = {}
    for shares in ((1.0, 1.0), (0.5, 1.0), (0.0, 1.0)):
        scores, course = jax.device_get(
            LEARN(place, teachers, shares, jax.random.key(0), first, CONFIG, jnp.int32(4000),
                  parts=PARTS)
        )  # fmt: skip
        both[shares[0]] = course
        exact = truth.success(place.env, place.dynamics, scores[..., :3])
        np.testing.assert_allclose(course.success[:, -1], exact, atol=1e-5)
        assert (np.diff(course.updates, axis=-1) > 0).all()
    early = [both[share].success[:, :2] for share in (1.0, 0.5)]
    np.testing.assert_allclose(*early, atol=1e-6)  # half a budget of steps is half a budget
    assert (both[1.0].success[:, -1] > 0.8).all()
    assert (both[1.0].success[:, 0] < 0.15).all()
    assert (both[0.0].asked == both[0.0].updates[:, -1]).all()  # a group a lesson: play alone


def test_a_level_without_steps_waits_for_play_and_a_budget_for_no_lesson_changes_nothing(walk):
    place, _, wanted = walk
    first = coaching.begin(place.leaning(0.0), 4)
    none = wanted.replace(there=wanted.there.at[0].set(False))
    teachers = (Stepwise(none, batch=2, longest=4), Playing())

    def learned(budget):
        return LEARN(place, teachers, (1.0, 1.0), jax.random.key(0), first, CONFIG,
                     jnp.int32(budget), parts=PARTS)  # fmt: skip

    _, course = learned(1000)
    plays = course.updates[0, -1]  # of one group each, in what steps did not use
    assert course.asked[0] == plays > 1000 // (8 * place.env.horizon) - 1
    assert course.asked[1] > course.updates[1, -1]
    scores, course = learned(7)
    np.testing.assert_array_equal(scores, first)
    assert (course.updates == 0).all()


def test_imitation_makes_as_many_updates_as_it_may_and_follows_the_likelihood(walk):
    place, run, _ = walk
    first = coaching.begin(place.leaning(0.0), 4)
    updates = jnp.array([[0, 1, 2], [0, 5, 60]])
    scores, course = quick(coaching.imitate)(place, run[0], first, CONFIG, updates)
    np.testing.assert_array_equal(course.updates, updates)
    assert course.success[1, 2] > 0.95 > course.success[1, 1] > course.success[1, 0]
    # Two updates of two passes of Adam at 0.1 move a logit by 0.4 at most, and those that are
    # always pushed the same way by nearly that.
    lanes = run[0]
    state, action = lanes.state[0, 0, 0], lanes.action[0, 0, 0]
    moved = (scores - first)[0]
    assert float(jnp.abs(moved).max()) <= 0.4 + 1e-4
    assert float(moved[state, action]) > 0.35
    assert (moved[:, 3:] == 0).all()
