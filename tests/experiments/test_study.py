"""Studies: their points are possible, their claims right on made-up scores, their cells shared."""

import dataclasses
import json
import math
from typing import Any

import pytest

from experiments.config import check
from experiments.errors import ConfigError
from experiments.studies import STUDIES
from experiments.studies.insides import heads
from experiments.study import (
    ABOVE,
    BELOW,
    Found,
    Point,
    claim,
    difference,
    mean_of,
    slope,
    within,
)
from experiments.study_figures import is_wide
from experiments.study_folder import StudyFolder, identity
from experiments.study_plan import BASES, checked, groups, plan
from experiments.study_report import render
from icl.conditions import ACTINGS, OWN
from icl.probes import MEASURES
from icl.statistics import Interval

pytestmark = pytest.mark.early

BASE = BASES["quick"]
SEEDS = range(5)


@pytest.mark.parametrize("preset", BASES)
@pytest.mark.parametrize("name", STUDIES)
def test_every_point_of_every_study_is_possible(name, preset):
    points = checked(STUDIES[name], BASES[preset])
    places = [tuple(point.at.values()) for point in points]
    assert len(set(places)) == len(places)
    for config in groups(points):
        check(config)
        assert config.seeds >= 2 and (preset == "smoke" or config.seeds >= 5)


def test_a_base_that_a_study_cannot_vary_is_refused_with_the_point():
    with pytest.raises(ConfigError, match="study levels, train_levels 16: levels 64: only 16"):
        checked(STUDIES["levels"], dataclasses.replace(BASE, train_levels=512))


# Claims on made-up scores. ---------------------------------------------------------------
def rows_at(point, score, splits=("seen-level", "unseen-level", "unseen-family")):
    """Rows of a point whose score is ``score(row)`` and a little of its seed's own."""
    rows = []
    for seed in SEEDS:
        for split in splits:
            for demos in range(4):
                own = (OWN,) if point.config.attempts else ()
                for kind in (*point.config.demonstrations, *own):
                    for acting in ACTINGS:
                        row = {
                            "arm": point.arm,
                            "seed": seed,
                            "split": split,
                            "family": "all",
                            "demos": demos,
                            "demonstrations": kind,
                            "acting": acting,
                            "success": 0.5,
                            "levels": 64,
                            "episodes": 64,
                            "return": 0.5,
                            "hit": 0.25,
                        }
                        # A row's own field takes the place of an axis of that name.
                        assert all(point.at.get(f, x) == x for f, x in row.items() if f != "demos")
                        rows.append(row | {"score": score(point, row) + 0.001 * seed})
    return rows


def found_of(name, score):
    points = checked(STUDIES[name], BASE)
    curves = [
        [
            {"update": u, "seed": s, "split": split, "demos": k, "score": u / 800}
            for u in (160, 480, 800) for s in SEEDS for split in ("unseen-level",) for k in (0, 1)
        ]
        for _ in points
    ]  # fmt: skip
    probes = [
        [
            {"arm": "bursty", "seed": s, "split": split, "family": "all", "demos": k,
             "demonstrations": kind, "measure": measure, "score": 0.1 * i + 0.01 * s * j}
            for s in SEEDS for k in (1, 3)
            for split in ("seen-level", "unseen-level", "unseen-family")
            for j, kind in enumerate(("whole", "relabelled", "foreign"))
            for i, measure in enumerate(MEASURES)
        ] + [
            {"arm": "bursty", "seed": s, "split": "unseen-level", "family": "all", "demos": 1,
             "demonstrations": "whole", "measure": measure, "unit": f"layer 1, head {h}",
             "score": score(s, h)}
            for s in SEEDS for h in (1, 2)
            # Head 2 looks, but in seed 4, where head 1 does; without it copying is at 0.1.
            for measure, score in (
                ("match", lambda s, h: float((h == 2) != (s == 4))),
                ("copy without", lambda s, h: 0.1 if (h == 2) != (s == 4) else 0.35 + 0.01 * s),
            )
        ]
        for _ in points
    ]  # fmt: skip
    return Found(points, [rows_at(point, score) for point in points], curves, probes)


