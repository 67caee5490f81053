"""The page of a question: verdicts in words, pictures with intervals, every setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.page import page
from experiments.report import FILTERS, brackets, read_results, replace
from experiments.signals.table import short
from experiments.study_figures import Line, lines_figure, panel
from icl.statistics import Interval, interval

TOLD: Mapping[str, str] = {
    "correlation": "correlation of credit and exact advantage",
    "sign": "share of right signs where it matters",
    "located": "fatal steps that are located",
    "success": "success, mean over the training",
    "final": "success at its end",
    "auroc": "AUROC of success",
    "right": "share of the levels that are answered right",
    "saved": "share of the actions that is saved",
}  # values that are drawn, where rows have them

PARTS = ("regularity", "part", "noise", "budget")  # fields that panels differ in


def write_question(folder: Path) -> Path:
    """Writes ``folder/report.html`` from ``folder/results.json``."""
    text = render(read_results(folder))
    return replace(folder / "report.html", lambda file: file.write(text.encode()))


def render(results: Mapping[str, Any]) -> str:
    """The page as text."""
    axes, rows = results["axes"], [flat(row) for row in results["rows"]]
    parts = [name for name in PARTS if name in rows[0] and name not in axes]
    places = list(dict.fromkeys(tuple(row[name] for name in parts) for row in rows))
    measures = [name for name in TOLD if name in rows[0]]
    groups = []
    for measure in measures:
        panels = []
        for place in places:
            own = [row for row in rows if tuple(row[name] for name in parts) == place]
            words = ", ".join(f"{name} {value}" for name, value in zip(parts, place, strict=True))
            figure = lines_figure(_lines(own, axes, measure), axes[0], y=measure)
            panels.append(panel(words or measure, figure))
        note = "Bars are 95 % intervals over seeds."
        groups.append({"name": TOLD[measure].capitalize(), "note": note, "panels": panels})
    return page(
        "question.html.j2",
        FILTERS,
        name=results["question"],
        text=results["text"],
        paper=results["paper"],
        verdicts=[v | {"ends": brackets(v["low"], v["high"])} for v in results["verdicts"]],
        config=results["config"],
        machine=results["environment"] | {"seconds": results["seconds"]},
        command=results["command_line"],
        heads=[*axes, *parts, *measures],
        table=_table(rows, [*axes, *parts], measures),
        groups=groups,
    )


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose curves are numbers: their mean after the start, and their end."""
    path = row.get("success")
    if not isinstance(path, list):
        return dict(row)
    return dict(row) | {"success": sum(path[1:]) / len(path[1:]), "final": path[-1]}


def _lines(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], measure: str) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    across, which = axes
    for name in dict.fromkeys(row[which] for row in rows):
        own = [row for row in rows if row[which] == name]
        places = sorted({row[across] for row in own})
        found = [(x, _over(own, {across: x}, measure)) for x in places]
        line = [(x, cell) for x, cell in found if cell is not None]
        if line:
            lines[str(name)] = line
    return lines


def _over(
    rows: Sequence[Mapping[str, Any]], at: Mapping[str, Any], measure: str
) -> Interval | None:
    """Over seeds, at a place; None where it is not defined."""
    own = [row for row in rows if all(row[name] == value for name, value in at.items())]
    values = [row[measure] for row in own if row.get(measure) is not None]
    return interval(values) if values else None


def _table(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], measures: Sequence[str]
) -> list[list[str]]:
    places = dict.fromkeys(tuple(row[name] for name in names) for row in rows)
    return [
        [
            *map(str, place),
            *(short(_over(rows, dict(zip(names, place, strict=True)), m)) for m in measures),
        ]
        for place in places
    ]
