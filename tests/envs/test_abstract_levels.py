"""Families without a grid: what their levels are drawn from, and what makes two of them one."""

import itertools
from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs.families import bandit
from tests.envs.chances import DRAWS, draw, even, pairs, share
from tests.envs.test_fingerprints import canonical_grid
from tests.envs.worlds import QUICK, each, raw_levels

PRINT = jax.jit(lambda env, x: jax.vmap(env.fingerprint)(x), compiler_options=QUICK)


def prints(env, levels) -> list[tuple]:
    return [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]


def fits(seen: Counter, expected: dict) -> None:
    """Asserts that values counted in ``seen`` come with the probabilities ``expected``."""
    assert set(seen) <= set(expected)
    counts = np.array(list(expected.values())) * seen.total()
    assert counts.min() > 5 and counts.sum() == pytest.approx(seen.total())
    assert stats.chisquare([seen[value] for value in expected], counts).pvalue > 1e-4


# The levels that the docstrings promise. ------------------------------------------------------
def dials(stage: int, density: float) -> dict[tuple, float]:
    """The probability of every row of three dials at a stage."""
    ways = {stage + 1: 1 - density}
    for back in (0, max(stage - 1, 0)):
        ways[back] = ways.get(back, 0) + density / 2
    found = defaultdict(float)
    for right, one, two in itertools.product(range(3), ways, ways):
        row = [one, two]
        row.insert(right, stage + 1)
        found[tuple(row)] += ways[one] * ways[two] / 3
    return dict(found)


def test_combination_locks():
    drawn = draw("combination-lock", stages=4, dials=3, shortest=2, density=0.6)
    leads, goal = drawn["leads"], drawn["goal"]
    even(goal, {2, 3, 4})
    for stage in range(4):
        there = goal > stage
        assert (leads[~there, stage] == 0).all()
        fits(Counter(map(tuple, leads[there, stage].tolist())), dials(stage, 0.6))
    both = itertools.product(dials(0, 0.6).items(), dials(1, 0.6).items())
    joint = {(*one, *two): p * q for (one, p), (two, q) in both}
    fits(Counter(map(tuple, leads[:, :2].reshape(DRAWS, 6).tolist())), joint)


@pytest.mark.parametrize("branches", [2, 3])
def test_random_mdps(branches):
    nodes, distance = 9, 3
    drawn = draw(
        "random-mdp", nodes=nodes, reach=2, distance=distance, branches=branches, density=0.25
    )
    target, chance = drawn["target"], drawn["probability"]
    even(drawn["start"], range(nodes))
    even((drawn["goal"] - drawn["start"]) % nodes, range(distance, nodes - distance + 1))
    hops = (target - np.arange(nodes)[:, None, None]) % nodes
    blocked = (hops == 0).all(-1)
    share(blocked.reshape(DRAWS, -1), 0.25)
    assert (chance[blocked] == np.eye(branches)[0]).all()
    orders = itertools.permutations((1, 2, nodes - 2, nodes - 1), branches)
    known = {order: i for i, order in enumerate(orders)}
    for node, action in ((0, 0), (5, 3)):
        free = ~blocked[:, node, action]
        even(
            np.array([known[tuple(h)] for h in hops[free, node, action].tolist()]),
            range(12 * (branches - 1)),
        )
        parts = chance[free, node, action]
        assert np.allclose(parts.sum(1), 1, atol=1e-6)
        for part in parts.T:  # of a stick broken at uniform places
            assert stats.kstest(part, stats.beta(1, branches - 1).cdf).pvalue > 1e-4
    neighbours = chance[~(blocked[:, 0, 0] | blocked[:, 1, 0])][:, :2, 0, 0]
    assert abs(np.corrcoef(neighbours.T)[0, 1]) < 5 / np.sqrt(len(neighbours))


def test_bandits():
    payoff = draw("bandit", arms=3, density=0.4)["payoff"]
    duds = payoff == 0
    odds = {dud: 0.4 ** sum(dud) * 0.6 ** (3 - sum(dud)) for dud in np.ndindex(2, 2, 2)}
    fits(Counter(map(tuple, duds.astype(int).tolist())), odds)
    assert payoff.min() >= 0 and payoff.max() < 1
    even((payoff[~duds] * 20).astype(int), range(20))
    paying = payoff[~duds.any(1)]
    even((paying[:, 0] * 5).astype(int) * 5 + (paying[:, 1] * 5).astype(int), range(25))


def press(wires: tuple, counts: tuple, colours: int) -> tuple:
    """The lights, off at first, after pressing every button so many times."""
    return tuple(
        sum(count * row[light] for count, row in zip(counts, wires, strict=True)) % colours
        for light in range(len(wires[0]))
    )


