"""How far a training has come: its checkpoints by number, and what they say of themselves.

    training/CELL/UPDATE/    agents.checkpoint: parameters, moments, key and step, with these notes:
      arm, seed, update      which cell, and how many updates are done
      settings               the run's config, of which only how and where it runs may differ
      place                  versions and devices that it was trained on
      loss                   mean of the last chunk; the best checkpoint has the lowest
      lines                  the cell's lines of metrics.jsonl up to here
      sha256                 of parameters, moments, key and metrics, each

Data are a pure function of key and step (``TrainState``), so that is the iterator. No JAX here: a
changed config is refused at once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments import jsonfile
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.processes import Processes

if TYPE_CHECKING:
    from experiments.folder import RunFolder

Cell = tuple[str, int]
Line = dict[str, Any]
FREE = (
    "out", "overwrite", "log", "save_every", "keep", "devices", "runs_per_device", "data", "model",
    "fsdp", *(field.name for field in dataclasses.fields(Processes)),
)  # fmt: skip
"""Fields that say how and where a run is computed and kept: it may be resumed with others."""
NOTES = "notes.json"
NEWEST = -1  # of a cell's checkpoints


def numbers(place: Path) -> list[int]:
    """The updates of which a cell has checkpoints, damaged ones included, in order."""
    if not place.is_dir():
        return []
    return sorted(int(path.name) for path in place.iterdir() if _is_number(path.name))


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name)) == name


def noted(path: Path) -> dict[str, Any]:
    """The notes of a checkpoint; none where they cannot be read."""
    try:
        found = jsonfile.read(path / NOTES)["notes"]
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def settings(config: CompareConfig) -> dict[str, Any]:
    """What of a config a training is held to; of a store, what it holds and not where it lies.

    Raises:
        OSError: the store is not there.
    """
    fields = dataclasses.asdict(config)
    if config.store:
        content = (Path(config.store) / "manifest.json").read_bytes()
        fields["store"] = f"SHA-256 {hashlib.sha256(content).hexdigest()}"
    return {name: _plain(value) for name, value in fields.items() if name not in FREE}


def check_resumable(folder: RunFolder, config: CompareConfig, wanted: int = NEWEST) -> list[Cell]:
    """The cells that are not finished and have training checkpoints.

    Args:
        folder: of the run.
        config: that it is to go on under.
        wanted: the update to go on from.

    Raises:
        ConfigError: any cell was trained under another config, or there is no checkpoint of the
            update that is wanted.
    """
    begun, there = [], set()
    for seed in range(config.seed, config.seed + config.seeds):
        for arm in config.arms:
            place = folder.training(arm, seed)
            for number in numbers(place):
                if before := noted(place / str(number)).get("settings"):
                    refuse_changed(folder.path, before, folder.settings(config, arm, seed))
            if numbers(place) and not folder.finished(arm, seed):
                begun.append((arm, seed))
                there |= {*numbers(place)}
    if wanted != NEWEST and wanted not in there:
        found = ", ".join(map(str, sorted(there))) or "none, and no training that was cut short"
        raise ConfigError(
            f"checkpoint {wanted}: {folder.path} has no such one to go on from; there are: {found}"
        )
    return begun


def refuse_changed(path: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compares the settings in a checkpoint's notes with those that it is to go on under.

    Raises:
        ConfigError: they differ; every field is named.
    """
    now = {name: _plain(value) for name, value in now.items()}
    differ = [
        f"{name} {before.get(name, 'unset')!r} is now {now.get(name, 'unset')!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if differ:
        raise ConfigError(
            f"{path} was trained under another config: {'; '.join(differ)}; put config.json back, "
            "or start a new run"
        )


def digest_of(lines: list[Line]) -> str:
    """The SHA-256 of lines of metrics.jsonl, in their order, times left out."""
    told = [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lines]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))
