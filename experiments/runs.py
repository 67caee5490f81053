"""Run folders, read: what each holds, and how two of them differ. No JAX here, and no printing."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import jsonfile, presets
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.processes import Processes

if TYPE_CHECKING:  # SciPy, which a person's mistake does not wait for
    from icl.statistics import Interval

Row = dict[str, Any]
HOME = Path("runs")  # where runs are made by default
SIGNS = ("config.json", "sweep.json", "metrics.jsonl", "metrics", "cells", "checkpoints", "trials")
# How and where a run was made, not what it asks.
MANNER = (
    "command_line",
    "out",
    "overwrite",
    "save_every",
    "keep",
    *(f.name for f in dataclasses.fields(Processes)),
)
BROKEN = (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True)
class Run:
    """What can be said of a run's folder; None and empty where it is not known.

    Attributes:
        path: of the folder.
        state: finished, unfinished (under way or cut short), or damaged.
        fault: what is damaged.
        command: compare, sweep, or study (a folder of them).
        preset: where its config started from.
        seeds: how many.
        done: finished cells, or trials of a sweep.
        total: all of them.
        began: Unix time.
        commit: of the code.
        device: that it ran on.
        score: of bursty with one demonstration on unseen levels, of a sweep's best trial; the mean
            over the seeds that there are.
        low, high: its 95 % interval; None with one seed.
        bytes: of all files.
    """

    path: Path
    state: str
    fault: str = ""
    command: str = ""
    preset: str = ""
    seeds: int | None = None
    done: int | None = None
    total: int | None = None
    began: float | None = None
    commit: str = ""
    device: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    bytes: int = 0

    @property
    def name(self) -> str:
        """Its path, seen from where runs are made."""
        return str(self.path.relative_to(HOME) if HOME in self.path.parents else self.path)


def find(folder: Path) -> list[Path]:
    """The run folders that a folder, here or in ``runs/``, is or holds, by name.

    Raises:
        ConfigError: there is no such folder.
    """
    folder = folder if folder.is_dir() else HOME / folder
    if not folder.is_dir():
        raise ConfigError(f"no folder {folder.name}; name a run's folder, or one that holds some")
    if _is_run(folder):
        return [folder]
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_run(path))


def locate(path: Path) -> Path:
    """The folder of a run that is named by its path, or by its name in ``runs/``.

    Raises:
        ConfigError: there is no such run.
    """
    for place in (path, HOME / path):
        if place.is_dir() and _is_run(place):
            return place
    raise ConfigError(f"no run at {path}; name a run's folder, as levelburst runs lists them")


def look(path: Path) -> Run:
    """What a folder holds, however damaged it is."""
    known: dict[str, Any] = {"bytes": _bytes(path)}
    try:
        if (path / "sweep.json").is_file():
            _look_at_sweep(path, known)
        elif _is_study(path):
            _look_at_study(path, known)
        else:
            _look_at_run(path, known)
    except BROKEN as error:
        known |= {"state": "damaged", "fault": _words(error)}
    return Run(path, **known)


def _look_at_run(path: Path, known: dict[str, Any]) -> None:
    config = _read(path / "config.json")
    known |= {"command": config["command"], "preset": str(config.get("preset", ""))}
    known["began"] = (path / "config.json").stat().st_mtime
    known["seeds"] = config.get("seeds")
    if {"arms", "readers", "seeds"} <= config.keys():
        known["total"] = (len(config["arms"]) + len(config["readers"])) * config["seeds"]
    known["done"] = len(list(path.glob("cells/*.json")))
    known["state"] = "finished" if (path / "results.json").is_file() else "unfinished"
    if known["state"] == "finished":
        found = _read(path / "results.json")
        _machine(found["environment"], known)
        known["done"] = len({(row["arm"], row["seed"]) for row in found["rows"]})
        _score(found["rows"], known)
    else:
        _score([row for cell in path.glob("cells/bursty-seed*.json") for row in _rows(cell)], known)


def _look_at_sweep(path: Path, known: dict[str, Any]) -> None:
    spec = _read(path / "sweep.json")
    known |= {"command": spec["command"], "preset": spec["preset"]}
    known["began"] = (path / "sweep.json").stat().st_mtime
    known["seeds"] = spec["fixed"].get("seeds", presets.preset(spec["preset"]).seeds)
    trials = _rows(path / "trials.json") if (path / "trials.json").is_file() else []
    known["done"] = sum(trial["status"] == "finished" for trial in trials)
    known["total"] = max(len(trials), spec["sweep"]["trials"])
    known["state"] = "unfinished"
    if (path / "results.json").is_file():
        found = _read(path / "results.json")
        known["state"] = "finished"
        _machine(found["environment"], known)
        _score([row for row in found["rows"] if row["trial"] == found["best"]], known)


def _look_at_study(path: Path, known: dict[str, Any]) -> None:
    """A folder of studies, which share their cells; how many those are going to be, it does not
    say, and each setting has a score of its own."""
    cells = list(path.glob("cells/*.json"))
    studies = [_read(file) for file in sorted(path.glob("*/results.json"))]
    known |= {"command": "study", "done": len(cells)}
    known["began"] = min((cell.stat().st_mtime for cell in cells), default=None)
    known["state"] = "finished" if studies else "unfinished"
    if studies:
        known |= {field: studies[-1]["config"][field] for field in ("preset", "seeds")}
    environments = [found["environment"] for found in studies]
    for environment in environments[-1:] or [_read(cell)["environment"] for cell in cells[:1]]:
        known |= {field: str(environment.get(field, "")) for field in ("commit", "device")}


def _machine(environment: dict[str, Any], known: dict[str, Any]) -> None:
    known |= {field: str(environment.get(field, "")) for field in ("commit", "device")}
    if environment.get("seconds") is not None and "phases" in environment:  # not a resumed run
        known["began"] = environment["phases"]["began"]


def _score(rows: Sequence[Row], known: dict[str, Any]) -> None:
    found = _interval(_scores(rows, "bursty", "unseen-level", 1))
    if found:
        known |= {"score": found.estimate, "low": _end(found.low), "high": _end(found.high)}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One arm, split and k of two runs, on the seeds that both have.

    Attributes:
        arm, split, demos: which.
        seeds: how many both have.
        first, second: mean scores over them, with 95 % intervals.
        difference: ``second - first``, paired by seed.
    """

    arm: str
    split: str
    demos: int
    seeds: int
    first: Interval
    second: Interval
    difference: Interval


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Two runs.

    Attributes:
        first, second: their folders.
        fields: of the configs, where they differ -> the two values.
        cells: what both measured, in the order of the first.
    """

    first: Path
    second: Path
    fields: dict[str, tuple[Any, Any]]
    cells: list[Cell]


def contrast(first: Path, second: Path) -> Contrast:
    """How two runs differ, in what was asked and in what came out, as far as it is there.

    Raises:
        ConfigError: one of them is damaged, or no run of its own.
    """
    try:
        a, b = _asked(first), _asked(second)
        fields = {x: (a.get(x), b.get(x)) for x in {**a, **b} if a.get(x) != b.get(x)}
        return Contrast(first, second, fields, _shared(_measured(first), _measured(second)))
    except ConfigError:
        raise
    except BROKEN as error:
        raise ConfigError(f"{first} or {second} is damaged: {_words(error)}") from None


def _shared(first: list[Row], second: list[Row]) -> list[Cell]:
    from icl.statistics import paired

    cells = []
    places = dict.fromkeys((row["arm"], row["split"], row["demos"]) for row in first)
    for place in sorted(places, key=lambda place: _order(place, list(places))):
        own, other = _scores(first, *place), _scores(second, *place)
        seeds = sorted(own.keys() & other.keys())
        if not seeds:
            continue
        a, b = ([found[seed] for seed in seeds] for found in (own, other))
        alone, beside = _interval(dict(enumerate(a))), _interval(dict(enumerate(b)))
        assert alone and beside
        cells.append(Cell(*place, len(seeds), alone, beside, paired(b, a)))
    return cells


def _order(place: tuple[str, str, int], places: list[tuple[str, str, int]]) -> tuple[int, int, int]:
    """Splits together, arms within, k within; each as they first come."""
    arms, splits, _ = (list(dict.fromkeys(column)) for column in zip(*places))
    return splits.index(place[1]), arms.index(place[0]), place[2]


def _asked(path: Path) -> dict[str, Any]:
    """A run's config, in JSON's types; fields that are younger than it have their defaults."""
    if (path / "sweep.json").is_file():
        raise ConfigError(f"{path} is a sweep; name folders of its trials, in {path / 'trials'}")
    if _is_study(path):
        raise ConfigError(f"{path} is a folder of studies, whose pages compare; name two runs")
    stored, default = _read(path / "config.json"), dataclasses.asdict(CompareConfig())
    full = json.loads(json.dumps(default)) | stored
    return {field: value for field, value in full.items() if field not in MANNER}


def _measured(path: Path) -> list[Row]:
    """The rows that make scores, of all cells that are finished."""
    if (path / "results.json").is_file():
        rows = _read(path / "results.json")["rows"]
    else:
        rows = [row for cell in sorted(path.glob("cells/*.json")) for row in _rows(cell)]
    wanted = {"family": "all", "demonstrations": "whole", "acting": "sampled"}
    return [row for row in rows if all(row[field] == value for field, value in wanted.items())]


def _scores(rows: Sequence[Row], arm: str, split: str, demos: int) -> dict[int, float]:
    """seed -> score, where it is a number."""
    from experiments.results import scores

    return {s: x for s, x in scores(rows, arm, split, demos).items() if isinstance(x, float | int)}


def _interval(found: dict[int, float]) -> Interval | None:
    from icl.statistics import interval

    return interval([found[seed] for seed in sorted(found)]) if found else None


def _end(value: float) -> float | None:
    return value if value == value else None


def _is_run(folder: Path) -> bool:
    return any((folder / sign).exists() for sign in SIGNS)


def _is_study(folder: Path) -> bool:
    return (folder / "metrics").is_dir() and not (folder / "config.json").exists()


def _read(path: Path) -> dict[str, Any]:
    """A JSON object."""
    return _load(path, dict)


def _rows(path: Path) -> list[Row]:
    """A JSON list of objects."""
    return _load(path, list)


def _load(path: Path, kind: type) -> Any:
    if not path.is_file():
        raise ConfigError(f"{path} is missing")
    try:
        found = jsonfile.read(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, kind) or (kind is list and not all(type(x) is dict for x in found)):
        raise ConfigError(f"{path} is not one that levelburst wrote")
    return found


def _bytes(folder: Path) -> int:
    """Of all files below a folder; what goes away meanwhile counts nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_size
            except OSError:
                continue
    return total


def _words(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return " ".join(str(error).split()) or type(error).__name__
