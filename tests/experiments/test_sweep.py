"""One sweep on Ray, in a process of its own: a process dies, Ctrl-C comes, and it goes on."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from experiments.sweep_report import render
from tests.experiments.listeners import LOOPBACK, addresses

# The first process that imports it dies at once, as one that the system kills does.
CELLAR = """
import os, pathlib
from envs.families.dark_room import DarkRoom

mark = pathlib.Path(__file__).with_name("died")
if not mark.exists():
    mark.touch()
    os._exit(9)

class Cellar(DarkRoom):
    pass
"""
SPEC = """
name = "toy"
preset = "smoke"
[fixed]
families = ["cellar:Cellar"]
test_families = []
readers = []
arms = ["bursty"]
updates = 4
report_every = 2
curve = 2
demos = 1
[search]
learning_rate = [0.003, 0.01]
query_loss = [true]
[sweep]
concurrent = 1
retries = 1
"""


def test_a_sweep_survives_a_death_and_ctrl_c(levelburst, tmp_path):
    (tmp_path / "cellar.py").write_text(CELLAR, encoding="utf-8")
    (tmp_path / "toy.toml").write_text(SPEC, encoding="utf-8")
    folder = tmp_path / "runs" / "sweep-toy"
    process = levelburst.start("sweep", "toy.toml")
    try:
        first = folder / "trials" / "trial-000"
        end = time.monotonic() + 900
        bound: set[str] = set()
        while not (folder / "trials" / "trial-001").exists():
            assert process.poll() is None and time.monotonic() < end
            if not bound and first.exists():
                bound = addresses(process.pid)
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=900)
    finally:
        process.kill()
    if Path("/proc").exists():
        assert bound and bound <= LOOPBACK
    assert process.returncode == 130, err
    said = err.splitlines()
    assert said[0] == "trial-000: its process died; 1 more to try"
    assert said[1].startswith("trial-000: finished ") and "Traceback" not in err
    assert "raylet" not in out + err  # Ray says at length how the process died
    assert said[-1] == (
        "levelburst: interrupted; 1 finished trials are kept in runs/sweep-toy, "
        "go on with: levelburst sweep toy.toml --resume"
    )
    kept = (first / "results.json").stat().st_mtime_ns
    assert not (folder / "results.json").exists() and not (folder / ".ray").exists()

    done = levelburst("sweep", "toy.toml", "--resume")
    assert done.returncode == 0, done.stderr
    assert (first / "results.json").stat().st_mtime_ns == kept
    assert "2 trials, 1 of them done" in done.stdout
    found = json.loads((folder / "results.json").read_text())
    trials = found["trials"]
    assert [(t["name"], t["status"]) for t in trials] == [
        ("trial-000", "finished"),
        ("trial-001", "finished"),
    ]
    assert trials[0]["attempts"] == 2
    assert [t["settings"]["learning_rate"] for t in trials] == [0.003, 0.01]
    for trial in trials:
        # What was told on the way ends in what the rows say.
        own = json.loads((folder / "trials" / trial["name"] / "results.json").read_text())["rows"]
        rows = [row for row in found["rows"] if row["trial"] == trial["name"]]
        assert [{k: row[k] for k in own[0]} for row in rows] == own
        assert [tests for tests, _ in trial["tests"]] == [1, 2]
        assert trial["tests"][-1][1] == pytest.approx(trial["objective"], abs=1e-6)
    page = (folder / "report.html").read_text()
    assert page.count("<td>trial-00") == 2
    assert f"report  {folder.relative_to(tmp_path) / 'report.html'}" in done.stdout

    # Nothing is left to run: the page is written again, and no Ray is started.
    again = levelburst("sweep", "toy.toml", "--resume")
    assert again.returncode == 0 and "2 of them done" in again.stdout
    assert (folder / "report.html").read_text() == page


def trial(number, status="finished", objective=0.5, **more):
    known = {"low": None, "high": None, "tests": [], "attempts": 1, "seconds": 3.0, "message": ""}
    settings = {"zipf": 0.25 * number, "arms": [["bursty"], ["bursty", "<b>"]][number % 2]}
    name = f"trial-{number:03d}"
    return known | {
        "name": name, "status": status, "objective": objective, "settings": settings
    } | more  # fmt: skip


def results(*trials, best="trial-000", **objective):
    return {
        "config": {
            "name": "odd", "preset": "smoke", "command_line": "levelburst sweep odd.toml",
            "search": {
                "zipf": {"low": 0.0, "high": 1.0, "log": False, "step": 0},
                "arms": [["bursty"], ["bursty", "<b>"]],
            },
            "sweep": {"method": "optuna", "asha": None},
        },
        "environment": {"jax": "1"},
        "objective": {
            "arm": "bursty", "minus": "", "split": "unseen-level", "demos": 1, "mode": "max",
            "words": "one-shot score of bursty on unseen levels",
        } | objective,
        "best": best,
        "command": ["levelburst", "compare", "--zipf", "0.0"] if best else [],
        "trials": list(trials),
    }  # fmt: skip


def test_the_page_shows_every_trial_as_what_it_is():
    page = render(
        results(
            trial(0, objective=0.9, low=0.8, high=1.0, tests=[[1, 0.2], [2, 0.9]]),
            trial(1, objective=0.4),
            trial(2, "stopped", 0.2, tests=[[1, 0.2]], message="early, after 1 tests"),
            trial(3, "diverged", None, message="the loss is nan <script>"),
        )
    )
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    rows = body.split("<tr")[1:]
    assert [f"trial-00{i}" in row for i, row in enumerate(rows)] == [True] * 4
    assert 'class="first"' in rows[0] and "[0.800, 1.000]" in rows[0]
    assert "stopped early" in rows[2] and "early, after 1 tests" in rows[2]
    assert "diverged" in rows[3] and "the loss is nan &lt;script&gt;" in rows[3]
    assert "levelburst compare --zipf 0.0</code>" in page
    assert "2 finished, 1 stopped early, 1 diverged" in page
    assert "1 trial has no objective" in page
    text = page.partition('id="figures">')[2].partition("</script>")[0]
    by_field, way = json.loads(text)
    assert [len(group["panels"]) for group in (by_field, way)] == [2, 1]
    for panel in by_field["panels"]:  # every trial with an objective is a point
        drawn = {
            trace["name"]: list(zip(trace["x"], trace["y"])) for trace in panel["figure"]["data"]
        }
        assert {name: [y for _, y in points] for name, points in drawn.items()} == {
            "best": [0.9], "finished": [0.4], "stopped early": [0.2]
        }  # fmt: skip
    assert [len(trace["x"]) for trace in way["panels"][0]["figure"]["data"]] == [1, 2]
    assert "http://" not in page.partition("<script>")[0]


@pytest.mark.parametrize("status", ["diverged", "failed", "waiting"])
def test_a_sweep_without_a_finished_trial_has_a_page(status):
    page = render(results(trial(0, status, None), best=None))
    assert "No trial finished." in page and "<td>trial-000</td>" in page


def test_less_may_be_better():
    page = render(results(trial(0, objective=0.1), trial(1, objective=0.9), mode="min"))
    assert page.index("<td>trial-000") < page.index("<td>trial-001") and "Less is better" in page
