"""The page of graded or trained signals: lines or bars with intervals, tables, the command."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.page import page
from experiments.report import FILTERS, read_results, read_watched, replace
from experiments.signals.table import GRADES, at, over_seeds, short
from experiments.study_figures import lines_figure, panel

NOTES: Mapping[str, str] = {
    "correlation": "Pearson's correlation of credit and exact advantage, over all generated steps",
    "sign": "share of the steps that matter whose credit has the advantage's sign",
    "located": "share of the lost runs whose least credit is the fatal step's",
    "idle": "part of what won runs are paid that goes to steps that changed nothing",
    "padding": "what a won run is paid for one more idle step, in units of its mean pay a step",
    "cosine": "cosine of the estimated policy gradient and the exact one",
}


def write_signals(folder: Path) -> Path:
    """Writes ``folder/report.html`` from ``folder/results.json`` and, if it is there,
    ``folder/trees.json`` (growth.py)."""
    text = render(read_results(folder), read_watched(folder / "trees.json", "trees"))
    return replace(folder / "report.html", lambda file: file.write(text.encode()))


def render(results: Mapping[str, Any], trees: Mapping[str, Any] | None = None) -> str:
    """The page as text; with a view of trees, if there are any."""
    rows, word = results["rows"], results["command"].split()[-1]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    if word == "grade":
        heads = list(GRADES.values())
        table = [
            (method, [over_seeds(rows, method, field) for field in GRADES]) for method in methods
        ]
        panels = [
            panel(note, lines_figure(
                {method: [(method, found)] for method in methods
                 if (found := over_seeds(rows, method, field))},
                "", y=GRADES[field],
            ))
            for field, note in NOTES.items()
        ]  # fmt: skip
    else:
        parts = range(len(rows[0]["success"]))
        total = results["config"]["total"]
        heads = [f"{total * part // parts[-1]}" for part in parts]
        table = [
            (method, [at(rows, method, "success", part) for part in parts]) for method in methods
        ]
        panels = [
            panel(name, lines_figure(
                {method: [(total * part / parts[-1], at(rows, method, field, part))
                          for part in parts] for method in methods},
                "generated actions of a level", y=name, zero=field == "success",
            ))
            for field, name in (
                ("success", "success"), ("entropy", "entropy in nats"),
                ("idle", "share of the steps that change nothing"),
            )
        ]  # fmt: skip
    return page(
        "signals.html.j2",
        FILTERS,
        word=word,
        trees=trees if word == "grade" else None,
        config=results["config"],
        machine=results["environment"],
        command=results["command_line"],
        heads=heads,
        table=[(method, [short(cell) for cell in cells]) for method, cells in table],
        groups=[{
            "name": "Grades" if word == "grade" else "Learning",
            "note": "Bars are 95 % intervals over seeds.", "panels": panels,
        }],
    )  # fmt: skip
