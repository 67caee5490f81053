"""The still picture of a run, by matplotlib, for a paper or a README. Nothing here imports jax."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from experiments.figures import GREY, SPLITS, Style, bounds, dodge, lines, pooled, styles

if TYPE_CHECKING:
    from experiments.report import Cell, Curves


def still(found: Sequence[Cell], learning: Curves, target: Any) -> None:
    """Draws score against demonstrations on unseen levels and on the unseen family as SVG, and
    beside them, where it was measured, how the one-shot score on unseen levels grew.

    Args:
        found: cells; whole demonstrations and sampled actions are drawn.
        learning: label -> one-shot score on unseen levels against updates; may be empty.
        target: a path or a binary file.

    Raises:
        ValueError: neither split has such cells.
    """
    panels = {split: pooled(found, split) for split in ("unseen-level", "unseen-family")}
    panels = {split: panel for split, panel in panels.items() if panel}
    if not panels:
        raise ValueError(
            "nothing to draw: results.json has no row of unseen-level or unseen-family "
            "with whole demonstrations and sampled actions"
        )
    looks = styles({cell.label: cell.arm for panel in panels.values() for cell in panel})
    count = len(panels) + bool(learning)
    with drawing(count, "Score against the number of demonstrations, for each arm", target) as (
        figure,
        axes,
    ):
        handles: dict[str, Any] = {}
        for axis, (split, panel) in zip(axes, panels.items()):
            handles |= still_panel(axis, panel, looks)
            axis.set_title(SPLITS[split], loc="left", fontweight="bold", pad=8)
        if learning:
            learning_panel(axes[-1], learning, looks)
            axes[-1].set_title(
                "Learning: unseen levels, k = 1", loc="left", fontweight="bold", pad=8
            )
        for level, text in ((0, "random"), (1, "optimal")):
            style = {"color": "#6b6b6b", "fontsize": 9, "va": "center"}
            axes[-1].text(1.015, level, text, transform=axes[-1].get_yaxis_transform(), **style)
        axes[0].set_ylabel("score")
        axes[0].set_ylim(bounds(cell for panel in panels.values() for cell in panel))
        figure.legend(
            [handles[label] for label in looks],
            list(looks),
            loc="outside upper center",
            ncols=min(len(looks), 2 + 3 * (count - 1)),
            frameon=False,
            handlelength=2.2,
            columnspacing=1.4,
        )


def explain(figure: Figure, handles: Mapping[str, Any], wide: int) -> None:
    """Draws a legend above the panels, ``wide`` of them side by side, in as many columns as fit.

    Args:
        figure: of the panels.
        handles: name -> what stands for it.
        wide: how many lie side by side.
    """
    longest = max(map(len, handles))
    figure.legend(
        list(handles.values()), list(handles), loc="outside upper center",
        ncols=min(len(handles), max(1, 40 * wide // (6 + longest))), frameon=False,
    )  # fmt: skip


@contextlib.contextmanager
def drawing(
    count: int, title: str, target: Any, wide: int = 0
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """A figure of ``count`` panels, ``wide`` of them or all side by side, written as SVG when the
    block is done: the same numbers give the same bytes, so fonts are outlines, identifiers are
    salted, and no date is in.

    Args:
        count: panels; those side by side share their vertical axis.
        title: for those who cannot see it.
        target: a path or a binary file.
        wide: how many lie side by side; 0 is all.
    """
    wide = wide or count
    rows = -(-count // wide)
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rc("font", size=10)
        matplotlib.rc("axes", titlesize=10.5)
        matplotlib.rc("legend", fontsize=9.5)
        matplotlib.rc("svg", hashsalt="levelburst", fonttype="path")
        figure = Figure(figsize=(4.3 * wide, 3.7 * rows), facecolor="white", layout="constrained")
        FigureCanvasSVG(figure)
        panels = figure.subplots(rows, wide, sharey="row", squeeze=False).ravel().tolist()
        for panel in panels[count:]:
            panel.set_axis_off()
        yield figure, panels[:count]
        about = {"Date": None, "Creator": "Levelburst", "Title": title}
        figure.savefig(target, format="svg", metadata=about)


def still_panel(axis: Axes, panel: Sequence[Cell], looks: Mapping[str, Style]) -> dict[str, Any]:
    """Draws one split into one pair of axes; returns label -> what its legend shows."""
    handles, shifts = {}, dodge(panel, looks)
    for level in (0, 1):
        axis.axhline(level, color=GREY, linewidth=0.8, zorder=1)
    for label, line in lines(panel, looks).items():
        look = looks[label]
        reach = [c.score.high - c.score.estimate for c in line]
        known = any(math.isfinite(value) for value in reach) and not look.baseline
        handles[label] = axis.errorbar(
            [cell.demos + shifts.get(label, 0.0) for cell in line],
            [cell.score.estimate for cell in line],
            yerr=[value if math.isfinite(value) else 0.0 for value in reach] if known else None,
            color=look.colour,
            linestyle=look.dash[0],
            linewidth=1.3 if look.baseline else 1.9,
            marker="" if look.baseline and len(line) > 1 else look.marker[0],
            markersize=5.5,
            markeredgecolor=look.colour if look.baseline else "white",
            markeredgewidth=0.7,
            elinewidth=1.2,
            capsize=2.5,
            zorder=2 if look.baseline else 3,
        )
    axis.set_xticks(sorted({cell.demos for cell in panel}))
    axis.set_xlabel("demonstrations k")
    axis.spines[["top", "right"]].set_visible(False)
    return handles


def learning_panel(axis: Axes, learning: Curves, looks: Mapping[str, Style]) -> None:
    """Draws the one-shot score against updates, with bands of 95 % intervals."""
    for level in (0, 1):
        axis.axhline(level, color=GREY, linewidth=0.8, zorder=1)
    for label, points in learning.items():
        look = looks[label]
        updates = [update for update, _ in points]
        axis.plot(updates, [end.estimate for _, end in points], color=look.colour, linewidth=1.9)
        low, high = ([getattr(end, side) for _, end in points] for side in ("low", "high"))
        axis.fill_between(updates, low, high, color=look.colour, alpha=0.18, linewidth=0)
    axis.set_xlabel("updates")
    axis.set_xlim(left=0)
    axis.spines[["top", "right"]].set_visible(False)
