"""Where groups come from, as a person says it: a store, its parts, and who played.

No JAX here: arguments are checked before it is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import ConfigError

if TYPE_CHECKING:
    from experiments.config import CompareConfig

POLICIES = "expert, random, or mixture:0.1 (the expert, and random at a tenth of the steps)"


def part_name(family: str, seed: int) -> str:
    """The name of a family's part of a seed, in a store."""
    return f"{family}/{seed}"


def epsilon_of(policy: str) -> float:
    """The share of random steps of a policy's name.

    Raises:
        ConfigError: there is no such policy.
    """
    kind, colon, share = policy.partition(":")
    if policy in ("expert", "random"):
        return float(policy == "random")
    try:
        epsilon = float(share)
    except ValueError:
        epsilon = -1.0
    if kind != "mixture" or not colon or not 0 <= epsilon <= 1:
        raise ConfigError(f"policy {policy!r}: use {POLICIES}")
    return epsilon


def check_source(config: CompareConfig) -> None:
    """Checks, without JAX, what a comparison says of where its groups come from.

    Raises:
        ConfigError: the first mistake found.
    """
    told = (config.store and "store", not config.fresh and "no-fresh")
    for name in filter(None, told):
        if config.method in ("distillation", "reinforcement"):
            raise ConfigError(
                f"{name}: method {config.method} learns from attempts, not from rollouts of an "
                "expert; leave it out"
            )
    if config.store and not (Path(config.store) / "manifest.json").is_file():
        raise ConfigError(
            f"store {config.store}: no manifest.json is there; name a folder that `levelburst "
            "collect` made"
        )
