"""The failure map: its claims on made-up regimes and on broken ones, its marks and its pictures."""

import dataclasses
import io
import json
import re
from typing import Any

import pytest

from experiments import failure_map
from experiments.failure_map import EXPERT, PLANES, Setting, look, marks
from experiments.studies import STUDIES
from experiments.study import Found
from experiments.study_folder import StudyFolder
from experiments.study_plan import BASES, checked, groups
from experiments.study_report import groups as charts
from experiments.study_report import render
from experiments.study_still import draw
from icl.novelty import BINS

BASE, SEEDS = BASES["quick"], range(5)
STUDY = STUDIES["failure-map"]
SPLITS = {
    "seen-level": ("ice", "maze"),
    "unseen-level": ("ice", "maze"),
    "unseen-family": ("wind",),
}


def regimes(at: dict[str, Any]) -> dict[str, float]:
    """What is measured at a place where all four regimes of the paper appear."""
    final, drift = at["lethality"], at["test"] - 0.1
    if at["meaning"] == "fixed":
        return {"score": 0.3, "agree": 0.8, "hit": 0.9, "copy": 0.2, "foreign": 0.8}
    return {
        "score": 0.8 - 0.6 * final - 0.8 * drift,
        "agree": 0.85 - 0.5 * drift,
        "hit": 0.9 - 0.8 * drift,
        "copy": 0.9,
        "foreign": 0.4,
    }


def found_of(measured) -> Found:
    """Rows and probes of the study's points, with a little of each seed's own."""
    points = checked(STUDY, BASE)
    rows, probes = [], []
    for point in points:
        own = measured(dict(point.at))
        places = [
            {"arm": point.arm, "seed": seed, "split": split, "family": family, "demos": 1}
            for seed in SEEDS for split, families in SPLITS.items() for family in ("all", *families)
        ]  # fmt: skip
        noise = {seed: 0.002 * (-1) ** seed * (seed + 1) for seed in SEEDS}
        shift = {"ice": 0.01, "maze": -0.01}
        made = {
            "hit": own["hit"], "agree": own["agree"], "copy": own["copy"],
            "agree-hit": own["agree"] + own.get("gap", 0.1), "agree-novel": own["agree"] - 0.1,
        }  # fmt: skip
        # Of demonstrations as they are a copier and a knower play the same.
        other = {("agree", "foreign"): own["foreign"], ("copy", "whole"): 0.6}
        rows.append([
            place | {"acting": acting, "demonstrations": "whole", "success": 0.5,
                     "score": own["score"] + noise[place["seed"]] + shift.get(place["family"], 0)}
            for place in places for acting in ("sampled", "greedy")
        ])  # fmt: skip
        probes.append(
            [
                place | {"demonstrations": shown, "measure": name,
                         "score": other.get((name, shown), value) - noise[place["seed"]]}
                for place in places for shown in ("whole", "relabelled", "foreign")
                for name, value in made.items()
            ] + [
                place | {"demonstrations": "whole", "measure": "agree at novelty", "novelty": most,
                         "score": own["agree"]}
                for place in places for most in BINS
            ]
        )  # fmt: skip
    return Found(points, rows, (), probes)


def results_of(found: Found) -> dict[str, Any]:
    return {
        "study": STUDY.name,
        "question": STUDY.question,
        "paper": STUDY.paper,
        "published": STUDY.published,
        "verdicts": STUDY.claims(found),
        "config": dataclasses.asdict(BASE),
        "environment": {"device": "2 x cpu"},
        "command_line": "levelburst study failure-map",
        "axes": list(STUDY.axes),
        "points": [{"at": dict(p.at), "arm": p.arm} for p in found.points],
        "rows": found.rows,
        "curves": [],
        "probes": found.probes,
    }


@pytest.fixture(scope="module")
def results():
    """As the results.json of the four regimes has it."""
    return json.loads(json.dumps(results_of(found_of(regimes))))


# Points and claims. ------------------------------------------------------------------------
def test_it_trains_nothing_that_lethality_and_in_weights_do_not(tmp_path):
    def trained(name):
        return {
            StudyFolder(tmp_path, config).trained(arm, config.seed)
            for config in groups(checked(STUDIES[name], BASE)) for arm in config.arms
        }  # fmt: skip

    assert trained("failure-map") <= trained("lethality") | trained("in-weights")
    assert len(trained("failure-map")) == 4
    points = checked(STUDY, BASE)
    assert len(points) == 8
    cells = {StudyFolder(tmp_path, p.config).cell(p.arm, 0) for p in points}
    assert len(cells) == 8  # each test has a file of its own, probes included


def holds(measured) -> dict[str, Any]:
    """regime -> whether each of its claims holds."""
    made = STUDY.claims(found_of(measured))
    assert {x["ordering"] for x in made} == {"S11"} and all(x["paper"] for x in made)
    kinds: dict[str, list[Any]] = {}
    for verdict in made:
        kind = re.split(r" \(|:", verdict["claim"])[0]
        kinds.setdefault(kind, []).append(verdict["holds"])
    return kinds


def test_all_claims_hold_where_the_four_regimes_appear():
    assert holds(regimes) == {
        "unforgiving": [True] * 3,
        "drift": [True] * 4,
        "in weights": [True] * 3,
        "in context": [True] * 2,
    }


