"""The pictures of a benchmark's page, by plotly. Nothing here imports JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from experiments.figures import plain

ACCENT = "#0072B2"  # ours; the others of Okabe and Ito's colours are the rivals'
RIVALS = ("#D55E00", "#E69F00", "#009E73", "#CC79A7", "#8c8c8c")
OTHERS = ("#56B4E9", "#7fa6bf", "#a5c8dd")  # other ways of ours
MARKERS = ("square", "diamond", "triangle-up", "cross", "x")
PHASES = ("start", "import", "compile", "generate", "train", "evaluate", "save", "report")
PHASE_COLOURS = (
    "#8c8c8c", "#56B4E9", "#D55E00", "#009E73", "#0072B2", "#E69F00", "#CC79A7", "#F0E442",
)  # fmt: skip

ADMISSION = "level admission"
JOB = "main job: "

Cells = Sequence[dict[str, Any]]
Panel = dict[str, Any]


def panels(name: str, part: Mapping[str, Any], machine: Mapping[str, Any]) -> list[Panel]:
    """The panels of one part: ``title``, ``alt`` and a ``figure`` in plain JSON types."""
    cells = [cell for cell in part["cells"] if cell["median"] is not None]
    kinds: dict[str, Callable[[Cells], list[Panel]]] = {
        "simulate": _speeds,
        "decode": _speeds,
        "contexts": _contexts,
        "train": lambda cells: _train(cells, machine["float32"]),
        "disk": _disk,
        "compare": _compare,
        "scale": lambda cells: _scale(cells, part.get("slopes", {})),
    }
    return kinds[name](cells) if cells else []


def looks(cells: Cells) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each side: ours stands out, a second way of ours is lighter."""
    found: dict[str, dict[str, Any]] = {}
    rivals = list(dict.fromkeys(cell["who"] for cell in cells if not cell["ours"]))
    for cell in cells:
        who = cell["who"]
        if who in found:
            continue
        if cell["ours"]:
            count = sum(look["ours"] for look in found.values())
            first = not count
            colour, symbol = (ACCENT, "circle") if first else (OTHERS[count % 3], "circle-open")
            found[who] = {"colour": colour, "symbol": symbol, "width": 3.2 if first else 1.8,
                          "ours": True}  # fmt: skip
        else:
            index = rivals.index(who) % len(RIVALS)
            found[who] = {"colour": RIVALS[index], "symbol": MARKERS[index], "width": 1.8,
                          "ours": False}  # fmt: skip
    return found


def _speeds(cells: Cells) -> list[Panel]:
    """One panel a work: units a second against the size, both on log axes."""
    style, found = looks(cells), []
    for work in dict.fromkeys(cell["work"] for cell in cells):
        own = [cell for cell in cells if cell["work"] == work and cell["rate"]]
        figure = go.Figure()
        for who in dict.fromkeys(cell["who"] for cell in own):
            figure.add_trace(_line(who, [c for c in own if c["who"] == who], style[who], "size"))
        letter = own[0]["setting"].partition(" ")[0]
        ticks = sorted({cell["size"] for cell in own})
        figure.update_xaxes(
            type="log", title=letter, tickvals=ticks, ticktext=[f"{tick:,.0f}" for tick in ticks]
        )
        figure.update_yaxes(
            type="log", title=f"{own[0]['unit']}/s", exponentformat="SI", dtick="D2"
        )
        found.append(_panel(work, figure, own))
    return found


def _train(cells: Cells, peak: float) -> list[Panel]:
    """Tokens a second, and the share of the machine's peak, model by model."""
    style, speed, share = looks(cells), go.Figure(), go.Figure()
    for who in dict.fromkeys(cell["who"] for cell in cells):
        line = [cell for cell in cells if cell["who"] == who]
        speed.add_trace(_line(who, line, style[who], "setting"))
        parts: Cells = [
            cell | {"rate": 100 * cell["operations"] / cell["median"] / peak,
                    "amount": 100 * cell["operations"] / peak}
            for cell in line if cell["operations"]
        ]  # fmt: skip
        share.add_trace(_line(who, parts, style[who], "setting"))
    speed.update_yaxes(type="log", title="tokens/s", exponentformat="SI", dtick="D2")
    share.update_yaxes(title="% of the float32 matmul peak", rangemode="tozero")
    for figure in (speed, share):
        figure.update_xaxes(type="category")
    return [
        _panel("Tokens a second", speed, cells),
        _panel("Share of the measured peak", share, cells),
    ]


