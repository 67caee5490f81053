"""levelburst runs: what folders hold, how two differ, and nothing that is damaged stops it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import cli, cli_runs, runs
from experiments.errors import ConfigError
from icl.statistics import interval, paired

SPLITS = ("seen-level", "unseen-level")


def row(arm: str, seed: int, score: float | None, **fields: object) -> dict:
    return {
        "arm": arm, "seed": seed, "split": "unseen-level", "family": "all", "demos": 1,
        "demonstrations": "whole", "acting": "sampled", "score": score,
    } | fields  # fmt: skip


@pytest.fixture
def made(tmp_path, monkeypatch):
    """made(name, scores of bursty by seed, …) -> a run's folder in ``runs/``, where one stands."""
    monkeypatch.chdir(tmp_path)

    def make(name: str, scores: dict[int, float], *, finished: bool = True, **config) -> Path:
        path = Path("runs") / name
        (path / "cells").mkdir(parents=True)
        full = {"command": "compare", "preset": "smoke", "arms": ["bursty"], "readers": []}
        full |= {"seeds": 2} | config
        (path / "config.json").write_text(json.dumps(full))
        rows = [
            row("bursty", seed, score if split == "unseen-level" else 0.5, split=split)
            for seed, score in scores.items()
            for split in SPLITS
        ] + [row("bursty", seed, -9.0, acting="greedy") for seed in scores]
        for seed in scores:
            own = [x for x in rows if x["seed"] == seed]
            (path / "cells" / f"bursty-seed{seed}.json").write_text(json.dumps(own))
        if finished:
            machine = {"commit": "abc", "device": "2 x abacus", "seconds": 1.0}
            machine |= {"phases": {"began": 86400.0}}
            found = {"environment": machine, "rows": rows, "verdicts": []}
            (path / "results.json").write_text(json.dumps(found))
        return path

    return make


