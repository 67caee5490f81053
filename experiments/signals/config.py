"""What a person sets of a signal's grading or training. No JAX here."""

from __future__ import annotations

import dataclasses
import math

from experiments.errors import ConfigError
from experiments.families import check_families

MAIN = (
    "grpo",
    "gigpo",
    "tree-grpo-move",
    "tree-rl",
    "vine-ppo",
    "spo-chunk",
    "spo-oracle",
    "pure",
    "exact",
)


@dataclasses.dataclass(frozen=True)
class SignalsConfig:
    """Grades step signals against the oracle, or trains with them, at equal generated actions."""

    method: tuple[str, ...] = MAIN
    """Methods (`levelburst signals` lists them), or `module:function` of one of your own."""
    family: str = "gauntlet"
    """A family whose states can be enumerated, or `module:Class`."""
    set: tuple[str, ...] = ()
    """Fields of the family in place of its defaults, as in `--set density=0.2 regularity=0`."""
    stickiness: float = 0.0
    """Probability that the last action is executed again."""
    skill: float = 2.0
    """How much the policy leans to what is best at the start; 0 plays at random."""
    habit: float = 0.0
    """How sure it is where several actions are best: it leans by so much to the first of them."""
    budget: int = 384
    """Actions that a group of one level may generate, forks and valuations included; methods are
    sized to come near it, to a tenth where sizes allow, and what they took is told."""
    total: int = 19200
    """Actions of one level that a training may generate in all."""
    levels: int = 64
    """Levels of a seed."""
    repetitions: int = 16
    """Groups of each level that grades are taken over."""
    seeds: int = 5
    """Repetitions of everything: levels, runs, forks. Intervals are over seeds."""
    seed: int = 0
    """The first."""
    learning_rate: float = 0.1
    """Of Adam, in logits."""
    epochs: int = 2
    """Passes over a group."""
    preset: str = "quick"
    """smoke, quick or full."""
    out: str = ""
    """Folder of the results, by default runs/signals-PRESET. What is there already is not computed
    again."""


@dataclasses.dataclass(frozen=True)
class VoteConfig:
    """Lets runs of a policy that breaks down vote over their answers, by confidence and plainly."""

    regime: tuple[str, ...] = ("late",)
    """What a breakdown does, of icl/signals/breakdowns.py; NAME@field=number sets its numbers."""
    family: str = "commit"
    """A family in which an answer ends the episode, or `module:Class`."""
    set: tuple[str, ...] = ("size=20", "horizon=50", "density=0.3")
    """Fields of the family in place of its defaults."""
    nearest: int = 24
    """Fewest steps from the start to the answer."""
    farthest: int = 36
    """Most of them."""
    budget: int = 128
    """K, runs of a level at most."""
    warmup: int = 16
    """Of them, those that are played to their end and set the threshold."""
    levels: int = 128
    """Levels of a seed."""
    seeds: int = 5
    """Repetitions of everything. Intervals are over seeds."""
    seed: int = 0
    """The first."""
    out: str = "runs/signals-quick"
    """Folder of the results. What is there already is not computed again."""


PRESETS: dict[str, SignalsConfig] = {
    "smoke": SignalsConfig(
        method=("grpo", "tree-grpo-move", "vine-ppo"), levels=4, repetitions=2, seeds=2,
        total=2400, preset="smoke",
    ),
    "quick": SignalsConfig(),
    "full": SignalsConfig(levels=256, repetitions=64, seeds=10, preset="full"),
}  # fmt: skip
"""Sizes by name; full is quick with twice the seeds, and four times the levels and groups."""


def check(config: SignalsConfig) -> None:
    """Raises ConfigError where a setting makes no sense; families and methods are looked up later,
    as that needs JAX."""
    least = {
        "budget": 1, "total": 1, "levels": 1, "repetitions": 2, "seeds": 1, "seed": 0, "epochs": 1,
        "skill": 0, "habit": 0,
    }  # fmt: skip
    for field, low in least.items():
        if not low <= getattr(config, field) < math.inf:
            raise ConfigError(f"{field} {getattr(config, field)}: use a number of {low} or more")
    if not 0 <= config.stickiness < 1:
        raise ConfigError(f"stickiness {config.stickiness}: use a number from 0 up to 1")
    if not 0 < config.learning_rate < 10:
        raise ConfigError(f"learning_rate {config.learning_rate}: use a number above 0, as 0.1")
    if not config.method:
        raise ConfigError("method is empty; give at least one, `levelburst signals` lists them")
    if len(set(config.method)) < len(config.method):
        raise ConfigError(f"method {' '.join(config.method)}: a name stands twice; give each once")
    check_families((config.family,))


def check_vote(config: VoteConfig) -> None:
    """Raises ConfigError where a setting makes no sense; families and regimes are looked up later,
    as that needs JAX."""
    least = {"nearest": 1, "warmup": 1, "levels": 1, "seeds": 1, "seed": 0}
    for field, low in least.items():
        if getattr(config, field) < low:
            raise ConfigError(f"{field} {getattr(config, field)}: use a number of {low} or more")
    if config.farthest < config.nearest:
        raise ConfigError(f"farthest {config.farthest} is below nearest {config.nearest}; raise it")
    if config.budget <= config.warmup:
        raise ConfigError(
            f"budget {config.budget}: the first {config.warmup} runs only set the threshold; use a "
            "larger budget, as 128, or a smaller warmup"
        )
    if not config.regime or len(set(config.regime)) < len(config.regime):
        raise ConfigError(f"regime {' '.join(config.regime) or 'is empty'}: give each name once")
    check_families((config.family,))
