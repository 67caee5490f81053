"""The pictures of a study: score along its axes, a map where it has two of numbers."""

from __future__ import annotations

import html
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from experiments.figures import GREY, MARKERS, PALETTE, plain
from icl.statistics import Interval

Place = float | str
Line = list[tuple[Place, Interval]]  # x and the score there, in order of x
WIDE = 16  # ratio from which on numbers lie on a logarithmic axis
SHADES = [[0.0, "#f7fbff"], [0.5, "#6baed6"], [1.0, "#08306b"]]


def lines_figure(
    lines: Mapping[str, Line], x: str, *, y: str = "score", zero: bool = True
) -> dict[str, Any]:
    """Lines with intervals over one axis; over names, points side by side.

    Args:
        lines: name -> its points; the names are the legend.
        x: what the axis is, in words.
        y: likewise.
        zero: draw the lines of random (0) and optimal play (1).
    """
    places = [place for line in lines.values() for place, _ in line]
    words = any(isinstance(place, str) for place in places)
    numbers = [float(place) for place in places if not isinstance(place, str)]
    wide = not words and is_wide(numbers)
    low, high = min(numbers, default=0), max(numbers, default=0)
    span = math.log(high / low) if wide else high - low
    figure = go.Figure()
    for index, (name, line) in enumerate(lines.items()):
        colour = PALETTE[index % len(PALETTE)]
        shift = 0.012 * (index - (len(lines) - 1) / 2)  # so that intervals do not hide each other
        _, shape = MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]  # another a round
        figure.add_trace(
            go.Scatter(
                name=html.escape(name, quote=False),  # markup in it is shown, not obeyed
                meta=name,
                x=[
                    _word(place) if words else _aside(place, shift * span, wide)
                    for place, _ in line
                ],
                y=[found.estimate for _, found in line],
                text=[
                    f"{_word(place)}: {_score(found, 3)} {_ends(found)}" for place, found in line
                ],
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                mode="markers" if words else "lines+markers",
                marker={"size": 8, "symbol": shape, "color": colour},
                line={"color": colour, "width": 2},
                error_y=bars([found for _, found in line], colour),
            )
        )
    if zero:
        for height in (0, 1):
            figure.add_hline(height, line={"color": GREY, "width": 1}, layer="below")
    figure.update_xaxes(title=x, type="category" if words else "log" if wide else "linear")
    if wide:
        ticks = sorted(set(numbers))
        figure.update_xaxes(tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    elif not words and len(set(numbers)) <= 8:
        figure.update_xaxes(tickvals=sorted(set(numbers)))
    figure.update_yaxes(title=y)
    found = plain(figure)
    legend = {"orientation": "h", "y": -0.32, "yanchor": "top", "x": 0}
    found["layout"] |= {"showlegend": len(lines) > 1, "legend": legend}
    if words:
        found["layout"]["scattermode"] = "group"
    return found


def map_figure(
    cells: Mapping[tuple[Place, Place], Interval], across: str, up: str
) -> dict[str, Any]:
    """A heat map of scores; a cell says its score and its interval."""
    xs = sorted({x for x, _ in cells}, key=order)
    ys = sorted({y for _, y in cells}, key=order)
    grid = [[cells.get((x, y)) for x in xs] for y in ys]
    figure = go.Figure(
        go.Heatmap(
            x=[_word(x) for x in xs],
            y=[_word(y) for y in ys],
            z=[[None if cell is None else cell.estimate for cell in row] for row in grid],
            text=[
                [
                    "" if cell is None else f"<b>{_score(cell, 2)}</b><br>{_ends(cell)}"
                    for cell in row
                ]
                for row in grid
            ],
            texttemplate="%{text}",
            hovertext=[
                ["" if cell is None else f"{_score(cell, 3)} {_ends(cell)}" for cell in row]
                for row in grid
            ],
            hovertemplate=f"{across} %{{x}}, {up} %{{y}}: %{{hovertext}}<extra></extra>",
            colorscale=SHADES,
            zmin=0,
            zmax=1,
            colorbar={"title": {"text": "score", "side": "right"}, "thickness": 12},
        )
    )
    figure.update_xaxes(title=across, type="category")
    figure.update_yaxes(title=up, type="category")
    return plain(figure)


def published_figure(lines: Sequence[Any], x: str) -> dict[str, Any]:
    """The paper's points: mean returns in its own environments, so without the lines of 0 and 1."""
    nothing = float("nan")
    made = {
        name: [(place, Interval(value, nothing, nothing, 0.95, 1)) for place, value in points]
        for name, points in lines
    }
    return lines_figure(made, x, y="mean return (paper)", zero=False)


def panel(title: str, figure: dict[str, Any]) -> dict[str, Any]:
    """A chart with its title, and in words for those who cannot see it."""
    said = []
    for trace in figure["data"]:
        if trace["type"] == "scatter":
            name = trace.get("meta", trace.get("name"))
            said.append(f"{name}: {', '.join(trace.get('text', []))}")
        elif trace["type"] == "heatmap":
            said += [
                f"{x}, {y}: {text}"
                for y, row in zip(trace["y"], trace["hovertext"], strict=True)
                for x, text in zip(trace["x"], row, strict=True)
            ]
    words = html.unescape("; ".join(said))
    return {"title": title, "alt": f"{title}. {words}" if words else title, "figure": figure}


def is_wide(numbers: Sequence[float]) -> bool:
    """Whether an axis of these numbers is logarithmic: they grow by ratios, and far; ranks and
    counts, in even steps, do not."""
    found = sorted(set(numbers))
    if not found or found[0] <= 0 or found[-1] / found[0] < WIDE:
        return False
    steps = [after - before for before, after in itertools.pairwise(found)]
    return len(steps) < 2 or max(steps) > 1.01 * min(steps)


def _aside(place: Place, shift: float, wide: bool) -> float:
    return float(place) * math.exp(shift) if wide else float(place) + shift


def _score(found: Interval, digits: int) -> str:
    return f"{found.estimate:z.{digits}f}".replace("-", "−")


def bars(line: Sequence[Interval], colour: str) -> dict[str, Any]:
    """Plotly's error bars: the intervals around their estimates; none where they are not known."""

    def reach(end: float) -> float | None:
        return end if math.isfinite(end) else None

    return {
        "type": "data",
        "symmetric": False,
        "array": [reach(found.high - found.estimate) for found in line],
        "arrayminus": [reach(found.estimate - found.low) for found in line],
        "thickness": 1.4,
        "width": 3,
        "color": colour,
    }


def _ends(found: Interval) -> str:
    if not math.isfinite(found.low):
        return ""
    return f"[{found.low:.2f}, {found.high:.2f}]".replace("-", "−")


def _word(place: Place) -> str:
    return html.escape(place, quote=False) if isinstance(place, str) else f"{place:.9g}"


def order(place: Place) -> tuple[bool, float, str]:
    """Numbers in their order, then names in theirs."""
    named = isinstance(place, str)
    return named, 0.0 if named else float(place), str(place)
