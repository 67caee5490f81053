"""Cells of studies, kept under the hash of what they are: equal cells are computed once.

A trained model goes by all that training depends on, the rows of a test by that and all that the
test depends on. So a study that only tests otherwise trains nothing, and studies share what they
have in common.

    runs/study-quick/
      cells/TEST.json          what was measured, with its config and where
      checkpoints/TRAIN/       parameters
      training/TRAIN/UPDATE/   what a training that was cut short goes on from
      metrics/TRAIN.jsonl      lines of its training
      NAME/                    of each study: results.json, report.html, figure.svg
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from experiments.config import CompareConfig
from experiments.folder import RunFolder
from experiments.presets import QUICK
from icl import arms as arms_lib

ELSEWHERE = (
    "arms", "readers", "chunk", "seed", "seeds", "preset", "out", "overwrite", "devices",
    "runs_per_device", "data", "model", "fsdp", "accumulate", "coordinator", "processes",
    "process", "remat", "log", "save_every", "keep",
)  # fmt: skip
"""Fields that say which cells there are, or how and where they are computed, not what a cell is."""
TESTED = (
    "test_stickiness", "regent", "demonstrations", "demos", "attempts", "levels", "episodes",
)  # fmt: skip
"""Fields that only a test depends on."""


def identity(config: CompareConfig, arm: str, seed: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """What one cell depends on: its training, and the test besides. Names of one rule are one, and
    a field at its default does not count: a field that is added later renames no cell.

    Args:
        config: the config that the cell is of.
        arm: an arm's name, or a reader's: that has no training.
        seed: its seed.
    """
    if config.test_stickiness == config.stickiness:
        config = dataclasses.replace(config, test_stickiness=-1.0)
    usual = dataclasses.asdict(QUICK)
    fields = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in ELSEWHERE and value != usual[name]
    }
    test = {name: fields.pop(name) for name in TESTED if name in fields}
    rule: Any = arm
    if arm not in config.readers:
        whole = arms_lib.named(arm, config.chunk)
        rule = dataclasses.asdict(whole) | {
            "chunk": int(whole.chunk) or config.horizon,
            "sharing": min(int(whole.sharing), config.slots),
        }
    return {"rule": rule, "seed": seed} | fields, test


def digest(value: Any) -> str:
    """16 hexadecimal digits that stand for a JSON value."""
    text = json.dumps(value, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class StudyFolder(RunFolder):
    """The cells of one config among all cells of the studies, in the form of a run's folder."""

    def __init__(self, path: Path, config: CompareConfig, machine: dict[str, Any] | None = None):
        super().__init__(path)
        self.config, self.machine = config, machine or {}

    def missing(self) -> list[tuple[str, int]]:
        """The cells of the config, readers included, that are not finished."""
        c = self.config
        cells = [(arm, c.seed + i) for arm in (*c.arms, *c.readers) for i in range(c.seeds)]
        return [cell for cell in cells if not self.finished(*cell)]

    def differs(self) -> str:
        """In which fields the config is not the preset quick's."""
        usual = dataclasses.asdict(QUICK)
        own = dataclasses.asdict(self.config).items()
        return ", ".join(
            f"{name} {value}" for name, value in own
            if name not in ELSEWHERE and value != usual[name]
        )  # fmt: skip

    def trained(self, arm: str, seed: int) -> str:
        """The name of a cell's training."""
        return digest(identity(self.config, arm, seed)[0])

    def cell(self, arm: str, seed: int) -> str:
        """The name of a cell's test."""
        return digest(identity(self.config, arm, seed))

    def checkpoint(self, arm: str, seed: int) -> Path:
        """Where a cell's parameters are."""
        return self.path / "checkpoints" / self.trained(arm, seed)

    def training(self, arm: str, seed: int) -> Path:
        """Where a cell's training checkpoints are, until it is finished."""
        return self.path / "training" / self.trained(arm, seed)

    def settings(self, config: CompareConfig, arm: str, seed: int) -> dict[str, Any]:
        """What a cell's training depends on, by field."""
        return identity(config, arm, seed)[0]

    def log(self, lines: list[dict[str, Any]]) -> None:
        """Adds the lines of each training to a file of its own, as ``add``."""
        own: dict[tuple[str, int], list[dict[str, Any]]] = {}
        for line in lines:
            own.setdefault((line["arm"], line["seed"]), []).append(line)
        for cell, part in own.items():
            self.add(f"metrics/{self.trained(*cell)}.jsonl", part)

    def lines(self, arm: str, seed: int) -> list[dict[str, Any]]:
        """The lines of a cell's training; none where there is no file."""
        return self.logged(f"metrics/{self.trained(arm, seed)}.jsonl")

    def keep(self, arm: str, seed: int, rows: list[dict[str, Any]]) -> None:
        """Writes the rows of a cell, with what it depends on and the machine it ran on."""
        training, test = identity(self.config, arm, seed)
        found = {"arm": arm, "training": training, "test": test, "environment": self.machine}
        self.write(f"cells/{self.cell(arm, seed)}.json", found | {"rows": rows})
        from envs import durable  # which brings JAX

        durable.remove(self.training(arm, seed))  # there are many: parameters are kept only

    def rows(self, arm: str, seed: int) -> list[dict[str, Any]]:
        """The rows of a finished cell, under the name that it is asked for by."""
        stored = self.read(f"cells/{self.cell(arm, seed)}.json")
        return [row | {"arm": arm} for row in stored["rows"]]

    def origin(self, arm: str, seed: int) -> str:
        """The commit that a finished cell was computed by."""
        return self.read(f"cells/{self.cell(arm, seed)}.json")["environment"].get("commit", "?")
