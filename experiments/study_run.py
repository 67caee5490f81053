"""Runs a study's points, cell by cell, and gathers what they came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from experiments import processes
from experiments.compare import Comparison, fill
from experiments.folder import environment
from experiments.progress import Progress
from experiments.study import Found, Point, Study
from experiments.study_folder import StudyFolder
from experiments.study_plan import groups


def compute(points: Sequence[Point], root: Path, progress: Progress) -> None:
    """Trains and tests what the folder of studies lacks of these points; every cell that is
    finished is kept at once."""
    machine = environment(jax.devices())
    for config in groups(points):
        folder = StudyFolder(root, config, machine)
        if folder.missing():
            progress.say(f"{' '.join((*config.arms, *config.readers))}: {folder.differs()}")
            fill(Comparison(config, folder, progress))


def gather(study: Study, points: Sequence[Point], root: Path, command: str) -> dict[str, Any]:
    """Writes ``results.json`` of a study whose cells are all there, and returns what it holds;
    ``command`` is the line that makes it again."""
    rows, curves, commits = [], [], set()
    for point in points:
        folder, seeds = StudyFolder(root, point.config), seeds_of(point.config)
        rows.append([row for seed in seeds for row in folder.rows(point.arm, seed)])
        lines = [line for seed in seeds for line in folder.lines(point.arm, seed)]
        curves.append([line for line in lines if line["kind"] == "evaluation"])
        commits |= {folder.origin(point.arm, seed) for seed in seeds}
    found = Found(points, rows, curves)
    result = {
        "schema": 1,
        "command": "study",
        "command_line": command,
        "study": study.name,
        "question": study.question,
        "axes": list(study.axes),
        "paper": study.paper,
        "published": study.published,
        "config": dataclasses.asdict(points[0].config),
        "environment": environment(jax.devices()) | {"commits": sorted(commits)},
        "points": [
            {"at": dict(point.at), "arm": point.arm, "cells": _cells(point, root)}
            for point in points
        ],
        "rows": found.rows,
        "curves": found.curves,
        "verdicts": study.claims(found),
    }
    if processes.leader():
        StudyFolder(root, points[0].config).write(f"{study.name}/results.json", result)
    return result


def seeds_of(config: Any) -> range:
    """The seeds of a config."""
    return range(config.seed, config.seed + config.seeds)


def _cells(point: Point, root: Path) -> list[str]:
    folder = StudyFolder(root, point.config)
    return [folder.cell(point.arm, seed) for seed in seeds_of(point.config)]
