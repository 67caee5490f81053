"""Run folders: files are whole or as they were, names are what resume expects."""

import json
import os
import re
from types import SimpleNamespace

import pytest

from experiments import folder as folder_lib
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.folder import RunFolder, environment
from experiments.study_folder import StudyFolder

CONFIG = '{"command": "compare"}'


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", overwrite=False)


def names(folder: RunFolder) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*"))


def test_what_is_written_is_read(folder):
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": []}}
    assert folder.write("deep/er.json", value) == folder.path / "deep" / "er.json"
    assert folder.read("deep/er.json") == value
    assert names(folder) == ["deep", "deep/er.json"]


def test_numbers_that_are_not_finite_become_null(folder):
    nan, inf = float("nan"), float("inf")
    folder.write("x.json", {"a": nan, "b": [inf, {"c": (-inf, 1.0)}], "d": 0.0})
    assert folder.read("x.json") == {"a": None, "b": [None, {"c": [None, 1.0]}], "d": 0.0}
    folder.log([{"kind": "train", "loss": nan}])
    assert '"loss": null' in (folder.path / "metrics.jsonl").read_text()


@pytest.mark.parametrize("broken", ["value", "sync", "place"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(folder, monkeypatch, broken):
    folder.write("x.json", [1])

    def fail(*_):
        raise OSError("no space left on device")

    if broken == "sync":
        monkeypatch.setattr(folder_lib.os, "fsync", fail)
    elif broken == "place":
        monkeypatch.setattr(folder_lib.os, "rename", fail)
    with pytest.raises((OSError, TypeError)):
        folder.write("x.json", [1, object()] if broken == "value" else [2])
    assert folder.read("x.json") == [1]
    assert names(folder) == ["x.json"]


def test_a_file_is_never_seen_half_written(folder, monkeypatch):
    """Whatever stands at the name when the new text is on the disk is still the old file."""
    folder.write("x.json", ["old"])
    seen = []
    sync = os.fsync

    def look(descriptor):
        seen.append(folder.read("x.json"))
        sync(descriptor)

    monkeypatch.setattr(folder_lib.os, "fsync", look)
    folder.write("x.json", ["new"] * 10_000)
    assert seen[0] == ["old"] and len(folder.read("x.json")) == 10_000
    assert len(seen) == 2  # the file before it is there, its name in the folder afterwards


@pytest.mark.parametrize("text", [None, "", "{", "\xff"])
def test_what_cannot_be_read_is_named(folder, text):
    if text is not None:
        (folder.path / "x.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"run/x\.json cannot be read"):
        folder.read("x.json")


def line(arm: str, update: int, **fields: object) -> dict:
    return {"kind": "train", "arm": arm, "seed": 0, "update": update} | fields


def test_a_cell_that_is_trained_again_is_logged_once(folder):
    folder.log([])
    assert (folder.path / "metrics.jsonl").read_text() == ""
    folder.log([line("bursty", 2, loss=3.0), line("bursty", 4, loss=2.0), line("single", 2)])
    graded = line("bursty", 4, kind="evaluation", split="unseen-level", demos=1, score=0.5)
    folder.log([line("bursty", 2, loss=1.0), graded, graded | {"demos": 2}, graded | {"seed": 1}])
    text = (folder.path / "metrics.jsonl").read_text()
    found = [json.loads(x) for x in text.splitlines()]
    assert found == [
        line("bursty", 2, loss=1.0), line("bursty", 4, loss=2.0), line("single", 2),
        graded, graded | {"demos": 2}, graded | {"seed": 1},
    ]  # fmt: skip
    assert names(folder) == ["metrics.jsonl"]


def test_lines_are_added_to_the_end(folder, monkeypatch):
    """What is there is not written again while nothing is measured twice."""
    folder.log([line("bursty", 2)])
    monkeypatch.setattr(folder, "replace", None)
    folder.log([line("bursty", 4)])
    folder.log([])
    assert folder.logged() == [line("bursty", 2), line("bursty", 4)]


def test_another_session_goes_on_with_the_lines(folder):
    folder.log([line("bursty", 2), line("bursty", 4)])
    other = RunFolder(folder.path)
    other.log([line("bursty", 4, loss=1.0), line("bursty", 6)])
    folder.log([line("bursty", 8)])  # what the other wrote is not lost
    assert folder.logged() == [
        line("bursty", 2), line("bursty", 4, loss=1.0), line("bursty", 6), line("bursty", 8)
    ]  # fmt: skip


@pytest.mark.parametrize("rest", ['{"kind": "tr', '{"kind": "train"', "nul", "3"])
def test_a_line_that_a_crash_cut_off_is_left_out(folder, rest):
    folder.log([line("bursty", 2)])
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write(rest)
    assert RunFolder(folder.path).logged() == [line("bursty", 2)]
    RunFolder(folder.path).log([line("bursty", 4)])
    folder.log([line("bursty", 6)])
    text = (folder.path / "metrics.jsonl").read_text()
    assert [json.loads(x)["update"] for x in text.splitlines()] == [2, 4, 6]


def test_lines_of_studies_lie_by_training(tmp_path):
    config = CompareConfig()
    folder = StudyFolder(tmp_path, config)
    for update in (2, 4):  # as training goes
        folder.log([line("bursty", update), line("isolated-chunks", update)])
    folder.log([line("bursty", 4, loss=1.0)])
    assert folder.lines("bursty", 0) == [line("bursty", 2), line("bursty", 4, loss=1.0)]
    other = StudyFolder(tmp_path, config)
    assert other.lines("isolated-chunks", 0) == [line("isolated-chunks", x) for x in (2, 4)]
    assert len(list(tmp_path.glob("metrics/*.jsonl"))) == 2


def test_damaged_lines_are_named(folder):
    (folder.path / "metrics.jsonl").write_text('{"kind"\n{}\n')
    with pytest.raises(ConfigError, match=r"metrics\.jsonl:1 cannot be read"):
        folder.logged()


def test_cells_have_names_of_their_own(folder):
    arms = ["bursty", "bursty-chunks", "bursty-chunks:1", "isolated-chunks:16", "hash-map"]
    found = [folder.cell(arm, seed) for arm in arms for seed in (0, 1, 10)]
    assert len(set(found)) == 15
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in found)
    assert folder.cell("isolated-chunks:1", 3) == "isolated-chunks-1-seed3"
    assert folder.checkpoint("bursty", 2) == folder.path / "checkpoints" / "bursty-seed2"


def test_a_cell_is_finished_when_its_rows_are_there(folder):
    assert not folder.finished("single", 0)
    folder.checkpoint("single", 0).mkdir(parents=True)
    assert not folder.finished("single", 0)
    folder.write(f"cells/{folder.cell('single', 0)}.json", [])
    assert folder.finished("single", 0) and not folder.finished("single", 1)


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "mine").mkdir()
    assert RunFolder.create(tmp_path / "mine", overwrite=False).path.is_dir()
    assert RunFolder.create(tmp_path / "a" / "b", overwrite=False).path.is_dir()


def test_a_run_is_overwritten_only_when_asked_for(tmp_path):
    (tmp_path / "config.json").write_text(CONFIG)
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "old.json").touch()
    with pytest.raises(ConfigError, match="--overwrite"):
        RunFolder.create(tmp_path, overwrite=False)
    assert RunFolder.open(tmp_path).path == tmp_path
    RunFolder.create(tmp_path, overwrite=True)
    assert list(tmp_path.iterdir()) == []


