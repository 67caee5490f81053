"""The log of a run: trackers hear it in threads of their own, and none of them can hurt the run."""

import json
import threading
import time

import pytest

from experiments import log as log_lib
from experiments import trackers
from experiments.config import CompareConfig
from experiments.folder import RunFolder
from experiments.log import Log

FOUND = {"rows": [], "verdicts": []}


class Ear:
    """A tracker that keeps what it hears; it fails, or hangs, where it is asked to."""

    resumes = True

    def __init__(self, broken: str = "", hang: threading.Event | None = None):
        self.broken, self.hang = broken, hang
        self.heard: list = []

    def __call__(self, folder):
        return self

    def _hear(self, place: str, *what: object) -> None:
        self.heard += what
        if place == self.broken:
            if self.hang:
                self.hang.wait(60)
            raise SystemExit("the network\nis down") if place == "log" else OSError("is down")

    def start(self, run, config, identity, again):
        self._hear("start", (run, identity, again))
        return "somewhere"

    def log(self, lines):
        if lines:
            self._hear("log", *lines)

    def close(self, found):
        self._hear("close", found)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    made = RunFolder.create(tmp_path / "mine", overwrite=False)
    made.write("config.json", {"command": "compare"})
    return made


@pytest.fixture
def trackers_are(monkeypatch):
    def put(**made: Ear) -> None:
        for name, tracker in made.items():
            monkeypatch.setitem(trackers.TRACKERS, name, tracker)

    return put


def open_log(folder: RunFolder, said: list[str], *names: str, leads: bool = True) -> Log:
    return Log(CompareConfig(log=names), RunFolder(folder.path), said.append, leads=leads)


def line(seed: int, update: int) -> dict:
    return {"kind": "train", "arm": "bursty", "seed": seed, "update": update, "loss": 1.0}


def metrics(folder: RunFolder) -> list[dict]:
    text = (folder.path / "metrics.jsonl").read_text()
    return [json.loads(x) for x in text.splitlines()]


def test_lines_are_there_as_soon_as_they_are_said(folder, trackers_are):
    ear = Ear()
    trackers_are(wandb=ear)
    with open_log(folder, [], "wandb") as log:
        for update in (10, 20, 30):
            log([line(0, update)])
            assert metrics(folder)[-1] == line(0, update)
            end = time.monotonic() + 300
            while line(0, update) not in ear.heard and time.monotonic() < end:
                time.sleep(0.01)
            assert ear.heard[-1] == line(0, update)
        assert log.conclude(FOUND) is FOUND
    assert ear.heard[1:] == [*(line(0, update) for update in (10, 20, 30)), FOUND]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_resumed_run_tells_each_line_once(folder, trackers_are, resumes):
    """A tracker that goes on hears what is new; one that begins anew hears what is finished, and
    then what is trained again."""
    ear = Ear()
    ear.resumes = resumes
    trackers_are(wandb=ear)
    with open_log(folder, [], "wandb") as log:
        log([line(0, 10), line(1, 10)])
    folder.write("cells/bursty-seed0.json", [])
    (_, identity, again), *_, end = ear.heard
    assert not again and end is None  # it was cut short
    ear.heard = []
    with open_log(folder, [], "wandb") as log:
        log([line(1, 10), line(1, 20)])
        log.conclude(FOUND)
    (_, same, again), *lines, end = ear.heard
    assert again is resumes and (same == identity) is resumes and end is FOUND
    assert lines == ([line(1, 20)] if resumes else [line(0, 10), line(1, 10), line(1, 20)])
    assert metrics(folder) == [line(0, 10), line(1, 10), line(1, 20)]


@pytest.mark.parametrize("place", ["start", "log", "close"])
def test_a_tracker_that_fails_costs_a_warning(folder, trackers_are, place):
    said, well = [], Ear()
    trackers_are(wandb=Ear(place), trackio=well)
    with open_log(folder, said, "wandb", "trackio") as log:
        for update in (10, 20, 30):
            log([line(0, update)])
        assert log.conclude(FOUND) is FOUND
    (told,) = [x for x in said if "warning" in x]
    assert "\n" not in told and told.startswith("levelburst: warning: wandb is left out")
    assert "is down; the run goes on, and metrics.jsonl has every line" in told
    assert len(metrics(folder)) == 3 and len(well.heard) == 5
    # What it has not heard, a new record is told if the run is resumed.
    assert folder.read(log_lib.KEPT).keys() == {"trackio"}


def test_a_tracker_that_hangs_is_waited_for_a_while(folder, trackers_are, monkeypatch):
    said, hang = [], threading.Event()
    monkeypatch.setattr(log_lib, "PATIENCE", 0.2)
    trackers_are(wandb=Ear("start", hang))
    began = time.monotonic()
    with open_log(folder, said, "wandb") as log:
        log([line(0, 10)])
        log.conclude(FOUND)
    hang.set()
    assert time.monotonic() - began < 60 and metrics(folder) == [line(0, 10)]
    assert len(said) == 1 and "wandb is left out" in said[0] and "after the end" in said[0]


@pytest.mark.parametrize("end", [FloatingPointError, KeyboardInterrupt])
def test_a_run_that_fails_ends_its_trackers(folder, trackers_are, end):
    ear = Ear()
    trackers_are(wandb=ear)
    with pytest.raises(end), open_log(folder, [], "wandb") as log:
        log([line(0, 10)])
        raise end
    assert ear.heard[1:] == [line(0, 10), None]
    assert not [x for x in threading.enumerate() if x.name.startswith("log-")]


@pytest.mark.parametrize("content", ["{", "[]", "3", '{"wandb": '])
def test_damaged_identities_are_made_anew(folder, trackers_are, content):
    said = []
    trackers_are(wandb=Ear())
    (folder.path / log_lib.KEPT).write_text(content)
    with open_log(folder, said, "wandb") as log:
        log.conclude(FOUND)
    assert said == ["wandb: somewhere"] and folder.read(log_lib.KEPT)["wandb"]


def test_a_full_disk_is_no_second_fault(folder, trackers_are, monkeypatch):
    said = []
    trackers_are(wandb=Ear("close"))

    def full(*_):
        raise OSError("no space left on device")

    with open_log(folder, said, "wandb") as log:
        log([line(0, 10)])
        while not said:  # it has started
            time.sleep(0.01)
        monkeypatch.setattr(log.folder, "write", full)
        log.conclude(FOUND)
    assert len([x for x in said if "warning" in x]) == 1


def test_processes_that_do_not_lead_write_nothing(folder, trackers_are):
    ear = Ear()
    trackers_are(wandb=ear)
    with open_log(folder, [], "wandb", leads=False) as log:
        log([line(0, 10)])
        assert log.conclude({}) == {}
    assert [path.name for path in folder.path.iterdir()] == ["config.json"] and not ear.heard
