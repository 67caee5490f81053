"""The tile set: what pictures of levels are made of, in text and in colour.

A picture is int32[H, W] of tile numbers. Every tile has one character and one drawing; the colours
are those of Okabe and Ito (2008), told apart by every common kind of colour vision, on greys.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

INK = (34, 38, 46)
STONE = (92, 99, 112)
PAPER = (236, 238, 241)
FOG = (196, 200, 207)
ORANGE = (230, 159, 0)
SKY = (86, 180, 233)
GREEN = (0, 158, 115)
YELLOW = (240, 228, 66)
BLUE = (0, 114, 178)
RED = (213, 94, 0)  # vermilion
PINK = (204, 121, 167)
WHITE = (255, 255, 255)

Colour = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class Tile:
    """One kind of tile.

    Attributes:
        name: in words, for legends.
        character: in text; no two tiles share one.
        shape: what is drawn on the ground: ``full``, ``disc``, ``ring``, ``square``, ``frame``,
            ``diamond``, ``up``, ``right``, ``down``, ``left`` (arrows), ``waves``, ``key``,
            ``spikes``, ``letter`` or ``none``.
        colour: of the shape.
        ground: of the rest.
    """

    name: str
    character: str
    shape: str
    colour: Colour
    ground: Colour = PAPER


_PAIRS = (ORANGE, SKY, GREEN, PINK, YELLOW, BLUE, RED, STONE)
TILES: tuple[Tile, ...] = (
    Tile("floor", ".", "none", PAPER),
    Tile("wall", "#", "full", STONE, STONE),
    Tile("agent", "@", "disc", BLUE),
    Tile("agent with a load", "&", "disc", BLUE, YELLOW),
    Tile("start", "S", "frame", SKY),
    Tile("goal", "G", "diamond", GREEN),
    Tile("key", "k", "key", ORANGE),
    Tile("door", "D", "full", ORANGE, ORANGE),
    Tile("lava", "~", "waves", YELLOW, RED),
    Tile("boulder", "O", "disc", STONE),
    Tile("spikes", "A", "spikes", RED),
    Tile("wind up", "^", "up", SKY),
    Tile("wind right", ">", "right", SKY),
    Tile("wind down", "v", "down", SKY),
    Tile("wind left", "<", "left", SKY),
    Tile("light on", "*", "square", YELLOW, INK),
    Tile("light off", "o", "square", STONE, INK),
    Tile("unseen", "?", "full", FOG, FOG),
    Tile("blank", " ", "none", WHITE, WHITE),
    *(Tile(f"pad {c}", c, "letter", INK, k) for c, k in zip("abcdefgh", _PAIRS, strict=True)),
    *(Tile(f"item {c}", c, "key", k, INK) for c, k in zip("wxyz", _PAIRS[:4], strict=True)),
    *(Tile(f"lock {c}", c, "letter", INK, k) for c, k in zip("WXYZ", _PAIRS[:4], strict=True)),
    *(Tile(f"digit {d}", str(d), "letter", INK, WHITE) for d in range(10)),
)

(
    FLOOR,
    WALL,
    AGENT,
    LADEN,
    START,
    GOAL,
    KEY,
    DOOR,
    LAVA,
    BOULDER,
    SPIKES,
    WIND_UP,
    WIND_RIGHT,
    WIND_DOWN,
    WIND_LEFT,
    LIT,
    UNLIT,
    UNSEEN,
    BLANK,
) = range(19)
PADS = tuple(range(19, 27))
ITEMS = tuple(range(27, 31))
LOCKS = tuple(range(31, 35))
DIGITS = tuple(range(35, 45))

_NUMBER = {tile.character: number for number, tile in enumerate(TILES)}


def text(picture: np.ndarray) -> str:
    """A picture int32[H, W] as lines of text."""
    rows = np.asarray(picture).tolist()
    return "\n".join("".join(TILES[tile].character for tile in row).rstrip() for row in rows)


def parse(text: str) -> np.ndarray:
    """The picture int32[H, W] that lines of text show.

    Raises:
        ValueError: a character stands for no tile, or the lines differ in length.
    """
    lines = [line.strip() for line in text.strip().splitlines()]
    for row, line in enumerate(lines):
        if len(line) != len(lines[0]):
            raise ValueError(
                f"line {row + 1} of the level has {len(line)} characters, the first has "
                f"{len(lines[0])}; make all lines equally long"
            )
        for character in line:
            if character not in _NUMBER:
                known = "".join(sorted(_NUMBER)).strip()
                raise ValueError(f"{character!r} in the level is no tile; use one of {known}")
    return np.array([[_NUMBER[c] for c in line] for line in lines], np.int32)


@functools.cache
def atlas(side: int) -> np.ndarray:
    """uint8[tiles, side, side, 3]: every tile drawn, smoothed by drawing it four times as large."""
    from PIL import Image

    pictures = [_paint(tile, side * 4).resize((side, side), Image.Resampling.BOX) for tile in TILES]
    found = np.stack([np.asarray(picture, np.uint8) for picture in pictures])
    found.setflags(write=False)
    return found


def _paint(tile: Tile, side: int):
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (side, side), tile.ground)
    pen = ImageDraw.Draw(image)

    def box(margin: float) -> tuple[float, float, float, float]:
        low = margin * side
        return (low, low, side - 1 - low, side - 1 - low)

    def points(*places: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * side, y * side) for x, y in places]

    triangle = ((0.5, 0.15), (0.85, 0.8), (0.5, 0.6), (0.15, 0.8))
    turned = {
        "up": triangle,
        "right": tuple((1 - y, x) for x, y in triangle),
        "down": tuple((x, 1 - y) for x, y in triangle),
        "left": tuple((y, x) for x, y in triangle),
    }
    if tile.shape == "disc":
        pen.ellipse(box(0.12), fill=tile.colour)
    elif tile.shape == "square":
        pen.rounded_rectangle(box(0.12), radius=side * 0.15, fill=tile.colour)
    elif tile.shape == "frame":
        pen.rectangle(box(0.1), outline=tile.colour, width=side // 8)
    elif tile.shape == "diamond":
        pen.polygon(points((0.5, 0.05), (0.95, 0.5), (0.5, 0.95), (0.05, 0.5)), fill=tile.colour)
    elif tile.shape == "waves":
        for height in (0.25, 0.55, 0.85):
            crest = ((0.0, 0), (0.25, -0.15), (0.5, 0), (0.75, -0.15), (1.0, 0))
            wave = points(*((x, height + y) for x, y in crest))
            pen.line(wave, fill=tile.colour, width=side // 10)
    elif tile.shape == "key":
        pen.ellipse((0.1 * side, 0.3 * side, 0.5 * side, 0.7 * side), fill=tile.colour)
        pen.rectangle((0.45 * side, 0.44 * side, 0.92 * side, 0.56 * side), fill=tile.colour)
        pen.rectangle((0.74 * side, 0.5 * side, 0.84 * side, 0.74 * side), fill=tile.colour)
    elif tile.shape == "spikes":
        for left in (0.0, 1 / 3, 2 / 3):
            spike = points((left, 1.0), (left + 1 / 6, 0.25), (left + 1 / 3, 1.0))
            pen.polygon(spike, fill=tile.colour)
    elif tile.shape in turned:
        pen.polygon(points(*turned[tile.shape]), fill=tile.colour)
    elif tile.shape == "letter":
        font = ImageFont.load_default(size=side * 0.8)
        pen.text((side / 2, side / 2), tile.character, fill=tile.colour, font=font, anchor="mm")
    return image
