"""kill -9 of trials and of the sweep itself: every result once, and each that of a run alone."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments import compare, sweep_file
from experiments.config import CompareConfig
from tests.experiments.listeners import family
from tests.faults.runs import FORGETS, TINY, job, updates

pytestmark = pytest.mark.early

FIELDS = ("arms", "readers", "test_families", "slots", "demos", "demonstrations", "horizon")
FIELDS += ("contexts", "train_levels", "width", "heads", "save_every")
UPDATES = 48
# Imported by each trial: with a twin, it takes a guard away there.
MODULE = """
from envs.families.dark_room import DarkRoom
class Cellar(DarkRoom):
    pass
"""


def spec_of(trials: int, retries: int) -> str:
    """A grid of so many learning rates, two trials at a time."""
    fixed = {name: getattr(TINY, name) for name in FIELDS}
    fixed |= {"families": ("cellar:Cellar",), "updates": UPDATES, "report_every": 4}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fixed.items()]
    rates = [round(0.001 * (1 + index), 4) for index in range(trials)]
    head = ['name = "toy"', 'preset = "smoke"', "[fixed]", *lines, "[search]"]
    return "\n".join(
        [*head, f"learning_rate = {rates}", "[sweep]", "concurrent = 2", f"retries = {retries}"]
    )


class Deaths:
    """A sweep whose trials are killed, and that is killed itself.

    Args:
        root: where its spec and its folder lie.
        env: environment variables.
        trials: how many it has.
        twin: source that takes a guard away in the processes of trials.
    """

    def __init__(self, root: Path, env: dict[str, str], trials: int, twin: str = ""):
        self.root, self.env, self.trials, self.draw = root, env, trials, random.Random(trials)
        self.folder = root / "runs" / "sweep-toy"
        (root / "cellar.py").write_text(MODULE + twin, encoding="utf-8")
        (root / "toy.toml").write_text(spec_of(trials, retries=20), encoding="utf-8")

    def start(self) -> subprocess.Popen[str]:
        words = ["sweep", "toy.toml", *(["--resume"] if self.folder.exists() else [])]
        return subprocess.Popen(
            [sys.executable, "-m", "experiments.cli", *words],
            cwd=self.root, env=self.env, text=True, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def kill(self, workers: int, drivers: int) -> None:
        """Kills so many processes of trials while they train, and the sweep so many times, in turn;
        then lets it come to its end."""
        edges = [workers * index // (drivers + 1) for index in range(drivers + 2)]
        for index in range(drivers + 1):
            process = self.start()
            try:
                for _ in range(edges[index], edges[index + 1]):
                    self._kill_one(process)
                if index < drivers:
                    self._training(process)
                    ended = trials_of(process.pid)
                    process.kill()
                    process.communicate(timeout=900)
                    gone(ended)
                else:
                    out, err = process.communicate(timeout=1800)
                    assert process.returncode == 0, err
                    assert f"{self.trials} trials" in out
            finally:
                process.kill()

    def _training(self, process: subprocess.Popen[str]) -> int:
        """Waits until a trial that no process trained before has got on; the process of a trial."""
        before, end = self._saved(), time.monotonic() + 900
        while time.monotonic() < end and process.poll() is None:
            if len(self._saved() - before) > self.draw.randrange(3):
                time.sleep(self.draw.uniform(0, 0.2))
                if found := trials_of(process.pid):
                    return self.draw.choice(sorted(found))
            time.sleep(0.01)
        process.kill()
        raise AssertionError(f"no trial trains: {process.communicate()[1]}")

    def _kill_one(self, process: subprocess.Popen[str]) -> None:
        while True:
            try:
                os.kill(self._training(process), signal.SIGKILL)
                return
            except ProcessLookupError:  # it has just come to its end
                continue

    def _saved(self) -> set[Path]:
        return set(self.folder.glob("trials/*/training/*/[0-9]*"))


def trials_of(pid: int) -> list[int]:
    """The processes in which Ray runs trials."""
    found = []
    for child in family(pid):
        try:
            title = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::ImplicitFunc"):  # Ray's agents are called ray::, too
            found.append(child)
    return found


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(processes: list[int]) -> None:
    """Waits until none of them is left, who would write into the folder of a dead sweep."""
    end = time.monotonic() + 900
    while any(map(alive, processes)):
        assert time.monotonic() < end, "processes outlive their sweep"
        time.sleep(0.05)


def alone(config: CompareConfig, path: Path) -> dict[str, bytes]:
    """The cells of a run by itself."""
    own = job(path, dataclasses.replace(config, devices=1))
    compare.run(own)
    return cells(path)


def cells(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.glob("cells/*.json")}


def wrong(deaths: Deaths, compared: int) -> list[str]:
    """What is not as it ought to be in a sweep that came to its end; so many of its trials are
    compared with a run alone."""
    found = []
    results = json.loads((deaths.folder / "results.json").read_text())
    names = [f"trial-{index:03d}" for index in range(deaths.trials)]
    if [(t["name"], t["status"]) for t in results["trials"]] != [(x, "finished") for x in names]:
        found.append(f"trials are {[(t['name'], t['status']) for t in results['trials']]}")
    spec = sweep_file.read(deaths.root / "toy.toml")
    for index, trial in enumerate(results["trials"]):
        path = deaths.folder / "trials" / trial["name"]
        own = json.loads((path / "results.json").read_text())["rows"]
        rows = [row for row in results["rows"] if row["trial"] == trial["name"]]
        if [{name: row[name] for name in own[0]} for row in rows] != own:
            found.append(f"{trial['name']}: its rows are not there once")
        if updates(path) != list(range(4, UPDATES + 1, 4)):
            found.append(f"{trial['name']}: trained updates {updates(path)}")
        if index % max(1, deaths.trials // compared) == 0 and cells(path) != alone(
            spec.config(trial["settings"]), deaths.root / f"alone{index}"
        ):
            found.append(f"{trial['name']}: other rows than alone")
    return found


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The family of one's own can be imported here, too."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("cellar", None)


def test_eight_trials_survive(tmp_path, environment, beside):
    deaths = Deaths(tmp_path, environment, 8)
    deaths.kill(workers=4, drivers=1)
    assert wrong(deaths, compared=1) == []


@pytest.mark.slow
def test_thirty_two_trials_survive(tmp_path, environment, beside):
    deaths = Deaths(tmp_path, environment, 32)
    deaths.kill(workers=30, drivers=5)
    assert wrong(deaths, compared=32) == []


@pytest.mark.slow
def test_twin_that_forgets_the_moments_is_found(tmp_path, environment, beside):
    deaths = Deaths(tmp_path, environment, 2, FORGETS)
    deaths.kill(workers=2, drivers=0)
    assert any("other rows than alone" in text for text in wrong(deaths, compared=2))
