"""A finished run is tested, drawn and resumed again: the same numbers, and nothing done twice."""

import json
import shutil
from pathlib import Path

import pytest

from experiments import cli

ARMS = ("bursty", "isolated-chunks")


def read(folder: Path, name: str = "results.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def metrics(folder: Path) -> list[dict]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}


@pytest.fixture(scope="module")
def found(smoke) -> dict:
    return read(smoke)


@pytest.fixture
def copy(smoke, tmp_path) -> Path:
    """A copy of the shared run, to be changed."""
    return Path(shutil.copytree(smoke, tmp_path / "copy"))


def test_evaluate_measures_the_same_again(levelburst, copy, found):
    before = stamps(copy)
    done = levelburst("evaluate", copy)
    assert done.returncode == 0, done.stderr
    again = read(copy, "evaluation.json")
    assert again["rows"] == [row for row in found["rows"] if row["arm"] in ARMS]
    assert (again["schema"], again["changes"]) == (1, {})
    assert stamps(copy) == before and read(copy) == found


def test_report_draws_the_same_figure(copy, smoke, capsys):
    (copy / "figure.svg").unlink()
    (copy / "report.html").unlink()
    assert cli.run(["report", str(copy)]) == 0
    assert (copy / "figure.svg").read_bytes() == (smoke / "figure.svg").read_bytes()
    assert (copy / "report.html").stat().st_size > 1e6
    assert "undecided  bursty one-shot score" in capsys.readouterr().out


def test_resume_makes_only_what_is_missing(levelburst, copy, found):
    lines, before = metrics(copy), stamps(copy)
    lost = (copy / "cells" / "isolated-chunks-seed0.json").read_bytes()
    (copy / "cells" / "isolated-chunks-seed0.json").unlink()
    (copy / "results.json").unlink()
    done = levelburst("resume", copy)
    assert done.returncode == 0, done.stderr
    after = stamps(copy)
    assert [name for name in before if after[name] != before[name]] == [
        "isolated-chunks-seed0.json"
    ]
    assert (copy / "cells" / "isolated-chunks-seed0.json").read_bytes() == lost
    again = read(copy)
    assert (again["rows"], again["verdicts"]) == (found["rows"], found["verdicts"])
    places = [(line["arm"], line["update"], line["loss"]) for line in metrics(copy)]
    assert sorted(places) == sorted((line["arm"], line["update"], line["loss"]) for line in lines)


def test_resume_of_a_finished_run_only_writes_results(levelburst, copy, found):
    before, lines = stamps(copy), metrics(copy)
    (copy / "results.json").unlink()
    done = levelburst("resume", copy)
    assert done.returncode == 0, done.stderr
    assert (stamps(copy), metrics(copy)) == (before, lines)
    assert read(copy)["rows"] == found["rows"]
