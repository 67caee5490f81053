"""What a study holds and costs, before it starts. No JAX here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from experiments.config import CompareConfig, check
from experiments.errors import ConfigError
from experiments.presets import PRESETS, QUICK, operations
from experiments.study import Point, Study
from experiments.study_folder import StudyFolder

_QUICK = dataclasses.replace(
    QUICK,
    test_families=("random-graph", "torus", "random-mdp", "multi-room"),
    pool=4,
    report_every=40,
    curve=5,
)
BASES: dict[str, CompareConfig] = {
    "smoke": dataclasses.replace(
        PRESETS["smoke"], test_families=("torus",), train_levels=2048, pool=4, report_every=8,
        updates=16, levels=64, seeds=2, curve=2,
    ),
    "quick": _QUICK,
    "full": dataclasses.replace(
        _QUICK, preset="full", seeds=10, updates=3200, pool=8, slots=8, demos=7, levels=128,
        train_levels=8192,
    ),
}  # fmt: skip
"""What the studies vary, by preset; each is the main job's preset of that name but for these."""

SPEED = operations(QUICK) / 226.0  # operations a second: `make compare` trained for 226 s
PRACTICE = 6.0  # an update of method reinforcement, after its head start, costs so many others
READ = 3.0  # seconds of a test, and of a reader's cell
START = 12.0  # seconds of a group before its first update: compiling, drawing levels


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be done for some studies.

    Attributes:
        cells: of all points, equal ones once.
        train: of them to train.
        test: of them trained already, or readers, to test only.
        seconds: about, on two CPU cores.
    """

    cells: int
    train: int
    test: int
    seconds: float


def groups(points: Sequence[Point]) -> list[CompareConfig]:
    """Configs that together hold every point once: those that differ in their arm only are one
    comparison, so that one compiled program serves them, and what is matched runs side by side."""
    merged: dict[CompareConfig, tuple[list[str], list[str]]] = {}
    for point in points:
        bare = dataclasses.replace(point.config, arms=(), readers=())
        arms, readers = merged.setdefault(bare, ([], []))
        kind = readers if point.arm in point.config.readers else arms
        if point.arm not in kind:
            kind.append(point.arm)
    return [
        dataclasses.replace(bare, arms=tuple(arms), readers=tuple(readers))
        for bare, (arms, readers) in merged.items()
    ]


def checked(study: Study, base: CompareConfig) -> list[Point]:
    """The points of a study, their configs checked.

    Raises:
        ConfigError: a point is impossible with this base; it is named.
    """
    points = study.points(base)
    for point in points:
        try:
            check(point.config)
        except ConfigError as error:
            raise ConfigError(f"study {study.name}, {point.label}: {error}") from None
    return points


def plan(points: Sequence[Point], root: Path) -> Plan:
    """What the folder of studies lacks of these points."""
    cells: dict[str, tuple[CompareConfig, bool, bool, str]] = {}
    for point in points:
        folder = StudyFolder(root, point.config)
        for seed in range(point.config.seed, point.config.seed + point.config.seeds):
            kept = folder.checkpoint(point.arm, seed).is_dir()
            reads = point.arm in point.config.readers
            done = folder.finished(point.arm, seed)
            training = "" if done or kept or reads else folder.trained(point.arm, seed)
            cells[folder.cell(point.arm, seed)] = (point.config, done, kept or reads, training)
    todo = [cell for cell in cells.values() if not cell[1]]
    # Tests of one training train it once.
    trainings = {training: config for config, _, _, training in todo if training}
    one = [dataclasses.replace(c, arms=("bursty",), seeds=1) for c in trainings.values()]
    work = (operations(c) * _slower(c) for c in one)
    seconds = sum(work) / SPEED + READ * len(todo)
    starts = {dataclasses.replace(c, arms=(), readers=()) for c, *_ in todo}
    return Plan(
        len(cells), len(trainings), len(todo) - len(trainings), seconds + START * len(starts)
    )


def _slower(config: CompareConfig) -> float:
    """How many times as long as imitation a training takes."""
    if config.method != "reinforcement":
        return 1.0
    return config.head_start + (1 - config.head_start) * PRACTICE