def said(capsys, *words: object) -> str:
    assert cli.run(["runs", *map(str, words)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_shared_run_is_read_as_it_is(smoke):
    found = runs.look(smoke)
    results = json.loads((smoke / "results.json").read_text())
    machine = results["environment"]
    assert (found.state, found.fault, found.command) == ("finished", "", "compare")
    assert (found.preset, found.seeds, found.done, found.total) == ("smoke", 1, 4, 4)
    assert (found.commit, found.device) == (machine["commit"], "2 x cpu")
    assert found.began == machine["phases"]["began"]
    wanted = row("bursty", 0, None)
    own = [
        x["score"]
        for x in results["rows"]
        if all(x[field] == value for field, value in wanted.items() if field != "score")
    ]
    assert [found.score] == own and found.low is None
    assert found.bytes == sum(path.stat().st_size for path in smoke.rglob("*") if path.is_file())


def test_a_score_has_its_interval_over_seeds(made):
    found = runs.look(made("one", {0: 0.2, 1: 0.4}))
    whole = interval([0.2, 0.4])
    assert (found.score, found.low, found.high) == (whole.estimate, whole.low, whole.high)


def test_the_list_has_a_line_a_run(made, capsys):
    made("good", {0: 0.6, 1: 0.8}, preset="quick")
    made("half", {0: 0.3}, finished=False, readers=["hash-map"])
    (Path("runs") / "notes").mkdir()  # no run
    lines = said(capsys).splitlines()
    assert lines[0].split() == [*cli_runs.COLUMNS]
    good, half = (next(x.split() for x in lines if x.startswith(n)) for n in ("good", "half"))
    assert good[:5] == ["good", "compare", "quick", "2", "2/2"]
    assert good[5].startswith("1970-01-") and good[7:11] == ["abc", "2", "x", "abacus"]
    assert good[11] == "0.70" and good[12].startswith("[")
    assert half[:5] == ["half", "compare", "smoke", "2", "1/4"]
    assert half[7:10] == ["-", "-", "0.30"]
    assert not any("notes" in line for line in lines)


def test_json_has_the_same(made, capsys):
    made("good", {0: 0.6, 1: 0.8})
    (found,) = json.loads(said(capsys, "--json"))
    assert found == {"name": "good"} | {
        field: str(value) if isinstance(value, Path) else value
        for field, value in vars(runs.look(Path("runs/good"))).items()
    }
    assert found["score"] == pytest.approx(0.7)


@pytest.mark.parametrize("field", cli_runs.SORTS)
def test_runs_can_be_sorted_by_every_column(made, capsys, field):
    for name, score in (("b", 0.1), ("a", 0.9), ("c", 0.5)):
        made(name, {0: score, 1: score})
    made("d", {}, finished=False)
    found = [x["name"] for x in json.loads(said(capsys, "--sort", field, "--json"))]
    assert sorted(found) == ["a", "b", "c", "d"]
    if field == "score":
        assert found == ["a", "c", "b", "d"]
    if field in ("name", "device", "commit"):
        assert found == ["a", "b", "c", "d"]
    assert cli_runs.SORTS.keys() == cli_runs.COLUMNS.keys()


def test_folders_may_be_runs_or_hold_some(made, capsys, tmp_path):
    for name in ("a", "b"):
        made(name, {0: 0.1})
    assert [x["name"] for x in json.loads(said(capsys, "a", "--json"))] == ["a"]
    assert len(json.loads(said(capsys, "runs", "runs/a", "--json"))) == 2
    (found,) = json.loads(said(capsys, tmp_path / "runs" / "b", "--json"))
    assert found["name"] == str(tmp_path / "runs" / "b")


def test_no_runs_are_no_mistake(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "levelburst compare" in said(capsys)
    assert json.loads(said(capsys, "--json")) == []
    (tmp_path / "runs").mkdir()
    assert "no runs in runs" in said(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("name", ["config.json", "results.json", "cells/bursty-seed0.json"])
@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"command": 3}', '[{"arm": "bursty"}]', "[3]", "\xff"]
)
def test_what_is_damaged_is_listed_as_such(made, capsys, name, content):
    path = made("bad", {0: 0.1, 1: 0.2}, finished=name == "results.json")
    made("good", {0: 0.6, 1: 0.8})
    if content is None:
        (path / name).unlink()
    else:
        (path / name).write_text(content, encoding="latin-1")
    found = {x["name"]: x for x in json.loads(said(capsys, "--json"))}
    assert found["good"]["state"] == "finished"
    harmless = content is None and name != "config.json"  # a run that is not finished
    harmless |= content == "[]" and name.startswith("cells")
    if harmless or (name, content) == ("config.json", '{"command": 3}'):
        assert found["bad"]["state"] in ("unfinished", "damaged")
        return
    assert found["bad"]["state"] == "damaged" and found["bad"]["fault"]
    lines = said(capsys).splitlines()
    assert any(x.startswith("bad ") and " damaged " in x for x in lines)
    assert lines[-1] == f"damaged: bad: {found['bad']['fault']}"


def test_a_comparison_is_paired_over_shared_seeds(made, capsys):
    made("a", {0: 0.1, 1: 0.3, 2: 0.2, 7: 0.9}, seeds=4)
    made("b", {0: 0.4, 1: 0.5, 2: 0.6}, seeds=3, finished=False, width=128)
    found = runs.contrast(Path("runs/a"), Path("runs/b"))
    assert found.fields == {"seeds": (4, 3), "width": (64, 128)}
    seen, unseen = found.cells
    assert (unseen.arm, unseen.split, unseen.demos, unseen.seeds) == (
        "bursty", "unseen-level", 1, 3
    )  # fmt: skip
    assert unseen.first == interval([0.1, 0.3, 0.2]) and unseen.second == interval([0.4, 0.5, 0.6])
    assert unseen.difference == paired([0.4, 0.5, 0.6], [0.1, 0.3, 0.2])
    assert (seen.split, seen.difference.estimate) == ("seen-level", 0.0)

    text = said(capsys, "--compare", "a", "runs/b")
    assert "width" in text and "128" in text
    lines = [x.split() for x in text.splitlines()]
    (line,) = [x for x in lines if x[:2] == ["unseen-level", "bursty"]]
    gap = unseen.difference
    assert line[-4:] == ["0.30", f"[{gap.low:.2f},", f"{gap.high:.2f}]", "*"]
    (plain,) = json.loads(said(capsys, "--compare", "a", "b", "--json"))
    assert plain["fields"] == {"seeds": [4, 3], "width": [64, 128]}
    assert plain["cells"][1]["difference"]["estimate"] == pytest.approx(0.3)


def test_more_than_two_are_held_against_the_first(made, capsys):
    for index, name in enumerate("abc"):
        made(name, {0: 0.1 * index, 1: 0.2 * index})
    found = json.loads(said(capsys, "--compare", "a", "b", "c", "--json"))
    assert [(x["first"], x["second"]) for x in found] == [
        ("runs/a", "runs/b"),
        ("runs/a", "runs/c"),
    ]
    text = said(capsys, "--compare", "a", "b", "c")
    assert text.count("A  runs/a\n") == 2 and "their configs are the same" in text


def test_one_seed_has_no_interval(made, capsys):
    made("a", {0: 0.1})
    made("b", {0: 0.4})
    (plain,) = json.loads(said(capsys, "--compare", "a", "b", "--json"))
    gap = plain["cells"][-1]["difference"]
    assert gap["estimate"] == pytest.approx(0.3) and gap["low"] is None is gap["high"]
    assert "nan" not in said(capsys, "--compare", "a", "b")


def test_runs_that_share_nothing_say_so(made, capsys):
    made("a", {0: 0.1})
    made("b", {5: 0.4}, seed=5)
    assert "share no score" in said(capsys, "--compare", "a", "b")


def test_scores_that_are_no_numbers_are_left_out(made):
    """JSON has no NaN: a score that was not finite is null."""
    path = made("a", {0: 0.1, 1: 0.3})
    found = json.loads((path / "results.json").read_text())
    for x in found["rows"]:
        x["score"] = None if x["seed"] == 0 else x["score"]
    (path / "results.json").write_text(json.dumps(found))
    assert runs.look(path).score == 0.3
    assert {x.seeds for x in runs.contrast(path, made("b", {0: 0.1, 1: 0.3})).cells} == {1}


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": 3}', '{"rows": [{}]}'])
def test_a_damaged_run_is_not_compared(made, content):
    path = made("a", {0: 0.1})
    (path / "results.json").write_text(content)
    with pytest.raises(ConfigError, match="runs/a"):
        runs.contrast(path, made("b", {0: 0.2}))


def test_a_sweep_is_a_line_of_its_own(made, capsys):
    path = Path("runs/sweep-x")
    made("sweep-x/trials/trial-000", {0: 0.1})
    made("sweep-x/trials/trial-001", {0: 0.2})
    spec = {"command": "sweep", "preset": "smoke", "fixed": {"seeds": 3}, "sweep": {"trials": 0}}
    (path / "sweep.json").write_text(json.dumps(spec))
    trials = [{"status": "finished"}, {"status": "running"}]
    (path / "trials.json").write_text(json.dumps(trials))
    (found,) = json.loads(said(capsys, "--json"))
    assert (found["command"], found["state"], found["seeds"]) == ("sweep", "unfinished", 3)
    assert (found["done"], found["total"], found["score"]) == (1, 2, None)
    rows = [row("bursty", 0, 0.2, trial="trial-001"), row("bursty", 0, 0.1, trial="trial-000")]
    results = {"environment": {"commit": "abc"}, "best": "trial-001", "rows": rows}
    (path / "results.json").write_text(json.dumps(results))
    (found,) = json.loads(said(capsys, "--json"))
    assert (found["state"], found["score"], found["commit"]) == ("finished", 0.2, "abc")
    assert len(json.loads(said(capsys, path / "trials", "--json"))) == 2
    with pytest.raises(ConfigError, match="is a sweep; name folders of its trials"):
        runs.contrast(path, path / "trials" / "trial-000")


def test_a_folder_of_studies_is_a_line(made, capsys):
    path = Path("runs/study-quick")
    for name in ("cells", "metrics", "burstiness"):
        (path / name).mkdir(parents=True)
    (path / "cells" / "0123.json").write_text('{"environment": {"commit": "abc"}, "rows": []}')
    (found,) = json.loads(said(capsys, "--json"))
    assert (found["command"], found["state"], found["commit"]) == ("study", "unfinished", "abc")
    assert (found["done"], found["total"], found["score"]) == (1, None, None)
    results = {"config": {"preset": "quick", "seeds": 5}, "environment": {"commit": "def"}}
    (path / "burstiness" / "results.json").write_text(json.dumps(results))
    (found,) = json.loads(said(capsys, "--json"))
    assert (found["state"], found["commit"], found["preset"]) == ("finished", "def", "quick")
    assert "1/-" in said(capsys)
    with pytest.raises(ConfigError, match="folder of studies"):
        runs.contrast(path, made("a", {0: 0.1}))


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (5 * 10**9, "5.0 GB")]
)
def test_sizes_are_for_people(count, text):
    assert cli_runs.size(count) == text


