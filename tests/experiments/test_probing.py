"""Rows of probes: families are pooled over their steps, and what an older version lacks is seen."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.probing import probed, rows_of
from icl.novelty import BINS, Novelty
from icl.probes import MEASURES, Probe

SETS = (("maze", "unseen-level"), ("ice", "unseen-level"), ("torus", "unseen-family"))


@pytest.fixture
def result():
    """Sums of three sets with 10, 30 and 20 steps; 5, 6 and 20 of them agree."""
    steps, agrees = np.array([10, 30, 20]), np.array([5, 6, 20])
    count = np.repeat(steps[:, None], len(MEASURES), axis=1)
    distance = np.zeros((3, 3, 2))
    distance[:, 0] = np.stack([[6, 10, 20], [5, 4, 20]], axis=1)
    distance[:, 2] = np.stack([[4, 20, 0], [0, 2, 0]], axis=1)
    episode = np.zeros((3, len(BINS), 4))
    episode[:, 1] = np.stack([[2, 3, 4], steps, agrees, 0.5 * steps], axis=1)
    episode[1, 4], episode[1, 1, 0] = (1, 0, 0, 0), 2
    return Probe(
        total=np.repeat(agrees[:, None], len(MEASURES), axis=1),
        count=count,
        loss=np.ones((3, 1)),
        steps=np.ones((3, 1)),
        match=np.zeros((3, 1, 1)),
        ablated=np.zeros((3, 1, 1, len(MEASURES))),
        novelty=Novelty(distance, episode),
    )


def score(rows, **at):
    (row,) = [row for row in rows if all(row.get(k) == v for k, v in at.items())]
    return row["score"]


def test_families_are_pooled_over_steps_by_distance_and_novelty(result):
    rows = rows_of(("bursty", 0), SETS, [(1, "whole")], [result])
    pooled = {"split": "unseen-level", "family": "all"}
    assert score(rows, measure="agree", **pooled) == pytest.approx(11 / 40)
    assert score(rows, measure="steps at distance", distance=0, **pooled) == pytest.approx(16 / 40)
    assert score(rows, measure="agree at distance", distance=0, **pooled) == pytest.approx(9 / 16)
    assert score(rows, measure="agree at distance", distance=2, family="maze") == 0.0
    at = {"measure": "episodes of novelty"} | pooled
    assert [score(rows, novelty=most, **at) for most in BINS] == pytest.approx([0, 0.8, 0, 0, 0.2])
    few = {"novelty": BINS[1]} | pooled
    assert score(rows, measure="agree at novelty", **few) == pytest.approx(11 / 40)
    assert score(rows, measure="loss at novelty", **few) == pytest.approx(0.5)
    # No step is at distance 1, and none of a family that is unseen is at distance 2.
    shown = {(r["family"], r["distance"]) for r in rows if r["measure"] == "agree at distance"}
    assert shown == {(f, d) for f in ("maze", "ice") for d in (0, 2)} | {
        ("all", 0), ("all", 2), ("torus", 0)
    }  # fmt: skip
    json.dumps(rows)


def test_probes_that_lack_a_measure_are_made_again(tmp_path):
    kept = tmp_path / "probes" / "bursty-0.json"
    kept.parent.mkdir()
    folder = SimpleNamespace(
        path=tmp_path,
        cell=lambda arm, seed: f"{arm}-{seed}",
        read=lambda name: json.loads((tmp_path / name).read_text()),
    )
    job = SimpleNamespace(folder=folder)
    assert not probed(job, ("bursty", 0))
    rows = [{"measure": name} for name in MEASURES]
    kept.write_text(json.dumps(rows))
    assert probed(job, ("bursty", 0))
    kept.write_text(json.dumps(rows[:-1]))
    assert not probed(job, ("bursty", 0))
