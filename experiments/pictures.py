"""Pictures in pages: every one stands in a file once, as text, beside one image of all tiles.

Lists of numbers are strings of numbers with spaces between: what is written here is to be a page's
guest.
"""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from envs import render, tiles
from envs.core import Env
from envs.film import draws

ATLAS = 32  # pixels along the edge of a tile


@dataclasses.dataclass
class Table:
    """Things that are told apart and numbered in the order in which they come."""

    items: list[Any] = dataclasses.field(default_factory=list)
    _place: dict[str, int] = dataclasses.field(default_factory=dict)

    def number(self, item: Any) -> int:
        """The number of an item, the same for equal ones."""
        place = self._place.setdefault(repr(item), len(self.items))
        if place == len(self.items):
            self.items.append(item)
        return place


def legend() -> dict[str, Any]:
    """What a page needs to draw pictures: each tile's character and name, and how they look."""
    return {
        "characters": "".join(tile.character for tile in tiles.TILES),
        "names": [tile.name for tile in tiles.TILES],
        "atlas": atlas(),
    }


def atlas() -> str:
    """All tiles, one below the other, as a PNG in a data URI."""
    file = io.BytesIO()
    render.png(file, tiles.atlas(ATLAS).reshape(-1, ATLAS, 3))
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def lines(picture: Any, env: Env) -> str:
    """A picture as lines of characters, without the blank that it was filled up with; empty where
    the family draws nothing."""
    if not draws(env):
        return ""
    full = picture != tiles.BLANK
    height, width = (int(np.flatnonzero(full.any(axis)).max()) + 1 for axis in (1, 0))
    return "\n".join(
        "".join(tiles.TILES[tile].character for tile in row) for row in picture[:height, :width]
    )


def numbers(values: Iterable[Any]) -> str:
    """Numbers with spaces between; truth is 1."""
    return " ".join(f"{float(x):g}" for x in np.asarray([*values], np.float64))