@pytest.mark.parametrize(("colours", "presses"), [(2, 2), (3, 3)])
def test_lights_out(colours, presses):
    lights, density = 3, 0.3
    drawn = draw(
        "lights-out", lights=lights, buttons=2, colours=colours, presses=presses, density=density
    )
    rows = defaultdict(float)
    for own, wired in itertools.product(range(lights), np.ndindex(2, 2)):
        row = list(wired)
        row.insert(own, 1)
        rows[tuple(row)] += density ** sum(wired) * (1 - density) ** (2 - sum(wired)) / lights
    expected = defaultdict(float)
    for wires in itertools.product(rows, repeat=2):
        cost = {}
        for counts in sorted(np.ndindex(colours, colours), key=sum, reverse=True):
            # Pressing on to a whole turn of every button puts the lights out.
            cost[press(wires, tuple(-c % colours for c in counts), colours)] = sum(counts)
        starts = [lit for lit in cost if cost[lit] >= min(presses, max(cost.values()))]
        for start in starts:
            expected[wires, start] += rows[wires[0]] * rows[wires[1]] / len(starts)
    seen = zip(drawn["wires"].tolist(), drawn["start"].tolist(), strict=True)
    fits(Counter((tuple(map(tuple, wires)), tuple(start)) for wires, start in seen), expected)


def test_commit():
    drawn = draw("commit", size=3, answers=4, density=0.2)
    walls, start, clue, answer = (drawn[name] for name in ("walls", "start", "clue", "answer"))
    rows = np.arange(DRAWS)
    fine = (~walls).sum(1) >= 2  # almost always; else there are no two free cells
    assert fine.mean() > 0.999
    assert not walls[rows, start][fine].any() and not walls[rows, clue][fine].any()
    even(pairs(start, clue, 9) * 4 + answer, range(72 * 4))
    share(walls, 0.2)
    rank = np.cumsum(~walls, axis=1) - 1
    some = (~walls).sum(1) == 7
    even(pairs(rank[rows, start][some], rank[rows, clue][some], 7), range(42))


# Problems that are one. -----------------------------------------------------------------------
def canonical_lock(level) -> tuple:
    columns = level.leads.T.tolist()
    return min(itertools.permutations(map(tuple, columns))), int(level.goal)


def canonical_lights(level) -> tuple:
    """The smallest list of the lights, each with its colour and its buttons, over the orders of the
    buttons."""
    rows = level.wires.tolist()
    return min(
        tuple(sorted(zip(level.start.tolist(), *order, strict=True)))
        for order in itertools.permutations(rows)
    )


@pytest.mark.parametrize(
    ("name", "sizes", "canonical"),
    [
        ("combination-lock", {"stages": 4, "dials": 3, "shortest": 1}, canonical_lock),
        ("lights-out", {"lights": 3, "buttons": 3, "presses": 3}, canonical_lights),
        ("commit", {"size": 3}, lambda level: canonical_grid(level, "start clue", True)),
    ],
)
def test_equal_prints_mean_equal_problems(name, sizes, canonical):
    env = envs.make(name, **sizes)
    levels = raw_levels(env, 0, 4000)
    found, forms = prints(env, levels), [canonical(level) for level in each(levels)]
    both = set(zip(found, forms, strict=True))
    assert len(both) == len(set(found)) == len(set(forms))
    assert 50 < len(both) < 3500


def test_arms_in_another_order_are_the_same_bandit():
    payoffs = np.array(list(itertools.product((0.0, 0.25, 0.75), repeat=4)), np.float32)
    env = envs.make("bandit", arms=4)
    found = prints(env, bandit.Level(jnp.asarray(payoffs)))
    both = set(zip(found, map(tuple, np.sort(payoffs).tolist()), strict=True))
    assert len(both) == len(set(found)) == 15  # multisets of four out of three


def test_a_random_mdp_turned_and_renamed_is_the_same():
    rng, nodes = np.random.default_rng(0), 11
    env = envs.make("random-mdp", nodes=nodes, distance=3, branches=3)
    levels = raw_levels(env, 1, 60)
    turned, others = [], []
    for level in each(levels):
        where = (rng.choice([1, -1]) * np.arange(nodes) + rng.integers(nodes)) % nodes
        branch = rng.permuted(np.tile(np.arange(3), (nodes, 4, 1)), axis=-1)
        action = rng.permuted(np.tile(np.arange(4), (nodes, 1)), axis=-1)[..., None]

        def moved(part, where=where, branch=branch, action=action):
            renamed = np.take_along_axis(np.take_along_axis(part, branch, -1), action, 1)
            return renamed[np.argsort(where)]

        turned.append(
            level.replace(
                target=moved(where[level.target].astype(np.int32)),
                probability=moved(level.probability),
                start=np.int32(where[int(level.start)]),
                goal=np.int32(where[int(level.goal)]),
            )
        )
        changed = level.probability.copy()
        changed[rng.integers(nodes), rng.integers(4)] *= 0.5
        others.append(level.replace(probability=changed))
    again, changed = (
        prints(env, jax.tree.map(lambda *x: np.stack(x), *some)) for some in (turned, others)
    )
    found = prints(env, levels)
    assert again == found
    assert len(set(found) | set(changed)) == 120
