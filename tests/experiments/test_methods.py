"""A rival from the command line: trained, tested over its own attempts, kept and tested again."""

import json

RIVAL = (
    *("compare", "--preset", "smoke", "--updates", "4", "--report-every", "2", "--devices", "1"),
    *("--arms", "bursty", "--method", "return-conditioned", "--attempts", "2", "--demos", "1"),
    *("--test-families", "--demonstrations", "whole"),
)


def test_a_rival_is_compared_like_any_model(levelburst, tmp_path):
    done = levelburst(*RIVAL, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "no replays: the viewer shows no return-conditioned models" in done.stdout + done.stderr
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    trained = [row for row in found["rows"] if row["arm"] == "bursty"]
    conditions = {(row["demonstrations"], row["demos"]) for row in trained}
    assert {("own attempts", 0), ("own attempts", 1), ("whole", 0), ("whole", 1)} <= conditions
    hits = {(row["demonstrations"], row["demos"]): row["hit"] for row in trained}
    assert hits["whole", 0] == 0 < hits["whole", 1] <= 1
    assert not any(
        row["demonstrations"] == "own attempts" for row in found["rows"] if row not in trained
    )
    cells = [p for p in (tmp_path / "run" / "cells").rglob("*.json") if "bursty" in str(p)]
    assert cells
    cells[0].unlink()
    again = levelburst("resume", "run")
    assert again.returncode == 0, again.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_text())["rows"] == found["rows"]
