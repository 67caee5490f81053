"""The moving pictures of a sweep's page, by plotly: trials against settings, and on their way."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from experiments.figures import plain
from experiments.sweep_spec import word

Trial = Mapping[str, Any]  # as in results.json
WIDE = 20  # lists of numbers that span more than this ratio get a logarithmic axis
# Name in the legend -> colour, marker. A colour-blind eye tells them by their shapes.
LOOKS = {
    "best": ("#D55E00", "star"),
    "finished": ("#0072B2", "circle"),
    "stopped early": ("#8c8c8c", "triangle-down-open"),
    "not finished": ("#8c8c8c", "x-thin-open"),
}


def look(trial: Trial, best: str | None) -> str:
    """How a trial is drawn: a key of LOOKS."""
    if trial["name"] == best:
        return "best"
    known = {"finished": "finished", "stopped": "stopped early"}
    return known.get(trial["status"], "not finished")


def field_figure(
    field: str, searched: Any, trials: Sequence[Trial], best: str | None, name: str
) -> dict[str, Any]:
    """The objective against one searched field, a point a trial.

    Args:
        field: of the settings.
        searched: a list of values, or a range as a mapping.
        trials: those that have an objective.
        best: the name of the best trial.
        name: of the objective's axis.
    """
    figure, ranged = go.Figure(), isinstance(searched, Mapping)
    numbers = ranged or all(type(value) in (int, float) for value in searched)
    ends = (searched["low"], searched["high"]) if ranged else searched
    order = [] if ranged else [word(value) for value in searched]
    for key, own in grouped(trials, best).items():
        values = [trial["settings"][field] for trial in own]
        trace = go.Scatter(
            x=values if numbers else [order.index(word(value)) for value in values],
            y=[trial["objective"] for trial in own],
            text=[told(trial) for trial in own],
        )
        if any(trial["high"] is not None for trial in own):
            reach = [
                None if trial["high"] is None else trial["high"] - trial["objective"]
                for trial in own
            ]
            trace.error_y = {"type": "data", "array": reach, "thickness": 1.2, "width": 3}
        figure.add_trace(trace.update(**points(key)))
    if not numbers:
        pad = (-0.5, len(order) - 0.5)
        figure.update_xaxes(tickvals=list(range(len(order))), ticktext=order, range=pad)
    elif (ranged and searched["log"]) or (min(ends) > 0 and max(ends) / min(ends) >= WIDE):
        figure.update_xaxes(type="log", tickformat="~g")
    if numbers and not ranged:
        figure.update_xaxes(tickvals=sorted(ends), ticktext=[word(end) for end in sorted(ends)])
    figure.update_xaxes(title=html.escape(field))
    figure.update_yaxes(title=name)
    return plain(figure)


def way_figure(trials: Sequence[Trial], best: str | None, name: str) -> dict[str, Any]:
    """The objective against the tests of cells that are behind a trial, a line a trial."""
    figure = go.Figure()
    for key, own in grouped(trials, best).items():
        for trial in own:
            tests = [test[0] for test in trial["tests"]]
            trace = go.Scatter(
                x=tests,
                y=[test[1] for test in trial["tests"]],
                text=[f"{told(trial)}<br>after test {test}" for test in tests],
            )
            trace.update(**points(key))
            # A line ends in the mark of what became of the trial.
            sizes = [0] * (len(tests) - 1) + [LARGE if key == "best" else 8]
            trace.update(mode="lines+markers", marker={"size": sizes})
            trace.update(line={"color": LOOKS[key][0], "width": 2.4 if key == "best" else 1.2})
            figure.add_trace(trace)
    ends = [test[0] for trial in trials for test in trial["tests"]]
    figure.update_xaxes(title="tests of an arm and seed")
    if max(ends) - min(ends) <= 12:
        figure.update_xaxes(dtick=1)
    figure.update_yaxes(title=name)
    return plain(figure)


LARGE = 13


def grouped(trials: Sequence[Trial], best: str | None) -> dict[str, list[Trial]]:
    """The trials by how they are drawn, the best last and so on top."""
    found = {key: [t for t in trials if look(t, best) == key] for key in reversed(LOOKS)}
    return {key: own for key, own in found.items() if own}


def points(key: str) -> dict[str, Any]:
    """What makes a trace one of a kind."""
    colour, symbol = LOOKS[key]
    return {
        "mode": "markers",
        "name": key,
        "meta": key,
        "marker": {
            "size": LARGE if key == "best" else 9,
            "symbol": symbol,
            "color": colour,
            "opacity": 0.9,
            "line": {"width": 1.6, "color": colour},
        },
        "hovertemplate": "%{text}<extra></extra>",
    }


def told(trial: Trial) -> str:
    """A trial in a few lines; markup in it is shown, not obeyed."""
    lines = [f"{field} = {word(value)}" for field, value in trial["settings"].items()]
    head = f"<b>{trial['name']}</b> {trial['status']}: {trial['objective']:.3f}"
    return "<br>".join([head, *(html.escape(line, quote=False) for line in lines)])
