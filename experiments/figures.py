"""The moving pictures of a run's page, by plotly: score against demonstrations, learning curves.

Nothing here imports jax.
"""

from __future__ import annotations

import html
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

if TYPE_CHECKING:
    from experiments.report import Cell, Curves

SPLITS = {
    "seen-level": "Seen levels",
    "unseen-level": "Unseen levels",
    "unseen-family": "Unseen family",
}
BASELINES = ("hash-map", "nearest-neighbour")
# Okabe and Ito's colours: cool where demonstrations share the query's level, warm where not.
INK, GREY = "#000000", "#8c8c8c"
COLOURS = {
    "bursty": "#0072B2",
    "bursty-chunks": "#009E73",
    "shuffled": "#56B4E9",
    "isolated-chunks": "#D55E00",
    "isolated-chunks:1": "#CC79A7",
    "nonbursty": "#E69F00",
    "single": INK,
}
PALETTE = [*COLOURS.values(), "#F0E442"]
MARKERS = [  # One a colour, by its names in matplotlib and plotly.
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("p", "pentagon"),
]


@dataclass(frozen=True)
class Style:
    """How one arm is drawn; marker and dash by their names in matplotlib and plotly.

    Attributes:
        label: the arm's name, with what tells it from its namesakes.
        colour: a hexadecimal colour.
        marker: the shape of its points.
        dash: the stroke of its line.
        baseline: whether this reads the context without learning.
    """

    label: str
    colour: str
    marker: tuple[str, str]
    dash: tuple[str, str] = ("-", "solid")
    baseline: bool = False


def rank(arms: Iterable[str]) -> list[str]:
    """Orders arms: those we know, then strangers as they come, then the baselines."""
    seen = list(dict.fromkeys(arms))
    known = [arm for arm in COLOURS if arm in seen]
    last = [arm for arm in BASELINES if arm in seen]
    return known + [arm for arm in seen if arm not in known + last] + last


def styles(names: Mapping[str, str]) -> dict[str, Style]:
    """Gives each label a look of its own, in drawing order.

    Args:
        names: label -> arm. The first label of a known arm takes the arm's colour.
    """
    found: dict[str, Style] = {}
    order = rank(names.values())
    free = [c for c in PALETTE if c not in {COLOURS.get(arm) for arm in order}]
    kept = {COLOURS[arm] for arm in order if arm in COLOURS}
    for label, arm in sorted(names.items(), key=lambda pair: (order.index(pair[1]), pair[0])):
        if arm in BASELINES:
            dash = ("--", "dash") if arm == BASELINES[0] else (":", "dot")
            found[label] = Style(label, GREY, ("_", "line-ew-open"), dash, True)
            continue
        colour = COLOURS.get(arm)
        if colour in kept:
            kept.remove(colour)
        else:
            colour = free.pop(0) if free else PALETTE[len(found) % len(PALETTE)]
        turn = PALETTE.index(colour) + len(found) // len(PALETTE)
        found[label] = Style(label, colour, MARKERS[turn % len(MARKERS)])
    return found


def pooled(
    found: Sequence[Cell], split: str, demonstrations: str = "whole", acting: str = "sampled"
) -> list[Cell]:
    """The cells of one panel: all families together, or the only family that there is."""
    wanted = (split, demonstrations, acting)
    panel = [cell for cell in found if (cell.split, cell.demonstrations, cell.acting) == wanted]
    families = {cell.family for cell in panel}
    only = "all" if "all" in families or len(families) != 1 else families.pop()
    return [cell for cell in panel if cell.family == only]


def lines(panel: Sequence[Cell], looks: Mapping[str, Style]) -> dict[str, list[Cell]]:
    """The cells of a panel by label in drawing order, each line in order of demonstrations."""
    found = defaultdict(list)
    for cell in sorted(panel, key=lambda cell: cell.demos):
        found[cell.label].append(cell)
    return {label: found[label] for label in looks if label in found}


def dodge(panel: Sequence[Cell], looks: Mapping[str, Style]) -> dict[str, float]:
    """How far each label moves aside, so that intervals at the same k do not hide each other."""
    demos = sorted({cell.demos for cell in panel})
    gap = min((after - before for before, after in pairwise(demos)), default=1)
    here = [label for label in lines(panel, looks) if not looks[label].baseline]
    bars = any(cell.score.seeds > 1 for cell in panel)
    step = min(0.06, 0.36 / max(len(here), 1)) * gap * bars
    return {label: (place - (len(here) - 1) / 2) * step for place, label in enumerate(here)}


