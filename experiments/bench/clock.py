"""Timing: sides of a race take turns, warmed up, compilation apart."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax

OURS = "levelburst"
BUDGET = 40.0  # seconds after which a race ends, once every side has had LEAST timed goes
LEAST = 2
SETTLE = 0.03  # seconds between two turns, so that spinning threads of the one side come to rest


@dataclasses.dataclass(frozen=True)
class Side:
    """One side of a race.

    Attributes:
        who: its name, the same all over the benchmark.
        what: what exactly it does in one go.
        amount: units of work in one go.
        run: one go, to its very end; returns its seconds. None where it cannot run.
        compile: seconds of its compilation; None where there is none.
        operations: floating-point operations of one go, where they are known.
        reason: why it cannot run.
        note: what else is to be said.
    """

    who: str
    what: str
    amount: float
    run: Callable[[], float] | None
    compile: float | None = None
    operations: float | None = None
    reason: str = ""
    note: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is this project."""
        return self.who.split(",")[0] == OURS


@dataclasses.dataclass(frozen=True)
class Race:
    """Sides that take turns; ours first.

    Attributes:
        work: what is done.
        setting: at which size, in words.
        size: the same as a number, for the plot.
        unit: of the amounts.
        sides: who does it.
        alike: whether they do the same work, so that a ratio means something.
    """

    work: str
    setting: str
    size: float
    unit: str
    sides: tuple[Side, ...]
    alike: bool = True


@dataclasses.dataclass(frozen=True)
class Cell:
    """What one side came to in one race; a line of ``bench.json``.

    Attributes:
        part: of the benchmark.
        seconds: of each timed go, in order; empty where it could not run.
        median: of the seconds; None where there are none.
        low: the fastest.
        high: the slowest.
        rate: units a second at the median.
        ratio: how many times as fast as this side the race's first side is, medians over medians;
            None for the first side itself.
        ratio_low: least of the ratios of the goes that followed each other.
        ratio_high: largest of them.
        The others are the race's and the side's.
    """

    part: str
    work: str
    setting: str
    size: float
    unit: str
    who: str
    what: str
    ours: bool
    amount: float
    seconds: tuple[float, ...] = ()
    median: float | None = None
    low: float | None = None
    high: float | None = None
    rate: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    compile: float | None = None
    operations: float | None = None
    reason: str = ""
    note: str = ""


def race(part: str, given: Race, repeats: int) -> list[Cell]:
    """Warms every side up, then lets them take turns ``repeats`` times: one after the other, every
    second time in reverse, never at the same time. A side that breaks down ends with a reason; the
    others go on. A race that takes too long ends sooner, for all sides alike."""
    began = time.perf_counter()
    seconds: dict[int, list[float]] = {i: [] for i, side in enumerate(given.sides) if side.run}
    reasons = {i: side.reason for i, side in enumerate(given.sides)}
    for turn in range(repeats + 1):  # the first is the warm-up
        if turn > LEAST and time.perf_counter() - began > BUDGET:
            break
        order = list(seconds) if turn % 2 else list(reversed(seconds))
        for index in order:
            run = given.sides[index].run
            assert run is not None
            time.sleep(SETTLE)
            try:
                taken = run()
            except (RuntimeError, OSError, ValueError) as error:
                del seconds[index]
                reasons[index] = first_line(error)
                continue
            if turn:
                seconds[index].append(taken)
    first = seconds.get(0, []) if given.alike else []
    return [
        cell(part, given, side, seconds.get(i, []), first if i else [], reasons[i])
        for i, side in enumerate(given.sides)
    ]


def cell(
    part: str, given: Race, side: Side, seconds: list[float], first: list[float], reason: str
) -> Cell:
    """The cell of a side; ``first`` are the seconds of the race's first side, if it is another."""
    shared = {
        field.name: getattr(origin, field.name)
        for origin in (given, side)
        for field in dataclasses.fields(origin)
        if field.name not in ("sides", "alike", "run", "reason")
    }
    found = Cell(part=part, ours=side.ours, reason=reason, **shared)
    if not seconds:
        return found
    median = statistics.median(seconds)
    found = dataclasses.replace(
        found,
        seconds=tuple(seconds),
        median=median,
        low=min(seconds),
        high=max(seconds),
        rate=side.amount / median if side.amount else None,
    )
    if not first or not side.amount:
        return found
    scale = given.sides[0].amount / side.amount  # the sides may do different amounts in a go
    paired = [scale * theirs / ours for ours, theirs in zip(first, seconds)]
    return dataclasses.replace(
        found,
        ratio=scale * median / statistics.median(first),
        ratio_low=min(paired),
        ratio_high=max(paired),
    )


def timed(function: Callable[[], Any]) -> Callable[[], float]:
    """A run of a side: seconds of ``function()`` until the arrays that it gives are there."""

    def run() -> float:
        start = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - start

    return run


def compiled(function: Callable[..., Any], *arguments: Any, **options: Any) -> tuple[Any, float]:
    """The program of ``jax.jit(function, **options)`` for these arguments, and the seconds that
    tracing, lowering and compiling took."""
    start = time.perf_counter()
    program = jax.jit(function, **options).lower(*arguments).compile()
    return program, time.perf_counter() - start


def first_line(error: Exception) -> str:
    """An error in one line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
