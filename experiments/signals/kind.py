"""A kind of cell: what is measured, and which of the settings that depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