def bounds(panel: Iterable[Cell]) -> tuple[float, float]:
    """An axis of scores that shows 0, 1 and every interval."""
    ends = [end for cell in panel for end in (cell.score.estimate, cell.score.low, cell.score.high)]
    known = [end for end in ends if math.isfinite(end)]
    return min([-0.14, *(end - 0.05 for end in known)]), max([1.12, *(e + 0.05 for e in known)])


def score_figure(panel: Sequence[Cell], looks: Mapping[str, Style]) -> dict[str, Any]:
    """Score against the number of demonstrations, as a plotly figure in plain JSON types."""
    shifts, figure = dodge(panel, looks), go.Figure()
    for label, line in lines(panel, looks).items():
        look = looks[label]
        trace = go.Scatter(
            x=[cell.demos + shifts.get(label, 0.0) for cell in line],
            y=[cell.score.estimate for cell in line],
            text=[f"k = {cell.demos}: {cell.score.estimate:.3f} {cell.ends}" for cell in line],
            hovertemplate="%{text}<extra>%{fullData.name}</extra>",
            mode="lines" if look.baseline and len(line) > 1 else "lines+markers",
            marker={"size": 8, "symbol": look.marker[1], "color": look.colour},
        )
        if any(cell.score.seeds > 1 for cell in line) and not look.baseline:
            reach = [c.score.high - c.score.estimate if c.score.seeds > 1 else None for c in line]
            trace.error_y = {"type": "data", "array": reach, "thickness": 1.4, "width": 3}
        figure.add_trace(trace.update(named(look)))
    for level, text, anchor in ((0, "random", "top"), (1, "optimal", "bottom")):
        figure.add_hline(level, line={"color": GREY, "width": 1}, layer="below")
        figure.add_annotation(
            {"x": 1, "xref": "paper", "xanchor": "right", "y": level, "yanchor": anchor},
            text=text,
            showarrow=False,
            font={"size": 11, "color": GREY},
        )
    figure.update_xaxes(title="demonstrations k", tickvals=sorted({c.demos for c in panel}))
    figure.update_yaxes(title="score", range=bounds(panel))
    return plain(figure)


def curve_figure(
    found: Curves, looks: Mapping[str, Style], name: str, xs: tuple[float, float]
) -> dict[str, Any]:
    """A number against updates with bands over seeds, as a plotly figure in plain JSON types.

    Args:
        found: label -> [(update, interval)].
        looks: label -> how to draw it.
        name: what the number is.
        xs: the ends of the axis of updates, the same for all panels.
    """
    figure = go.Figure()
    for label in (label for label in looks if label in found):
        look, points = looks[label], found[label]
        band = [(x, end) for x, end in points if end.seeds > 1]
        if band:
            red, green, blue = (int(look.colour[i : i + 2], 16) for i in (1, 3, 5))
            area = go.Scatter(
                x=[x for x, _ in band] + [x for x, _ in reversed(band)],
                y=[end.high for _, end in band] + [end.low for _, end in reversed(band)],
                mode="none",
                fill="toself",
                fillcolor=f"rgba({red}, {green}, {blue}, 0.16)",
                hoverinfo="skip",
            )
            figure.add_trace(area.update(named(look)))
        trace = go.Scatter(
            x=[x for x, _ in points],
            y=[end.estimate for _, end in points],
            mode="lines" if len(points) > 1 else "markers",
            hovertemplate="update %{x:.0f}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
        figure.add_trace(trace.update(named(look)))
    figure.update_xaxes(title="updates", range=xs)
    figure.update_yaxes(title=name)
    return plain(figure)


def named(look: Style) -> dict[str, Any]:
    """What makes a trace one arm's; markup in its name is shown, not obeyed."""
    width = 1.5 if look.baseline else 2.2
    return {
        "name": html.escape(look.label, quote=False),
        "meta": look.label,
        "line": {"color": look.colour, "width": width, "dash": look.dash[1]},
    }


def plain(figure: go.Figure) -> dict[str, Any]:
    """The data and layout of a figure without plotly's template: the page has its own."""
    figure.update_layout(template="none", showlegend=False, hovermode="closest")
    figure.update_xaxes(zeroline=False)
    figure.update_yaxes(zeroline=False)
    found = figure.to_plotly_json()
    found["layout"].pop("template", None)
    return found
