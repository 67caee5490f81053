"""Cells of the order of training: what made-up scores come to, in the words that questions read."""

import itertools

import numpy as np
import pytest

from experiments.signals import cells
from experiments.signals.config import PRESETS
from experiments.signals.order import STARTS, TASKS, told
from experiments.signals.order_questions import CLOSED, LINES, OPEN, RANKS
from experiments.signals.order_questions import STARTS as ASKED
from icl.signals import order


@pytest.fixture
def made():
    """Scores that a table b makes exactly, the table, and the answer of a cell."""
    moved = np.random.default_rng(3).normal(-0.1, 0.05, (4, 4))
    scores: dict[order.Order, np.ndarray] = {(): np.full(4, 0.3)}
    for length in range(1, 5):
        for taken in itertools.permutations(range(4), length):
            found = np.full(4, 0.3)
            for place, task in enumerate(taken):
                found[task] = 0.9 + sum(moved[i, task] for i in taken[place + 1 :])
            scores[taken] = found
    views = {"base": moved, "trained": 2 * moved, "joint": -moved}
    rivals = {"joint": np.full(4, 0.8), "merged": np.full(4, 0.4), "start": scores[()]}
    return scores, moved, told(scores, views, rivals)


def test_a_table_that_makes_the_scores_foretells_them(made):
    scores, moved, found = made
    ranks = order.ranked(moved)
    assert set(found["orders"]) == {str(rank) for rank in RANKS}
    for rank in RANKS:
        lines = found["orders"][str(rank)]
        assert set(lines) == set(LINES)
        assert lines["measured"]["reached"] == pytest.approx(scores[ranks[rank - 1]].mean())
        assert lines["predicted"]["reached"] == pytest.approx(lines["measured"]["reached"])
        assert lines["joint"]["reached"] == pytest.approx(0.8)
    first = found["orders"]["1"]["measured"]
    assert first["spearman"] == pytest.approx(1) and first["standing"] == 0
    assert first["reached"] == first["highest"] and first["additive"] == pytest.approx(1)
    assert first["order"] == ", ".join(TASKS[i] for i in ranks[0])


def test_views_say_how_they_differ_from_the_base(made):
    _, moved, found = made
    views, between = found["views"], ~np.eye(4, dtype=bool)
    assert views["base"]["shift"] == 0 and views["base"]["alike"] == pytest.approx(1)
    assert views["trained"]["shift"] == pytest.approx(np.abs(moved[between]).mean())
    assert views["joint"]["alike"] == pytest.approx(-1)
    assert views["joint"]["spearman"] == pytest.approx(-1) and views["joint"]["standing"] == 1


def test_cells_depend_on_start_levels_and_size_alone():
    quick = PRESETS["quick"]
    name = cells.identity("order", quick, "imitated", 3)
    assert name == {
        "kind": "order", "method": "imitated", "seed": 3, "levels": quick.levels, "small": False
    }  # fmt: skip
    assert set(ASKED) == set(STARTS) and (*CLOSED, OPEN) == TASKS
