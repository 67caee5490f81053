"""Trees: nodes are drawn uniformly, forks are steps of one tree, and cost what they generate."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from icl.signals import segments, trees
from icl.signals.lanes import Table
from tests.icl.signals.worlds import made, quick

LEVELS, TREES, NODES, ROUNDS = 400, 2, 2, 2
MOMENTS = 5


@functools.partial(quick, static_argnames="unit")
def grown(world, agent, key, unit):
    forkable = {
        "step": segments.steps,
        "move": lambda lanes: segments.moves(world.env, world.levels, lanes),
        "none": lambda lanes: jnp.zeros_like(lanes.live),
    }[unit]
    return trees.grow(
        agent, world.env, key, world.levels, forkable, trees=TREES, nodes=NODES, rounds=ROUNDS
    )


@pytest.fixture(scope="module")
def world():
    """Many levels of ten tokens, for an agent that never waits."""
    return made(LEVELS, spelling=2, moments=MOMENTS, horizon=12)


@pytest.fixture(scope="module")
def forests(world):
    """forests(unit) -> (Lanes as numpy, int32[N]): all runs take ten steps."""
    scores = jnp.zeros(world.dynamics.target.shape[:3]).at[..., -1].set(-60.0)

    @functools.cache
    def grow(unit):
        return jax.device_get(grown(world, Table(scores), jax.random.key(2), unit))

    return grow


def prefixes(lanes, level, members, unit_steps):
    """The nodes of a tree: the distinct beginnings of its runs up to each forkable step."""
    return {
        node(lanes, level, lane, t)
        for lane in members
        for t in range(12)
        if lanes.live[level, lane, t] and t in unit_steps
    }


def node(lanes, level, lane, time):
    """A beginning of a run: the step that it ends with, none at the root."""
    return (int(lanes.owner[level, lane, time - 1]) if time else -1, int(time))


@pytest.mark.parametrize(("unit", "steps"), [("step", range(12)), ("move", range(0, 12, 2))])
def test_nodes_are_drawn_uniformly_from_all_of_a_tree(forests, unit, steps):
    lanes, tree = forests(unit)
    counts, expected = np.zeros((ROUNDS, 40)), np.zeros((ROUNDS, 40))
    twice = possible = 0
    for level in range(LEVELS):
        for turn in range(ROUNDS):
            first = TREES + turn * TREES * NODES
            for own in range(TREES):
                grown_so_far = [i for i in range(first) if tree[i] == own]
                nodes = sorted(prefixes(lanes, level, grown_so_far, steps))
                picked = []
                for lane in range(first, first + TREES * NODES):
                    if tree[lane] == own:
                        parent, time = lanes.parent[level, lane], lanes.fork[level, lane]
                        assert parent in grown_so_far and lanes.own[level, parent, time]
                        picked.append(nodes.index(node(lanes, level, parent, time)))
                        counts[turn, picked[-1]] += 1
                        expected[turn, : len(nodes)] += 1 / len(nodes)
                twice += picked[0] == picked[1]
                possible += 1 / len(nodes)
    for turn in range(ROUNDS):
        enough = expected[turn] >= 5
        rest = expected[turn][~enough].sum()
        found = np.append(counts[turn][enough], counts[turn][~enough].sum())
        hoped = np.append(expected[turn][enough], rest)
        found, hoped = (found, hoped) if rest else (found[:-1], hoped[:-1])
        assert len(found) >= 5
        assert stats.chisquare(found, hoped).pvalue > 1e-3
    # With replacement: one node as often twice as chance has it.
    assert abs(twice - possible) < 4 * np.sqrt(possible)


def test_a_forest_has_its_leaves(forests):
    lanes, tree = forests("step")
    assert lanes.live.shape[1] == trees.leaves(TREES, NODES, ROUNDS) == TREES * (ROUNDS * NODES + 1)
    assert np.bincount(tree).tolist() == [ROUNDS * NODES + 1] * TREES
    for level, lane in np.ndindex(lanes.parent.shape):
        assert tree[lanes.parent[level, lane]] == tree[lane]
        assert (tree[lanes.owner[level, lane]] == tree[lane]).all()
    assert (lanes.parent[:, :TREES] == np.arange(TREES)).all()
    assert lanes.live[..., :10].all() and not lanes.live[..., 10:].any()  # a whole run each


def test_forks_are_made_where_they_may_be_and_the_root_always_may(forests):
    lanes, _ = forests("move")
    assert (lanes.fork % 2 == 0).all() and set(np.unique(lanes.fork)) == set(range(0, 10, 2))
    lanes, _ = forests("none")
    assert (lanes.fork == 0).all()
    assert lanes.own[..., :10].all()  # each is a run of its own
    assert (lanes.parent[:, TREES:] < TREES).all()


def test_a_fork_costs_about_half_a_run(forests):
    lanes, _ = forests("step")
    cost = lanes.own[:, TREES : TREES + TREES * NODES].sum(-1)
    length = 2 * MOMENTS
    error = np.sqrt((length**2 - 1) / 12 / cost.size)
    assert abs(cost.mean() - (length + 1) / 2) < 4 * error
    np.testing.assert_array_equal(lanes.generated, lanes.own.sum((1, 2)))
    assert (lanes.generated < lanes.live.sum((1, 2))).all()


def test_a_key_gives_a_forest(world, forests):
    lanes, _ = forests("step")
    agent = Table(jnp.zeros(world.dynamics.target.shape[:3]).at[..., -1].set(-60.0))
    again = jax.device_get(grown(world, agent, jax.random.key(2), "step"))[0]
    other = jax.device_get(grown(world, agent, jax.random.key(3), "step"))[0]
    np.testing.assert_array_equal(lanes.action, again.action)
    assert (lanes.action != other.action).mean() > 0.2 and (lanes.fork != other.fork).any()
