"""The command ``levelburst collect``: groups written to a store."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.config import CompareConfig, check, with_suites
from experiments.errors import ConfigError
from experiments.source import epsilon_of


@dataclasses.dataclass(frozen=True)
class CollectConfig:
    """Writes groups to a store: of every family and seed the training levels of `compare` with the
    same settings, and rollouts in them. A collection that was cut short goes on with the same
    command, and ends as if it had not been; docs/format.md says what a store is."""

    families: tuple[str, ...] = CompareConfig.families
    """As in `compare`."""
    test_families: tuple[str, ...] = CompareConfig.test_families
    """Nothing of them is written; the common interface has room for them, as in `compare`."""
    allow_overlap: bool = False
    """Allow a test family that is also trained on."""
    seed: int = 0
    """First seed; there are parts for seed, seed + 1 …"""
    seeds: int = 1
    """Seeds: each draws its levels anew."""
    levels: int = CompareConfig.train_levels
    """Different levels of each family and seed, 16 or more; `train_levels` of `compare`."""
    rollouts: int = CompareConfig.slots
    """R, rollouts in each level."""
    policy: str = "expert"
    """Who plays: expert, random, or mixture:EPSILON, random at that share of the steps."""

    horizon: int = CompareConfig.horizon
    """T, steps of an episode."""
    observations: str = CompareConfig.observations
    """symbols or pixels."""
    lethality: float = CompareConfig.lethality
    """Share of the mistakes that end the episode."""
    recoverability: float = CompareConfig.recoverability
    """Share of the other mistakes that do not throw the agent back to the start."""
    stickiness: float = CompareConfig.stickiness
    """Probability that the last action is executed again."""
    scramble_actions: bool = True
    """Draw the meaning of the actions anew for every level."""
    scramble_symbols: bool = True
    """Draw the meaning of the symbols anew for every level."""
    symbols: int = 0
    """V, the common vocabulary; 0 takes what the largest family needs."""
    margin: float = CompareConfig.margin
    """Least lead of the optimal over the random return in an admitted level."""
    expert_updates: int = CompareConfig.expert_updates
    """PPO updates of the expert of a family that has no oracle."""

    shard: int = 1024
    """Levels of a shard: what is written at once, and lost at most."""
    licence: str = "CC0-1.0"
    """The licence of the data, as an SPDX identifier."""
    out: str = "store"
    """Folder of the store; one that this command began is continued."""

    def compared(self) -> CompareConfig:
        """The comparison whose training levels those are."""
        own = {field.name for field in dataclasses.fields(CompareConfig)}
        shared = {name: x for name, x in dataclasses.asdict(self).items() if name in own}
        shared |= {"out": "", "levels": 16, "train_levels": self.levels, "slots": self.rollouts}
        return CompareConfig(
            **shared,
            arms=("single",),
            contexts=len(self.families),
            demos=0,
            demonstrations=("whole",),
            chunk=1,
            updates=1,
            report_every=1,
        )


def checked(config: CollectConfig) -> CollectConfig:
    """The config with its suites replaced, found right as far as that goes without JAX.

    Raises:
        ConfigError: the first mistake found.
    """
    suites = with_suites(config.compared())
    config = dataclasses.replace(
        config, families=suites.families, test_families=suites.test_families
    )
    if config.levels < 16 or config.levels > 2**24:
        raise ConfigError(f"levels {config.levels}: use a number from 16 to {2**24}")
    if not 1 <= config.shard <= 2**16:
        raise ConfigError(f"shard {config.shard}: use a number of levels from 1 to {2**16}")
    if not config.licence or len(config.licence) > 100 or "\n" in config.licence:
        raise ConfigError(f"licence {config.licence!r}: use an SPDX identifier, as CC0-1.0")
    epsilon_of(config.policy)
    check(config.compared())
    path = Path(config.out)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"--out {path} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not (path / "shards").is_dir():
        raise ConfigError(f"--out {path} is not empty and no store; name another folder")
    return config


def run(
    arguments: list[str],
    parse: Callable[..., Any],
    progress_of: Callable[[CompareConfig], Any],
    prepare: Callable[[CompareConfig], str],
) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``collect``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.
        progress_of: the bars and lines of a comparison.
        prepare: starts JAX for one.

    Raises:
        ConfigError: a person's mistake.
    """
    config = checked(parse(CollectConfig, "collect", arguments))
    progress = progress_of(config.compared())
    prepare(config.compared())
    from experiments.collect import collect

    again = " ".join(["levelburst collect", *map(shlex.quote, arguments)])
    try:
        told = collect(config, progress)
    except KeyboardInterrupt:
        progress.say(f"interrupted; what is written stays, go on with: {again}")
        return 130
    print(told)
    return 0
