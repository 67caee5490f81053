"""Segmenters against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals import segments
from tests.envs.worlds import each
from tests.icl.signals.worlds import by_hand, forest, play


@pytest.fixture(scope="module")
def calm_lanes(calm):
    return play(calm, calm.leaning(2.0), jax.random.key(5), 8)[0]


@pytest.fixture(scope="module")
def trees():
    """Random lanes, some of them forks."""
    shape = {"levels": 5, "trees": 2, "nodes": 3, "rounds": 2, "horizon": 9}
    return forest(np.random.default_rng(0), **shape)[0]


def check(starts, lanes, expected):
    """``expected(i, j, t)`` of every step that is live and not the first of its run."""
    starts, live = np.asarray(starts), np.asarray(lanes.live)
    assert starts.dtype == bool
    kinds = set()
    for i, j, t in np.ndindex(live.shape):
        cut = bool(live[i, j, t] and (t == 0 or expected(i, j, t)))
        assert starts[i, j, t] == cut, (i, j, t)
        kinds.add(cut)
    assert kinds == {True, False}


def test_pieces_cover_the_live_steps(trees):
    for starts in (segments.whole(trees), segments.chunks(trees, 2), segments.steps(trees)):
        number, live = segments.index(starts), np.asarray(trees.live)
        assert number.dtype == jnp.int32
        for row, steps, cuts in zip(
            *(np.asarray(x).reshape(-1, 9) for x in (number, live, starts))
        ):
            found = row[steps]
            assert found[0] == 0 and (np.diff(found) == cuts[steps][1:]).all()


def test_a_run_that_begins_late_begins_with_a_piece():
    live = np.array([[[False, False, True, True, True, False]]])
    lanes = by_hand(np.random.default_rng(0), np.zeros(live.shape, np.int32), live)
    assert segments.whole(lanes).tolist() == [[[False, False, True, False, False, False]]]


def test_whole_steps_and_chunks(trees):
    check(segments.whole(trees), trees, lambda i, j, t: False)
    check(segments.steps(trees), trees, lambda i, j, t: True)
    check(segments.chunks(trees, 4), trees, lambda i, j, t: t % 4 == 0)


def test_unsure_cuts_before_improbable_actions(trees):
    power = np.exp(np.asarray(trees.logits, np.float64))
    chance = power / power.sum(-1, keepdims=True)
    action = np.asarray(trees.action)
    check(
        segments.unsure(trees, 0.6),
        trees,
        lambda i, j, t: chance[i, j, t, action[i, j, t]] < 0.6,
    )


def test_alone_cuts_around_steps(trees):
    which = np.random.default_rng(1).random(trees.live.shape) < 0.2
    check(
        segments.alone(trees, jnp.asarray(which)),
        trees,
        lambda i, j, t: which[i, j, t] or which[i, j, t - 1],
    )


def test_forks_are_the_edges_of_a_tree_made_by_hand():
    rows = [
        ([0, 0, 0, 0, 0, 0], [0, 2]),
        ([0, 0, 1, 1, 1, 1], [0, 2, 4]),
        ([0, 0, 1, 1, 2, 2], [0, 2, 4]),  # a fork of the fork
        ([0, 0, 3, 3, 3, 3], [0, 2]),
        ([4, 4, 4, 4, 4, 4], [0]),  # from the root: nothing is shared
        ([5, 5, 5, 5, 5, 5], [0, 1]),  # another tree
        ([5, 6, 6, 6, 6, 6], [0, 1]),
    ]
    parent, fork = [0, 0, 1, 0, 0, 5, 5], [0, 2, 4, 2, 0, 0, 1]
    owner = np.array([[row for row, _ in rows]], np.int32)
    lanes = by_hand(
        np.random.default_rng(0), owner, np.ones(owner.shape, bool),
        np.array([parent], np.int32), np.array([fork], np.int32),
    )  # fmt: skip
    found = [np.flatnonzero(row).tolist() for row in np.asarray(segments.forks(lanes)[0])]
    assert found == [cuts for _, cuts in rows]


def test_forks_cut_where_the_lanes_that_share_a_step_change(trees):
    owner, live = np.asarray(trees.owner), np.asarray(trees.live)

    def sharing(i, j, t):
        return {
            k for k in range(live.shape[1]) if live[i, k, t] and owner[i, k, t] == owner[i, j, t]
        }

    check(segments.forks(trees), trees, lambda i, j, t: sharing(i, j, t) != sharing(i, j, t - 1))


def spelled(world, number):
    """(place, letter, sound, lost) of a state's number."""
    move, spelling = int(number) // 4, world.env.bare.spelling
    return move // spelling, move % spelling, int(number) // 2 % 2, int(number) % 2


def test_moves_begin_with_their_first_token(calm, calm_lanes):
    lanes, state = calm_lanes, np.asarray(calm_lanes.state)

    def letter(i, j, t):
        return spelled(calm, state[i, j, t])[1]

    check(segments.moves(calm.env, calm.levels, lanes), lanes, lambda i, j, t: letter(i, j, t) == 0)
    check(segments.inside(calm.env, calm.levels, lanes), lanes, lambda i, j, t: letter(i, j, t) > 0)


@pytest.mark.parametrize("name", ["calm", "sticky"])
def test_goals_cut_behind_each_decisive_moment_that_was_passed(request, name):
    world = request.getfixturevalue(name)
    lanes = play(world, world.leaning(2.0), jax.random.key(5), 8)[0]
    state, levels = np.asarray(lanes.state), each(world.levels)

    def reached(i, j, t):
        place, _, _, lost = spelled(world, state[i, j, t])
        return 0 if lost else sum(levels[i].decisive[:place])

    check(
        segments.goals(world.env, world.levels, lanes),
        lanes,
        lambda i, j, t: reached(i, j, t) > reached(i, j, t - 1),
    )
