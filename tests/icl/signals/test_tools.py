"""Calls of tools against plain Python: what is right, what is paid, and to which tokens."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents import grpo
from agents.grpo import GRPOConfig
from envs.wrappers import Sticky, wrap
from icl.signals import segments
from icl.signals.lanes import go, start
from icl.signals.methods import Called
from icl.signals.registry import sized
from icl.signals.sizes import Costs, cuts
from icl.signals.tools import (
    MEANINGS,
    Calls,
    action_reward,
    attributed,
    calls,
    habits,
    tells,
)
from icl.signals.truth import tables
from icl.signals.world import World
from tests.envs.dynamics.abstract import workshop
from tests.envs.reference import reachable, steps_to_goal
from tests.envs.worlds import each, raw_levels
from tests.icl.signals.worlds import by_hand, quick

THOUGHTS, CRAFT, QUERY, FOLD, ITEM = 2, 2, 3, 4, 5  # tokens; items from the last on
LANES, HORIZON = 12, 18
TABLES = quick(tables)


def shop(levels: int = 3, **fields) -> World:
    env = envs.make("workshop", **{"items": 4, "horizon": HORIZON} | fields)
    drawn = raw_levels(env, 4, levels)
    return World(env, drawn, TABLES(env, drawn))


@functools.partial(quick, static_argnames="count")
def played(world: World, key: jax.Array, count: int = LANES):
    """Lanes of a policy that often does what is best, and their Calls."""
    policy = world.leaning(1.5)
    begun = start(policy, world.env, key, world.levels, count)
    lanes, _ = go(policy, world.env, world.levels, begun)
    return lanes, calls(world, lanes)


@pytest.fixture(scope="module")
def calm():
    place = shop(secrecy=0.7)
    return place, *jax.device_get(played(place, jax.random.key(3)))


def direct(said: list[int], worked: list[bool], memory: int = 2) -> int:
    """The tokens that the same calls take without folds: a craft that is opened where the memory
    is full has to be said twice. ``worked``: the token made an item."""
    full = kept = length = 0  # what the memory holds with folds, and without
    opened = None
    for action, made in zip(said, worked, strict=True):
        if action == CRAFT and opened not in ("craft", "look"):
            length += 1 if kept < memory else 2
            opened = "craft" if full < memory else "look"
        elif action == CRAFT:  # said twice for the sake of the memory, or for nothing
            length += opened == "craft"
            opened = "craft"
        elif action == FOLD:
            opened, full = None, 0
        else:
            length += 1
            if action >= ITEM:
                opened = opened if opened == "look" else None
            opened = "query" if action == QUERY else opened
        full, kept = min(full + made, memory), min(kept + made, memory)
    return length


def test_calls_are_those_of_plain_python(calm):
    place, lanes, found = calm
    seen = {meaning: set() for meaning in MEANINGS}
    folded = set()
    for i, level in enumerate(each(place.levels)):
        plain = workshop(THOUGHTS, 2, level)
        far = {state: steps_to_goal(plain, state) for state in reachable(plain)}

        def next_(state, action, plain=plain):
            ((_, after, won, over),) = plain.outcomes(state, action)
            return after, won, over

        def oracle(state, far=far, next_=next_):
            """The first token of those that lead on."""
            for action in range(ITEM + 4):
                after, won, _ = next_(state, action)
                if won or far[after] == far[state] - 1:
                    return action
            raise AssertionError

        def call(state, oracle=oracle, next_=next_):
            """(tool, item) of the oracle's next call; a fold is one without an item."""
            tool = token = oracle(state)
            while token < ITEM and token != FOLD:
                state, _, _ = next_(state, token)
                token = oracle(state)
            return tool, token

        for n in range(LANES):
            state, first, worked, said = plain.start, plain.start, [], []
            for t in range(HORIZON):
                cell = i, n, t
                if not lanes.live[cell]:
                    assert not any(getattr(found, name)[cell] for name in (*MEANINGS, "spelled"))
                    continue
                action = int(lanes.action[cell])
                first = state if state[3] == 0 else first
                after, won, _ = next_(state, action)
                ends = action >= ITEM
                tool = {2: CRAFT, 3: QUERY}.get(state[3]) if ends else None
                makes, learns = after[0] != state[0], after[1] != state[1]
                right = {
                    "executes": tool == QUERY or (tool == CRAFT and bool(makes)),
                    "improves": tool is not None and bool(won or far[after] < far[first]),
                    "matches": tool is not None and (tool, action) == call(first),
                }
                for meaning in MEANINGS:
                    assert found.right(meaning)[cell] == right[meaning], (meaning, cell)
                    seen[meaning] |= {right[meaning]} if ends else set()
                assert found.ends[cell] == ends
                assert found.spelled[cell] == (action >= THOUGHTS)
                assert found.folds[cell] == (action == FOLD)
                assert found.queries[cell] == (tool == QUERY and not learns)
                worked.append(bool(makes))
                said.append(action)
                state = after
            without, length = direct(said, worked), len(said)
            expected = (without - length) / (without + length)
            assert found.preference[i, n] == pytest.approx(expected, abs=1e-6)
            folded |= {np.sign(expected)}
    assert all(both == {True, False} for both in seen.values())
    assert folded == {-1, 0, 1}  # folds that cost tokens, and such that save some