def verdicts(name, score):
    return STUDIES[name].claims(found_of(name, score))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_decides_its_claims_and_draws_its_page(name):
    found = found_of(name, lambda point, row: 0.2 * row["demos"])
    made = STUDIES[name].claims(found)
    assert made and len({x["claim"] for x in made}) == len(made)
    for verdict in made:
        assert verdict["seeds"] == 5 and verdict["level"] == 0.95
        assert math.isfinite(verdict["low"]) and verdict["holds"] in (True, False, None)
        assert verdict["ordering"] in ("", *(f"S{n}" for n in range(1, 13)))
    study = STUDIES[name]
    page = render(
        {
            "study": name,
            "question": study.question,
            "paper": study.paper,
            "published": study.published,
            "verdicts": made,
            "config": dataclasses.asdict(BASE),
            "environment": {"device": "2 x cpu"},
            "command_line": f"levelburst study {name}",
            "axes": list(study.axes),
            "points": [{"at": dict(p.at), "arm": p.arm} for p in found.points],
            "rows": found.rows,
            "curves": found.curves,
            "probes": found.probes if study.probes else [],
        }
    )
    assert study.question in page and "http://" not in page.split("<script>")[0]


def test_burstiness_that_helps_one_shot_only_is_what_the_paper_claims():
    made = verdicts("burstiness", lambda point, row: point.at["p_b"] * (row["demos"] > 0))
    assert [x["holds"] for x in made] == [True] * 4
    assert made[0]["estimate"] == pytest.approx(1.0)
    # The broken twin: zero-shot rises as well, and p_b = 0 already learns.
    made = verdicts("burstiness", lambda point, row: 0.3 * row["demos"] + point.at["p_b"])
    assert [x["holds"] for x in made] == [True, False, False, True]
    made = verdicts(
        "burstiness", lambda point, row: (0.6 - 0.2 * point.at["p_b"]) * (row["demos"] > 0)
    )
    assert [x["holds"] for x in made] == [False, True, False, False]


@pytest.mark.parametrize(
    ("numbers", "wide"),
    [
        ([1, 16], True), ([1, 15], False), ([64, 256, 1024], True), ([0, 1, 100], False),
        (range(1, 25), False), ([*range(1, 25), 48], True), ([3], False), ([], False),
    ],
)  # fmt: skip
def test_an_axis_of_ratios_is_logarithmic_and_one_of_ranks_is_not(numbers, wide):
    assert is_wide(numbers) is wide


def test_the_first_demonstration_is_told_from_a_steady_gain():
    def share(first):
        gains = [0.0, first, first + 0.1, first + 0.2]
        made = verdicts("demonstrations", lambda point, row: gains[row["demos"]])
        return [x["holds"] for x in made if x["ordering"] == "S5"]

    assert share(0.6) == [True, True] and share(0.1) == [False, False]


def test_a_peak_is_not_chosen_by_its_own_noise():
    (point,) = checked(STUDIES["transience"], BASE)[:1]
    # Each seed has a spike of its own at an update where the others are low.
    lines = [
        {"update": u, "seed": s, "split": "unseen-level", "demos": 1, "score": float(u == s) + 0.1}
        for u in range(6) for s in SEEDS
    ]  # fmt: skip
    found = Found([point], [[]], [lines])
    assert found.peaks() == {seed: pytest.approx(0.1) for seed in SEEDS}
    common = Found([point], [[]], [[x | {"score": float(x["update"] == 5)} for x in lines]])
    assert common.peaks() == dict.fromkeys(SEEDS, 1.0)


def test_the_head_that_looks_is_the_one_that_is_silenced():
    made = found_of("in-weights", lambda point, row: 0.0)
    at = {"p_b": 1.0, "meaning": "drawn"}
    assert heads(made, at, -1) == {s: f"layer 1, head {1 if s == 4 else 2}" for s in SEEDS}
    claims = {x["claim"]: x for x in STUDIES["in-weights"].claims(made)}
    lead = next(x for text, x in claims.items() if "looks at them least" in text)
    assert lead["estimate"] == pytest.approx(0.27) and lead["holds"] is True


def test_updates_to_a_score_are_the_last_where_it_is_never_reached():
    found = found_of("chunks", lambda point, row: 0.0)
    assert found.updates_to(0.3, chunk=16, p_b=1.0) == {s: pytest.approx(240) for s in SEEDS}
    assert found.updates_to(2.0, chunk=16, p_b=1.0) == dict.fromkeys(SEEDS, 800)


