"""The parts of a sweep that need no running Ray: trials, folders, searches, early stopping."""

import dataclasses
import json
from types import SimpleNamespace

import pytest

from experiments import cli, compare, sweep_trial
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.presets import preset
from experiments.progress import Bar, Progress
from experiments.sweep_file import parse
from experiments.sweep_folder import SweepFolder, Trial, best

GRID = {"preset": "smoke", "search": {"learning_rate": [0.003, 0.01]}}
SEARCH = {
    "preset": "smoke",
    "search": {"learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "arms": [["bursty"]]},
    "sweep": {"method": "optuna", "trials": 20},
}


def row(arm, seed, score, **more):
    cell = {"split": "unseen-level", "family": "all", "demos": 1}
    how = {"demonstrations": "whole", "acting": "sampled"}
    return {"arm": arm, "seed": seed, "score": score} | cell | how | more


# A trial. -------------------------------------------------------------------------------
@pytest.fixture
def job(tmp_path):
    return sweep_trial.Job(parse(GRID, "s"), tmp_path / "trials", ())


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (None, "finished"),
        (FloatingPointError("the loss is nan"), "diverged"),
        (ConfigError("too few levels"), "refused"),
    ],
)
def test_how_a_trial_may_end(job, monkeypatch, end, outcome):
    def run(*_):
        if end:
            raise end

    monkeypatch.setattr(sweep_trial, "_prepare", lambda config, job: None)
    monkeypatch.setattr(compare, "run", run)
    heard = []
    sweep_trial.run(job, "trial-000", {"learning_rate": 0.01}, heard.append)
    assert heard == [{"outcome": outcome, "message": str(end or "")}]


def test_a_trial_is_a_run_that_goes_on(job, monkeypatch):
    """A second process finds the folder of the first, and what the first wrote."""

    def crash(*_):
        raise RuntimeError("out of memory")

    def go_on(job, listen):
        assert (job.config.learning_rate, job.folder.finished("bursty", 0)) == (0.003, True)

    monkeypatch.setattr(sweep_trial, "_prepare", lambda config, job: None)
    monkeypatch.setattr(compare, "run", crash)
    with pytest.raises(RuntimeError, match="out of memory"):
        sweep_trial.run(job, "trial-001", {"learning_rate": 0.003}, print)
    folder = RunFolder.open(job.trials / "trial-001")
    assert folder.read("config.json")["command_line"] == (
        "levelburst compare --preset smoke --learning-rate 0.003"
    )
    folder.write("cells/bursty-seed0.json", [])
    monkeypatch.setattr(compare, "run", go_on)
    heard = []
    sweep_trial.run(job, "trial-001", {"learning_rate": 0.003}, heard.append)
    assert heard[-1]["outcome"] == "finished"


def test_a_folder_that_a_machine_does_not_see_is_named(job):
    far = dataclasses.replace(job, trials=job.trials / "far" / "trials")
    with pytest.raises(FileNotFoundError, match="all machines of the cluster share"):
        sweep_trial.run(far, "trial-000", {}, print)


def test_what_is_told_on_the_way(tmp_path):
    """Tests of cells are counted from the start of the trial, finished cells of before included,
    and the objective takes what is known of every seed."""
    spec = parse(GRID | {"objective": {"minus": "isolated-chunks"}}, "s")
    config = dataclasses.replace(preset("smoke"), seeds=2, curve=2)
    folder, told = RunFolder(tmp_path), []
    folder.write("cells/bursty-seed0.json", [row("bursty", 0, 0.8)])
    ear = sweep_trial.Ear(config, spec, folder, told.append)
    ear([row("bursty", 1, 0.5)])  # no other arm yet
    ear([row("isolated-chunks", 0, 0.2)])
    ear([row("isolated-chunks", 0, 0.4)])
    ear([row("isolated-chunks", 1, 0.1), row("bursty", 1, 0.7)])
    assert [line["tests"] for line in told] == [4, 5, 7]
    assert [line["objective"] for line in told] == pytest.approx([0.6, 0.4, 0.5])


