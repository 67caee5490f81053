"""A sweep's folder: spec, trials and what became of them, their runs' folders, results, report."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.sweep_spec import SweepSpec, flags

# How a sweep is run, not what it asks: a resumed one may change it.
MANNER = ("retries", "concurrent", "cpus", "gpus", "tpus", "resources")
NAME = re.compile(r"trial-\d{3,}")
OVER = ("finished", "stopped", "diverged")  # trials that a resumed sweep leaves as they are


@dataclasses.dataclass
class Trial:
    """One trial, and what is known of it.

    Attributes:
        name: of the trial and of its run's folder.
        settings: field -> value.
        status: waiting, running, finished, stopped (early, doing too badly), diverged (the loss was
            not finite), refused (no comparison can be made of it) or failed (its process died too
            often).
        objective: the last that is known, None where nothing was tested.
        low, high: ends of its 95 % interval over seeds; None before the end and with one seed.
        tests: [tests of cells, objective] on the way, in order.
        attempts: how many processes ran it since the sweep was last begun or resumed.
        seconds: how long they ran.
        message: why it ended.
    """

    name: str
    settings: dict[str, Any]
    status: str = "waiting"
    objective: float | None = None
    low: float | None = None
    high: float | None = None
    tests: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    attempts: int = 0
    seconds: float = 0.0
    message: str = ""

    @property
    def over(self) -> bool:
        """Whether a resumed sweep leaves it as it is."""
        return self.status in OVER


class SweepFolder(RunFolder):
    """``runs/sweep-NAME/``: sweep.json, trials.json, trials/NAME/, results.json, report.html."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing sweep.

        Raises:
            ConfigError: there is none.
        """
        if not (path / "sweep.json").is_file():
            raise ConfigError(f"no sweep at {path}: sweep.json is missing; name a sweep's folder")
        folder = cls(path)
        stored = folder.read("sweep.json")
        if not isinstance(stored, dict) or stored.get("command") != "sweep":
            raise ConfigError(
                f"no sweep at {path}: sweep.json is not one that levelburst sweep wrote; name a "
                "sweep's folder"
            )
        return folder

    def discard(self) -> None:
        """Removes a sweep of which no trial was begun."""
        if not self.runs.exists():
            shutil.rmtree(self.path)

    def begin(self, spec: SweepSpec, line: str) -> None:
        """Writes down what is asked, and how it was said."""
        self.write("sweep.json", {"command": "sweep", "command_line": line} | plain(spec))

    def go_on(self, spec: SweepSpec) -> None:
        """Finds out whether a spec asks what this sweep asked.

        Raises:
            ConfigError: a field differs.
        """
        old, new = self.read("sweep.json"), plain(spec)
        for part in ("preset", "fixed", "search", "objective", "sweep"):
            before, after = (
                (x if isinstance(x, dict) else {"": x}) for x in (old.get(part), new[part])
            )
            for field in [*before, *(after.keys() - before.keys())]:
                if part == "sweep" and (
                    field in MANNER or (field == "trials" and _more(before, after))
                ):
                    continue
                if before.get(field) != after.get(field):
                    name = f"[{part}] {field}" if field else part
                    raise ConfigError(
                        f"--resume: {name} is {after.get(field)!r}, and {self.path} was begun with "
                        f"{before.get(field)!r}; put it back, or name another folder with --out"
                    )

    @property
    def runs(self) -> Path:
        """Where the trials' own folders are."""
        return self.path / "trials"

    def save(self, trials: list[Trial]) -> None:
        """Writes trials.json."""
        self.write("trials.json", [dataclasses.asdict(trial) for trial in trials])

    def load(self) -> list[Trial]:
        """The trials that were begun or planned; none where nothing was written yet.

        Raises:
            ConfigError: trials.json is damaged.
        """
        if not (self.path / "trials.json").exists():
            return []
        stored = self.read("trials.json")
        try:
            if not isinstance(stored, list):
                raise ValueError("it is no list")
            found = [Trial(**trial) for trial in stored]
            for trial in found:  # JSON knows no tuples
                if not NAME.fullmatch(trial.name):  # a folder is made of it
                    raise ValueError(f"a trial has the name {trial.name!r}")
                trial.tests = [(tests, objective) for tests, objective in trial.tests]
                trial.settings = {
                    field: tuple(value) if isinstance(value, list) else value
                    for field, value in trial.settings.items()
                }
            return found
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"{self.path / 'trials.json'} cannot be read: {error}") from None

    def conclude(self, spec: SweepSpec, trial: Trial) -> None:
        """Takes a trial's objective from the results of its run, if that is finished."""
        if not (self.runs / trial.name / "results.json").is_file():
            return
        rows = self._results(trial)["rows"]
        found = spec.objective.measure(spec.objective.of_rows(rows))
        if found is not None:
            trial.status, trial.message = "finished", ""
            trial.objective = found.estimate
            trial.low, trial.high = (
                end if math.isfinite(end) else None for end in (found.low, found.high)
            )

    def gather(self, spec: SweepSpec, trials: list[Trial]) -> dict[str, Any]:
        """Writes results.json, the rows of all trials in one, and returns what it holds; its
        ``seconds`` are those of all trials, which may have run side by side."""
        rows, machine = [], {}
        for trial in trials:
            run = self.runs / trial.name
            head = {"trial": trial.name, "settings": trial.settings, "status": trial.status}
            if (run / "results.json").is_file():
                found = self._results(trial)
                machine, own = machine or found.get("environment", {}), found["rows"]
            else:  # what a trial had finished when it was stopped
                own = [
                    row
                    for cell in sorted(run.glob("cells/*.json"))
                    for row in self.read(str(cell.relative_to(self.path)))
                ]
            rows += [head | row for row in own]
        chosen = best(spec, trials)
        results = {
            "schema": 1,
            "config": self.read("sweep.json"),
            "environment": machine | {"seconds": round(sum(t.seconds for t in trials), 1)},
            "objective": dataclasses.asdict(spec.objective) | {"words": spec.objective.words},
            "best": chosen.name if chosen else None,
            "command": again(spec, chosen) if chosen else [],
            "trials": [dataclasses.asdict(trial) for trial in trials],
            "rows": rows,
        }
        self.write("results.json", results)
        return results

    def _results(self, trial: Trial) -> dict[str, Any]:
        """What a trial's results.json holds; ConfigError where its rows are none."""
        name = f"trials/{trial.name}/results.json"
        found = self.read(name)
        rows = found.get("rows") if isinstance(found, dict) else None
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise ConfigError(f"{self.path / name} holds no rows; remove it, and --resume again")
        return found

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Standard output goes to ray.log: Ray prints there how the processes of trials died."""
        with (
            (self.path / "ray.log").open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
        ):
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Holds the folder.

        Raises:
            ConfigError: another process holds it.
        """
        with (self.path / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    f"a sweep is running in {self.path}; wait for it, or name another folder"
                ) from None
            yield


def _more(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether a search is given as many trials as before, or more."""
    return after["method"] == "optuna" and after["trials"] >= before.get("trials", 0)


def best(spec: SweepSpec, trials: list[Trial]) -> Trial | None:
    """The finished trial with the best objective."""
    done = [trial for trial in trials if trial.status == "finished" and trial.objective is not None]
    sign = 1 if spec.objective.mode == "max" else -1
    return max(done, key=lambda trial: sign * (trial.objective or 0.0), default=None)


def again(spec: SweepSpec, trial: Trial) -> list[str]:
    """The words of the command that runs a trial again, by itself."""
    return ["levelburst", "compare", *flags(spec.config(trial.settings))]


def plain(spec: SweepSpec) -> dict[str, Any]:
    """A spec in JSON's types."""
    return json.loads(json.dumps(dataclasses.asdict(spec)))
