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
    from experiments.bench import compare, contexts, decode, simulate, train

    parts = {cell.part for cell in cells}
    found: list[Target] = []

    def ratio(work: str, setting: str, who: str, target: Target) -> None:
        cell = _find(cells, work, setting, who)
        told = (cell.ratio, cell.ratio_low, cell.ratio_high) if cell else (None,)
        found.append(target.judged(*told))

    def seconds(work: str, setting: str, target: Target) -> None:
        goes = [s for c in cells if (c.work, c.setting) == (work, setting) for s in c.seconds]
        told = (statistics.median(goes), min(goes), max(goes)) if goes else (None,)
        found.append(target.judged(*told))

    if "simulate" in parts:
        for work, who, bar in (
            (simulate.VIEW, "XLand-MiniGrid", 10.0),
            (simulate.SMALL, "gymnax", 2.0),
        ):
            target = Target(f"{work}, N = 1,024, against {who}", bar, True, "×")
            ratio(work, "N = 1,024", who, target)
    if "contexts" in parts:
        found.append(_share(cells, contexts))
    if "train" in parts:
        for model in sizes.models:
            target = Target(f"train, {model.name}, against PyTorch", 0.9, True, "×")
            ratio(train.UPDATE, model.name, "PyTorch", target)
    if "decode" in parts:
        for who, bar in (("plain cache", 2.0), ("PyTorch", 1.5)):
            target = Target(f"decode, T = 256, against {who}", bar, True, "×")
            ratio(decode.ALONE, "T = 256", who, target)
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


def _share(cells: Sequence[Cell], contexts) -> Target:
    target = Target("contexts, share of the update", 5.0, False, "%")
    own = [cell for cell in cells if cell.work == contexts.CONTEXTS and cell.seconds]
    by = {cell.who: cell.seconds for cell in own}
    made, whole = by.get(OURS), by.get(f"{OURS}, {contexts.UPDATE}")
    if not made or not whole:
        return target
    shares = [100 * m / w for m, w in zip(made, whole)]
    middle = 100 * statistics.median(made) / statistics.median(whole)
    return target.judged(middle, min(shares), max(shares))


def _find(cells: Sequence[Cell], work: str, setting: str, who: str) -> Cell | None:
    return next((c for c in cells if (c.work, c.setting, c.who) == (work, setting, who)), None)
