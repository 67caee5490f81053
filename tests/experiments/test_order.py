"""Cells of the order of training: what made-up scores come to, in the words that questions read."""

import dataclasses
import itertools

import numpy as np
import pytest

from experiments.signals import cells
from experiments.signals.config import PRESETS
from experiments.signals.order import STARTS, TASKS, ordered, told
from experiments.signals.order_questions import CLOSED, LINES, OPEN, RANKS
from experiments.signals.order_questions import STARTS as ASKED
from icl.signals import order
from icl.signals.stages import StageConfig


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


# The whole of it, as small as it can be. ------------------------------------------------------
SMALL = dataclasses.replace(
    STARTS["imitated"], levels=16, trials=4, stage=StageConfig(groups=4, runs=4)
)
FEW = dataclasses.replace(PRESETS["quick"], levels=16)


def every(found: dict, line: str) -> np.ndarray:
    return np.array([found["orders"][str(rank)][line]["reached"] for rank in RANKS])


def test_stages_of_no_actions_change_nothing():
    found = ordered(FEW, "imitated", 0, dataclasses.replace(SMALL, budget=0))
    start = every(found, "start")
    assert 0 < start[0] < 1
    for line in ("measured", "predicted", "joint", "merged"):
        np.testing.assert_allclose(every(found, line), start, atol=1e-6)
    for view in found["transfer"].values():
        assert not np.any(view)


def test_all_orders_are_trained_and_scored():
    plan = dataclasses.replace(SMALL, budget=2000, practised=1000)
    found = ordered(FEW, "practised", 1, plan)
    measured, predicted = every(found, "measured"), every(found, "predicted")
    assert len({found["orders"][str(rank)]["measured"]["order"] for rank in RANKS}) == 24
    assert ((measured >= -1) & (measured <= 1 + 1e-5)).all() and len(set(measured)) > 12
    assert (np.diff(predicted) <= 1e-6).all()  # ranks are by what was predicted
    first = found["orders"]["1"]["measured"]
    assert first["highest"] == pytest.approx(measured.max())
    assert first["average"] == pytest.approx(measured.mean())
    transfer = {name: np.array(view) for name, view in found["transfer"].items()}
    assert set(transfer) == {"base", "joint", "imitated", "trained"}
    assert all(view.shape == (4, 4) and np.isfinite(view).all() for view in transfer.values())
    for task in TASKS:
        nats = [part["nats"] for part in found["courses"]["any"][task].values()]
        assert all(0 <= x <= np.log(8) for x in nats) and len(set(nats)) > 1
