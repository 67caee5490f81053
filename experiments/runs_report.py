"""Several runs on one page: where their configs differ, their scores, paired differences."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments import jsonfile
from experiments.figures import SPLITS
from experiments.page import page
from experiments.report import FILTERS, brackets, replace
from experiments.runs import Contrast, contrast
from experiments.study_figures import Line, lines_figure, panel


def write_comparison(runs: Sequence[Path], target: Path) -> Path:
    """Writes one page about two runs or more; each is held against the first.

    Raises:
        ConfigError: one of them is damaged, or no run.
    """
    first, *others = runs
    text = render([contrast(first, other) for other in others])
    return replace(target, lambda file: file.write(text.encode()))


def render(contrasts: Sequence[Contrast]) -> str:
    """The page as text."""
    runs = [contrasts[0].first, *(found.second for found in contrasts)]
    names = _names(runs)
    fields: dict[str, dict[int, Any]] = {}
    for index, found in enumerate(contrasts, 1):
        for field, (before, after) in found.fields.items():
            fields.setdefault(field, {0: before})[index] = after
    lines = [
        {
            "place": (name, cell.arm, cell.split, cell.demos),
            "first": cell.first,
            "second": cell.second,
            "difference": cell.difference,
            "ends": brackets(cell.difference.low, cell.difference.high),
        }
        for found, name in zip(contrasts, names[1:], strict=True)
        for cell in found.cells
    ]
    return page(
        "runs.html.j2",
        FILTERS,
        names=names,
        verdicts=(verdicts := _verdicts(contrasts, names)),
        summary=_summary(verdicts),
        machines=[_machine(run) for run in runs],
        fields={
            field: [values.get(i, values[0]) for i in range(len(runs))]
            for field, values in fields.items()
        },
        lines=lines,
        command=shlex.join(["levelburst", "report", *map(str, runs)]),
        groups=_groups(contrasts, names),
    )


def _verdicts(contrasts: Sequence[Contrast], names: Sequence[str]) -> list[dict[str, Any]]:
    """Whether a run's one-shot scores on what was never seen lie above or below the first's."""
    return [
        {
            "claim": f"{name} against {names[0]}: {cell.arm}, one-shot, "
            f"{SPLITS.get(cell.split, cell.split).lower()}",
            "found": cell.difference,
            "ends": brackets(cell.difference.low, cell.difference.high),
            "way": (cell.difference.low > 0) - (cell.difference.high < 0),
        }
        for found, name in zip(contrasts, names[1:], strict=True)
        for cell in found.cells
        if cell.demos == 1 and cell.split != "seen-level"
    ]


def _summary(verdicts: Sequence[Mapping[str, Any]]) -> str:
    ways = [verdict["way"] for verdict in verdicts]
    return (
        f"Of {len(ways)} one-shot scores on what was never seen {ways.count(1)} rose, "
        f"{ways.count(-1)} fell, and {ways.count(0)} cannot be told apart; by chance one in twenty "
        "would seem to differ."
    )


def _machine(run: Path) -> dict[str, Any]:
    """What a run was made on; empty where it is not finished."""
    path = run / "results.json"
    found = jsonfile.read(path).get("environment", {}) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _groups(contrasts: Sequence[Contrast], names: Sequence[str]) -> list[dict[str, Any]]:
    """Score against k, a chart a split and arm, a line a run."""
    panels: dict[tuple[str, str], dict[str, Line]] = {}
    for index, found in enumerate(contrasts, 1):
        for cell in found.cells:
            lines = panels.setdefault((cell.split, cell.arm), {})
            if index == 1:
                lines.setdefault(names[0], []).append((cell.demos, cell.first))
            lines.setdefault(names[index], []).append((cell.demos, cell.second))
    if not panels:
        return []
    note = (
        "Families pooled, whole demonstrations, sampled actions; bars are 95 % intervals over the "
        "seeds that a run and the first have in common."
    )
    found = [
        panel(f"{arm}, {SPLITS.get(split, split).lower()}", lines_figure(lines, "demonstrations k"))
        for (split, arm), lines in panels.items()
    ]
    return [{"name": "Score", "note": note, "panels": found}]


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' own names, or their paths where two are called alike."""
    short = [run.name for run in runs]
    return short if len(set(short)) == len(short) else [str(run) for run in runs]
