"""Cells of reward models: what they depend on, and that they tell what they say, in the smallest
sizes."""

import dataclasses

import pytest

from experiments.signals import judged
from experiments.signals.cells import KINDS, identity
from experiments.signals.config import PRESETS
from experiments.signals.judged_questions import AWARE, REWARDS, SELECTORS, STANDARD
from experiments.signals.questions import QUESTIONS

SMOKE = dataclasses.replace(PRESETS["smoke"], levels=2)


def test_a_cell_depends_on_its_plan_and_nothing_else(monkeypatch):
    quick = PRESETS["quick"]

    def told(kind: str, config=quick) -> dict:
        return identity(kind, config, AWARE, 0)

    assert told("judge") != told("judge", PRESETS["smoke"])
    assert told("judge") == told("judge", dataclasses.replace(quick, budget=7, total=7, skill=0.0))
    before = {kind: told(kind) for kind in ("judge", "select", "reinforce")}
    monkeypatch.setattr(judged, "PRACTICE", dataclasses.replace(judged.PRACTICE, beta=0.9))
    assert [kind for kind in before if told(kind) != before[kind]] == ["reinforce"]
    monkeypatch.setattr(judged, "PLAN", dataclasses.replace(judged.PLAN, updates=7))
    assert all(told(kind) != before[kind] for kind in before)


def test_questions_ask_for_judges_that_there_are():
    for name in ("reward-model", "selection", "reward-learning"):
        for spot in QUESTIONS[name].spots(PRESETS["quick"]):
            judge, _, score = spot.method.partition("/")
            known = {*judged.JUDGES, "anyone", "ideal", "outcome"}
            assert spot.kind in KINDS and judge in known
            assert score in ("", "mean", "lowest", "last", "run", "joint")
    assert {AWARE, STANDARD} < set(judged.JUDGES)


@pytest.mark.slow
def test_cells_tell_what_they_say():
    found = judged.judge_steps(SMOKE, AWARE, 100)
    assert all(0 <= told["tells"] <= 1 for told in found["steps"].values())
    worth = {way: told["solves"] for way, told in found["best"].items()}
    assert 0 < worth["anyone"] < worth["ideal"] == max(worth.values()) <= 1
    assert found == judged.judge_steps(SMOKE, AWARE, 100)
    for way in SELECTORS[:3]:
        told = judged.select(SMOKE, way, 100)
        assert set(told) == {"solves", "good", "imitated"}
        assert all(0 <= x <= 1 for x in told.values())
    best, some = (judged.select(SMOKE, way, 100)["solves"] for way in ("ideal", "anyone"))
    assert best > some
    curves = [judged.reinforce(SMOKE, name, 100)["success"] for name in REWARDS[:2]]
    assert [len(path) for path in curves] == [11, 11] and curves[0] != curves[1]
    assert curves[0][0] == curves[1][0]
