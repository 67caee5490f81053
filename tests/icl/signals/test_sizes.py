"""Sizes: what a group of a method costs is what it was sized for."""

import jax
import numpy as np
import pytest

from icl.signals.methods import Valued
from icl.signals.registry import entries, sized
from icl.signals.sizes import NEAR, Costs, costs, forest, valued
from tests.icl.signals.worlds import made, quick

KEY = jax.random.key(4)
PIECES = {"step": (20.0, 210.0, 10.5), "chunk": (3.0, 45.0, 15.0)}
SPARSE = Costs(20.0, *({name: told[i] for name, told in PIECES.items()} for i in range(3)))


def cost(found, told: Costs) -> float:
    """Expected actions of a group."""
    if hasattr(found, "trees"):
        return found.trees * (told.steps + found.nodes * told.fork[found.unit])
    return found.runs * (told.steps + found.forks * told.left[found.pieces])


@pytest.mark.parametrize("budget", [300, 700, 2000, 20_000])
def test_a_budget_is_used_up_as_far_as_sizes_allow(budget):
    for unit in PIECES:
        assert cost(forest(budget, SPARSE, unit), SPARSE) == pytest.approx(budget, rel=0.1)
        found = valued(budget, SPARSE, unit)
        every = [Valued(unit, n, k) for n in range(1, 500) for k in range(1, 10)]
        nearest = min(abs(cost(other, SPARSE) - budget) for other in every)
        assert abs(cost(found, SPARSE) - budget) <= max(nearest, NEAR * budget)
    assert valued(20_000, SPARSE, "step").forks == 9


def test_trees_are_as_wide_as_they_are_many():
    for budget in (700, 2000, 9000):
        found = forest(budget, SPARSE, "step")
        assert abs(found.trees - found.nodes) <= 3
    least = forest(90, SPARSE, "step")
    assert (least.trees, least.nodes) == (2, 2)


@pytest.mark.parametrize(
    ("make", "least"),
    [
        (lambda b: forest(b, SPARSE, "step"), 82),
        (lambda b: valued(b, SPARSE, "chunk", least=2), 130),
    ],
)
def test_what_is_too_little_is_refused(make, least):
    make(least)
    with pytest.raises(ValueError, match=f"take about {least}; use that or more"):
        make(least // 1.2)


@pytest.mark.parametrize("name", ["spo-oracle", "spo-chunk", "tree-grpo-move", "tree-grpo-chunk"])
def test_groups_cost_what_they_were_sized_for(name):
    """Over 3 levels and 32 groups, where few steps are decisive and early ones among them."""
    place = made(3, density=0.4, moments=8, horizon=12)
    policy = place.leaning(1.0)
    told = costs(place, policy, KEY, runs=256)
    method = sized(name, 150, told)
    run = quick(lambda key: method(place, policy, key).actions)
    taken = np.mean([run(key) for key in jax.random.split(KEY, 32)])
    assert taken == pytest.approx(cost(method, told), rel=0.04)
    assert taken == pytest.approx(150, rel=0.15)


def test_leads_over_other_runs_have_others():
    for name in entries():
        if name == "pure" or (name.startswith("vine-") and name != "vine-ppo"):
            assert sized(name, 500, SPARSE).runs >= 2
