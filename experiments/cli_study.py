"""``levelburst study``: what it holds, what it costs, and running it."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.config import CompareConfig, check
from experiments.errors import ConfigError
from experiments.presets import refuse_on_cpu
from experiments.studies import STUDIES
from experiments.study import Point
from experiments.study_plan import BASES, Plan, checked, groups, plan


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """Runs studies: each varies the main job along one or two axes and says which of the
    literature's orderings hold. Cells are kept under the hash of what they are, so what is cut
    short goes on with the same command, and studies share their cells."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Studies, or `all`; none lists them."""
    preset: str = "quick"
    """Size: smoke, quick (5 seeds) or full (10 seeds, 4 times as many updates, 8 slots)."""
    seeds: int = 0
    """Seeds of every point; 0 keeps the preset's."""
    devices: int = 0
    """Devices to spread runs over; 0 takes all, on CPU one a core."""
    out: str = ""
    """Folder of the studies, by default runs/study-PRESET."""
    dry_run: bool = False
    """Say what would be done, and stop."""


def run(
    arguments: list[str], parse: Callable[..., Any], prepare: Callable[[CompareConfig], str]
) -> int:
    """Runs the command; returns the exit code."""
    given: StudyConfig = parse(StudyConfig, "study", arguments)
    if not given.names:
        width = max(map(len, STUDIES))
        print("usage: levelburst study NAME… [--preset smoke | quick | full]\n")
        for study in STUDIES.values():
            print(f"  {study.name:<{width}}  {study.question}")
        print(f"  {'all':<{width}}  every one of them")
        return 0
    base = _base(given)
    names = list(STUDIES) if given.names == ("all",) else list(dict.fromkeys(given.names))
    for name in names:
        _known("study", name, [*STUDIES, "all"])
    points = {name: checked(STUDIES[name], base) for name in names}
    root = Path(given.out or f"runs/study-{given.preset}")
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {root} is a file; name a folder")
    for name in names:
        print(f"{name}: {_told(points[name], plan(points[name], root))}")
    if len(names) > 1:
        every = [point for part in points.values() for point in part]
        print(f"together: {_told(every, plan(every, root))}")
    if given.dry_run:
        return 0
    widest = max(
        (config for part in points.values() for config in groups(part)),
        key=lambda config: len(config.arms) * config.seeds,
    )
    if prepare(dataclasses.replace(widest, devices=given.devices)) == "cpu":
        for config in (config for part in points.values() for config in groups(part)):
            refuse_on_cpu(config)
    return _run(names, points, root, given)


def _run(names: list[str], points: dict[str, list[Point]], root: Path, given: StudyConfig) -> int:
    from experiments import stopping
    from experiments.progress import Progress
    from experiments.study_report import write_study
    from experiments.study_run import compute, gather
    from experiments.summary import verdict_lines

    progress = Progress()
    for name in names:
        with stopping.watched("go on with the same command"):
            compute(points[name], root, progress, STUDIES[name].probes)
        seeds = f" --seeds {given.seeds}" if given.seeds else ""
        command = f"levelburst study {name} --preset {given.preset}{seeds}"
        found = gather(STUDIES[name], points[name], root, command)
        page = write_study(root / name)
        print(f"\n{name}: {STUDIES[name].question}")
        print("\n".join(verdict_lines(found["verdicts"])))
        print(f"report  {page}")
    return 0


def _base(given: StudyConfig) -> CompareConfig:
    """The config that the studies vary."""
    _known("preset", given.preset, list(BASES))
    base = BASES[given.preset]
    if given.seeds < 0:
        raise ConfigError(f"seeds {given.seeds}: use a number of 1 or more, or 0 for the preset's")
    base = dataclasses.replace(base, seeds=given.seeds or base.seeds, devices=given.devices)
    check(base)
    return base


def _told(points: list[Point], found: Plan) -> str:
    if not found.train and not found.test:
        return f"{len(points)} points, {found.cells} cells, all there"
    minutes = found.seconds / 60
    cost = f"{minutes:.0f} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
    return (
        f"{len(points)} points, {found.cells} cells, of which {found.train} to train and "
        f"{found.test} to test only: about {cost} on two CPU cores"
    )


def _known(kind: str, name: str, every: list[str]) -> None:
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(every)}"
        raise ConfigError(f"unknown {kind} {name!r}; {hint}")
