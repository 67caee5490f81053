"""Thinking: what is found out, by enumeration of what a moment could be; answers by the DP."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.families.gauntlet import Level
from icl.signals import truth
from icl.signals.answering import (
    after_thinking,
    answers,
    following,
    forks,
    recorded,
    truths,
    worth,
)
from icl.signals.thinking import NEVER, Thinker, check, think
from tests.envs.worlds import raw_levels
from tests.icl.signals.worlds import quick

MOMENTS, DIALS, STEPS, RUNS = 3, 3, 16, 6
WAIT = DIALS


@pytest.fixture(scope="module")
def env():
    return check(
        envs.make("gauntlet", moments=MOMENTS, dials=DIALS, density=0.6, regularity=0.0, horizon=5)
    )


@pytest.fixture(scope="module")
def thoughts(env):
    """Levels, budgets and Thoughts of them."""
    levels = raw_levels(env, 0, 4)
    budgets = jnp.asarray(np.random.default_rng(0).integers(0, STEPS + 1, (4, RUNS)))
    budgets = budgets.at[0, 0].set(0).at[0, 1].set(STEPS)
    run = quick(lambda key: think(env, key, levels, Thinker(0.7, 0.4), budgets, STEPS))
    return levels, budgets, jax.device_get(run(jax.random.key(0)))


def entropy(chances) -> float:
    total = sum(chances)
    return -sum(p / total * np.log(p / total) for p in chances if p > 0)


def chances(told, place) -> dict[int, float]:
    """Meaning -> its chance, of every meaning of a place that nothing told contradicts."""
    weights = dict.fromkeys(range(DIALS), 0.6 / DIALS) | {-1: 0.4}
    for where, token, lost in told:
        if where == place and token != WAIT:
            weights = {m: w for m, w in weights.items() if (m not in (-1, token)) == lost}
    return weights


def test_thinking_is_told_of_step_by_step(env, thoughts):
    levels, budgets, found = thoughts
    record = found.record
    for row, run in itertools.product(range(4), range(RUNS)):
        told, place, start, spent, template = [], 0, True, 0, np.zeros((MOMENTS, DIALS), bool)
        decisive, right = np.asarray(levels.decisive[row]), np.asarray(levels.right[row, :, 0])
        steps = jax.tree.map(lambda x, row=row, run=run: x[row, run], record)
        assert steps.live.tolist() == [t < budgets[row, run] for t in range(STEPS)]
        for t in range(int(budgets[row, run])):
            token = int(steps.action[t])
            if start:
                place, spent = 0, 0
            assert steps.start[t] == start and steps.observation[t, 0] == place
            lost = bool(token != WAIT and decisive[place] and right[place] != token)
            over = token != WAIT and place == MOMENTS - 1
            assert (steps.successor[t, 2] == steps.observation[t, 2] + lost) and not steps.answer[t]
            assert steps.optimal[t] == (token != WAIT and not lost)
            before = chances(told, place)
            after = chances([*told, (place, token, lost)], place)
            was = entropy(before.values())
            assert steps.informs[t] == (before != after)
            drop = (was - entropy(after.values())) / was if was > 1e-6 else 0
            assert steps.drop[t] == pytest.approx(drop, abs=1e-5)
            gains = []
            for other in range(DIALS):
                ends = [chances([*told, (place, other, end)], place) for end in (False, True)]
                share = [sum(end.values()) / sum(before.values()) for end in ends]
                gains.append(
                    was - sum(p * entropy(e.values()) for p, e in zip(share, ends) if p > 0)
                )
            promise = 0 if token == WAIT or max(gains) < 1e-5 else gains[token] / max(gains)
            assert steps.promise[t] == pytest.approx(promise, abs=1e-4)
            told.append((place, token, lost))
            if token != WAIT and not lost and (decisive[place] or over):
                template[place, token] = True
            place += token != WAIT and not over
            spent += 1
            start = lost or over or spent == env.horizon
        np.testing.assert_array_equal(found.template[row, run], template)
    assert record.detour.any() and (~record.good & record.live & (record.action != WAIT)).any()
    assert (record.action == WAIT)[record.live].any()


def test_who_forgets_nothing_makes_no_mistake_again(env):
    levels, budgets = raw_levels(env, 1, 4), jnp.full((4, RUNS), STEPS)
    run = quick(lambda mind: think(env, jax.random.key(1), levels, mind, budgets, STEPS))
    wise = run(Thinker(0.0, 0.0)).record
    assert wise.good.all()
    # Every wrong token of every decisive moment is tried once at most.
    assert (wise.detour.sum(-1) <= (DIALS - 1) * levels.decisive.sum(-1)[:, None]).all()
    assert not run(Thinker(1.0, 0.0)).record.good.all()


def test_answers_follow_their_templates(env, thoughts):
    levels, _, found = thoughts
    skill = jnp.float32(1.5)
    named = truths(env, levels)
    assert (named.sum(-1) == levels.decisive).all()
    exact = quick(worth)(env, levels, found.template, skill)
    dynamics = jax.vmap(env.tabulate)(levels)
    for run in range(RUNS):
        place = np.arange(env.num_states) // 4
        scores = skill * found.template[:, run][:, place]
        scores = np.concatenate([scores, np.full((4, env.num_states, 1), NEVER)], -1)
        dp = quick(truth.success)(env, dynamics, jnp.asarray(scores, jnp.float32))
        np.testing.assert_allclose(exact[:, run], dp, atol=1e-5)
    many = jnp.repeat(jnp.asarray(found.template), 400, axis=1)
    lanes, _ = quick(answers)(env, jax.random.key(2), levels, many, skill)
    assert not (lanes.action == WAIT)[lanes.live].any()
    rate = lanes.returns.reshape(4, RUNS, 400).mean(-1)
    np.testing.assert_allclose(rate, exact, atol=4 * 0.5 / 20)


def test_an_answer_comes_after_its_thinking(env, thoughts):
    levels, budgets, found = thoughts
    lanes, _ = quick(answers)(env, jax.random.key(2), levels, found.template, jnp.float32(0.0))
    answer = jax.device_get(recorded(env, levels, lanes))
    both = jax.device_get(after_thinking(found.record, answer))
    for row, run in itertools.product(range(4), range(RUNS)):
        count, length = int(budgets[row, run]), int(lanes.live[row, run].sum())
        live = both.live[row, run]
        assert live.tolist() == [t < count + length for t in range(STEPS + env.horizon)]
        for name in ("observation", "action", "successor", "start", "optimal", "drop"):
            parts = [getattr(x, name)[row, run] for x in (found.record, answer)]
            expected = np.concatenate([parts[0][:count], parts[1][:length]])
            np.testing.assert_array_equal(getattr(both, name)[row, run][live], expected)
        assert both.answer[row, run][live].tolist() == [False] * count + [True] * length
        won = lanes.returns[row, run] > 0
        np.testing.assert_array_equal(answer.optimal[row, run], answer.open[row, run] & (
            answer.successor[row, run, :, 2] == answer.observation[row, run, :, 2]
        ))  # fmt: skip
        assert answer.optimal[row, run][:length].all() == won
    assert not answer.informs.any() and not answer.drop.any()


def test_forks_are_worth_what_the_policy_is(env):
    """Of a level whose first moment decides: after the right token, and after a wrong one."""
    level = Level(jnp.array([True, True, False]), jnp.array([[1], [2], [0]]))
    levels = jax.tree.map(lambda x: x[None], level)
    template = jnp.zeros((1, 2, MOMENTS, DIALS), bool)
    lanes, snapshots = quick(answers)(env, jax.random.key(0), levels, template, jnp.float32(0))
    second = jax.tree.map(lambda x: x[:, :, 1], snapshots.episode)
    set_lost = jnp.array([[0, 1]])
    second = second.replace(state=second.state.replace(lost=set_lost))
    agent = following(levels, jnp.float32(0.0))
    value = quick(forks, static_argnames="count")(
        agent, env, jax.random.key(1), levels, second, template, count=900
    )
    assert value[0, 0] == pytest.approx(1 / 3, abs=0.06) and value[0, 1] == 0
    over = jax.tree.map(lambda x: x[:, :, -1], snapshots.episode)
    assert not quick(forks, static_argnames="count")(
        agent, env, jax.random.key(1), levels, over, template, count=2
    ).any()
    assert lanes.live.sum() == 2 * MOMENTS


def test_it_is_refused_where_it_is_not_defined():
    for env in (envs.make("gauntlet", spelling=2, horizon=24), envs.make("dark-room")):
        with pytest.raises(ValueError, match="spelling=1"):
            check(env)
