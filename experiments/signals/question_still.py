"""The still picture of a question, for docs/ and papers. Nothing here imports jax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from experiments.signals.question_page import TOLD, measured, panels
from experiments.still import drawing
from experiments.study_still import draw_lines


def draw(results: Mapping[str, Any], target: Any) -> None:
    """Draws the first measure of a question as SVG, a panel a part.

    Args:
        results: the content of its results.json.
        target: a path or a binary file.
    """
    measure = measured(results)[0]
    parts = panels(results, measure)
    with drawing(len(parts), results["text"], target) as (figure, axes):
        handles: dict[str, Any] = {}
        for axis, (words, lines) in zip(axes, parts, strict=True):
            axis.set_title(words, loc="left", fontweight="bold", pad=8)
            handles |= draw_lines(axis, lines)
            axis.set_xlabel(results["axes"][0])
        axes[0].set_ylabel(TOLD[measure])
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center", ncols=4,
            frameon=False,
        )  # fmt: skip
