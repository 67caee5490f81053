"""Scores and verdicts against numbers worked out by hand."""

import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.results import first_reach, rows_of, scores, verdicts_of
from icl.statistics import interval

KINDS = ("whole", "as-trained")
HEAD = {"arm": "bursty", "chunk": 16, "p_b": 1.0, "seed": 3}


def measured(references: list, cells: dict, episodes: int = 2) -> SimpleNamespace:
    """A Result; ``cells`` maps (demonstrations, k, acting) to returns [level][episode]."""
    shape = (2, len(references), 2, 2, episodes)
    returns = np.zeros(shape, np.float32)
    for (kind, k, acting), values in cells.items():
        returns[kind, :, k, acting] = values
    return SimpleNamespace(
        returns=returns,
        success=returns > 0.5,
        steps=np.broadcast_to(np.arange(1, len(references) + 1)[:, None, None, None] * 4.0, shape),
        hits=np.broadcast_to(np.arange(2)[:, None, None] * 3.0, shape),  # k = 1: three steps each
        references=np.asarray(references, np.float32),
    )


# Two families, two levels and one: gains 0.4 + 1.0 of 0.8 + 0.5, and -0.2 of 0.4.
FIRST = measured(
    [[0.1, 0.9], [0.0, 0.5]], {(0, 1, 0): [[1, 0], [1, 1]], (1, 0, 1): [[0, 0], [1, 0]]}
)
SECOND = measured([[0.2, 0.6]], {(0, 1, 1): [[1, 1]]})
NAMES = [("maze", "unseen-level"), ("cave", "unseen-level"), ("cave", "unseen-family")]


def cell(rows: list, *place: object) -> dict:
    fields = ("split", "family", "demos", "demonstrations", "acting")
    (row,) = (row for row in rows if tuple(row[field] for field in fields) == place)
    return row


def test_rows_are_sums_over_levels():
    rows = rows_of(HEAD, NAMES, [FIRST, SECOND, SECOND], KINDS)
    assert len(rows) == (3 + 2) * 8
    assert all(row.items() >= HEAD.items() for row in rows)
    maze = cell(rows, "unseen-level", "maze", 1, "whole", "sampled")
    assert maze["score"] == pytest.approx(1.4 / 1.3)
    assert (maze["levels"], maze["episodes"]) == (2, 4)
    assert (maze["success"], maze["return"]) == (0.75, 0.75)
    assert maze["hit"] == pytest.approx(6 / 12)  # steps are pooled: 3 of 4 and 3 of 8
    assert cell(rows, "unseen-level", "maze", 0, "whole", "sampled")["hit"] == 0
    cave = cell(rows, "unseen-level", "cave", 1, "whole", "sampled")
    assert cave["score"] == pytest.approx(-0.2 / 0.4)
    assert (cave["levels"], cave["episodes"], cave["return"]) == (1, 2, 0.0)
    both = cell(rows, "unseen-level", "all", 1, "whole", "sampled")
    assert both["score"] == pytest.approx((1.4 - 0.2) / (1.3 + 0.4))
    assert (both["levels"], both["episodes"], both["return"]) == (3, 6, 0.5)
    held = cell(rows, "unseen-family", "all", 1, "whole", "greedy")
    assert held["score"] == pytest.approx(0.8 / 0.4) and held["success"] == 1.0
    chunks = cell(rows, "unseen-level", "maze", 0, "as-trained", "greedy")
    assert chunks["score"] == pytest.approx((-0.1 + 0.5) / 1.3)


def test_rows_are_of_the_kinds_asked_for_and_plain_numbers():
    rows = rows_of(HEAD, NAMES[:1], [FIRST], KINDS, leave_out=("as-trained",), actings=("sampled",))
    assert [(r["family"], r["demos"]) for r in rows] == list(product(("all", "maze"), (0, 1)))
    assert {(r["demonstrations"], r["acting"]) for r in rows} == {("whole", "sampled")}
    kinds = {name: type(rows[0][name]) for name in ("levels", "episodes", "demos", "score")}
    assert kinds == {"levels": int, "episodes": int, "demos": int, "score": float}


def test_a_result_without_a_name_is_an_error():
    with pytest.raises(ValueError, match=r"zip\(\)"):
        rows_of(HEAD, NAMES[:1], [FIRST, SECOND], KINDS)


def made(cells: dict) -> list[dict]:
    """Rows: (arm, split, k) -> the scores of seeds 0, 1 …; None leaves a seed out."""
    fixed = {"family": "all", "demonstrations": "whole", "acting": "sampled"}
    return [
        {"arm": arm, "split": split, "demos": k, "seed": seed, "score": score} | fixed
        for (arm, split, k), values in cells.items()
        for seed, score in enumerate(values)
        if score is not None
    ]


