"""What signals came to, as lines for a terminal and cells for a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from icl.statistics import Interval, interval

GRADES: Mapping[str, str] = {
    "correlation": "correlation",
    "sign": "sign",
    "located": "located",
    "idle": "idle",
    "padding": "padding",
    "cosine": "cosine",
    "variance": "variance",
    "actions": "actions",
}  # field of icl.signals.grades.Grades -> its column
WIDTH = 24


def over_seeds(rows: Sequence[Mapping[str, Any]], method: str, field: str) -> Interval | None:
    """One method's value with its interval over seeds; None where it is not defined."""
    values = [row.get(field) for row in rows if row["method"] == method]
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return interval(finite) if finite else None


def lines(word: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a method, below the names of the columns."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    if word == "grade":
        head = "".join(f"{name:>16}" for name in GRADES.values())
        body = [
            f"{method:<{WIDTH}}"
            + "".join(f"{short(over_seeds(rows, method, field)):>16}" for field in GRADES)
            for method in methods
        ]
        return [f"{'':<{WIDTH}}{head}", *body]
    parts = range(0, len(rows[0]["success"]), 2)
    total = len(rows[0]["success"]) - 1
    head = "".join(f"{100 * part // total:>13} %" for part in parts)
    return [
        f"{'success at':<{WIDTH}}{head}{'updates':>10}",
        *(
            f"{method:<{WIDTH}}"
            + "".join(f"{short(at(rows, method, 'success', part)):>15}" for part in parts)
            + f"{over_seeds(rows, method, 'updates').estimate:>10.0f}"  # type: ignore[union-attr]
            for method in methods
        ),
    ]


def off(rows: Sequence[Mapping[str, Any]], budget: int) -> list[str]:
    """A line for every method whose groups took more or less than the budget by over a tenth."""
    made = []
    for method in dict.fromkeys(row["method"] for row in rows):
        taken = over_seeds(rows, method, "actions")
        if taken and abs(taken.estimate / budget - 1) > 0.1:
            made.append(
                f"note: groups of {method} took {taken.estimate:.0f} actions, the budget is "
                f"{budget}: it is not compared at equal actions"
            )
    return made


def votes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line a regime and way: the share of levels answered right, and of the actions saved."""
    places = dict.fromkeys((row["regime"], row["way"]) for row in rows)
    width = max(len(regime) for regime, _ in places) + 2
    lines = [f"{'':<{width}}{'':<18}{'right':>16}{'saved':>16}"]
    for regime, way in places:
        own = [row for row in rows if (row["regime"], row["way"]) == (regime, way)]
        told = (short(interval([row[field] for row in own])) for field in ("right", "saved"))
        lines.append(f"{regime:<{width}}{way:<18}" + "".join(f"{text:>16}" for text in told))
    return lines


def at(rows: Sequence[Mapping[str, Any]], method: str, field: str, part: int) -> Interval:
    """A point of a curve, with its interval over seeds."""
    return interval([row[field][part] for row in rows if row["method"] == method])


def short(found: Interval | None) -> str:
    """``0.42 ± 0.03``."""
    if found is None:
        return "-"
    digits = 0 if abs(found.estimate) >= 100 else 2
    if found.seeds < 2:
        return f"{found.estimate:.{digits}f}"
    return f"{found.estimate:.{digits}f} ± {found.high - found.estimate:.{digits}f}"
