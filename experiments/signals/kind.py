"""A kind of cell: what is measured, and which of the settings that depends on."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.signals.config import SignalsConfig, VoteConfig

LEFT = ("method", "regime", "seeds", "seed", "preset", "out")  # settings that no cell depends on
Values = dict[str, Any]
Settings = SignalsConfig | VoteConfig


def all_but(*names: str) -> Callable[[Any], Values]:
    """The settings that a cell depends on: all but those of these names."""

    def depends(config: Settings) -> Values:
        fields = dataclasses.asdict(config)
        return {name: fields[name] for name in fields if name not in (*LEFT, *names)}

    return depends


def only(*names: str) -> Callable[[Any], Values]:
    """These settings only, and whether the preset is the smallest: the rest stands in the code."""

    def depends(config: Settings) -> Values:
        small = isinstance(config, SignalsConfig) and config.preset == "smoke"
        return {name: getattr(config, name) for name in names} | {"small": small}

    return depends


def source(name: str) -> str:
    """16 hexadecimal digits that stand for the text of the module in ``module:something``; none for
    a registered name, or where the module has no file. What it imports is not looked at."""
    module, colon, _ = name.partition("@")[0].partition(":")
    try:
        found = importlib.util.find_spec(module) if colon else None
    except (ImportError, ValueError):  # said where it is used
        return ""
    if not found or not found.origin or not Path(found.origin).is_file():
        return ""
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Attributes:
    measure: (settings, method, seed) -> values, JSON. Of confidence the method is a regime
        (icl/signals/breakdowns.py), or what is shown; of judges it is who judges, or who
        selects; of the order of training, a checkpoint to start from, or an arm.
    depends: settings -> those that decide what is measured.
    """

    measure: Callable[[Any, str, int], Values]
    depends: Callable[[Any], Values]