def test_what_was_not_measured_or_is_not_unique_is_said():
    found = found_of("burstiness", lambda point, row: 0.0)
    with pytest.raises(LookupError, match="nothing was measured"):
        found.scores(p_b=0.3)
    with pytest.raises(LookupError, match="several points"):
        found.scores()


@pytest.mark.parametrize(
    ("low", "high", "region", "holds"),
    [
        (0.1, 0.3, ABOVE, True),
        (-0.1, 0.3, ABOVE, None),
        (-0.3, -0.1, ABOVE, False),
        (-0.3, 0.0, ABOVE, False),
        (-0.3, -0.1, BELOW, True),
        (-0.04, 0.04, within(0.05), True),
        (-0.04, 0.06, within(0.05), None),
        (0.06, 0.1, within(0.05), False),
        (math.nan, math.nan, ABOVE, None),
    ],
)
def test_a_claim_is_decided_by_where_its_interval_lies(low, high, region, holds):
    found = Interval((low + high) / 2, low, high, 0.95, 5)
    assert claim("S1", "so", found, region)["holds"] is holds


def test_contrasts_are_matched_by_seed():
    first, second = {0: 1.0, 1: 2.0, 2: 3.0}, {1: 1.5, 2: 2.4, 7: 9.0}
    assert difference(first, second).estimate == pytest.approx(0.55)
    assert mean_of([first, second]) == {1: 1.75, 2: pytest.approx(2.7)}
    lines = [{s: 2.0 * x + s for s in SEEDS} for x in (0.0, 1.0, 4.0)]
    found = slope([0.0, 1.0, 4.0], lines)
    assert (found.estimate, found.low) == (pytest.approx(2.0), pytest.approx(2.0))


# Cells. -------------------------------------------------------------------------------------
def test_a_cell_is_what_it_depends_on(tmp_path):
    def names(arm: str = "bursty", seed: int = 0, **changes: Any):
        folder = StudyFolder(tmp_path, dataclasses.replace(BASE, **changes))
        return folder.trained(arm, seed), folder.cell(arm, seed)

    usual = names()
    # How and where it is computed, and which cells lie beside it, do not matter.
    same_cells: list[dict[str, Any]] = [
        {"seeds": 9},
        {"arms": ("single",)},
        {"devices": 1},
        {"preset": "full"},
        {"chunk": 8},
        {"test_stickiness": BASE.stickiness},
    ]
    for same in same_cells:
        assert names(**same) == usual
    assert names("bursty:p=1,sharing=4,query=among") == usual
    # What only a test depends on leaves the training its name.
    tests: list[dict[str, Any]] = [
        {"levels": 32},
        {"test_stickiness": 0.4},
        {"demonstrations": ("whole",)},
    ]
    for test in tests:
        trained, cell = names(**test)
        assert trained == usual[0] and cell != usual[1]
    others = [
        names(seed=1),
        names("bursty:p=0.5"),
        names(stickiness=0.2),
        names(updates=1600),
        names("bursty-chunks:4"),
        names(test_families=("torus",)),
    ]
    assert len({usual, *others}) == 1 + len(others)
    assert len({trained for trained, _ in (usual, *others)}) == 1 + len(others)


def test_a_field_at_its_default_does_not_count():
    training, test = identity(BASE, "bursty", 0)
    assert "width" not in training and "levels" not in test
    assert training["pool"] == 4  # it differs from the preset quick
    wide = identity(dataclasses.replace(BASE, width=128), "bursty", 0)[0]
    assert wide["width"] == 128


def test_a_plan_counts_each_cell_once_and_what_is_there_not_at_all(tmp_path):
    first, second = (checked(STUDIES[name], BASE) for name in ("burstiness", "demonstrations"))
    alone = [plan(part, tmp_path) for part in (first, second)]
    both = plan([*first, *second], tmp_path)
    shared = 2 * 5  # bursty and nonbursty, five seeds
    assert both.cells == alone[0].cells + alone[1].cells - shared
    assert both.train == alone[0].train + alone[1].train - shared
    assert (alone[1].train, alone[1].test) == (15, 10)  # two readers are tested only
    folder = StudyFolder(tmp_path, first[-1].config, {"commit": "abc"})
    folder.keep("bursty", 0, [{"arm": "bursty", "score": 1.0}])
    folder.checkpoint("bursty", 1).mkdir(parents=True)
    after = plan(first, tmp_path)
    assert (after.train, after.test) == (alone[0].train - 2, 1)
    assert after.seconds < alone[0].seconds
    assert folder.rows("bursty", 0) == [{"arm": "bursty", "score": 1.0}]
    assert folder.origin("bursty", 0) == "abc"
    assert ("bursty", 0) not in folder.missing() and ("bursty", 2) in folder.missing()


