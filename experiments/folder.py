"""A run's folder: config, metrics, cells, checkpoints, results, report."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from experiments import jsonfile, positions
from experiments.config import CompareConfig
from experiments.errors import ConfigError

TRACKERS = ("wandb", "trackio", "tensorboard")  # folders of theirs


class RunFolder:
    """``runs/NAME/``. Every file is written whole, beside its place, and renamed into it."""

    def __init__(self, path: Path):
        self.path = path
        # File of JSON lines -> its size when it was last written, its lines by measurement.
        self._logged: dict[str, tuple[int, dict[tuple[Any, ...], dict[str, Any]]]] = {}

    @classmethod
    def refuse(cls, path: Path, *, overwrite: bool) -> None:
        """Finds out, and touches nothing, whether ``create`` would do.

        Raises:
            ConfigError: the path is a file, lies where nothing can be made, or is a folder that
                holds something which is not to be, or not known to be, a run to overwrite.
        """
        near = next(p for p in (path, *path.absolute().parents) if p.exists())
        if not near.is_dir():
            where = "is" if near == path else f"lies below {near}, which is"
            raise ConfigError(f"--out {path} {where} a file; name a folder")
        if not os.access(near, os.W_OK):
            raise ConfigError(f"--out {path}: {near} may not be written to; name another folder")
        if near != path or not _holds(path):
            return
        if not overwrite:
            raise ConfigError(f"--out {path} is not empty; name another folder or say --overwrite")
        try:
            cls.open(path)  # only what is recognisably a run is deleted
        except ConfigError as error:
            raise ConfigError(f"--out {path} is not empty and no run ({error})") from None

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> Self:
        """A new folder; an existing one must be empty, or is emptied on ``overwrite``.

        Raises:
            ConfigError: as ``refuse``.
        """
        cls.refuse(path, overwrite=overwrite)
        if path.exists() and _holds(path):
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run.

        Raises:
            ConfigError: there is none.
        """
        if not (path / "config.json").is_file():
            raise ConfigError(f"no run at {path}: config.json is missing; name a run's folder")
        folder = cls(path)
        stored = folder.read("config.json")
        if not isinstance(stored, dict) or stored.get("command") != "compare":
            raise ConfigError(
                f"no run at {path}: config.json is not one that levelburst compare wrote; "
                "name a run's folder"
            )
        return folder

    def refuse_links(self) -> None:
        """Raises ConfigError where this folder holds a link, however deep, but for what a tracker
        keeps there: who goes on would write where it leads."""
        for inner, folders, files in os.walk(self.path):
            for path in (Path(inner, name) for name in folders + files):
                if path.is_symlink():
                    raise ConfigError(
                        f"{path} is a link, and what is written to a run's folder is to stay in "
                        "it; put the file there, or link the whole folder"
                    )
            folders[:] = [name for name in folders if name not in TRACKERS]

    def discard(self) -> None:
        """Removes a run of which nothing is finished."""
        if not (self.path / "cells").exists():
            shutil.rmtree(self.path)

    def write(self, name: str, value: Any) -> Path:
        """Writes JSON atomically; numbers that are not finite become null."""
        return self.replace(name, json.dumps(_finite(value), indent=1) + "\n")

    def replace(self, name: str, text: str) -> Path:
        """Writes a text file atomically."""
        from envs import durable  # which brings JAX, and mistakes are told before that

        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        durable.write_file(target, text)
        return target

    def read(self, name: str) -> Any:
        """Reads JSON.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        try:
            return jsonfile.read(self.path / name)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path / name} cannot be read: {error}") from None

    def log(self, lines: list[dict[str, Any]]) -> None:
        """Adds lines to metrics.jsonl, as ``add``."""
        self.add("metrics.jsonl", lines)

    def add(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Adds lines to a file of JSON lines, at once. A line takes the place of an earlier one of
        the same measurement, which a run wrote that was cut short before its cell was finished;
        then, and where the file is not as this folder left it, it is written anew.

        Raises:
            ConfigError: the file is damaged.
        """
        path = self.path / name
        size, known = self._logged.get(name, (-1, {}))
        ours = path.exists() and path.stat().st_size == size
        known = known if ours else {place(line): line for line in self.logged(name)}
        new = {place(line): line for line in _finite(lines)}
        if ours and not known.keys() & new.keys():
            with path.open("a", encoding="utf-8") as file:
                file.write(_text(new.values()))
                file.flush()
                os.fsync(file.fileno())
        else:
            self.replace(name, _text((known | new).values()))
        known |= new
        self._logged[name] = (path.stat().st_size, known)

    def logged(self, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
        """The lines of a file of JSON lines; a last one that a crash cut off is left out.

        Raises:
            ConfigError: the file is damaged.
        """
        path, found, cut = self.path / name, [], None
        try:
            for number, value in jsonfile.lines(path):
                if cut:
                    raise ConfigError(f"{path}:{cut[0]} cannot be read: {cut[1]}")
                if isinstance(value, dict):
                    found.append(value)
                else:
                    cut = number, value if isinstance(value, ValueError) else "it is no object"
        except ConfigError:
            raise
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from None
        return found

    def cell(self, arm: str, seed: int) -> str:
        """The name of a cell: one arm and seed."""
        return f"{arm.replace(':', '-')}-seed{seed}"

    def rows(self, arm: str, seed: int) -> list[dict[str, Any]]:
        """The rows of a finished cell."""
        return self.read(f"cells/{self.cell(arm, seed)}.json")

    def keep(self, arm: str, seed: int, rows: list[dict[str, Any]]) -> None:
        """Writes the rows of a cell: it is finished then."""
        self.write(f"cells/{self.cell(arm, seed)}.json", rows)

    def finished(self, arm: str, seed: int) -> bool:
        """Whether a cell's rows are there."""
        return (self.path / "cells" / f"{self.cell(arm, seed)}.json").is_file()

    def checkpoint(self, arm: str, seed: int) -> Path:
        """Where a cell's parameters are."""
        return self.path / "checkpoints" / self.cell(arm, seed)

    def training(self, arm: str, seed: int) -> Path:
        """Where a cell's training checkpoints are, each under the number of its updates."""
        return self.path / "training" / self.cell(arm, seed)

    def settings(self, config: CompareConfig, arm: str, seed: int) -> dict[str, Any]:
        """What a cell's training is held to where it is resumed, by field."""
        return positions.settings(config)


def environment(devices: list[Any]) -> dict[str, Any]:
    """Versions, devices and commit, for ``results.json``."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "gymnasium", "orbax-checkpoint")
    return {
        "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in packages},
        "platform": sys.platform,
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "processes": len({device.process_index for device in devices}),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "commit": _commit(),
    }


def _holds(path: Path) -> bool:
    """Whether there is anything in a folder but what one that was killed at once began with."""
    return any(inner.name != ".config.json.partial" for inner in path.iterdir())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next(
        (x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "unknown"
    )


def _commit() -> str:
    root = Path(__file__).resolve().parent
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return head.stdout.strip()


def place(line: dict[str, Any]) -> tuple[Any, ...]:
    """Which measurement a line of metrics.jsonl holds."""
    return tuple(line.get(field) for field in ("kind", "arm", "seed", "update", "split", "demos"))


def _text(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
