"""The whole benchmark: the machine's limits, the parts in order, the targets."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from experiments.bench import scale
from experiments.bench.clock import Cell, Race, first_line, race
from experiments.bench.machine import limits
from experiments.bench.peer import Peers
from experiments.bench.sizes import Sizes
from experiments.bench.targets import judge

SCHEMA = 1


def run(
    parts: Sequence[str], sizes: Sizes, peers: Peers, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """Runs the parts; gives what ``bench.json`` holds, but for the config, after each of them.

    A part that breaks down is told with its reason, and the others go on.
    """
    say("machine: matmul peak and memory bandwidth")
    machine = limits(sizes.matrix, sizes.copy, sizes.repeats)
    everything: list[Cell] = []
    found: dict[str, Any] = {}
    for part in parts:
        start, cells, reason = time.perf_counter(), [], ""
        try:
            _part(part, sizes, peers, cells, say)
        except Exception as error:  # whatever broke, what was measured is kept
            reason = f"{type(error).__name__}: {first_line(error)}"
            say(f"{part} broke down: {reason}")
        everything += cells
        found[part] = {
            "cells": [dataclasses.asdict(cell) for cell in cells],
            "seconds": round(time.perf_counter() - start, 1),
            "reason": reason,
        }
        if part == "scale":
            found[part]["slopes"] = scale.slopes(cells)
        yield {
            "schema": SCHEMA,
            "machine": machine,
            "parts": found,
            "targets": [dataclasses.asdict(target) for target in judge(everything, sizes)],
        }


def _part(
    part: str, sizes: Sizes, peers: Peers, cells: list[Cell], say: Callable[[str], None]
) -> None:
    """Adds the cells of a part, one race after the other."""
    module = importlib.import_module(f"experiments.bench.{part}")
    if hasattr(module, "cells"):
        for cell in module.cells(sizes, peers):
            cells.append(cell)
            say(f"{part}: {line(cell)}")
        return
    for given in module.races(sizes, peers):
        assert isinstance(given, Race)
        for cell in race(part, given, sizes.repeats):
            cells.append(cell)
            say(f"{part}: {line(cell)}")


def line(cell: Cell) -> str:
    """A cell in a few words."""
    head = ", ".join(x for x in (cell.work, cell.setting, cell.who) if x)
    if cell.median is None:
        return f"{head}: {cell.reason}"
    speed = f", {cell.rate:,.0f} {cell.unit}/s" if cell.rate else ""
    return f"{head}: {1e3 * cell.median:,.1f} ms{speed}"
