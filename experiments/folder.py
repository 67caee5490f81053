"""A run's folder: config, metrics, cells, checkpoints, results, report."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.config import ConfigError


class RunFolder:
    """``runs/NAME/``. Every file is written whole, beside its place, and renamed into it."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: Path, *, overwrite: bool) -> RunFolder:
        """A new folder; an existing one must be empty, or is emptied on ``overwrite``.

        Raises:
            ConfigError: the path is a file, or a folder that holds something.
        """
        if path.exists():
            if not path.is_dir():
                raise ConfigError(f"--out {path} is a file; name a folder")
            if any(path.iterdir()):
                if not overwrite:
                    raise ConfigError(
                        f"--out {path} is not empty; name another folder or say --overwrite"
                    )
                # Only what is recognisably a run is deleted.
                if not (path / "config.json").is_file():
                    raise ConfigError(
                        f"--out {path} is not empty and no run (it has no config.json); "
                        "name another folder"
                    )
                shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            ConfigError: there is none.
        """
        if not (path / "config.json").is_file():
            raise ConfigError(f"no run at {path}: config.json is missing; name a run's folder")
        return cls(path)

    def write(self, name: str, value: Any) -> Path:
        """Writes JSON atomically; numbers that are not finite become null."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(_finite(value), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        return target

    def read(self, name: str) -> Any:
        """Reads JSON.

        Raises:
            ConfigError: the file is missing or damaged.
        """
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path / name} cannot be read: {error}") from None

    def log(self, lines: list[dict[str, Any]]) -> None:
        """Appends lines to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(_finite(line)) + "\n" for line in lines)

    def cell(self, arm: str, seed: int) -> str:
        """The name of a cell: one arm and seed."""
        return f"{arm.replace(':', '-')}-seed{seed}"

    def finished(self, arm: str, seed: int) -> bool:
        """Whether a cell's rows are there."""
        return (self.path / "cells" / f"{self.cell(arm, seed)}.json").is_file()

    def checkpoint(self, arm: str, seed: int) -> Path:
        """Where a cell's parameters are."""
        return self.path / "checkpoints" / self.cell(arm, seed)


def environment(devices: list[Any]) -> dict[str, Any]:
    """Versions, devices and commit, for ``results.json``."""
    packages = ("jax", "jaxlib", "flax", "optax", "numpy", "gymnasium", "orbax-checkpoint")
    return {
        "python": sys.version.split()[0],
        **{name: metadata.version(name) for name in packages},
        "platform": sys.platform,
        "device": f"{len(devices)} x {devices[0].device_kind}",
        "cores": os.cpu_count(),
        "processor": _processor(),
        "commit": _commit(),
    }


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


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
