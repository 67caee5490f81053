"""Answers: written in a copy of the restored world, ended by END, and paid by their likeness."""

import difflib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import coaching, instances
from icl.signals.writing import BAD, paid, write
from tests.icl.signals.worlds import made, quick

GROUP, LONGEST = 6, 5


@functools.partial(quick, static_argnames="visits")
def written(place, scores, wanted, key, *, visits=False):
    answers = write(
        scores, place.env, place.levels, wanted.snapshot, key, group=GROUP, longest=LONGEST
    )
    return answers, paid(answers, wanted)


@pytest.fixture(scope="module")
def walk():
    """Three moves of two tokens, an expert's runs, and instances of one move, the last one too."""
    place = made(3, spelling=2, moments=3, density=1.0, horizon=8)
    run = instances.demonstrated(place, jax.random.key(3))
    wanted = instances.steps(place, run, jax.random.key(4), last=True)
    return place, run, wanted


def scored(place, run, end, act=0.0):
    """float32[L, S, A + E]: leans by ``act`` to the expert's actions, to END after j by end[j]."""
    lanes = run[0]
    scores = jnp.zeros(place.dynamics.target.shape[:3])
    level = jnp.arange(3)[:, None]
    live = jnp.where(lanes.live[:, 0], act, 0.0)
    scores = scores.at[level, lanes.state[:, 0, :-1], lanes.action[:, 0]].add(live)
    ends = jnp.broadcast_to(jnp.asarray(end, jnp.float32), (*scores.shape[:2], LONGEST + 1))
    return jnp.concatenate([scores, ends], -1)


def test_answers_are_runs_of_the_world_and_their_words_have_their_probability(walk):
    place, run, wanted = walk
    scores = scored(place, run, [0.0] * 6)
    answers, rewards = jax.device_get(written(place, scores, wanted, jax.random.key(0)))
    target = np.asarray(place.dynamics.target)[..., 0]
    ends_run = np.asarray(place.dynamics.terminated)[..., 0]
    scores, there = np.asarray(scores), np.asarray(wanted.there)
    kinds = set()
    for level, i, g in np.ndindex(answers.length.shape):
        if not there[level, i]:
            continue
        at, over, told = np.asarray(run[0].state)[level, 0, 2 * i], False, []
        formed = False
        for j in range(LONGEST + 1):
            assert answers.live[level, i, g, j] and answers.state[level, i, g, j] == at
            word, row = answers.word[level, i, g, j], scores[level, at]
            chance = np.append(row[:3], row[3 + j])
            pick = word if word < 3 else 3
            log = chance[pick] - np.log(np.exp(chance).sum())
            assert answers.log[level, i, g, j] == pytest.approx(log, abs=1e-5)
            if word >= 3:
                assert word == 3 + j
                formed = True
                break
            told.append(int(word))
            if over:
                break
            over, at = ends_run[level, at, word], target[level, at, word]
            assert answers.visited[level, i, g, j] == at or over
        assert answers.live[level, i, g].sum() == j + 1
        assert answers.formed[level, i, g] == formed
        if formed:
            held = np.asarray(wanted.reference)[level, i, 0, : wanted.length[level, i]].tolist()
            expected = difflib.SequenceMatcher(None, told, held).ratio()
            assert rewards[level, i, g] == pytest.approx(expected)
        else:
            assert rewards[level, i, g] == BAD
        kinds.add((formed, over, j == LONGEST))
    # Ended in the middle and after the episode; not in time; and not after the episode was over.
    assert {(True, False, False), (True, True, False), (False, False, True)} <= kinds
    assert any(over and not formed and not late for formed, over, late in kinds)


def test_the_experts_own_answer_is_paid_one_and_no_answer_minus_one(walk):
    place, run, wanted = walk
    there = np.asarray(wanted.there)
    perfect = scored(place, run, [-90, -90, 90, 0, 0, 0], act=60.0)
    answers, rewards = written(place, perfect, wanted, jax.random.key(0))
    assert (np.asarray(rewards)[there] == 1).all() and (answers.length[there] == 2).all()
    endless = scored(place, run, [-90] * 6)
    answers, rewards = written(place, endless, wanted, jax.random.key(0))
    assert (rewards == BAD).all() and not answers.formed.any()
    hasty = scored(place, run, [90] * 6)
    answers, rewards = written(place, hasty, wanted, jax.random.key(0))
    assert (np.asarray(rewards)[there] == 0).all() and (answers.words[there] == 1).all()


def test_free_moves_are_punished_by_the_experts_step_only(walk):
    """Where no token is wrong, another one than the expert's is as good by states and by ways."""
    place = made(3, spelling=2, moments=3, density=0.3, horizon=8)
    run = instances.demonstrated(place, jax.random.key(5))
    scores = jnp.zeros(place.dynamics.target.shape[:3]).at[..., -1].set(-90.0)  # never waits
    end = jnp.broadcast_to(jnp.array([-90.0, -90, 90, 0, 0, 0]), (*scores.shape[:2], 6))
    scores = jnp.concatenate([scores, end], -1)
    means = {}
    for kind in ("expert", "optimal", "states"):
        wanted = instances.steps(place, run, jax.random.key(4), last=True, reference=kind)
        _, rewards = written(place, scores, wanted, jax.random.key(0))
        move = np.asarray(run[0].state)[:, 0, :6:2] // 8  # 8 numbers a moment
        free = ~np.take_along_axis(np.asarray(place.levels.decisive), move, axis=1)
        means[kind] = np.asarray(rewards)[:, :3][free]
    assert (means["optimal"] == 1).all() and (means["states"] == 1).all()
    assert means["expert"].min() < 1


def test_a_start_says_end_as_readily_as_an_action(walk):
    place, _, wanted = walk
    scores = coaching.begin(place.leaning(0.0), LONGEST)
    answers, _ = written(place, scores, wanted, jax.random.key(1))
    np.testing.assert_allclose(jnp.exp(answers.log), 0.25, atol=1e-6)
