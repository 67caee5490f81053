"""Results in words and as a table, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from experiments.results import Row, scores
from icl.statistics import Interval, interval


def summary(found: dict[str, Any]) -> str:
    """The table and the verdicts of ``results.json`` as text."""
    return "\n".join([table(found["rows"]), "", *verdict_lines(found["verdicts"])])


def verdict_lines(verdicts: Sequence[dict[str, Any]]) -> list[str]:
    """A line a verdict; with the ordering of the literature that it speaks of, if any."""
    marks = {True: "holds", False: "does NOT hold", None: "undecided"}
    lines = []
    for verdict in verdicts:
        low, high = verdict["low"], verdict["high"]
        span = "" if low is None or low != low else f" [{low:.2f}, {high:.2f}]"
        named = f"{verdict['ordering']}: " if verdict.get("ordering") else ""
        told = f"{named}{verdict['claim']}: {verdict['estimate']:.2f}{span}"
        lines.append(f"{marks[verdict['holds']]:>20}  {told}")
    return lines


def table(rows: Sequence[Row]) -> str:
    """Scores against k, a line an arm and split: whole demonstrations, sampled actions."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    splits = list(dict.fromkeys(row["split"] for row in rows))
    demos = sorted({row["demos"] for row in rows})
    head = f"{'score':<20}{'split':<15}" + "".join(f"{f'k = {k}':>15}" for k in demos)
    lines = [head]
    for split in splits:
        for arm in arms:
            cells = [scores(rows, arm, split, k) for k in demos]
            text = "".join(f"{_short(interval(list(cell.values()))):>15}" for cell in cells)
            lines.append(f"{arm:<20}{split:<15}{text}")
    return "\n".join(lines)


def _short(found: Interval) -> str:
    if found.seeds < 2:
        return f"{found.estimate:.2f}"
    return f"{found.estimate:.2f} ± {found.high - found.estimate:.2f}"