def test_a_narrow_terminal_says_what_it_lacks(made, capsys, monkeypatch):
    made("a", {0: 0.1, 1: 0.2})
    monkeypatch.setattr(cli_runs, "WIDE", 60)
    lines = said(capsys).splitlines()
    assert lines[-1].startswith("too narrow here for: command, device")
    assert all(len(line) <= 60 for line in lines[:-1]) and lines[2].startswith("a ")


def test_listing_is_light(environment, tmp_path, smoke):
    for index in range(4):
        (tmp_path / "runs" / str(index)).mkdir(parents=True)
        for name in ("config.json", "results.json"):
            shutil.copy(smoke / name, tmp_path / "runs" / str(index) / name)
    script = "import sys; from experiments.cli import run; code = run({!r}); "
    script += "sys.exit(code or 'jax' in sys.modules)"
    for words in (["runs"], ["runs", "--compare", "0", "1"]):
        command = [sys.executable, "-c", script.format(words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stderr


def test_several_runs_make_one_page(made, capsys, tmp_path):
    first = made("first", {0: 0.1, 1: 0.2, 2: 0.3})
    second = made("second", {0: 0.4, 1: 0.6, 2: 0.8}, width=128)
    third = made("</script><script>alert(1)", {1: 0.9})
    assert cli.run(["report", *map(str, (first, second, third)), "--out", "deep/page.html"]) == 0
    assert "deep/page.html" in capsys.readouterr().out
    page = (tmp_path / "deep" / "page.html").read_text()
    found = paired([0.4, 0.6, 0.8], [0.1, 0.2, 0.3])
    assert f"[{found.low:.3f}, {found.high:.3f}]".replace("-", "−") in page
    assert "width" in page and ">128<" in page and f"{found.estimate:.3f}" in page
    assert "<script>alert(1)" not in page
    # What is no run is said, and nothing is written.
    assert cli.run(["report", str(first), "nowhere", "--out", "other.html"]) == 2
    assert "nowhere" in capsys.readouterr().err and not Path("other.html").exists()
    assert cli.run(["report", str(first), str(second), "--out", "deep"]) == 2
    assert "is a folder; name a file" in capsys.readouterr().err
    assert cli.run(["report"]) == 2
    assert "name the folder of a run" in capsys.readouterr().err
