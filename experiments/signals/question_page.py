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
    "cosine": "cosine to the exact policy gradient",
    "actions": "actions that a group generates",
    "success": "success, mean over the training",
    "final": "success at its end",
    "idle": "part of what won runs are paid that goes to idle steps",
    "padding": "what a won run is paid for one more idle step",
    "waits": "share of idle steps, at the end of the training",
    "executes": "share of the calls that work",
    "improves": "share of the calls that bring the goal nearer",
    "matches": "share of the calls that the oracle would have made",
    "queries": "queries of a run that change nothing",
    "folds": "folds of a run",
    "auroc": "AUROC of success",
    "right": "share of the levels that are answered right",
    "saved": "share of the actions that is saved",
    "kept": "share of the groups drawn that are learned from",
    "tells": "AUROC of good steps",
    "solves": "worth of the runs chosen: success of their answers",
    "good": "share of their steps that are good",
    "imitated": "success after the thinking of a student of theirs",
    "reached": "normalised score, mean over tasks",
    "spearman": "rank correlation of predicted and measured scores",
    "standing": "share of the orders that do better than the one predicted to be best",
    "shift": "mean absolute change of b",
    "alike": "likeness of two sequences of actions, difflib's ratio",
    "nats": "entropy of the policy in nats",
}  # values that are drawn, where rows have them
PARTS = ("steps", "part", "noise", "budget")  # fields that panels differ in
TRAINING = "training"  # across: the share of the budget that is used up, in percent


def write_question(folder: Path) -> Path:
    """Writes ``folder/report.html`` from ``folder/results.json``."""
    text = render(read_results(folder))
    return replace(folder / "report.html", lambda file: file.write(text.encode()))


def render(results: Mapping[str, Any]) -> str:
    """The page as text."""
    axes, rows = results["axes"], [flat(row) for row in results["rows"]]
    names, measures = [*placed(results), *differing(results)], measured(results)
    groups = [
        {
            "name": TOLD[measure].capitalize(),
            "note": "Bars are 95 % intervals over seeds.",
            "panels": [
                panel(words or measure, lines_figure(lines, across(axes), y=measure))
                for words, lines in panels(results, measure)
            ],
        }
        for measure in drawable(results)
    ]
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
        heads=[*names, *measures],
        table=_table(rows, names, measures),
        groups=groups,
    )


def across(axes: Sequence[str]) -> str:
    """The words below a picture."""
    return "share of the budget in percent" if axes[0] == TRAINING else axes[0]


def placed(results: Mapping[str, Any]) -> list[str]:
    """The axes that rows have a place on."""
    return [axis for axis in results["axes"] if axis != TRAINING]


def drawable(results: Mapping[str, Any]) -> list[str]:
    """The measures that are drawn: of trainings, the curves of success."""
    return ["success"] if results["axes"][0] == TRAINING else measured(results)


def differing(results: Mapping[str, Any]) -> list[str]:
    """The fields that panels differ in."""
    return [name for name in PARTS if name in results["rows"][0] and name not in results["axes"]]


def measured(results: Mapping[str, Any]) -> list[str]:
    """The values that are drawn."""
    rows = [flat(row) for row in results["rows"]]
    return [name for name in TOLD if any(row.get(name) is not None for row in rows)]


def panels(results: Mapping[str, Any], measure: str) -> list[tuple[str, dict[str, Line]]]:
    """Title -> lines of every panel that has a measure."""
    rows, parts = [flat(row) for row in results["rows"]], differing(results)
    made = []
    for place in dict.fromkeys(tuple(row[name] for name in parts) for row in rows):
        own = [row for row in rows if tuple(row[name] for name in parts) == place]
        words = ", ".join(f"{name} {value}" for name, value in zip(parts, place, strict=True))
        lines = _lines(own, results["axes"], measure)
        if lines:
            made.append((words, lines))
    return made


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose curves are numbers: their mean after the start, and their end."""
    path = row.get("success")
    if not isinstance(path, list):
        return dict(row)
    told = {"success": sum(path[1:]) / len(path[1:]), "final": path[-1], "curve": path}
    still = {"waits": row["idle"][-1], "idle": None} if "idle" in row else {}
    return dict(row) | told | still


def _lines(rows: Sequence[Mapping[str, Any]], axes: Sequence[str], measure: str) -> dict[str, Line]:
    lines: dict[str, Line] = {}
    across, which = axes
    for name in dict.fromkeys(row[which] for row in rows):
        own = [row for row in rows if row[which] == name]
        if across == TRAINING:
            paths = [row["curve"] for row in own]
            share = 100 / (len(paths[0]) - 1)
            lines[str(name)] = [
                (i * share, interval(found)) for i, found in enumerate(zip(*paths, strict=True))
            ]
            continue
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
