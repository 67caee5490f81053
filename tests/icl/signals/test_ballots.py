"""Ballots: every way to vote, recounted by loops from the lanes themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from icl.signals.ballots import KEEPS, answers, ballots, polls, rewarded
from icl.signals.breakdowns import MOVES, REGIMES, faltering, fated
from icl.signals.confidence import SCORES, lowest, token_confidence
from icl.signals.distances import far_levels
from icl.signals.lanes import go, start
from icl.signals.stopping import stops

LEVELS, BUDGETS, WARMUP, WINDOW, TAU = 6, (12, 20), 8, 4, 0.8


@pytest.fixture(scope="module")
def rooms():
    env = envs.make("commit", size=7, horizon=24)
    levels, which = far_levels(env, jax.random.key(0), LEVELS, 8, 14)
    return env, levels.levels(jnp.asarray(which))


@pytest.fixture(scope="module")
def count(rooms):
    """count(Regime) -> ({name: Poll}, complete lanes, their confidence, its lowest groups);
    one program."""
    env, levels = rooms

    @jax.jit
    def run(levels, regime):
        key = jax.random.key(0)
        found = ballots(env, key, levels, regime, tau=TAU, budgets=BUDGETS, warmup=WARMUP)
        agent_key, start_key, fate_key = jax.random.split(key, 3)
        agent = faltering(env, agent_key, levels, regime)
        begun = fated(agent, fate_key, start(agent, env, start_key, levels, max(BUDGETS)))
        lanes, _ = go(agent, env, levels, begun)
        confidence = token_confidence(lanes.logits)
        return found, lanes, confidence, lowest(confidence, lanes.live, WINDOW)

    return lambda regime: jax.device_get(run(levels, jax.tree.map(jnp.asarray, regime)))


@pytest.fixture(scope="module")
def counted(count):
    return count(REGIMES["forgets"])


def winner(said, weights):
    votes: dict[int, float] = {}
    for answer, weight in zip(said, weights):
        if answer >= 0 and weight > 0:
            votes[int(answer)] = votes.get(int(answer), 0.0) + float(weight)
    if not votes:
        return -1, 0.0
    best = max(sorted(votes), key=lambda answer: votes[answer])
    return best, votes[best] / sum(votes.values())


def online(said, weights, stop, steps, budget, tau):
    """(winner, actions, traces) of the paper's loop over one level; tau None: to the budget."""
    weights = [0.0 if last >= 0 else weight for weight, last in zip(weights, stop)]
    number = WARMUP
    while number < budget:
        if tau is not None and winner(said[:number], weights[:number])[1] >= tau:
            break
        number += 1
    cost = sum(
        steps[i] if i < WARMUP or stop[i] < 0 else stop[i] + 1 for i in range(number)
    )  # the warm-up is complete
    return winner(said[:number], weights[:number])[0], cost, number


def test_answers_are_the_actions_that_ended_episodes(rooms, counted):
    env, levels = rooms
    _, lanes, _, _ = counted
    said = np.asarray(answers(lanes))
    np.testing.assert_array_equal(rewarded(env, levels), MOVES + levels.answer)
    assert ((said >= MOVES) == lanes.terminated).all()
    assert (
        said[lanes.returns > 0]
        == np.asarray(MOVES + levels.answer)[:, None].repeat(max(BUDGETS), 1)[lanes.returns > 0]
    ).all()
    unended = lanes.replace(terminated=np.zeros_like(lanes.terminated))
    assert (answers(unended) == -1).all()


@pytest.mark.parametrize("at", range(len(BUDGETS)))
def test_every_vote_is_that_of_a_loop(rooms, counted, at):
    _, levels = rooms
    found, lanes, confidence, lows = counted
    budget, truth = BUDGETS[at], MOVES + np.asarray(levels.answer)
    said, steps = np.asarray(answers(lanes)), lanes.live.sum(-1)
    scores = {k: np.asarray(f(confidence, lanes.live, WINDOW)) for k, f in SCORES.items()}
    names = {"majority", "consensus"}
    for row in range(LEVELS):

        def check(name, win, cost, traces, row=row):
            poll = jax.tree.map(lambda x: x[at, row], found[name])
            assert bool(poll.right) == (win == truth[row]), (name, row)
            assert (int(poll.actions), int(poll.traces)) == (cost, traces), (name, row)

        votes, total = said[row, :budget], int(steps[row, :budget].sum())
        check("majority", winner(votes, np.ones(budget))[0], total, budget)
        never = np.full(budget, -1)
        even = online(votes, np.ones(budget), never, steps[row], budget, TAU)
        check("consensus", *even)
        for score, values in scores.items():
            own = values[row, :budget]
            check(f"weighted/{score}", winner(votes, own)[0], total, budget)
            names.add(f"weighted/{score}")
            for label, keep in KEEPS.items():
                bar = np.percentile(own.astype(float), 100 * (1 - keep)) - 1e-5
                check(f"kept-{label}/{score}", winner(votes, own * (own >= bar))[0], total, budget)
                names.add(f"kept-{label}/{score}")
        for label, keep in KEEPS.items():
            bar = np.percentile(lows[row, :WARMUP].astype(float), 100 * (1 - keep))
            bar = jnp.float32(bar - 1e-5)
            stop = np.asarray(stops(confidence[row], lanes.live[row], WINDOW, bar))
            for name, tau in ((f"guarded-{label}", None), (f"online-{label}", TAU)):
                check(name, *online(votes, lows[row], stop, steps[row], budget, tau))
                names.add(name)
    assert set(found) == names


def test_the_ways_differ(counted):
    found, lanes, _, _ = counted
    actions = {name: poll.actions for name, poll in found.items()}
    assert (actions["guarded-low"] < actions["guarded-high"]).any()
    assert (actions["guarded-high"] <= actions["majority"]).all()
    assert (actions["online-low"] <= actions["guarded-low"]).all()
    assert (actions["online-low"] < actions["guarded-low"]).any()
    assert (found["guarded-low"].voters < found["guarded-high"].voters).any()
    assert (
        found["majority"].voters
        == (np.asarray(lanes.terminated)[:, :12].sum(1), np.asarray(lanes.terminated).sum(1))
    ).all()
    assert not found["majority"].right.all() and found["kept-low/lowest"].right.any()


def test_confident_error_is_where_keeping_few_loses(count):
    regime = REGIMES["confidently-wrong"].replace(misled=1.0, commonest=0.1)
    found = count(regime)[0]
    assert found["majority"].right[1].mean() > 0.6
    assert found["kept-low/lowest"].right[1].mean() < 0.2


@pytest.mark.parametrize("budgets", [(8, 20), (12, 16)])
def test_budgets_have_to_fit(rooms, budgets):
    env, levels = rooms
    agent = faltering(env, jax.random.key(1), levels, REGIMES["falters"])
    begun = start(agent, env, jax.random.key(3), levels, 20)
    with pytest.raises(ValueError, match=r"budgets .* of 20 lanes with a warm-up of 8"):
        polls(agent, env, levels, begun, rewarded(env, levels), budgets, warmup=WARMUP)
