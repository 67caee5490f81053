"""What a sweep is: frozen dataclasses, and their checks. No JAX, no Ray here."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from typing import Any

from experiments import config as config_lib
from experiments import presets
from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.families import known
from experiments.objective import Objective

MOST = 4096  # points of a grid, and corners of a space that are checked
LEAST_TESTS = 2  # of a cell on the way, with early stopping
UNSET = (
    "preset",
    "out",
    "overwrite",
    "coordinator",
    "processes",
    "process",
)  # fields that are no setting of a trial
# Trials that are stopped early are compared at the same test, so these must be the same in all.
COURSE = (
    *("arms", "seeds", "updates", "report_every", "curve"),
    *("devices", "runs_per_device", "data", "model"),
)


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers to draw from, whole ones for a field that is a whole number."""

    low: float
    """The least."""
    high: float
    """The greatest, which may be drawn."""
    log: bool = False
    """Draw the logarithm uniformly."""
    step: float = 0
    """Distance of the numbers; 0 leaves it to the field's type."""


@dataclasses.dataclass(frozen=True)
class Asha:
    """Early stopping (asynchronous successive halving)."""

    grace: float = 0.25
    """Share of its tests that a trial is sure of."""
    reduction: int = 3
    """One in this many goes on at each rung."""


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """The table ``[sweep]``: how trials are chosen, and what each of them gets."""

    method: str = "grid"
    """grid, every combination; or optuna, a search (tree-structured Parzen estimator)."""
    trials: int = 0
    """Trials of a search; a grid has as many as it has points."""
    seed: int = 0
    """Of the search."""
    asha: Asha | None = None
    """Early stopping; none by default."""
    retries: int = 2
    """How often a trial whose process died is tried again."""
    concurrent: int = 0
    """Trials at the same time; 0 runs as many as fit."""
    cpus: int = 1
    """Cores of a trial, each a JAX device where there is no accelerator."""
    gpus: float = 0.0
    """GPUs of a trial; 0.5 lets two share one."""
    tpus: int = 0
    """TPU chips of a trial."""
    resources: dict[str, float] = dataclasses.field(default_factory=dict)
    """Other resources that the cluster's machines declare, by name."""


Choices = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """A sweep.

    Attributes:
        name: of the sweep; its folder is runs/sweep-NAME by default.
        preset: where a trial's settings start from.
        fixed: settings of all trials.
        search: field -> its values, or the range that they are drawn from.
        objective: what trials are compared by.
        sweep: how they are chosen and run.
    """

    name: str
    preset: str
    fixed: dict[str, Any]
    search: dict[str, Choices | Range]
    objective: Objective
    sweep: SweepConfig

    def config(self, settings: dict[str, Any]) -> CompareConfig:
        """The comparison that a trial with these settings is.

        Raises:
            ConfigError: there is no suite of a given name.
        """
        start = presets.preset(self.preset)
        return config_lib.with_suites(dataclasses.replace(start, **self.fixed, **settings))

    def points(self) -> list[dict[str, Any]]:
        """The settings of every trial of a grid; the corners of a space."""
        ends = [
            (values.low, values.high) if isinstance(values, Range) else values
            for values in self.search.values()
        ]
        return [dict(zip(self.search, point)) for point in itertools.product(*ends)]