def unseen(**arms: list) -> list[dict]:
    """Rows of one-shot scores on unseen levels; zero-shot ones are 0."""
    named = {arm.replace("_", "-").replace("-1", ":1"): values for arm, values in arms.items()}
    one = {(arm, "unseen-level", 1): values for arm, values in named.items()}
    zero = {(arm, "unseen-level", 0): [0.0] * len(values) for arm, values in named.items()}
    return made(one | zero)


def verdict(rows: list, start: str, curves: list = ()) -> dict:
    (one,) = (v for v in verdicts_of(rows, curves) if v["claim"].startswith(start))
    return one


def test_scores_are_those_of_one_cell():
    rows = made({("bursty", "unseen-level", 1): [0.5, 0.6], ("bursty", "unseen-level", 0): [0.1]})
    other = {"family": "maze", "demonstrations": "as-trained", "acting": "greedy"}
    rows += [row | {field: value, "score": 9.0} for row in rows for field, value in other.items()]
    rows += [row | {"arm": "single", "score": 9.0} for row in rows[:2]]
    assert scores(rows, "bursty", "unseen-level", 1) == {0: 0.5, 1: 0.6}
    assert scores(rows, "bursty", "unseen-level", 1, family="maze") == {0: 9.0, 1: 9.0}
    assert scores(rows, "bursty", "unseen-family", 1) == {}


FLAT = [0.1, 0.1, 0.1]
CLAIMS = {
    "bursty one-shot score on unseen levels is at least 0.4": [
        (unseen(bursty=[0.3, 0.5, 0.41]), True),
        (unseen(bursty=[0.39, 0.39, 0.39]), False),
    ],
    "bursty beats isolated-chunks one-shot on unseen levels by at least 0.3": [
        (unseen(bursty=[0.45, 0.46, 0.47], isolated_chunks=FLAT), True),
        (unseen(bursty=[0.35, 0.36, 0.37], isolated_chunks=FLAT), False),  # too little
        (unseen(bursty=[0.2, 0.8, 0.6], isolated_chunks=FLAT), False),  # too wide
    ],
    "bursty is above bursty-chunks": [
        (unseen(bursty=[0.5, 0.6, 0.7], bursty_chunks=[0.4, 0.51, 0.6]), True),
        (unseen(bursty=[0.5, 0.6, 0.7], bursty_chunks=[0.4, 0.7, 0.6]), None),
        (unseen(bursty=[0.4, 0.51, 0.6], bursty_chunks=[0.5, 0.6, 0.7]), False),
    ],
    "bursty-chunks is above isolated-chunks": [
        (unseen(bursty=FLAT, bursty_chunks=[0.2, 0.21, 0.2], isolated_chunks=FLAT), True),
        (unseen(bursty=FLAT, bursty_chunks=FLAT, isolated_chunks=FLAT), False),
    ],
    "bursty is above hash-map": [
        (unseen(bursty=[0.5, 0.6, 0.7], hash_map=FLAT), True),
        (unseen(bursty=FLAT, hash_map=[0.5, 0.6, 0.7]), False),
    ],
    "bursty is above nearest-neighbour": [
        (unseen(bursty=[0.5, 0.6, 0.7], nearest_neighbour=FLAT), True),
        (unseen(bursty=FLAT, nearest_neighbour=FLAT), False),
    ],
    "bursty one-shot score on the unseen family is above 0": [
        (made({("bursty", "unseen-family", k): [0.1, 0.11, 0.12] for k in (0, 1)}), True),
        (made({("bursty", "unseen-family", k): [0.1, -0.1, 0.12] for k in (0, 1)}), None),
        (made({("bursty", "unseen-family", k): [-0.1, -0.11, -0.1] for k in (0, 1)}), False),
    ],
    "bursty one-shot is above its own zero-shot on the unseen family": [
        (made({("bursty", "unseen-family", k): [k / 2, k / 3, k / 2] for k in (0, 1)}), True),
        (made({("bursty", "unseen-family", k): [0.2, 0.3, 0.4] for k in (0, 1)}), False),
    ],
    "bursty-chunks is above shuffled": [
        (unseen(bursty_chunks=[0.5, 0.6, 0.7], shuffled=[0.4, 0.51, 0.6]), True),
        (unseen(bursty_chunks=FLAT, shuffled=FLAT), False),
    ],
    "shuffled is above isolated-chunks:1": [
        (unseen(shuffled=[0.5, 0.6, 0.7], isolated_chunks_1=FLAT), True),
        (unseen(shuffled=FLAT, isolated_chunks_1=[0.5, 0.6, 0.7]), False),
    ],
    "bursty is above single": [
        (unseen(bursty=[0.5, 0.6, 0.7], single=FLAT), True),
        (unseen(bursty=FLAT, single=FLAT), False),
    ],
    "nonbursty gains nothing": [
        (unseen(shuffled=FLAT, nonbursty=[0.01, -0.01, 0.0]), True),
        (unseen(shuffled=FLAT, nonbursty=[0.1, 0.11, 0.1]), False),
        (unseen(shuffled=FLAT, nonbursty=[0.1, -0.1, 0.0]), None),  # not known well enough
    ],
}


