"""The judge and what it is for: causal, taught, selecting, rewarding; and the student."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

import envs
from agents import transformer
from agents.transformer import Interface, ModelConfig
from icl.signals import lessons
from icl.signals.answering import recorded
from icl.signals.credit import group
from icl.signals.judge import Course, Lesson, define, ending, error, read, teach
from icl.signals.labels import Terms
from icl.signals.lessons import Setting
from icl.signals.rewarding import Rewarded
from icl.signals.selection import area, best, run_scores, thought, top
from icl.signals.student import clone, read_ahead, student
from icl.signals.thinking import Sight, check, think
from icl.signals.world import world
from tests.envs.worlds import raw_levels
from tests.icl.signals.test_omens import plain_auroc
from tests.icl.signals.worlds import quick

LEVELS, RUNS, STEPS, HORIZON = 3, 4, 10, 5
TINY = ModelConfig(width=8, layers=1, heads=2)


@pytest.fixture(scope="module")
def env():
    return check(
        envs.make("gauntlet", moments=3, dials=2, density=0.6, regularity=0.0, horizon=HORIZON)
    )


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting(steps=STEPS, runs=RUNS, samples=2)


@pytest.fixture(scope="module")
def found(env, setting):
    levels = raw_levels(env, 0, LEVELS)
    run = quick(lessons.explored, static_argnames="whole")
    return levels, run(env, jax.random.key(0), levels, setting, whole=False)


@pytest.fixture(scope="module")
def flat(found):
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), found[1])


@pytest.fixture(scope="module")
def judge(env):
    face = Interface(env.num_fields, env.num_symbols, env.num_actions)
    return define(face, jax.random.key(1), TINY)


def test_labels_of_forks_and_samples(env, found, setting):
    """What is lost is worth nothing; a template that names all decisive tokens is worth most."""
    _, runs = found
    record = jax.device_get(runs.record)
    lost = record.successor[..., 2] == env.moments + env.spelling + 1
    assert not runs.forked[record.live & lost].any()
    assert runs.forked[record.live & ~lost].mean() > 0.3
    won = record.answer & record.live & (record.successor[..., 0] == env.moments - 1) & ~lost
    last = won & ~np.roll(record.live, -1, -1) & (record.observation[..., 0] == env.moments - 1)
    assert last.any() and (runs.forked[last] >= 1).all()
    assert ((runs.won * setting.samples) % 1 == 0).all()
    assert abs(float(runs.won.mean() - runs.worth.mean())) < 0.25
    assert (runs.thinks == (record.live & ~record.answer).any(-1)).all()
    labels = quick(lessons.labels)(env, jax.random.key(1), runs, jax.tree.map(
        jnp.asarray, Terms(alignment=False, coherence=False)
    ))  # fmt: skip
    aim = np.maximum(record.optimal, record.promise)
    np.testing.assert_allclose(labels, np.where(record.live, aim, 0), atol=1e-6)


def test_clean_runs_make_no_detours(env, found, setting):
    levels, _ = found
    clean = jax.device_get(quick(lessons.clean)(env, jax.random.key(2), levels, setting))
    record = clean.record
    assert record.answer.all() and not (record.action == env.dials)[record.live].any()
    assert (record.open & ~record.good).any() and not record.informs.any()
    mistake = record.open & ~record.good
    assert not clean.forked[mistake].any()


def test_a_judge_is_causal_and_sees_no_reward(judge, flat):
    graph, parameters = judge
    steps, _ = quick(read, static_argnums=0)(graph, parameters, flat.record)
    at = STEPS // 2
    later = (jnp.arange(flat.record.live.shape[-1]) > at)[None, :]
    other = flat.record.replace(action=jnp.where(later, 0, flat.record.action))
    changed, _ = quick(read, static_argnums=0)(graph, parameters, other)
    np.testing.assert_allclose(changed[:, : at + 1], steps[:, : at + 1], atol=1e-5)
    assert not np.allclose(changed[:, at + 1 :], steps[:, at + 1 :], atol=1e-3)
    truths = {name: ~getattr(flat.record, name) for name in ("optimal", "informs", "open")}
    blind, _ = quick(read, static_argnums=0)(graph, parameters, flat.record.replace(**truths))
    np.testing.assert_array_equal(blind, steps)
    for row in range(len(flat.worth)):
        own = flat.record.live[row] & ~flat.record.answer[row]
        own = own if own.any() else flat.record.live[row]
        assert ending(flat.record)[row] == np.flatnonzero(own)[-1]


def test_the_error_is_that_of_both_heads(judge, flat):
    graph, parameters = judge
    rng = np.random.default_rng(0)
    lesson = Lesson(
        flat.record, jnp.asarray(rng.random(flat.forked.shape, np.float32)), flat.won, flat.thinks
    )
    steps, runs = read(graph, parameters, flat.record)
    live = np.asarray(flat.record.live)
    by_step = ((steps - lesson.step) ** 2)[live].mean()
    by_run = ((runs - flat.won) ** 2)[np.asarray(flat.thinks)].mean()
    whole = error(graph, parameters, lesson, 0.3)
    assert whole == pytest.approx(float(by_step + 0.3 * by_run), rel=1e-4)
    # A quarter of it is gone after a few updates, and nothing happens without any.
    course = Course(updates=60, batch=8, learning_rate=1e-2)
    _, errors = quick(teach, static_argnums=0)(graph, parameters, jax.random.key(0), lesson, course)
    assert errors.shape == (60,) and errors[-10:].mean() < 0.75 * errors[:3].mean()
    still, _ = teach(
        graph, parameters, jax.random.key(0), lesson, dataclasses.replace(course, learning_rate=0.0,
                                                                          updates=1)
    )  # fmt: skip
    for one, other in zip(jax.tree.leaves(still), jax.tree.leaves(parameters), strict=True):
        np.testing.assert_array_equal(one, other)


def test_areas_are_means_over_levels_that_have_both():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 5, (4, 3, 6)).astype(np.float32)
    good, among = rng.random((4, 3, 6)) < 0.5, rng.random((4, 3, 6)) < 0.7
    good[1] = True
    rows = [scores[i][among[i]] for i in range(4)]
    plain = [plain_auroc(rows[i], good[i][among[i]]) for i in (0, 2, 3)]
    assert area(*map(jnp.asarray, (scores, good, among))) == pytest.approx(np.mean(plain), abs=1e-6)
    assert area(jnp.asarray(scores), jnp.ones((4, 3, 6), bool), jnp.asarray(among)) == 0.5


def test_runs_are_scored_by_their_thinking_and_chosen(flat):
    record = flat.record
    rng = np.random.default_rng(1)
    steps = rng.random(record.live.shape, np.float32)
    runs = rng.random(len(steps), np.float32)
    told = run_scores(jnp.asarray(steps), jnp.asarray(runs), record, 0.5)
    for row in range(len(steps)):
        own = steps[row][np.asarray(thought(record))[row]]
        assert told["mean"][row] == pytest.approx(own.mean(), abs=1e-6)
        assert told["lowest"][row] == own.min() and told["last"][row] == own[-1]
        assert told["joint"][row] == pytest.approx(own.mean() + 0.5 * runs[row], abs=1e-6)
    worth = jnp.array([[0.1, 0.9], [0.3, 0.2]])
    np.testing.assert_allclose(best(jnp.array([[1.0, 2.0], [5.0, 5.0]]), worth), [0.9, 0.3])
    assert sorted(top(jnp.arange(20.0), 0.1).tolist()) == [18, 19]
    assert top(jnp.arange(3.0), 0.1).tolist() == [2]


def test_a_student_says_in_play_what_it_says_when_taught(env, flat, found):
    """Its own episode, read as a record, gives the probabilities it acted by; and imitation of one
    who never idles is learned."""
    levels, _ = found
    face = Interface(env.num_fields, env.num_symbols, env.num_actions)
    graph, parameters = transformer.define(TINY, face, jax.random.key(3))
    course = Course(updates=40, batch=8, learning_rate=1e-2)
    taught, errors = quick(clone, static_argnums=0)(
        graph, parameters, jax.random.key(0), flat.record, course
    )
    assert errors[-5:].mean() < errors[:2].mean()
    mind = student(graph, taught, env.num_fields, STEPS)
    budgets = jnp.full((LEVELS, 2), STEPS)
    thoughts = quick(lambda key: think(env, key, levels, mind, budgets, STEPS))(jax.random.key(4))
    record = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), thoughts.record)
    ahead = read_ahead(record)
    memory = mind.begin(jax.random.key(0))
    row = jax.tree.map(lambda x: x[0], ahead)
    for t in range(STEPS):
        sight = Sight(
            row.observation[t], row.action[t], row.successor[t], row.start[t], jnp.int32(t),
            jnp.ones(env.num_actions, bool),
        )  # fmt: skip
        _, memory = mind.act(jax.random.key(0), sight, memory)
    for one, other in zip(jax.tree.leaves(memory), jax.tree.leaves(row), strict=True):
        np.testing.assert_array_equal(one, other)
    assert record.start[:, 0].all() and record.start[:, 1:].any()


class Echo(struct.PyTreeNode):
    """A mind whose actions tell what it saw."""

    def begin(self, key):
        return ()

    def act(self, key, sight, memory):
        seen = sight.observation.sum() + 2 * sight.successor.sum() + sight.start
        return ((seen + sight.before + 9) % 3).astype(jnp.int32), memory


def test_a_student_is_taught_what_it_will_see(env, found):
    levels, _ = found
    budgets = jnp.full((LEVELS, 2), STEPS)
    run = quick(lambda key: think(env, key, levels, Echo(), budgets, STEPS))
    record = run(jax.random.key(5)).record
    ahead = read_ahead(record)
    assert (ahead.action[..., 0] == -1).all() and (ahead.successor[..., 0, :] == -1).all()
    seen = ahead.observation.sum(-1) + 2 * ahead.successor.sum(-1) + ahead.start
    np.testing.assert_array_equal((seen + ahead.action + 9) % 3, record.action)
    assert len(np.unique(record.action)) == 3


def test_a_reward_is_mixed_of_the_outcome_and_the_judges_word(env, judge, found):
    levels, _ = found
    graph, parameters = judge
    place = world(env, levels)
    pay = quick(lambda beta: Rewarded(parameters, beta, graph, 6)(
        place, place.leaning(1.0), jax.random.key(0)
    ))  # fmt: skip
    outcome, mixed, word = (jax.device_get(pay(jnp.float32(beta))) for beta in (0.0, 0.3, 1.0))
    np.testing.assert_array_equal(outcome.lanes.action, word.lanes.action)
    np.testing.assert_allclose(outcome.credit, group(outcome.lanes), atol=1e-5)
    record = recorded(env, levels, outcome.lanes)
    one = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), record)
    steps, _ = read(graph, parameters, one)
    live = np.asarray(one.live)
    mean = np.array([s[m].mean() for s, m in zip(np.asarray(steps), live)]).reshape(LEVELS, 6)
    for signal, beta in ((mixed, 0.3), (word, 1.0)):
        paid = (1 - beta) * outcome.lanes.returns + beta * mean
        lead = (paid - paid.mean(-1, keepdims=True)) / paid.std(-1, keepdims=True)
        expected = np.where(outcome.lanes.live, lead[..., None], 0)
        np.testing.assert_allclose(signal.credit, expected, rtol=5e-3, atol=5e-3)
    assert (outcome.actions == outcome.lanes.live.sum((1, 2))).all()