def check(spec: SweepSpec) -> None:
    """Checks all that can be checked without JAX and Ray, the config of every grid point (of every
    corner of a space) included.

    Raises:
        ConfigError: the first mistake found.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", spec.name):
        raise ConfigError(f"name {spec.name!r}: use letters, digits, dots, dashes and underscores")
    presets.preset(spec.preset)
    if not spec.search:
        raise ConfigError("[search] is empty; name at least one field and its values")
    both = [field for field in spec.search if field in spec.fixed]
    if both:
        raise ConfigError(f"{both[0]} stands in [fixed] and in [search]; take it from one")
    _check_sweep(spec)
    sizes = [2 if isinstance(v, Range) else len(v) for v in spec.search.values()]
    if math.prod(sizes) > MOST:
        what = "points" if spec.sweep.method == "grid" else "corners"
        raise ConfigError(
            f"[search] has {math.prod(sizes)} {what}, {MOST} at most; give fewer values"
        )
    for settings in spec.points():
        try:
            config = spec.config(settings)
            config_lib.check(config)
            spec.objective.check(config)
            if spec.sweep.asha:
                _check_course(spec, config)
        except ConfigError as error:
            raise ConfigError(f"no trial with {words(settings)}: {error}") from None


def _check_sweep(spec: SweepSpec) -> None:
    sweep = spec.sweep
    known("sweep.method", (sweep.method,), ("grid", "optuna"))
    ranges = [field for field, values in spec.search.items() if isinstance(values, Range)]
    if sweep.method == "grid" and ranges:
        raise ConfigError(
            f"[search]: {ranges[0]} is a range, and a grid takes lists; list its values, or say "
            "method = 'optuna' in [sweep]"
        )
    if sweep.method == "grid" and sweep.trials:
        raise ConfigError(
            f"[sweep]: trials is {sweep.trials}, but a grid runs each of its points; leave it out"
        )
    if sweep.method == "optuna" and sweep.trials < 1:
        raise ConfigError(
            f"[sweep]: trials is {sweep.trials}; say how many a search may run, as in trials = 24"
        )
    least = {"seed": 0, "retries": 0, "concurrent": 0, "cpus": 1, "gpus": 0, "tpus": 0}
    for field, low in least.items():
        if not low <= getattr(sweep, field) < math.inf:
            raise ConfigError(f"[sweep]: {field} is {getattr(sweep, field)}; use {low} or more")
    if sweep.gpus > 1 and sweep.gpus % 1:
        raise ConfigError(f"[sweep]: gpus is {sweep.gpus}; use a share of one, or whole ones")
    for name, amount in sweep.resources.items():
        if name.upper() in ("CPU", "GPU", "TPU"):
            raise ConfigError(
                f"[sweep]: resources has {name}; use the field {name.lower()}s in its place"
            )
        if not 0 < amount < math.inf:
            raise ConfigError(f"[sweep]: resources has {name} = {amount}; use a number above 0")
    if sweep.asha and not 0 < sweep.asha.grace < 1:
        raise ConfigError(f"[sweep] asha: grace is {sweep.asha.grace}; use a share between 0 and 1")
    if sweep.asha and sweep.asha.reduction < 2:
        raise ConfigError(f"[sweep] asha: reduction is {sweep.asha.reduction}; use 2 or more")


def _check_course(spec: SweepSpec, config: CompareConfig) -> None:
    """Whether trials can be compared on the way."""
    moved = [field for field in COURSE if field in spec.search]
    if moved:
        raise ConfigError(
            f"with asha, trials are compared at the same test on the way, so {moved[0]} must be "
            "the same in all; move it to [fixed] or leave asha out"
        )
    if (spec.sweep.gpus or spec.sweep.tpus) and not config.runs_per_device:
        raise ConfigError(
            "asha compares trials at the same test, and with runs_per_device 0 a trial's memory "
            "decides how many runs are tested at once; set runs_per_device to 1 or more in [fixed]"
        )
    if config.curve < LEAST_TESTS:
        raise ConfigError(
            f"asha compares tests on the way, and curve is {config.curve}; set curve to "
            f"{LEAST_TESTS} or more in [fixed]"
        )
    read_last = [arm for arm in spec.objective.arms if arm in config.readers]
    if read_last:
        raise ConfigError(
            f"asha needs an objective of trained arms, and {read_last[0]} is only read at the "
            "end; name another arm in [objective] or leave asha out"
        )


def words(settings: dict[str, Any]) -> str:
    """Settings in one line: ``learning_rate = 0.003, arms = bursty single``."""
    return ", ".join(f"{field} = {word(value)}" for field, value in settings.items())


def word(value: Any) -> str:
    """One value for people."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return str(value)


def flags(config: CompareConfig) -> list[str]:
    """The words after ``levelburst compare`` that make this config."""
    start, found = presets.preset(config.preset), ["--preset", config.preset]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in UNSET or value == getattr(start, field.name):
            continue
        flag = field.name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{'' if value else 'no-'}{flag}")
        else:
            found += [f"--{flag}", *map(str, value if isinstance(value, tuple) else [value])]
    return found