# A folder. ------------------------------------------------------------------------------
@pytest.fixture
def begun(tmp_path):
    folder = SweepFolder.create(tmp_path / "s", overwrite=False)
    folder.begin(parse(SEARCH, "s"), "levelburst sweep s.toml")
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"sweep": SEARCH["sweep"] | {"trials": 30, "retries": 5, "cpus": 2}}, ""),
        ({"sweep": SEARCH["sweep"] | {"trials": 10}}, r"\[sweep\] trials is 10, .* with 20"),
        ({"sweep": SEARCH["sweep"] | {"seed": 1}}, r"\[sweep\] seed is 1, .* with 0"),
        ({"fixed": {"zipf": 1.0}}, r"\[fixed\] zipf is 1.0, .* with None"),
        ({"preset": "quick"}, "preset is 'quick', .* with 'smoke'"),
        ({"objective": {"demos": 2}}, r"\[objective\] demos is 2, .* with 1"),
    ],
)
def test_only_the_same_question_goes_on(begun, change, said):
    if not said:
        return begun.go_on(parse(SEARCH | change, "s"))
    with pytest.raises(ConfigError, match=said):
        begun.go_on(parse(SEARCH | change, "s"))


def test_trials_are_read_as_they_were_written(begun):
    trials = [Trial("trial-000", {"arms": ("bursty", "single"), "zipf": 0.5}, "stopped", 0.3)]
    begun.save(trials)
    assert begun.load() == trials
    (begun.path / "trials.json").write_text('[{"nme": 3}]')
    with pytest.raises(ConfigError, match=r"trials\.json cannot be read"):
        begun.load()


def test_two_processes_do_not_share_a_folder(begun):
    refused = pytest.raises(ConfigError, match="a sweep is running in")
    with begun.alone(), refused, begun.alone():
        pass
    with begun.alone():
        pass


