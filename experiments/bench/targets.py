"""What the benchmark is meant to show on a CPU, and whether it does."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence

from experiments.bench import compare, contexts, decode, disk, simulate, train
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
        part: of the benchmark, that measures it.
    """

    work: str
    bar: float
    least: bool
    unit: str
    measured: float | None = None
    low: float | None = None
    high: float | None = None
    reached: bool | None = None
    part: str = ""

    def judged(self, measured: float | None, low=None, high=None) -> Target:
        """The target with what was measured."""
        if measured is None:
            return self
        reached = measured >= self.bar if self.least else measured <= self.bar
        return dataclasses.replace(self, measured=measured, low=low, high=high, reached=reached)


def judge(cells: Sequence[Cell], sizes: Sizes) -> list[Target]:
    """Every target of the parts that were run."""
    parts = {
        "simulate": _simulate,
        "contexts": _contexts,
        "train": _train,
        "decode": _decode,
        "disk": _disk,
        "compare": _compare,
    }
    ran = {cell.part for cell in cells}
    return [
        dataclasses.replace(target, part=part)
        for part, targets in parts.items()
        if part in ran
        for target in targets(cells, sizes)
    ]


def _simulate(cells: Sequence[Cell], _: Sizes) -> Iterator[Target]:
    for work, who, bar in (
        (simulate.VIEW, "XLand-MiniGrid", 10.0),
        (simulate.SMALL, "gymnax", 2.0),
    ):
        target = Target(f"{work}, N = 1,024, against {who}", bar, True, "×")
        yield _ratio(cells, target, work, "N = 1,024", who)


def _contexts(cells: Sequence[Cell], _: Sizes) -> Iterator[Target]:
    target = Target("contexts, share of the update", 5.0, False, "%")
    yield _share(cells, target, contexts.CONTEXTS, OURS, f"{OURS}, {contexts.UPDATE}")


def _train(cells: Sequence[Cell], sizes: Sizes) -> Iterator[Target]:
    for model in sizes.models:
        target = Target(f"train, {model.name}, against PyTorch", 0.9, True, "×")
        yield _ratio(cells, target, train.UPDATE, model.name, "PyTorch")


def _decode(cells: Sequence[Cell], _: Sizes) -> Iterator[Target]:
    for who, bar in (("plain cache", 2.0), ("PyTorch", 1.5)):
        target = Target(f"decode, T = 256, against {who}", bar, True, "×")
        yield _ratio(cells, target, decode.ALONE, "T = 256", who)


def _disk(cells: Sequence[Cell], _: Sizes) -> Iterator[Target]:
    stored, reading, checkpoint = (
        f"{OURS}, {who}" for who in (disk.STORE, disk.READING, disk.CHECKPOINT)
    )
    target = Target("training from a store, share of generating", 110.0, False, "%")
    yield _share(cells, target, disk.TRAINING, stored, OURS)
    target = Target("reading, share of the training that it feeds", 50.0, False, "%")
    yield _share(cells, target, disk.TRAINING, reading, stored)
    target = Target("a checkpoint a minute, share of the training", 2.0, False, "%")
    goes = _goes(cells, disk.TRAINING, checkpoint)
    yield target.judged(*_ends([100 * seconds / 60 for seconds in goes]))


def _compare(cells: Sequence[Cell], _: Sizes) -> Iterator[Target]:
    for work, setting, bar in (
        (compare.HELP, "", 1.5),
        (compare.WRONG, "", 1.5),
        (compare.IMPORT, "", 3.0),
        (compare.FIRST, compare.COLD, 15.0),
        (compare.FIRST, compare.WARM, 6.0),
    ):
        name = f"{work}, {setting}" if setting else work
        goes = [s for c in cells if (c.work, c.setting) == (work, setting) for s in c.seconds]
        yield Target(name, bar, False, "s").judged(*_ends(goes))


def _ratio(cells: Sequence[Cell], target: Target, work: str, setting: str, who: str) -> Target:
    """The target with how many times as fast as another side ours is."""
    cell = next((c for c in cells if (c.work, c.setting, c.who) == (work, setting, who)), None)
    return target.judged(cell.ratio, cell.ratio_low, cell.ratio_high) if cell else target


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