def _contexts(cells: Cells) -> list[Panel]:
    """Milliseconds of an update by what they go to, then the admission of levels."""
    own = [cell for cell in cells if not cell["work"].startswith(ADMISSION)]
    first = own[0]["amount"] if own else 1.0
    # A fused go holds several updates.
    per = [cell | {"scale": first / cell["amount"]} for cell in own]
    names = [(c["who"].partition(", ")[2] or "contexts alone") for c in per]
    bars = go.Figure(_bars(names, per, 1e3, "ms"))
    bars.update_xaxes(title="ms an update", rangemode="tozero")
    admitted = [cell for cell in cells if cell["work"].startswith(ADMISSION)]
    speeds = go.Figure(
        go.Bar(
            y=[cell["work"].partition(", ")[2] for cell in admitted],
            x=[cell["rate"] for cell in admitted],
            orientation="h",
            marker={"color": ACCENT},
            error_x=_ends([c["rate"] for c in admitted],
                          [c["amount"] / c["high"] for c in admitted],
                          [c["amount"] / c["low"] for c in admitted]),
            hovertemplate="%{y}: %{x:.3s} levels/s<extra></extra>",
        )
    )  # fmt: skip
    speeds.update_xaxes(title="admitted levels a second", exponentformat="SI", rangemode="tozero")
    found = [_panel("What an update costs", bars, own)] if own else []
    return found + ([_panel("Level admission", speeds, admitted)] if admitted else [])


def _disk(cells: Cells) -> list[Panel]:
    """Seconds of a few updates, of what they read, and of a checkpoint."""
    names = [cell["who"].partition(", ")[2] or "groups generated" for cell in cells]
    bars = go.Figure(_bars(names, cells, 1.0, "s"))
    bars.update_xaxes(title="seconds", rangemode="tozero")
    return [_panel(cells[0]["setting"].capitalize(), bars, cells)]


def _compare(cells: Cells) -> list[Panel]:
    """Phases of the main job, stacked; then what one waits for."""
    stacked, found = go.Figure(), []
    phases = [cell for cell in cells if cell["work"].startswith(JOB)]
    for phase, colour in zip(PHASES, PHASE_COLOURS):
        own = [cell for cell in phases if cell["work"] == JOB + phase]
        if own:
            stacked.add_trace(
                go.Bar(
                    name=phase,
                    y=[cell["setting"].replace(" compilation", "") for cell in own],
                    x=[cell["median"] for cell in own],
                    orientation="h",
                    marker={"color": colour},
                    hovertemplate=f"{phase}: %{{x:.2f}} s<extra></extra>",
                )
            )
    if phases:
        stacked.update_layout(barmode="stack")
        stacked.update_xaxes(title="seconds")
        found.append(_panel("Where the time goes", stacked, phases, legend=True))
    waits = [cell for cell in cells if not cell["work"].startswith(JOB)]
    names = list(
        dict.fromkeys(
            ", ".join(x for x in (c["work"], c["setting"].partition(" ")[0]) if x) for c in waits
        )
    )
    if waits:
        figure = go.Figure()
        for cell in waits:
            name = ", ".join(x for x in (cell["work"], cell["setting"].partition(" ")[0]) if x)
            figure.add_trace(
                go.Scatter(
                    x=cell["seconds"], y=[name] * len(cell["seconds"]), mode="markers",
                    marker={"color": ACCENT, "size": 9, "opacity": 0.6},
                    hovertemplate="%{x:.2f} s<extra></extra>",
                )
            )  # fmt: skip
        figure.update_yaxes(type="category", categoryorder="array", categoryarray=names[::-1])
        figure.update_xaxes(title="seconds, every go", rangemode="tozero")
        found.append(_panel("Waiting for the start", figure, waits))
    return found