def test_a_running_sweep_is_not_overwritten(begun, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("preset = 'smoke'\n[search]\nseed = [0, 1]\n")
    line = ["sweep", str(file), "--out", str(begun.path), "--overwrite"]
    with begun.alone():
        assert cli.run(line) == 2
    assert (begun.path / "sweep.json").is_file()


@pytest.mark.parametrize(("given", "devices"), [({}, 3), ({"gpus": 4, "cpus": 3}, 0)])
def test_a_trial_asks_for_its_cores_only_where_it_has_no_accelerator(monkeypatch, given, devices):
    asked = []
    monkeypatch.setattr(cli, "_prepare_jax", lambda config: asked.append(config.devices) or "gpu")
    monkeypatch.setenv("JAX_PLATFORMS", "")
    spec = parse(GRID | {"sweep": {"cpus": 3} | given}, "s")
    sweep_trial._prepare(preset("smoke"), SimpleNamespace(spec=spec))
    assert asked == [devices]


def test_a_folder_without_trials_can_be_discarded(begun):
    begun.runs.mkdir()
    begun.discard()
    assert begun.path.exists()
    begun.runs.rmdir()
    begun.discard()
    assert not begun.path.exists()


@pytest.mark.parametrize(("mode", "name"), [("max", "b"), ("min", "a")])
def test_the_best_trial_is_a_finished_one(mode, name):
    spec = parse(GRID | {"objective": {"mode": mode}}, "s")
    trials = [
        Trial("a", {}, "finished", 0.1), Trial("b", {}, "finished", 0.3),
        Trial("c", {}, "stopped", 0.9), Trial("d", {}, "stopped", -0.9), Trial("e", {}, "diverged"),
    ]  # fmt: skip
    assert best(spec, trials).name == name
    assert best(spec, trials[2:]) is None


def test_rows_of_all_trials_stand_together(begun):
    spec = parse(SEARCH | {"sweep": SEARCH["sweep"]}, "s")
    trials = [Trial(f"trial-00{i}", {"learning_rate": 0.02 * (i + 1)}) for i in range(2)]
    rows = [row("bursty", 0, 0.4), row("bursty", 1, 0.6), row("bursty", 1, 0.9, demos=2)]
    machine = {"jax": "1"}
    begun.write("trials/trial-000/results.json", {"rows": rows, "environment": machine})
    begun.write("trials/trial-001/cells/bursty-seed0.json", [row("bursty", 0, 0.2)])
    for trial in trials:
        begun.conclude(spec, trial)
    assert (trials[0].status, trials[0].objective) == ("finished", pytest.approx(0.5))
    assert trials[0].low < 0.5 < trials[0].high
    assert (trials[1].status, trials[1].objective) == ("waiting", None)
    found = begun.gather(spec, trials)
    assert found == json.loads((begun.path / "results.json").read_text())
    assert [(r["trial"], r["settings"], r["score"]) for r in found["rows"]] == [
        ("trial-000", {"learning_rate": 0.02}, 0.4), ("trial-000", {"learning_rate": 0.02}, 0.6),
        ("trial-000", {"learning_rate": 0.02}, 0.9), ("trial-001", {"learning_rate": 0.04}, 0.2),
    ]  # fmt: skip
    assert found["best"] == "trial-000" and found["command"][-1] == "0.02"


# A search. ------------------------------------------------------------------------------
def ended(source, key, status, objective=None):
    """Asks for a trial and ends it."""
    source.suggest(key)
    trial = source.named[key]
    trial.status, trial.objective = status, objective
    if source.study:
        source.study.end(trial)
    return trial


def test_a_grid_is_handed_out_in_order_but_for_what_is_over():
    from experiments.sweep_search import Searcher, Source, planned

    spec = parse({"preset": "smoke", "search": {"seed": [0, 1, 2, 3]}}, "s")
    trials = planned(spec)
    trials[1].status, trials[2].status = "finished", "failed"
    source = Source(spec, trials, lambda: None)
    assert source.left == 3
    handed = [source.suggest(str(i)) for i in range(4)]
    assert handed[:3] == [{"name": f"trial-00{i}", "settings": {"seed": i}} for i in (0, 2, 3)]
    assert handed[3] == Searcher.FINISHED


def test_optuna_learns_and_goes_on_where_it_was():
    from experiments.sweep_search import Source

    spec = parse(SEARCH, "s")
    trials = []
    source = Source(spec, trials, lambda: None)
    for i in range(18):  # the best is at the upper end
        trial = ended(source, str(i), "running")
        assert 0.001 <= trial.settings["learning_rate"] <= 0.1
        assert trial.settings["arms"] == ("bursty",)
        trial.status, trial.objective = "finished", trial.settings["learning_rate"]
    early = [t.settings["learning_rate"] for t in trials]
    assert len(set(early)) == 18
    trials[-1].status, cut = "running", dict(trials[-1].settings)  # it was cut short
    trials[-2].status, trials[-2].objective = "diverged", None
    again = Source(spec, trials, lambda: None)
    assert again.left == 3
    states = [trial.state.name for trial in again.study.study.get_trials()]
    assert states.count("COMPLETE") == 16 and states.count("PRUNED") == 1
    handed = [again.suggest(str(i)) for i in range(3)]
    assert handed[0] == {"name": "trial-017", "settings": cut}
    assert [hand["name"] for hand in handed[1:]] == ["trial-018", "trial-019"]
    late = [hand["settings"]["learning_rate"] for hand in handed[1:]]
    assert not set(late) & set(early)
    assert min(late) > sorted(early)[9]  # it knows what was good


def test_a_search_that_goes_on_draws_no_point_again():
    from experiments.sweep_search import Source

    spec, trials = parse(SEARCH, "s"), []
    first = ended(Source(spec, trials, lambda: None), "0", "finished", 0.5)
    second = ended(Source(spec, trials, lambda: None), "0", "finished", 0.5)
    assert (first.name, second.name) == ("trial-000", "trial-001")
    assert first.settings != second.settings


def test_early_stopping_remembers_the_trials_of_before():
    from experiments.sweep import Known, early_stopping

    spec = parse(
        GRID | {"fixed": {"curve": 4}, "sweep": {"asha": {"grace": 0.5, "reduction": 2}}}, "s"
    )
    good = [
        Trial(f"trial-00{i}", {}, "finished", 0.9, tests=[(4, 0.8 + 0.1 * i), (8, 0.9)])
        for i in range(2)
    ]

    def decision(trials, objective):
        scheduler, new = early_stopping(spec, trials), Known("new")
        scheduler.on_trial_add(None, new)
        return scheduler.on_trial_result(None, new, {"tests": 4, "objective": objective})

    assert decision(good, 0.1) == "STOP"
    assert decision(good, 0.95) == "CONTINUE"
    assert decision([], 0.1) == "CONTINUE"
    scheduler, last = early_stopping(spec, good), Known("last")
    scheduler.on_trial_add(None, last)
    said = scheduler.on_trial_result(None, last, {"tests": 8, "objective": 0.95})
    assert said == "CONTINUE"  # a trial that is through still writes its results


# What is written down. --------------------------------------------------------------------
@pytest.fixture
def record(begun, capsys):
    """A recorder of a grid of two trials that Tune knows as 0 and 1, and the trials."""
    from experiments.sweep import Recorder
    from experiments.sweep_search import Source, planned

    spec, progress = parse(GRID, "s"), Progress()
    trials = planned(spec)
    source = Source(spec, trials, lambda: None)
    for place in range(2):
        source.suggest(str(place))
    return Recorder(spec, begun, source, progress, Bar(progress, "trials", 2, "trials")), trials


def tune(place, error_file=None):
    trial = SimpleNamespace(trial_id=str(place), error_file=error_file)
    return {"iteration": 0, "trials": [], "trial": trial}


def test_a_trial_that_was_stopped_is_told_from_one_that_finished(record, begun, capsys):
    recorder, trials = record
    begun.write("trials/trial-000/results.json", {"rows": [row("bursty", 0, 0.5)]})
    for place in range(2):
        recorder.on_trial_start(**tune(place))
        recorder.on_trial_result(**tune(place), result={"tests": 1, "objective": 0.3})
        recorder.on_trial_result(**tune(place), result={"tests": 2, "objective": 0.4})
    assert [trial.status for trial in begun.load()] == ["running"] * 2
    finished = {"outcome": "finished", "message": ""}
    recorder.on_trial_result(**tune(0), result=finished)
    for place in range(2):
        recorder.on_trial_complete(**tune(place))
    assert begun.load() == trials
    assert [(t.status, t.objective, t.tests) for t in trials] == [
        ("finished", 0.5, [(1, 0.3), (2, 0.4)]), ("stopped", 0.4, [(1, 0.3), (2, 0.4)]),
    ]  # fmt: skip
    assert "trial-001: stopped 0.400 (early, after 2 tests); best 0.500" in capsys.readouterr().err


def test_a_process_that_dies_goes_on_and_then_no_more(record, begun, capsys):
    recorder, trials = record
    for _ in range(2):  # its second process repeats a test that was not kept
        recorder.on_trial_start(**tune(1))
        recorder.on_trial_result(**tune(1), result={"tests": 1, "objective": 0.3})
        recorder.on_trial_result(**tune(1), result={"tests": 2, "objective": 0.4})
        recorder.on_trial_recover(**tune(1))
    recorder.on_trial_start(**tune(1))
    recorder.on_trial_result(**tune(1), result={"tests": 1, "objective": 0.2})
    error = "Traceback:\n  File 'x'\njax.errors.JaxRuntimeError: out of memory\n  at place 3"
    (begun.path / "tune.txt").write_text(error)
    recorder.on_trial_error(**tune(1, str(begun.path / "tune.txt")))
    assert begun.load()[1] == trials[1]
    assert (trials[1].status, trials[1].attempts, trials[1].tests) == ("failed", 3, [(1, 0.2)])
    assert trials[1].message == "jax.errors.JaxRuntimeError: out of memory"
    assert (begun.runs / "trial-001" / "error.txt").read_text().strip() == error
    said = capsys.readouterr().err
    assert "trial-001: its process died; 2 more to try" in said and "trial-001: failed" in said
