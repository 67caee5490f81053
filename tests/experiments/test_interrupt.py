"""Ctrl-C: what was finished is kept, one line says where, and resume goes on from there."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from experiments import cli, compare, folder
from experiments.errors import ConfigError
from tests.experiments.listeners import addresses


def cells(run: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in run.glob("cells/*.json")}


@pytest.mark.usefixtures("smoke")  # which leaves the compiled training behind
def test_a_run_that_was_cut_short_goes_on(levelburst, tmp_path, smoke_arguments):
    run = tmp_path / "run"
    # Two waves of two cells: the interrupt comes while the second is under way.
    small = ("--test-families", "--demos", 1, "--demonstrations", "whole")
    words = (*smoke_arguments, *small, "--seeds", 2, "--updates", 40)
    process = levelburst.start(*words, "--out", "run")
    try:
        end = time.monotonic() + 900
        while not cells(run) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        assert addresses(process.pid) == set()  # a training listens on nothing
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=900)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    kept = cells(run)
    assert {"bursty-seed0.json"} <= kept.keys() and not any("seed1" in name for name in kept)
    assert err.splitlines()[-1] == (
        f"levelburst: interrupted; {len(kept)} finished cells are kept in run, "
        "go on with: levelburst resume run"
    )
    assert all(json.loads((run / "cells" / name).read_text()) for name in kept)
    assert [path.name for path in run.rglob("*") if "partial" in path.name] == []
    assert not (run / "results.json").exists()

    done = levelburst("resume", "run")
    assert done.returncode == 0, done.stderr
    after = cells(run)
    assert {name: after[name] for name in kept} == kept
    assert len(after) == 8
    rows = json.loads((run / "results.json").read_text())["rows"]
    assert {(row["arm"], row["seed"]) for row in rows} == {
        (arm, seed)
        for arm in ("bursty", "isolated-chunks", "hash-map", "nearest-neighbour")
        for seed in (0, 1)
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    places = [(line["arm"], line["seed"], line["update"]) for line in lines]
    assert len(set(places)) == len(places) == 2 * 2 * 20


@pytest.mark.parametrize("words", ["report mine", "evaluate mine", "resume mine", "envs"])
def test_ctrl_c_is_one_line_anywhere(tmp_path, monkeypatch, capsys, words):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text('{"command": "compare"}')
    monkeypatch.setattr(cli, "_quiet_jax", interrupt)
    monkeypatch.setattr(folder.RunFolder, "read", interrupt)
    assert cli.run(words.split()) == 130
    out, err = capsys.readouterr()
    assert (out, err) == ("", "\nlevelburst: interrupted\n")


@pytest.mark.parametrize(
    ("end", "code", "said", "kept"),
    [
        (ConfigError("too few levels"), 2, "levelburst: too few levels", False),
        (FloatingPointError("the loss is nan"), 1, "levelburst: the loss is nan", True),
        (OSError("no space left"), 1, "levelburst: no space left", True),
        (KeyboardInterrupt(), 130, "levelburst: interrupted; 0 finished cells are kept in", True),
    ],
)
def test_how_a_comparison_may_end(tmp_path, monkeypatch, capsys, end, code, said, kept):
    """What is only found while levels are drawn is a person's mistake, and leaves nothing."""

    def stop(*_):
        raise end

    monkeypatch.setattr(cli, "_prepare_jax", lambda config: "cpu")
    monkeypatch.setattr(compare, "run", stop)
    assert cli.run(["compare", "--preset", "smoke", "--out", str(tmp_path / "run")]) == code
    assert capsys.readouterr().err.strip().startswith(said)
    assert (tmp_path / "run").exists() is kept
