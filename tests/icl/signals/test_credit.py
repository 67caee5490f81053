"""Credit against the papers' formulas in plain Python, on random trees."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import credit, segments
from icl.signals.grades import received
from tests.icl.signals.worlds import by_hand, forest, quick

LEVELS, HORIZON = 6, 9
TREE = functools.partial(quick, static_argnames="operator")(credit.tree)


@pytest.fixture(scope="module")
def trees():
    """(Lanes, int32[N]): two trees of seven lanes, forked twice."""
    shape = {"levels": LEVELS, "trees": 2, "nodes": 3, "rounds": 2, "horizon": HORIZON}
    return forest(np.random.default_rng(0), **shape)


def host(lanes):
    """owner, live and returns as numpy."""
    return (np.asarray(x) for x in (lanes.owner, lanes.live, lanes.returns))


def sharing(owner, live, level, lane, time):
    """The lanes that hold a step."""
    same = live[level, :, time] & (owner[level, :, time] == owner[level, lane, time])
    return np.flatnonzero(same)


def test_a_group_is_paid_its_standardised_lead(trees):
    lanes, _ = trees
    _, live, returns = host(lanes)
    for scaled in (True, False):
        lead = returns - returns.mean(1, keepdims=True)
        lead = lead / returns.std(1, keepdims=True) if scaled else lead
        expected = np.where(live, lead[..., None], 0)
        np.testing.assert_allclose(credit.group(lanes, scaled=scaled), expected, atol=2e-5)


def test_groups_without_spread_are_paid_nothing(trees):
    lanes, tree = trees
    # Sums of floats in another order than their mean's, which leave a trace of a spread.
    same = lanes.replace(reward=jnp.where(lanes.reward.cumsum(-1) >= 0, 0.1, 0.0) * lanes.live)
    same = same.replace(reward=same.reward / jnp.maximum(lanes.live.sum(-1, keepdims=True), 1))
    assert np.ptp(np.asarray(same.returns)) < 1e-6
    for paid in (
        credit.group(same),
        TREE(same, jnp.asarray(tree)),
        TREE(same, jnp.asarray(tree), operator=credit.TREE_RL),
    ):
        assert np.abs(paid).max() < 1e-6
    nothing = lanes.replace(reward=jnp.zeros_like(lanes.reward))
    assert (credit.same_state(nothing) == 0).all()


def test_what_leaves_are_paid_by_tree_grpo_adds_up_to_the_closed_form(trees):
    lanes, tree = trees
    owner, live, returns = host(lanes)
    intra, inter = np.zeros(returns.shape), np.zeros(returns.shape)
    for i, j in np.ndindex(returns.shape):
        own = returns[i, tree == tree[j]]
        intra[i, j] = (returns[i, j] - own.mean()) / own.std() if own.std() else 0
        inter[i, j] = (returns[i, j] - returns[i].mean()) / returns[i].std()
    for operator, leaf in (
        (credit.TREE_GRPO, intra + inter),
        (credit.INTRA, intra),
        (credit.INTER, inter),
    ):
        paid = np.asarray(received(lanes, TREE(lanes, jnp.asarray(tree), operator=operator)))
        for i, j, t in np.argwhere(np.asarray(lanes.own)):
            leaves = sharing(owner, live, i, j, t)
            assert paid[i, j, t] == pytest.approx(leaf[i, leaves].sum(), abs=2e-4)
        assert (paid[~np.asarray(lanes.own)] == 0).all()


def test_a_prefix_of_a_whole_tree_gets_nothing_from_within(trees):
    lanes, tree = trees
    owner, live, returns = host(lanes)
    paid = TREE(lanes, jnp.asarray(tree), operator=credit.INTRA)
    across = TREE(lanes, jnp.asarray(tree), operator=credit.INTER)
    found = 0
    for i, j, t in np.argwhere(live):
        if len(sharing(owner, live, i, j, t)) == (tree == tree[j]).sum():
            found += 1
            assert abs(paid[i, j, t]) < 1e-5
            mean = returns[i, tree == tree[j]].mean()
            lead = (mean - returns[i].mean()) / returns[i].std()
            assert across[i, j, t] == pytest.approx(lead, abs=1e-5)
    assert found > 10


def plain_node(owner, live, returns, level, lane, time):
    """(value, leaves, value of the parent or None): a node is a stretch of steps that the same
    lanes share."""
    leaves = sharing(owner, live, level, lane, time)
    above = time
    while above >= 0 and list(sharing(owner, live, level, lane, above)) == list(leaves):
        above -= 1
    parent = None
    if above >= 0:
        parent = returns[level, sharing(owner, live, level, lane, above)].mean()
    return returns[level, leaves].mean(), len(leaves), parent


def test_tree_rl_pays_every_step_of_a_node_its_global_and_local_lead(trees):
    lanes, tree = trees
    owner, live, returns = host(lanes)
    paid = np.asarray(received(lanes, TREE(lanes, jnp.asarray(tree), operator=credit.TREE_RL)))
    local = 0
    for i, j, t in np.argwhere(np.asarray(lanes.own)):
        value, leaves, parent = plain_node(owner, live, returns, i, j, t)
        parent = returns[i, tree == tree[j]].mean() if parent is None else parent
        expected = (value - returns[i].mean() + value - parent) / np.sqrt(leaves)
        assert paid[i, j, t] == pytest.approx(expected, abs=1e-4)
        local += value != parent
    assert local > 100


def test_an_operator_is_the_sum_of_its_parts(trees):
    lanes, tree = trees
    tree = jnp.asarray(tree)
    parts = [credit.Operator(*row) for row in np.eye(3).tolist()]
    one = sum(np.asarray(TREE(lanes, tree, operator=part)) for part in parts)
    np.testing.assert_allclose(TREE(lanes, tree, operator=credit.Operator(1, 1, 1)), one, atol=1e-5)
    half = dataclasses.replace(credit.TREE_GRPO, power=0.0)
    owner, live, _ = host(lanes)
    full, shared = TREE(lanes, tree), TREE(lanes, tree, operator=half)
    for i, j, t in np.argwhere(live)[::7]:
        leaves = len(sharing(owner, live, i, j, t))
        assert shared[i, j, t] == pytest.approx(float(full[i, j, t]) / leaves, abs=1e-5)


@pytest.mark.parametrize("length", [1, 3, HORIZON])
def test_a_piece_is_paid_the_value_that_it_gained(trees, length):
    lanes, _ = trees
    _, live, returns = host(lanes)
    value = np.random.default_rng(1).random(live.shape).astype(np.float32)
    starts = segments.chunks(lanes, length)
    paid = credit.difference(lanes, starts, jnp.asarray(value))
    for i, j, t in np.ndindex(live.shape):
        if not live[i, j, t]:
            assert paid[i, j, t] == 0
            continue
        begin = t // length * length
        end = begin + length
        over = end >= HORIZON or not live[i, j, end]
        gain = (returns[i, j] if over else value[i, j, end]) - value[i, j, begin]
        assert paid[i, j, t] == pytest.approx(gain, abs=1e-6)


def test_gigpo_compares_steps_taken_in_the_same_state(trees):
    lanes, _ = trees
    roots = np.broadcast_to(np.arange(14, dtype=np.int32)[None, :, None], lanes.live.shape)
    lanes = by_hand(np.random.default_rng(3), roots, np.asarray(lanes.live))
    _, live, returns = host(lanes)
    state, reward = np.asarray(lanes.state), np.asarray(lanes.reward, np.float64)
    gamma, omega = 0.9, 0.7
    paid = credit.same_state(lanes, gamma=gamma, omega=omega)
    for i in range(LEVELS):
        earns: dict[int, list[float]] = {}
        steps = np.argwhere(live[i])
        later = {
            (j, t): sum(gamma ** (u - t) * reward[i, j, u] for u in range(t, HORIZON))
            for j, t in steps
        }
        for j, t in steps:
            earns.setdefault(int(state[i, j, t]), []).append(later[j, t])
        for j, t in steps:
            met = np.array(earns[int(state[i, j, t])])
            lead = (later[j, t] - met.mean()) / met.std() if met.std() > 1e-9 else 0
            run = (returns[i, j] - returns[i].mean()) / returns[i].std()
            assert paid[i, j, t] == pytest.approx(run + omega * lead, abs=1e-4)
    assert (np.asarray(paid)[~live] == 0).all()


def test_a_mask_pays_unlikely_actions_only(trees):
    lanes, _ = trees
    paid = jnp.ones_like(lanes.reward)
    bar = float(np.median(np.exp(lanes.log)))
    found = np.asarray(credit.unlikely(lanes, paid, bar))
    np.testing.assert_array_equal(found == 1, np.exp(lanes.log) < bar)
    assert 0 < found.mean() < 1