def test_the_meanings_are_three(calm):
    _, _, found = calm
    assert (found.improves & ~found.executes).sum() == 0
    assert (found.executes & ~found.improves).any()  # useless, but done
    assert (found.improves & ~found.matches).any()  # another good one
    assert (found.queries & found.improves).sum() == 0


def test_a_call_that_fails_does_not_execute():
    place = shop(flakiness=0.5, secrecy=1.0)
    lanes, found = jax.device_get(played(place, jax.random.key(5)))
    env, failed, done = place.env, 0, 0
    for i in range(3):
        level = jax.tree.map(lambda x, i=i: x[i], place.levels)
        fits = jax.vmap(lambda s, a, level=level: env.fits(level, env.decode(level, s), a))
        states = lanes.state[i, :, :-1]
        told = np.asarray(fits(states.ravel(), lanes.action[i].ravel())).reshape(states.shape)
        calls_ = told & lanes.live[i]
        failed += (calls_ & ~found.executes[i]).sum()
        done += found.executes[i].sum()
        assert not (found.executes[i] & ~calls_).any()
        made = jax.vmap(lambda s, level=level: env.decode(level, s).made)
        bits = np.asarray(made(lanes.state[i].ravel())).reshape(lanes.state[i].shape)
        grew = (bits[:, 1:] != bits[:, :-1]) | (lanes.reward[i] > 0)
        assert (found.executes[i] | ~grew | ~lanes.live[i]).all()
        assert (found.improves[i] <= found.executes[i]).all()
    assert 0.3 < failed / (failed + done - found.queries.sum()) < 0.7


# What is paid. --------------------------------------------------------------------------------
def handmade():
    rng = np.random.default_rng(2)
    live = np.arange(6) < np.array([[6, 4, 1], [5, 6, 2]])[..., None]
    owner = np.broadcast_to(np.arange(3, dtype=np.int32)[:, None], live.shape)
    lanes = by_hand(rng, owner, live)
    ends = live & (rng.random(live.shape) < 0.6)
    right = {name: ends & (rng.random(live.shape) < 0.5) for name in MEANINGS}
    spelled = live & (ends | (rng.random(live.shape) < 0.5))
    preference = rng.uniform(-0.2, 0.2, (2, 3)).astype(np.float32)
    none = np.zeros_like(live)
    found = Calls(ends, *right.values(), spelled, none, none, preference)
    return lanes, jax.tree.map(jnp.asarray, found)


@pytest.mark.parametrize("meaning", MEANINGS)
def test_action_rewards_by_hand(meaning):
    _, found = handmade()
    right, ends = np.asarray(found.right(meaning)), np.asarray(found.ends)
    for i, n in np.ndindex(2, 3):
        count = right[i, n].sum()
        share = count / ends[i, n].sum() if ends[i, n].any() else 0
        fold = found.preference[i, n]
        for mean, earned in ((False, count), (True, share)):
            paid = action_reward(found, meaning, mean=mean, right=0.5, folded=2.0)[i, n]
            assert float(paid) == pytest.approx(float(0.5 * earned + 2 * fold), abs=1e-6)


def test_leads_are_paid_to_their_tokens():
    lanes, found = handmade()
    action = np.array([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]], np.float32)
    paid = np.asarray(attributed(lanes, jnp.asarray(action), found.spelled))
    for i, n, t in np.ndindex(paid.shape):
        returns = np.asarray(lanes.returns)[i]
        expected = returns[n] - returns.mean()
        if found.spelled[i, n, t]:
            expected += action[i, n] - action[i].mean()
        assert paid[i, n, t] == pytest.approx(expected if lanes.live[i, n, t] else 0, abs=1e-6)


@quick
def token_gradient(lanes, credit):
    """float32[L, N, T, A]: of the learner's objective, with respect to the logits of every token:
    each stands in a row of its own."""
    levels, count, horizon, actions = lanes.logits.shape
    rows = jnp.broadcast_to(jnp.arange(count * horizon), (levels, count * horizon))
    rows = rows.reshape(levels, count, horizon)
    steps = grpo.Steps(rows, lanes.action, lanes.log, credit, lanes.live)
    scores = lanes.logits.reshape(levels, count * horizon, actions)
    slope = jax.grad(lambda x: grpo.objective(x, scores, steps, GRPOConfig()).sum())(scores)
    return slope.reshape(lanes.logits.shape)


