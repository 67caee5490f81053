"""The failure map: every family of every setting at its action agreement and its score.

Nothing here imports jax.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from experiments.figures import GREY, MARKERS, PALETTE, SPLITS, plain
from experiments.report import brackets, signed
from experiments.study_figures import bars
from icl.statistics import Interval, interval

AXES = ["lethality", "test", "meaning"]  # of a study whose points go on this map


class Setting(NamedTuple):
    """A place on the study's axes."""

    lethality: float
    test: float
    meaning: str

    @property
    def label(self) -> str:
        """In words, for a legend."""
        fixed = ", in weights" if self.fixed else ""
        return f"lethality {self.lethality:g}, test {self.test:g}{fixed}"

    @property
    def fixed(self) -> bool:
        """Actions and symbols mean the same in all levels: such marks are hollow."""
        return self.meaning == "fixed"


@dataclasses.dataclass(frozen=True)
class Plane:
    """What is set against the score.

    Attributes:
        split: where both are measured.
        measure: of icl/probes.py, on the horizontal axis.
        shown: which demonstrations the probe saw; the score is of whole ones.
        x: the measure in words.
    """

    split: str
    measure: str
    shown: str
    x: str

    @property
    def title(self) -> str:
        """Of its panel."""
        return SPLITS[self.split] + ("" if self.shown == "whole" else ", renamed demonstrations")


EXPERT = "agreement with the expert"
PLANES = (
    Plane("unseen-level", "agree", "whole", EXPERT),
    Plane("unseen-family", "agree", "whole", EXPERT),
    Plane("seen-level", "copy", "relabelled", "agreement with the demonstration"),
)
HEAT = (PALETTE[0], PALETTE[5], PALETTE[3])  # blue, orange, vermilion: the more mistakes are final
FAINT = "66"  # the opacity of intervals, in hexadecimal
PAPER = "In the paper: mean returns elsewhere"


@dataclasses.dataclass(frozen=True)
class Mark:
    """One family in one setting.

    Attributes:
        family: its name.
        x: the probe's measure over seeds.
        y: the score over seeds, one demonstration, sampled actions.
    """

    family: str
    x: Interval
    y: Interval


def marks(results: Mapping[str, Any], plane: Plane) -> dict[Setting, list[Mark]]:
    """The marks of each setting, of the families that were tested and probed there."""
    place = {"split": plane.split, "demos": 1}
    across = _cells(
        results["probes"], place | {"measure": plane.measure, "demonstrations": plane.shown}
    )
    up = _cells(results["rows"], place | {"acting": "sampled", "demonstrations": "whole"})
    made: dict[Setting, list[Mark]] = {}
    for key in (key for key in up if key in across):
        *at, family = key
        mark = Mark(family, interval(across[key]), interval(up[key]))
        made.setdefault(Setting(*at), []).append(mark)
    return made


def _cells(
    rows: Iterable[Mapping[str, Any]], wanted: Mapping[str, Any]
) -> dict[tuple[Any, ...], list[float]]:
    """(setting, family) -> scores over seeds."""
    found: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        own = row["family"] != "all" and "unit" not in row
        if own and all(row[field] == value for field, value in wanted.items()):
            place = (*(row[axis] for axis in AXES), row["family"])
            found.setdefault(place, []).append(row["score"])
    return found


def look(setting: Setting, settings: Iterable[Setting]) -> tuple[str, tuple[str, str]]:
    """The colour of a setting's lethality, and the shape of its test's stickiness by its names in
    matplotlib and plotly."""
    every = list(settings)
    colour = sorted({s.lethality for s in every}).index(setting.lethality)
    shape = sorted({s.test for s in every}).index(setting.test)
    return HEAT[colour % len(HEAT)], MARKERS[shape % len(MARKERS)]


def plane_figure(found: Mapping[Setting, Sequence[Mark]], plane: Plane) -> dict[str, Any]:
    """A scatter with intervals both ways, one trace a setting."""
    figure = go.Figure()
    for setting, own in found.items():
        colour, (_, shape) = look(setting, found)
        figure.add_trace(
            go.Scatter(
                name=setting.label,
                x=[mark.x.estimate for mark in own],
                y=[mark.y.estimate for mark in own],
                text=[_said(mark) for mark in own],
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                mode="markers",
                marker={
                    "size": 9,
                    "symbol": shape + ("-open" if setting.fixed else ""),
                    "color": colour,
                },
                error_x=_thin([mark.x for mark in own], colour),
                error_y=_thin([mark.y for mark in own], colour),
            )
        )
    for height in (0, 1):
        figure.add_hline(height, line={"color": GREY, "width": 1}, layer="below")
    figure.update_xaxes(title=plane.x, range=[-0.03, 1.03])
    figure.update_yaxes(title="score")
    made = plain(figure)
    legend = {"orientation": "h", "y": -0.25, "yanchor": "top", "x": 0, "font": {"size": 11}}
    made["layout"] |= {"showlegend": True, "legend": legend}
    return made


def paper_figure(published: Sequence[Any]) -> dict[str, Any]:
    """The paper's tasks in grey, each named beside its mark."""
    figure = go.Figure()
    for name, ((x, y),) in published:
        figure.add_trace(
            go.Scatter(
                name=name,
                x=[x],
                y=[y],
                text=[f"agreement {signed(x, 2)}, return {signed(y, 2)}"],
                texttemplate=name,
                textposition="top left" if x > 0.5 else "bottom right",
                hovertemplate="%{text}<extra>%{fullData.name}</extra>",
                mode="markers+text",
                marker={"size": 9, "symbol": "circle", "color": GREY},
                textfont={"color": GREY},
            )
        )
    figure.update_xaxes(title="agreement with the demonstration", range=[-0.03, 1.03])
    figure.update_yaxes(title="mean return (paper)", range=[-0.3, 1.1])
    return plain(figure)


def _thin(found: Sequence[Interval], colour: str) -> dict[str, Any]:
    """Bars that leave the marks to be seen."""
    return bars(found, f"{colour}{FAINT}") | {"thickness": 1, "width": 0}


def _said(mark: Mark) -> str:
    parts = (("agreement", mark.x), ("score", mark.y))
    told = (
        f"{name} {signed(value.estimate, 2)} {brackets(value.low, value.high)}".rstrip()
        for name, value in parts
    )
    return f"{html.escape(mark.family, quote=False)}: {', '.join(told)}"