def _scale(cells: Cells, slopes: Mapping[str, float]) -> list[Panel]:
    """Seconds against each size on log axes, with the fitted power law."""
    found = []
    for work in dict.fromkeys(cell["work"] for cell in cells):
        own = [cell for cell in cells if cell["work"] == work]
        x, y = np.asarray([(cell["size"], cell["median"]) for cell in own]).T
        figure = go.Figure()
        if work in slopes:
            slope = slopes[work]
            start = np.exp(np.mean(np.log(y) - slope * np.log(x)))
            figure.add_trace(
                go.Scatter(x=x.tolist(), y=(start * x**slope).tolist(), mode="lines",
                           line={"color": "#8c8c8c", "dash": "dot", "width": 1.5},
                           hoverinfo="skip")
            )  # fmt: skip
        figure.add_trace(
            go.Scatter(
                x=x.tolist(), y=y.tolist(), mode="lines+markers",
                line={"color": ACCENT, "width": 3.2}, marker={"size": 9, "color": ACCENT},
                error_y=_ends(y, [c["low"] for c in own], [c["high"] for c in own]),
                hovertemplate="%{x}: %{y:.4s}s<extra></extra>",
            )
        )  # fmt: skip
        figure.update_xaxes(
            type="log", title=own[0]["setting"].partition(" ")[0] if "=" in own[0]["setting"]
            else "devices", tickvals=x.tolist(), ticktext=[f"{tick:,.0f}" for tick in x],
        )  # fmt: skip
        figure.update_yaxes(type="log", title="seconds", exponentformat="SI", dtick="D2")
        title = f"{work}: exponent {slopes[work]:.2f}" if work in slopes else work
        found.append(_panel(title, figure, own))
    return found


def _line(who: str, cells: Cells, look: Mapping[str, Any], along: str) -> go.Scatter:
    """One side's rates, with the slowest and the fastest go."""
    rates = [cell["rate"] for cell in cells]
    lows = [cell["amount"] / cell["high"] for cell in cells]
    highs = [cell["amount"] / cell["low"] for cell in cells]
    return go.Scatter(
        name=who,
        meta=who,
        x=[cell[along] for cell in cells],
        y=rates,
        mode="lines+markers",
        line={"color": look["colour"], "width": look["width"]},
        marker={"symbol": look["symbol"], "size": 10 if look["ours"] else 8},
        error_y=_ends(rates, lows, highs),
        hovertemplate="%{x}: %{y:.3s}<extra>%{fullData.name}</extra>",
    )


def _bars(names: Sequence[str], cells: Cells, scale: float, unit: str) -> go.Bar:
    """Horizontal bars of seconds, times ``scale``."""
    each = [scale * cell.get("scale", 1.0) for cell in cells]
    middle = [k * cell["median"] for k, cell in zip(each, cells)]
    return go.Bar(
        y=list(names), x=middle, orientation="h", marker={"color": ACCENT},
        error_x=_ends(middle, [k * c["low"] for k, c in zip(each, cells)],
                      [k * c["high"] for k, c in zip(each, cells)]),
        hovertemplate=f"%{{y}}: %{{x:.3g}} {unit}<extra></extra>",
    )  # fmt: skip


def _ends(middle: Any, low: Any, high: Any) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [float(h - m) for h, m in zip(high, middle)],
        "arrayminus": [float(m - x) for m, x in zip(middle, low)],
        "thickness": 1.4,
        "width": 4,
    }


def _panel(title: str, figure: go.Figure, cells: Cells, legend: bool = False) -> Panel:
    sides = ", ".join(dict.fromkeys(cell["who"] for cell in cells))
    found = plain(figure)
    found["layout"]["showlegend"] = legend
    return {"title": title, "alt": f"{title}: {sides}; the table says the same", "figure": found}