def test_refusing_touches_nothing(tmp_path):
    (tmp_path / "config.json").write_text(CONFIG)
    RunFolder.refuse(tmp_path, overwrite=True)
    RunFolder.refuse(tmp_path / "new" / "er", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_only_a_run_without_cells_is_discarded(folder):
    folder.write("cells/bursty-seed0.json", [])
    folder.discard()
    assert folder.path.is_dir()
    (folder.path / "cells" / "bursty-seed0.json").unlink()
    (folder.path / "cells").rmdir()
    folder.discard()
    assert not folder.path.exists()


def test_environment_says_what_a_number_was_measured_on():
    found = environment([SimpleNamespace(device_kind="abacus", process_index=0)] * 3)
    versions = {
        "python",
        "jax",
        "jaxlib",
        "flax",
        "optax",
        "numpy",
        "gymnasium",
        "orbax-checkpoint",
    }
    machine = {"platform", "device", "processes", "cores", "processor", "commit"}
    assert found.keys() == versions | machine
    assert all(re.match(r"\d+\.\d+", found[name]) for name in versions)
    assert found["device"] == "3 x abacus" and found["processes"] == 1
    assert found["cores"] == os.cpu_count() and found["processor"]
    assert re.fullmatch(r"\S+", found["commit"])


def test_environment_does_without_git_and_proc(monkeypatch):
    def fail(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(folder_lib.subprocess, "run", fail)
    monkeypatch.setattr(folder_lib.Path, "read_text", fail)
    found = environment([SimpleNamespace(device_kind="abacus", process_index=0)])
    assert (found["commit"], found["processor"]) == ("unknown", "unknown")
