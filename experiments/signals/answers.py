"""Answers a question: measures what its folder lacks, cell by cell, and gathers the verdicts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from experiments.folder import RunFolder, environment
from experiments.signals.cells import kept
from experiments.signals.question import Answers, Question


def answer(
    question: Question, base: Any, root: Path, command: str, say: Callable[[str], Any]
) -> dict[str, Any]:
    """Writes ``root/NAME/results.json`` and returns what it holds; ``base`` are the settings that
    the spots vary, ``say`` is told of every spot, ``command`` is the line that makes it again."""
    folder, rows, spots = RunFolder(root), [], question.spots(base)
    seconds: dict[str, float] = {}  # of cells: a spot may be one of several parts of one
    began = time.monotonic()
    for number, spot in enumerate(spots, 1):
        news = False
        for seed in range(base.seed, base.seed + base.seeds):
            cell = kept(folder, spot.kind, spot.config, spot.method, seed)
            values, news = cell.values, news | cell.fresh
            seconds[cell.name] = cell.seconds
            for name in spot.part:
                values = values[name]
            rows.append(dict(spot.at) | {"seed": seed} | values)
        if news:
            place = ", ".join(f"{axis} {value}" for axis, value in spot.at.items())
            say(f"[{number}/{len(spots)}] {place} ({time.monotonic() - began:.0f} s)")
    result = {
        "schema": 1,
        "command": "signals plot",
        "command_line": command,
        "question": question.name,
        "text": question.text,
        "axes": list(question.axes),
        "drawn": list(question.drawn),
        "paper": question.paper,
        "config": dataclasses.asdict(base),
        "environment": environment(jax.devices()),
        "seconds": round(sum(seconds.values()), 1),
        "rows": rows,
        "verdicts": question.claims(Answers(rows)),
    }
    folder.write(f"{question.name}/results.json", result)
    return result
