"""What the benchmark is meant to show on a CPU, and whether it does."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence

from experiments.bench.clock import OURS, Cell
from experiments.bench.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class Target:
    """One claim.

    Attributes:
        work: what it is about.
        bar: the number to reach.
        least: whether the bar is the least to reach; else it is the most.
        unit: ``×``, ``%`` or ``s``.
        measured: the number; None where it was not measured.
        low: the least of single goes, where there were several.
        high: the largest.
        reached: None where it was not measured.
    """

    work: str
    bar: float
    least: bool
    unit: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    reached: bool | None = None

    def judged(self, measured: float | None, low=None, high=None) -> Target:
        """The target with what was measured."""
        if measured is None:
            return self
        reached = measured >= self.bar if self.least else measured <= self.bar
        return dataclasses.replace(self, measured=measured, low=low, high=high, reached=reached)


def judge(cells: Sequence[Cell], sizes: Sizes) -> list[Target]:
    """Every target of the parts that were run."""
    from experiments.bench import compare, contexts, decode, disk, simulate, train

    parts = {cell.part for cell in cells}
    found: list[Target] = []

    def ratio(work: str, setting: str, who: str, target: Target) -> None:
        cell = _find(cells, work, setting, who)
        told = (cell.ratio, cell.ratio_low, cell.ratio_high) if cell else (None,)
        found.append(target.judged(*told))

    def seconds(work: str, setting: str, target: Target) -> None:
        goes = [s for c in cells if (c.work, c.setting) == (work, setting) for s in c.seconds]
        found.append(target.judged(*_ends(goes)))

    if "simulate" in parts:
        for work, who, bar in (
            (simulate.VIEW, "XLand-MiniGrid", 10.0),
            (simulate.SMALL, "gymnax", 2.0),
        ):
            target = Target(f"{work}, N = 1,024, against {who}", bar, True, "×")
            ratio(work, "N = 1,024", who, target)
    if "contexts" in parts:
        target = Target("contexts, share of the update", 5.0, False, "%")
        whole = f"{OURS}, {contexts.UPDATE}"
        found.append(_share(cells, target, contexts.CONTEXTS, OURS, whole))
    if "train" in parts:
        for model in sizes.models:
            target = Target(f"train, {model.name}, against PyTorch", 0.9, True, "×")
            ratio(train.UPDATE, model.name, "PyTorch", target)
    if "decode" in parts:
        for who, bar in (("plain cache", 2.0), ("PyTorch", 1.5)):
            target = Target(f"decode, T = 256, against {who}", bar, True, "×")
            ratio(decode.ALONE, "T = 256", who, target)
    if "disk" in parts:
        for name, who, bar in (
            ("reading, share of the training that it feeds", disk.READING, 50.0),
            ("a chunk from a store, share of a generated one", disk.STORE, 110.0),
        ):
            target = Target(name, bar, False, "%")
            found.append(_share(cells, target, disk.CHUNK, f"{OURS}, {who}", OURS))
        minute = Target("a checkpoint a minute, share of the training", 2.0, False, "%")
        goes = _goes(cells, disk.CHUNK, f"{OURS}, {disk.CHECKPOINT}")
        found.append(minute.judged(*_ends([100 * s / 60 for s in goes])))
    if "compare" in parts:
        for work, setting, bar in (
            (compare.HELP, "", 1.5),
            (compare.WRONG, "", 1.5),
            (compare.IMPORT, "", 3.0),
            (compare.FIRST, compare.COLD, 15.0),
            (compare.FIRST, compare.WARM, 6.0),
        ):
            name = f"{work}, {setting}" if setting else work
            seconds(work, setting, Target(name, bar, False, "s"))
    return found


def _share(cells: Sequence[Cell], target: Target, work: str, part: str, whole: str) -> Target:
    """The target with how much of what one side of a race takes another one takes."""
    some, all_ = (_goes(cells, work, who) for who in (part, whole))
    if not some or not all_:
        return target
    shares = [100 * s / a for s, a in zip(some, all_)]
    middle = 100 * statistics.median(some) / statistics.median(all_)
    return target.judged(middle, min(shares), max(shares))


def _goes(cells: Sequence[Cell], work: str, who: str) -> tuple[float, ...]:
    """Seconds of every go of one side."""
    return next((cell.seconds for cell in cells if (cell.work, cell.who) == (work, who)), ())


def _ends(goes: Sequence[float]) -> tuple[float | None, ...]:
    """Median, least and most."""
    return (statistics.median(goes), min(goes), max(goes)) if goes else (None,)


def _find(cells: Sequence[Cell], work: str, setting: str, who: str) -> Cell | None:
    return next((c for c in cells if (c.work, c.setting, c.who) == (work, setting, who)), None)
