"""Presets: where a config starts from, what it costs, and the result it is expected to give.

No JAX here: arguments are checked before it is imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.families import known

QUICK = CompareConfig()

PRESETS: dict[str, CompareConfig] = {
    "smoke": dataclasses.replace(
        QUICK,
        preset="smoke",
        arms=("bursty", "isolated-chunks"),
        seeds=1,
        updates=40,
        report_every=20,
        families=("dark-room",),
        contexts=16,
        train_levels=256,
        levels=16,
        width=32,
        layers=1,
    ),
    "quick": QUICK,
    "ladder": dataclasses.replace(
        QUICK,
        preset="ladder",
        arms=(
            "bursty",
            "bursty-chunks",
            "shuffled",
            "nonbursty",
            "isolated-chunks",
            "isolated-chunks:1",
            "single",
        ),
        updates=1600,
        report_every=40,
        pool=4,
        curve=10,
    ),
    "paper": dataclasses.replace(
        QUICK,
        preset="paper",
        seeds=3,
        updates=50_000,
        report_every=100,
        horizon=256,
        slots=8,
        contexts=64,
        pool=10,
        chunk=32,
        train_levels=25_000,
        width=768,
        layers=12,
        heads=12,
        dtype="bfloat16",
        remat=True,
        learning_rate=1e-4,
        warmup=1000,
        demos=7,
        levels=96,
        episodes=5,
    ),
}
COST = {
    "smoke": "half a minute on two CPU cores; too small to show anything",
    "quick": "5 minutes on two CPU cores; expect bursty near 0.75 with one demonstration, chunks "
    "of its level near 0.6, isolated chunks at 0",
    "ladder": "about 1 hour on two CPU cores; expect the order of quick in all seven arms",
    "paper": "85M parameters, 3 arms x 3 seeds of 50,000 updates of 131,072 tokens: about 100 "
    "hours of an accelerator at 1e14 operations a second; no result is known yet",
}
CPU_LIMIT = 1e17  # floating-point operations; days on a CPU


def operations(config: CompareConfig) -> float:
    """Floating-point operations of all training runs: 6 for each parameter of the blocks and
    token, and 12 * width for each pair of positions that attention multiplies in a layer."""
    length = config.slots * config.horizon * (2 if config.tokens == "interleaved" else 1)
    tokens = config.contexts * length * config.updates * len(config.arms) * config.seeds
    blocks = 12 * config.width**2 * config.layers
    return tokens * (6.0 * blocks + 6.0 * config.width * config.layers * length)


def refuse_on_cpu(config: CompareConfig) -> None:
    """Raises ConfigError where a CPU would need days."""
    need = operations(config)
    if need > CPU_LIMIT:
        raise ConfigError(
            f"preset {config.preset} trains with about {need:.0e} floating-point operations, at "
            f"1e14 a second about {need / 3.6e17:.0f} hours of one accelerator; this machine has "
            "a CPU only: try --preset ladder, or lower --width, --layers or --updates"
        )


def preset(name: str) -> CompareConfig:
    """The config of a preset.

    Raises:
        ConfigError: there is none of that name.
    """
    known("preset", (name,), tuple(PRESETS))
    return PRESETS[name]


def preset_in(arguments: list[str], default: str) -> CompareConfig:
    """The config of the preset that a command line names, on which its other flags build.

    Raises:
        ConfigError: there is none of that name.
    """
    return preset(named_in(arguments, default))


def named_in(arguments: Sequence[str], default: str) -> str:
    """The name of the preset that a command line gives."""
    name = default
    for index, word in enumerate(arguments):
        if word == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif word.startswith("--preset="):
            name = word.partition("=")[2]
    return name