def test_thoughts_have_no_gradient_of_the_action_reward(calm):
    """To the bit with the mask; without it all of them do."""
    _, lanes, found = jax.tree.map(jnp.asarray, calm)
    action = action_reward(found, "executes")
    success = token_gradient(lanes, attributed(lanes, jnp.zeros_like(action), found.spelled))
    thoughts = np.asarray(lanes.live & ~found.spelled)
    ahead = np.asarray(action != action.mean(-1, keepdims=True))[..., None]
    assert thoughts.sum() > 50 and ahead.any()
    for tokens, paid in ((found.spelled, found.spelled), (lanes.live, lanes.live)):
        slope = token_gradient(lanes, attributed(lanes, action, tokens))
        moved = np.asarray((slope != success).any(-1))
        assert (moved == (np.asarray(paid) & ahead)).all()
    masked = token_gradient(lanes, attributed(lanes, action, found.spelled))
    assert np.asarray(masked)[thoughts].tobytes() == np.asarray(success)[thoughts].tobytes()


def test_a_harmless_query_adds_to_the_sum_alone():
    """Two runs that differ by queries that change nothing."""
    _, found = handmade()
    calls_ = jax.tree.map(lambda x: jnp.zeros_like(x), found)
    ends = calls_.ends.at[0, 0, :4].set(True).at[0, 1, :2].set(True)
    works = ends.at[0, :2, 0].set(False)  # the first call of each fails
    useful = jnp.zeros_like(ends).at[0, :2, 1].set(True)
    calls_ = calls_.replace(ends=ends, executes=works, improves=useful)
    total = {m: action_reward(calls_, m)[0] for m in ("executes", "improves")}
    mean = {m: action_reward(calls_, m, mean=True)[0] for m in ("executes", "improves")}
    assert total["executes"][:2].tolist() == [3, 1] and total["improves"][:2].tolist() == [1, 1]
    assert mean["executes"][:2].tolist() == [0.75, 0.5]  # bounded, but not indifferent
    assert mean["improves"][:2].tolist() == [0.25, 0.5]


# The method. ----------------------------------------------------------------------------------
COST = Costs(9.0, *({"call": x} for x in (3.0, 14.0, 4.7)))


def test_methods_are_what_their_names_say():
    assert sized("toolpo-matches-unmasked", 27, COST) == Called(3, "matches", masked=False)
    mean = sized("toolpo-executes-mean@runs=5", 27, COST)
    assert mean == Called(5, "executes", mean=True)
    assert sized("toolpo-improves-flat", 27, COST) == Called(3, folded=0.0)
    with pytest.raises(ValueError, match="two runs"):
        sized("toolpo-improves", 10, COST)


def test_a_method_pays_its_own_runs():
    place, key = shop(2), jax.random.key(1)

    @quick
    def both(place: World, key: jax.Array):
        signal = Called(4, "executes", folded=0.5)(place, place.leaning(1.0), key)
        found = calls(place, signal.lanes)
        action = action_reward(found, "executes", folded=0.5)
        return signal, attributed(signal.lanes, action, found.spelled)

    signal, expected = both(place, key)
    np.testing.assert_allclose(signal.credit, expected, atol=1e-6)
    assert (signal.actions == signal.lanes.live.sum((1, 2))).all()
    assert (np.asarray(signal.credit) != 0).any()


def test_where_no_calls_are_told_nothing_is_paid_for_them():
    own, other = (World(envs.make(name), None, None) for name in ("workshop", "gauntlet"))
    assert tells(own.env) and "call" in cuts(own) and "call" not in cuts(other)
    assert not tells(wrap(Sticky, own.env, stickiness=0.1))
    with pytest.raises(ValueError, match=r"tells its calls of tools.*such as workshop"):
        sized("toolpo-improves", 100, Costs(9.0, *({"move": x} for x in (3.0, 14.0, 4.7))))


def test_calls_are_pieces(calm):
    place, lanes, found = calm
    starts = np.asarray(segments.calls(place.env, lanes))
    over = found.ends | found.folds
    assert (starts[..., 0] == lanes.live[..., 0]).all()
    assert (starts[..., 1:] == (over[..., :-1] & lanes.live[..., 1:])).all()


def test_habits_are_means_over_runs(calm):
    _, lanes, found = calm
    told = habits(*jax.tree.map(jnp.asarray, (found, lanes)))
    many = found.ends.sum()
    for meaning in MEANINGS:
        share = found.right(meaning).sum() / many
        assert getattr(told, meaning) == pytest.approx(share, abs=1e-6)
    runs = lanes.live.shape[0] * LANES
    assert told.calls == pytest.approx(many / runs)
    assert told.thoughts + found.spelled.sum() / runs == pytest.approx(told.length)
    assert told.folds == pytest.approx(found.folds.sum() / runs)
    assert told.queries == pytest.approx(found.queries.sum() / runs)
    assert told.preference == pytest.approx(found.preference.mean(), abs=1e-6)
