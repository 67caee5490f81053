"""The order of families in context, whole, with the smallest model and a few updates a stage."""

import dataclasses

import numpy as np
import pytest

from experiments.signals import curriculum
from experiments.signals.config import PRESETS
from experiments.signals.curriculum_questions import CURRICULUM, FAMILIES, WAYS
from experiments.signals.question import Answers


def answers(found: dict, seeds: int = 2) -> Answers:
    """What a question reads of the same cell under so many seeds."""
    rows = []
    for spot in CURRICULUM.spots(PRESETS["smoke"]):
        values = found
        for name in spot.part:
            values = values[name]
        rows += [dict(spot.at) | {"seed": seed} | values for seed in range(seeds)]
    return Answers(rows)


@pytest.fixture(params=[0.0, 0.1], ids=["no rate", "some rate"])
def taught(request, monkeypatch):
    """(learning rate, what a cell says)."""
    task = dataclasses.replace(curriculum.TASK, learning_rate=request.param)
    monkeypatch.setattr(curriculum, "TASK", task)
    curriculum._school.cache_clear()
    yield request.param, curriculum.schooled(PRESETS["smoke"], "bursty", 0)
    curriculum._school.cache_clear()


@pytest.mark.slow
def test_every_way_of_teaching_is_scored(taught):
    rate, found = taught
    assert set(found["ways"]) == set(WAYS)
    scores = np.array(
        [[found["ways"][way][name]["reached"] for name in (*FAMILIES, "all")] for way in WAYS]
    )
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:, :-1].mean(1), scores[:, -1], atol=1e-6)
    told, moved = found["told"], np.array(found["moved"])
    assert set(told["best"].split(", ")) == set(told["worst"].split(", ")) == set(FAMILIES)
    assert told["gap"] >= 0 and told["own"] == pytest.approx(np.diag(moved).mean())
    if rate:
        assert len(np.unique(scores[:, -1])) > 3 and np.any(moved)
    else:  # nothing is learned, so nothing differs
        np.testing.assert_allclose(scores, np.broadcast_to(scores[0], scores.shape), atol=1e-6)
        assert not np.any(moved)
    assert len(CURRICULUM.claims(answers(found))) == 7
