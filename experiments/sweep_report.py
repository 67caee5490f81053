"""The report of a sweep: its results.json as one page that needs no network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments import sweep_figures as figures
from experiments.page import page
from experiments.report import brackets, finite, pretty, read_results, replace, signed
from experiments.sweep_spec import word

STATUS = {
    "finished": "trained and tested to its end",
    "stopped": "stopped early: others did better at the same test. Its objective is the last that "
    "was known",
    "diverged": "the loss was not finite",
    "refused": "these settings make no comparison",
    "failed": "its process died more often than was to be tried again",
    "waiting": "not begun",
    "running": "cut short; --resume goes on with it",
}


def write_sweep_report(folder: Path) -> Path:
    """Writes ``folder/report.html`` from ``folder/results.json``.

    Raises:
        FileNotFoundError: no results.json.
        ValueError: results.json is no JSON object of schema 1.
    """
    page = render(read_results(folder))
    return replace(folder / "report.html", lambda file: file.write(page.encode()))


def render(results: Mapping[str, Any]) -> str:
    """The page as text, from the content of a sweep's results.json."""
    config, objective = results["config"], results["objective"]
    sign = 1 if objective["mode"] == "max" else -1
    trials = sorted(
        [t | {"ends": brackets(t["low"], t["high"])} for t in results["trials"]],
        key=lambda t: (
            t["status"] != "finished",
            -sign * t["objective"] if finite(t["objective"]) else float("inf"),
        ),
    )
    counts = {status: sum(t["status"] == status for t in trials) for status in STATUS}
    measured = [trial for trial in trials if finite(trial["objective"])]
    drawn = {figures.look(trial, results["best"]) for trial in measured}
    return page(
        "sweep.html.j2",
        {"number": signed, "pretty": pretty, "word": word},
        config=config,
        objective=objective,
        machine=results["environment"],
        trials=trials,
        best=next((trial for trial in trials if trial["name"] == results["best"]), None),
        command=shlex.join(results["command"]) if results["command"] else "",
        counts={status: count for status, count in counts.items() if count},
        statuses={status: STATUS[status] for status, count in counts.items() if count},
        looks={key: figures.LOOKS[key] for key in figures.LOOKS if key in drawn},
        unmeasured=len(trials) - len(measured),
        groups=groups(results, measured),
    )


def groups(results: Mapping[str, Any], measured: list[Any]) -> list[dict[str, Any]]:
    """The charts: the objective against each searched field, and on the way where it was tested."""
    if not measured:
        return []
    name = "lead" if results["objective"]["minus"] else "score"
    panels = []
    for field, searched in results["config"]["search"].items():
        said = "; ".join(
            f"{trial['name']} {signed(trial['objective'])} at {word(trial['settings'][field])}"
            for trial in measured
        )
        panels.append(
            {
                "alt": f"The objective against {field}. {said}",
                "figure": figures.field_figure(field, searched, measured, results["best"], name),
            }
        )
    found = [
        {
            "name": "Objective against each setting",
            "note": "A point is a trial; bars are 95 % intervals over seeds. The other searched "
            "settings differ between the points of a chart: point at one to read them.",
            "panels": panels,
        }
    ]
    tested = [trial for trial in measured if trial["tests"]]
    if tested:
        said = "; ".join(f"{trial['name']} ends at {trial['tests'][-1][0]}" for trial in tested)
        found.append(
            {
                "name": "On the way",
                "note": "The objective on what had been tested so far, a line a trial. What is "
                "still training counts as it is, so lines may jump where another arm or seed "
                "begins.",
                "panels": [
                    {
                        "alt": f"The objective against tests. {said}",
                        "figure": figures.way_figure(tested, results["best"], name),
                    }
                ],
            }
        )
    return found
