"""The still picture of a question, for docs/ and papers. Nothing here imports jax."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from experiments.signals.question_page import TOLD, across, drawable, panels
from experiments.still import drawing, explain
from experiments.study_still import draw_lines


def draw(results: Mapping[str, Any], target: Any) -> None:
    """Draws the measures that a question is told by as SVG, a panel a part.

    Args:
        results: the content of its results.json.
        target: a path or a binary file.
    """
    measures = results.get("drawn") or drawable(results)[:1]
    drawn = [(measure, *part) for measure in measures for part in panels(results, measure)]
    names = list(dict.fromkeys(name for _, _, lines in drawn for name in lines))
    rows = len(drawn) > 3 and len(drawn) % len(measures) == 0 and len(measures) > 1
    wide = len(drawn) // len(measures) if rows else min(len(drawn), 3)
    with drawing(len(drawn), results["text"], target, wide) as (figure, axes):
        handles: dict[str, Any] = {}
        for index, (axis, (measure, words, lines)) in enumerate(zip(axes, drawn, strict=True)):
            axis.set_title(words, loc="left", fontweight="bold", pad=8)
            handles |= draw_lines(axis, lines, names)
            axis.set_xlabel(across(results["axes"]))
            if index % wide == 0 or measure != drawn[index - 1][0]:
                told = measure if measure == "success" else TOLD[measure]
                axis.set_ylabel(textwrap.fill(told, 32))
        explain(figure, handles, wide)