@pytest.mark.parametrize(
    ("twin", "kind", "expected"),
    [
        # Mistakes are as bad for agreement as they are for the score.
        (lambda at, own: own | {"agree": own["score"]}, "unforgiving", [True, False, False]),
        # Nothing is final: the score stays.
        (lambda at, own: own | {"score": 0.8}, "unforgiving", [False, True, False]),
        # The demonstrations cover more of what is met, the more sticks.
        (lambda at, own: own | dict.fromkeys(("hit", "agree", "score"), 0.4 + at["test"])
         | {"gap": -0.3}, "drift", [False, False, False, False]),
        # What is thought to be known from weights is read from the context.
        (lambda at, own: own | {"copy": 0.9}, "in weights", [False, False, True]),
        # Nothing was learned.
        (lambda at, own: own | {"score": 0.0}, "in weights", [True, True, False]),
        (lambda at, own: own | {"score": 0.1, "foreign": own["agree"]}, "in context",
         [False, False]),
    ],
)  # fmt: skip
def test_claims_of_a_regime_that_is_not_there_do_not_hold(twin, kind, expected):
    assert holds(lambda at: twin(at, regimes(at)))[kind] == expected


# Marks and pictures. -----------------------------------------------------------------------
def test_a_mark_is_a_family_in_a_setting_by_agreement_and_score(results):
    unseen, held_out, seen = (marks(results, plane) for plane in PLANES)
    assert len(unseen) == len(held_out) == len(seen) == 8
    assert [mark.family for mark in unseen[Setting(0.5, 0.3, "drawn")]] == ["ice", "maze"]
    assert {mark.family for own in held_out.values() for mark in own} == {"wind"}
    ice = unseen[Setting(0.5, 0.5, "drawn")][0]
    own = regimes({"lethality": 0.5, "test": 0.5, "meaning": "drawn"})
    assert ice.x.estimate == pytest.approx(own["agree"], abs=0.01) and ice.x.seeds == 5
    assert ice.y.estimate == pytest.approx(own["score"] + 0.01, abs=0.01) and ice.y.seeds == 5
    assert ice.y.low < ice.y.estimate < ice.y.high
    # On training levels it is the renamed demonstration that is agreed with, or not.
    fixed, drawn = (seen[Setting(0.0, 0.1, meaning)][0] for meaning in ("fixed", "drawn"))
    assert fixed.x.estimate == pytest.approx(0.2, abs=0.01)
    assert drawn.x.estimate == pytest.approx(0.9, abs=0.01)


def test_colour_says_lethality_and_shape_says_stickiness(results):
    settings = list(marks(results, PLANES[0]))
    looks = {setting: look(setting, settings) for setting in settings}
    by_colour = {s.lethality: looks[s][0] for s in settings}
    by_shape = {s.test: looks[s][1] for s in settings}
    assert len(set(by_colour.values())) == len(set(by_shape.values())) == 3
    assert all(looks[s] == (by_colour[s.lethality], by_shape[s.test]) for s in settings)


def test_the_page_has_the_map_and_the_papers_points(results):
    group = next(part for part in charts(results) if part["name"] == "Failure map")
    planes, paper = group["panels"][:3], group["panels"][3]
    assert [len(panel["figure"]["data"]) for panel in planes] == [8, 8, 8]
    (point,) = [
        trace for trace in planes[0]["figure"]["data"] if trace["name"] == "lethality 0.5, test 0.5"
    ]
    assert [text.split(":")[0] for text in point["text"]] == ["ice", "maze"]
    own = regimes({"lethality": 0.5, "test": 0.5, "meaning": "drawn"})
    assert point["x"] == pytest.approx([own["agree"]] * 2, abs=0.02)
    assert point["y"] == pytest.approx([own["score"]] * 2, abs=0.03)
    assert all(reach > 0 for bar in ("error_x", "error_y") for reach in point[bar]["array"])
    hollow = [t["name"] for t in planes[0]["figure"]["data"] if "open" in t["marker"]["symbol"]]
    assert hollow == ["lethality 0, test 0.1, in weights"]
    assert planes[0]["figure"]["layout"]["xaxis"]["title"]["text"] == EXPERT
    drawn = {(t["name"], *t["x"], *t["y"]) for t in paper["figure"]["data"]}
    assert drawn == {
        ("in context: Labyrinth", 0.95, 0.70),
        ("in weights: MazeWalk-15", 0.26, 0.35),
        ("unforgiving: Memento-F4", 0.85, -0.09),
        ("drift: HideNSeek", 0.43, -0.14),
    }
    assert {t["marker"]["color"] for t in paper["figure"]["data"]} == {failure_map.GREY}
    assert "lethality 0.5, test 0.5: ice: agreement 0." in planes[0]["alt"]
    assert "drift: HideNSeek: agreement 0.43, return −0.14" in paper["alt"]
    away = next(part for part in charts(results) if part["name"] == "Away from the demonstration")
    assert [panel["title"] for panel in away["panels"]] == ["Plays the expert's action, by novelty"]
    assert len(away["panels"][0]["figure"]["data"]) == 8
    text = render(results)
    assert "mean returns elsewhere" in text and 'class="panels tall"' in text


def test_one_seed_is_drawn_without_intervals(results):
    few = results | {
        name: [row for row in results[name] if row["seed"] == 0] for name in ("rows", "probes")
    }
    figure = charts(few)[0]["panels"][0]["figure"]
    assert figure["data"][0]["error_x"]["array"] == [None, None]
    draw(few, io.BytesIO())


def test_the_still_picture_is_the_same_at_every_drawing(results):
    first, second = io.BytesIO(), io.BytesIO()
    draw(results, first)
    draw(results, second)
    assert first.getvalue() == second.getvalue()
    text = first.getvalue().decode()
    assert STUDY.question in text and text.count('id="axes_') == 3
    # Letters are outlines, with what they say in comments.
    told = (EXPERT, "lethality 0.5, test 0.5", "in weights: MazeWalk-15", "drift: HideNSeek")
    assert all(f"<!-- {words} -->" in text for words in told)
