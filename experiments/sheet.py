"""One level of every family in one still picture, for a README."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib.image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from experiments.gallery import Card
from experiments.report import replace

COLUMNS = 7


def write_sheet(cards: Sequence[Card], target: Path) -> Path:
    """Draws the first state of every family that has a picture, as a PNG; whole, or not at all."""
    drawn = [card for card in cards if card.still]
    rows = max(math.ceil(len(drawn) / COLUMNS), 1)
    figure = Figure(figsize=(2 * COLUMNS, 2.3 * rows), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    places = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for place in places:
        place.set_axis_off()
    for place, card in zip(places, drawn, strict=False):
        _, _, coded = card.still.partition("base64,")
        place.imshow(matplotlib.image.imread(io.BytesIO(base64.b64decode(coded))))
        place.set_title(card.entry.name, fontsize=11)
    return replace(target, lambda file: figure.savefig(file, format="png", dpi=80))
