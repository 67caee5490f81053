"""Orders of training: predictions by hand, and what ranks say."""

import itertools

import numpy as np
import pytest

from icl.signals import order


def test_a_pair_counts_where_the_later_task_moves_the_earlier_one():
    moved = np.array([[9.0, 1.0, 2.0], [4.0, 9.0, 8.0], [16.0, 32.0, 9.0]])
    # 2, then 0, then 1: 0 moves 2, 1 moves 2, and 1 moves 0; what a task does to itself is no part.
    assert order.predicted(moved, (2, 0, 1)) == 2 + 8 + 4
    assert order.predicted(moved, (0, 1, 2)) == 4 + 16 + 32


def test_every_pair_counts_in_one_direction():
    moved = np.random.default_rng(0).normal(size=(4, 4))
    for taken in order.orders(4):
        both = order.predicted(moved, taken) + order.predicted(moved, taken[::-1])
        assert both == pytest.approx(moved.sum() - np.trace(moved))


def test_the_best_order_comes_first_and_all_are_there():
    moved = np.zeros((4, 4))
    for j, i in itertools.combinations((2, 0, 3, 1), 2):
        moved[i, j], moved[j, i] = -0.1, -0.4  # the other way round costs more
    ranks = order.ranked(moved)
    assert ranks[0] == (2, 0, 3, 1) and ranks[-1] == (1, 3, 0, 2)
    assert sorted(ranks) == order.orders(4) and len(ranks) == 24
    guesses = [order.predicted(moved, taken) for taken in ranks]
    assert guesses == sorted(guesses, reverse=True)


def test_transfer_is_what_training_changed():
    after = np.array([[0.9, 0.3], [0.1, 0.8]])
    moved = order.transfer([0.2, 0.4], after)
    np.testing.assert_allclose(moved, [[0.7, -0.1], [-0.1, 0.4]])


def test_orders_that_cannot_all_be_looked_at_are_refused():
    with pytest.raises(ValueError, match="7 tasks: all orders of 1 to 6"):
        order.orders(7)


def test_standing_is_the_share_that_does_better():
    assert order.standing([3.0, 1.0, 2.0], 0) == 0
    assert order.standing([3.0, 1.0, 2.0], 1) == 1
    assert order.standing([3.0, 1.0, 2.0], 2) == 0.5
    assert order.standing([1.0, 1.0, 1.0], 0) == 0.5


def test_agreement_is_of_ranks_and_nothing_agrees_with_a_constant():
    assert order.agreement([1, 2, 3], [1, 10, 100]) == pytest.approx(1)
    assert order.agreement([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert order.agreement([1, 1, 1], [3, 2, 1]) == 0


def test_tables_are_alike_whatever_tasks_do_to_themselves():
    one = np.random.default_rng(1).normal(size=(3, 3))
    assert order.likeness(one, 2 * one + np.eye(3)) == pytest.approx(1)
    assert order.likeness(one, -one) == pytest.approx(-1)
    assert order.likeness(one, np.ones((3, 3))) == 0


def test_pairs_explain_all_of_scores_that_are_made_of_them():
    moved = np.random.default_rng(2).normal(size=(4, 4))
    given = order.orders(4)
    made = [1.0 + order.predicted(moved, taken) for taken in given]
    assert order.additive(given, made) == pytest.approx(1)
    first = [float(taken[0] == 0 and taken[1] == 1) for taken in given]
    assert order.additive(given, first) < 0.6  # a matter of places, not of pairs
