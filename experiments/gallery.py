"""The gallery: every family on one page that needs no network, with the oracle playing."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import jax
import jinja2
import markupsafe
import numpy as np

from envs import render, tiles
from experiments.catalogue import Entry, has_text, member
from experiments.families import SUITES
from experiments.report import replace
from experiments.show import caption, play, used

ICON = 36  # pixels along the edge of a tile in a legend


@dataclasses.dataclass(frozen=True)
class Card:
    """What the page shows of one family.

    Attributes:
        entry: its description.
        suites: those that it is part of.
        spaces: (topic, shape and range, what the documentation says).
        level: the index of the level that is drawn.
        text: the level in words; empty where it has none.
        still: the level as a PNG in a data URI; empty where nothing is drawn.
        sight: what the agent may see of it as pixels, alike.
        film: the episode as a GIF in a data URI, alike.
        played: who played how long, for what.
        legend: the tiles in the film.
    """

    entry: Entry
    suites: tuple[str, ...]
    spaces: tuple[tuple[str, str, str], ...]
    level: int
    text: str
    still: str
    sight: str
    film: str
    played: str
    legend: tuple[int, ...]


def card(entry: Entry) -> Card:
    """Draws one family: its typical level, and an episode in it.

    Raises:
        ValueError: it has no such level.
    """
    env = entry.env
    index = entry.figures.typical if entry.figures else 0
    level = member(env, index)
    seen = play(env, level)
    still = sight = film = words = ""
    if has_text(env):
        words = env.text(level, env.reset(jax.random.key(0), level))
    if seen.frames is not None:
        side = render.side(seen.frames)
        drawn = [render.image(frame, side) for frame in seen.frames]
        still = _uri("png", lambda file: render.png(file, drawn[0]))
        film = _uri("gif", lambda file: render.gif(file, drawn))
        shown = np.asarray(render.pixels(env.view(level, env.reset(jax.random.key(0), level))))
        sight = _uri("png", lambda file: render.png(file, shown))
    return Card(
        entry=entry,
        suites=tuple(
            name.removeprefix("suite.")
            for name, split in SUITES.items()
            if entry.name in split.train + split.test and name != "suite.all"
        ),
        spaces=_spaces(entry),
        level=index,
        text=words,
        still=still,
        sight=sight,
        film=film,
        played=caption(env, seen),
        legend=() if seen.frames is None else tuple(used(seen.frames)),
    )


def write_gallery(cards: Sequence[Card], target: Path) -> Path:
    """Writes the page whole, or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return replace(target, lambda file: file.write(page(cards).encode()))


def page(cards: Sequence[Card]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"code": _code, "anchor": _anchor}
    shown = sorted({tile for card in cards for tile in card.legend})
    return environment.get_template("gallery.html.j2").render(
        cards=cards,
        tiles={tile: tiles.TILES[tile] for tile in shown},
        icons={tile: _icon(tile) for tile in shown},
    )


def _spaces(entry: Entry) -> tuple[tuple[str, str, str], ...]:
    """(topic, shape and range, documentation): what is computed, joined to what is written."""
    env, said = entry.env, dict(entry.topics)
    shape = ", ".join(map(str, env.observation_shape))
    symbols = f", 0 … {env.num_symbols - 1}" if env.num_symbols else ""
    computed = {
        "Observation": f"{env.observation_dtype}[{shape}]{symbols}",
        "Actions": f"int32[], 0 … {env.num_actions - 1}",
        "Reward": "float32[], −1 … 1",
        "End": f"truncated after {env.horizon} steps",
    }
    found = []
    for topic, words in computed.items():
        names = [name for name in said if name.rstrip("s") == topic.rstrip("s")]
        found.append((topic, words, " ".join(said.pop(name) for name in names)))
    return tuple(found + [(topic, "", words) for topic, words in said.items()])


def _icon(tile: int) -> str:
    return _uri("png", lambda file: render.png(file, tiles.atlas(ICON)[tile]))


def _uri(kind: str, write: Callable[[BinaryIO], None]) -> str:
    """An image as a data URI."""
    file = io.BytesIO()
    write(file)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _code(text: str) -> markupsafe.Markup:
    """Text whose ``names`` are set as code."""
    parts = re.split(r"``(.+?)``", text)
    return markupsafe.Markup("").join(
        markupsafe.Markup("<code>{}</code>").format(part) if odd % 2 else markupsafe.escape(part)
        for odd, part in enumerate(parts)
    )


def _anchor(name: str) -> str:
    return re.sub(r"\W+", "-", name)
