"""The still picture of a study, for docs/ and papers. Nothing here imports jax."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from experiments import failure_map
from experiments.figures import GREY, MARKERS, PALETTE, SPLITS
from experiments.still import drawing, explain
from experiments.study_figures import Line, is_wide, order
from experiments.study_report import along, attempts, cells_of, curve, named
from icl.statistics import Interval

WANTED = ("unseen-level", "unseen-family")


def draw(results: Mapping[str, Any], target: Any) -> None:
    """Draws a study on unseen levels and on unseen families as SVG: a map where both axes are
    numbers, lines or points elsewhere. A failure map is drawn on its planes.

    Args:
        results: the content of its results.json.
        target: a path or a binary file.
    """
    if results["axes"] == failure_map.AXES:
        return _failures(results, target)
    axes, rows = results["axes"], [
        row for row in results["rows"] if row["acting"] == "sampled" and row["family"] == "all"
    ]  # fmt: skip
    splits = [split for split in WANTED if any(row["split"] == split for row in rows)]
    with drawing(len(splits), results["question"], target) as (figure, panels):
        handles: dict[str, Any] = {}
        for axis, split in zip(panels, splits, strict=True):
            axis.set_title(SPLITS[split], loc="left", fontweight="bold", pad=8)
            if axes == ["chunk", "p_b"]:
                _map(axis, cells_of(rows, axes, split), axes)
                continue
            own = attempts(rows, axes, split)
            on_the_way = axes[0] == "update"
            lines = curve(results, split, 1) if on_the_way else along(rows, axes, split)
            handles |= draw_lines(axis, own or lines)
            axis.set_xlabel("attempt" if own else named(axes[0]))
        if handles:
            panels[0].set_ylabel("score")
        if len(handles) > 1:
            explain(figure, handles, len(splits))


def _failures(results: Mapping[str, Any], target: Any) -> None:
    """Draws the failure map: unseen levels, training levels, and the paper's."""
    found = [
        (plane, failure_map.marks(results, plane))
        for plane in failure_map.PLANES
        if plane.split in ("unseen-level", "seen-level")
    ]
    settings = list(dict.fromkeys(setting for _, own in found for setting in own))
    with drawing(len(found) + 1, results["question"], target) as (figure, panels):
        handles: dict[str, Any] = {}
        for axis, (plane, own) in zip(panels, found):
            for height in (0, 1):
                axis.axhline(height, color=GREY, linewidth=0.8, zorder=1)
            for setting, marks in own.items():
                colour, (shape, _) = failure_map.look(setting, settings)
                handles[setting.label] = axis.errorbar(
                    [mark.x.estimate for mark in marks],
                    [mark.y.estimate for mark in marks],
                    xerr=_reach([mark.x for mark in marks]),
                    yerr=_reach([mark.y for mark in marks]),
                    color=colour,
                    ecolor=colour + failure_map.FAINT,
                    marker=shape,
                    markerfacecolor="white" if setting.fixed else colour,
                    linestyle="",
                    markersize=5.5,
                    elinewidth=0.8,
                )
            axis.set_title(plane.title, loc="left", fontweight="bold", pad=8)
            axis.set_xlabel(plane.x)
        for name, ((x, y),) in results["published"]:
            panels[-1].plot([x], [y], "o", color=GREY)
            side, away = ("right", -6) if x > 0.5 else ("left", 6)
            panels[-1].annotate(
                name, (x, y), (away, 6 if x > 0.5 else -6), textcoords="offset points",
                ha=side, va="center", color="#6b6b6b", fontsize=9,
            )  # fmt: skip
        panels[-1].set_title(failure_map.PAPER, loc="left", fontweight="bold", pad=8)
        panels[-1].set_xlabel("agreement with the demonstration")
        panels[0].set_ylabel("score (paper: mean return)")
        panels[0].set_ylim(bottom=min(-0.3, panels[0].get_ylim()[0]))  # room for the lowest name
        for axis in panels:
            axis.set_xlim(-0.03, 1.03)
            axis.spines[["top", "right"]].set_visible(False)
        if handles:
            figure.legend(
                list(handles.values()), list(handles), loc="outside upper center", ncols=4,
                frameon=False,
            )  # fmt: skip


def _reach(found: Sequence[Interval]) -> list[list[float]]:
    """How far the intervals reach down and up."""
    return [[x.estimate - x.low for x in found], [x.high - x.estimate for x in found]]


def draw_lines(axis: Axes, lines: Mapping[str, Line], names: Sequence[str] = ()) -> dict[str, Any]:
    """Draws lines with their intervals; returns name -> what its legend shows. Looks go by the
    place among ``names``, by default those of the lines."""
    names = list(names or lines)
    for height in (0, 1):
        axis.axhline(height, color=GREY, linewidth=0.8, zorder=1)
    places = sorted({place for line in lines.values() for place, _ in line}, key=order)
    words = any(isinstance(place, str) for place in places)
    numbers = [float(place) for place in places if not isinstance(place, str)]
    wide = not words and is_wide(numbers)
    handles = {}
    for name, line in lines.items():
        index = names.index(name)
        shift = (index - (len(names) - 1) / 2) * 0.12 if words else 0.0
        handles[name] = axis.errorbar(
            [places.index(place) + shift if words else float(place) for place, _ in line],
            [found.estimate for _, found in line],
            yerr=_reach([found for _, found in line]),
            color=PALETTE[index % len(PALETTE)],
            marker=MARKERS[(index + index // len(PALETTE)) % len(MARKERS)][0],
            linestyle="" if words else ("-", "--")[index // len(PALETTE) % 2],
            linewidth=1.8,
            markersize=5.5,
            capsize=2.5,
            elinewidth=1.2,
        )
    if wide:
        axis.set_xscale("log")
        axis.minorticks_off()
    if words:
        axis.set_xticks(
            range(len(places)), [str(place) for place in places], rotation=30, ha="right"
        )
    elif len(places) <= 8:
        axis.set_xticks([float(place) for place in places], [f"{place:g}" for place in places])
    axis.spines[["top", "right"]].set_visible(False)
    return handles


def _map(axis: Axes, cells: Mapping[Any, Any], axes: list[str]) -> None:
    """Draws a heat map; a cell says its score."""
    xs, ys = (sorted({place[i] for place in cells}, key=order) for i in range(2))
    grid = [[cells[x, y].estimate for x in xs] for y in ys]
    axis.imshow(grid, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    for i, line in enumerate(grid):
        for j, value in enumerate(line):
            ink = "white" if value > 0.5 else "black"
            text = f"{value:.2f}".replace("-", "−")
            axis.text(j, i, text, ha="center", va="center", color=ink)
    axis.set_xticks(range(len(xs)), [f"{x:g}" for x in xs])
    axis.set_yticks(range(len(ys)), [f"{y:g}" for y in ys])
    axis.set_xlabel(named(axes[0]))
    axis.set_ylabel(named(axes[1]))