@pytest.mark.parametrize(
    ("claim", "rows", "holds"), [(c, r, h) for c, cases in CLAIMS.items() for r, h in cases]
)
def test_a_claim_holds_or_does_not_and_one_seed_leaves_it_open(claim, rows, holds):
    found = verdict(rows, claim)
    assert (found["holds"], found["seeds"], found["level"]) == (holds, 3, 0.95)
    assert found["low"] <= found["estimate"] <= found["high"]
    alone = verdict([row for row in rows if row["seed"] == 0], claim)
    assert (alone["holds"], alone["seeds"]) == (None, 1) and math.isnan(alone["low"])


def test_zero_shot_is_that_of_the_highest_arm_that_learned():
    zero = {"bursty": [0.1, 0.12], "nonbursty": [0.14, 0.15], "hash-map": [0.9, 0.9]}
    rows = made({(arm, "unseen-level", 0): values for arm, values in zero.items()})
    found = verdict(rows, "zero-shot score on unseen levels is at most 0.15 for every arm")
    assert found["claim"].endswith("(highest: nonbursty)")
    assert found["estimate"] == pytest.approx(0.145) and found["holds"] is True
    found = verdict(made({("bursty", "unseen-level", 0): [0.15, 0.16]}), "zero-shot")
    assert found["holds"] is False


def test_seeds_are_paired_whatever_their_order():
    rows = unseen(bursty=[0.9, 0.1, 0.5], isolated_chunks=[0.5, -0.3, 0.1])
    found = verdict(rows, "bursty beats isolated-chunks")
    assert found["estimate"] == pytest.approx(0.4) and found["low"] == pytest.approx(0.4)
    assert verdict(rows[::-1], "bursty beats isolated-chunks") == found
    rows = unseen(bursty=[0.9, 0.1, 0.5], isolated_chunks=[None, -0.3, 0.1])
    assert verdict(rows, "bursty beats isolated-chunks")["seeds"] == 2


def test_without_the_rows_there_is_no_claim():
    assert verdicts_of([]) == []
    claims = [found["claim"] for found in verdicts_of(unseen(nonbursty=FLAT))]
    assert len(claims) == 1 and claims[0].startswith("zero-shot")


@pytest.mark.parametrize("arms", [("bursty-chunks", "shuffled"), ("shuffled", "nonbursty")])
def test_a_run_without_demonstrations_claims_nothing_about_them(arms):
    rows = made({(arm, "unseen-level", 0): FLAT for arm in arms})
    assert [found["claim"][:9] for found in verdicts_of(rows)] == ["zero-shot"]


@pytest.mark.parametrize(
    ("path", "reached"),
    [
        ([(100, 0.1), (200, 0.5)], 150.0),
        ([(100, 0.6)], 50.0),
        ([(100, 0.3), (200, 0.1)], 100.0),
        ([(100, 0.1), (200, 0.2), (300, 0.1), (400, 0.5)], 350.0),
        ([(100, 0.29)], None),
        ([], None),
    ],
)
def test_a_score_is_first_reached_between_two_evaluations(path, reached):
    assert first_reach(path, 0.3) == (reached and pytest.approx(reached))


def test_time_to_learn_is_a_claim_when_every_seed_learns():
    rows = unseen(bursty=FLAT, shuffled=FLAT)
    ends = {("bursty", 0): 0.6, ("bursty", 1): 0.5, ("shuffled", 0): 0.3, ("shuffled", 1): 0.31}
    lines = [
        {"arm": arm, "seed": seed, "split": "unseen-level", "demos": 1}
        | {"update": update, "score": score * update / 100}
        for (arm, seed), score in ends.items()
        for update in (100, 50)
    ]
    lines += [line | {"demos": 0, "score": 1.0} for line in lines]
    lines += [line | {"split": "seen-level", "score": 1.0} for line in lines]
    found = verdict(rows, "shuffled needs more updates than bursty", lines)
    # 0.3 after 50 and 60 updates of bursty, after 100 and 100 * 0.3 / 0.31 of shuffled.
    late = interval([100 - 50, 100 * 0.3 / 0.31 - 60])
    assert found["estimate"] == pytest.approx(late.estimate)
    assert found["low"] == pytest.approx(late.low) and found["holds"] is None
    slow = [line for line in lines if (line["arm"], line["seed"]) != ("shuffled", 1)]
    claims = [found["claim"] for found in verdicts_of(rows, slow)]
    assert not any("more updates" in claim for claim in claims)