def test_lines_of_a_training_have_a_file_of_their_own(tmp_path):
    folder = StudyFolder(tmp_path, dataclasses.replace(BASE, arms=("bursty", "nonbursty")))
    lines = [{"kind": "train", "arm": arm, "seed": 0, "update": u}
             for arm in ("bursty", "nonbursty") for u in (40, 80)]  # fmt: skip
    folder.log(lines)
    assert folder.lines("bursty", 0) == lines[:2] and folder.lines("nonbursty", 0) == lines[2:]
    assert folder.lines("single", 0) == []


def test_points_that_differ_in_their_arm_only_are_one_comparison():
    points = checked(STUDIES["demonstrations"], BASE)
    (config,) = groups(points)
    assert config.arms == ("bursty", "nonbursty", "single")
    assert config.readers == ("hash-map", "nearest-neighbour")
    assert len(groups(checked(STUDIES["stickiness"], BASE))) == 12


# The command. ------------------------------------------------------------------------------
def test_the_command_lists_its_studies_and_refuses_others(cli, capsys):
    assert cli("study") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in STUDIES)
    assert cli("study", "burstyness") == 2
    assert "unknown study 'burstyness'; did you mean 'burstiness'?" in capsys.readouterr().err
    assert cli("study", "chunks", "--preset", "quik") == 2
    assert "unknown preset 'quik'; did you mean 'quick'?" in capsys.readouterr().err
    assert cli("study", "chunks", "--seeds", "-1") == 2
    assert "seeds -1: use a number of 1 or more" in capsys.readouterr().err


def test_a_dry_run_says_the_cost_and_makes_nothing(cli, capsys, tmp_path):
    out = tmp_path / "studies"
    assert cli("study", "burstiness", "chunks", "--dry-run", "--out", out) == 0
    text = capsys.readouterr().out
    assert "burstiness: 5 points, 25 cells, of which 25 to train" in text and "together:" in text
    assert not out.exists()
    out.write_text("")
    assert cli("study", "burstiness", "--dry-run", "--out", out) == 2
    assert "is a file; name a folder" in capsys.readouterr().err


def test_a_study_goes_on_where_it_was_cut_short_and_shares_its_cells(levelburst, tmp_path):
    out = tmp_path / "studies"
    command = ("study", "foreign-level", "--preset", "smoke", "--seeds", "1", "--out", out)
    text = levelburst(*command).stdout
    assert "3 points, 3 cells, of which 1 to train and 2 to test only" in text
    found = json.loads((out / "foreign-level" / "results.json").read_text())
    assert found["command_line"] == "levelburst study foreign-level --preset smoke --seeds 1"
    assert {row["demonstrations"] for row in found["rows"]} == {"whole", "foreign"}
    (out / "foreign-level" / "report.html").unlink()
    assert levelburst("report", out / "foreign-level").returncode == 0
    assert (out / "foreign-level" / "report.html").is_file()
    # A lost test is made again from the checkpoint, to the bit; nothing is trained.
    (model,) = [
        p for p in (out / "cells").iterdir() if json.loads(p.read_text())["arm"] == "bursty"
    ]
    rows = json.loads(model.read_text())["rows"]
    model.unlink()
    text = levelburst(*command).stdout
    assert "of which 0 to train and 1 to test only" in text
    assert json.loads(model.read_text())["rows"] == rows
    assert "3 points, 3 cells, all there" in levelburst(*command).stdout


@pytest.fixture
def cli():
    from experiments.cli import run

    return lambda *arguments: run([str(argument) for argument in arguments])


def test_a_point_says_where_it_is():
    point = Point({"p_b": 0.5, "chunk": 4}, BASE, "bursty-chunks:4,p=0.5")
    assert point.label == "p_b 0.5, chunk 4"
