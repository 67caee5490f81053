"""Pictures of levels: pixels on the device, images and GIFs on the host, one palette for all."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from envs import tiles

SIDE = 64  # pixels along the edge of an observation
DETAIL = 8  # pixels along the edge of a tile in the atlas that observations are made from


@functools.cache
def _places(height: int, width: int) -> tuple[np.ndarray, ...]:
    """For each of the 64 × 64 pixels its tile's row and column and its place in the tile; the
    picture is centred and keeps its proportions, and pixels beside it have row -1."""
    longest = max(height, width)
    pixel = np.arange(SIDE) * longest
    tile, inside = pixel // SIDE, (pixel % SIDE) * DETAIL // SIDE
    row = tile - (longest - height) // 2
    column = tile - (longest - width) // 2
    row = np.where((row >= 0) & (row < height), row, -1)
    column = np.where((column >= 0) & (column < width), column, -1)
    beside = (row[:, None] < 0) | (column[None, :] < 0)
    return row, column, inside, beside


def pixels(picture: jax.Array) -> jax.Array:
    """uint8[64, 64, 3]: a picture int32[H, W] of tiles, H and W at most 64; pure and compiled.

    Raises:
        ValueError: the picture is larger than 64 tiles.
    """
    height, width = picture.shape
    if max(height, width) > SIDE:
        raise ValueError(f"a picture of {height} x {width} tiles does not fit {SIDE} pixels")
    row, column, inside, beside = _places(height, width)
    tile = jnp.where(beside, tiles.BLANK, picture[row][:, column])
    return jnp.asarray(tiles.atlas(DETAIL))[tile, inside[:, None], inside[None, :]]


def image(picture: np.ndarray, side: int = 24) -> np.ndarray:
    """uint8[H * side, W * side, 3]: a picture int32[H, W] of tiles, drawn large."""
    drawn = tiles.atlas(side)[np.asarray(picture)]
    height, width = drawn.shape[:2]
    return drawn.transpose(0, 2, 1, 3, 4).reshape(height * side, width * side, 3)


def side(picture: np.ndarray, longest: int = 320) -> int:
    """Pixels along the edge of a tile, so that a picture int32[..., H, W] is about ``longest``
    pixels long; from 8 to 48."""
    return int(np.clip(longest // max(picture.shape[-2:]), 8, 48))


def png(target: Path | BinaryIO, picture: np.ndarray) -> None:
    """Writes an image uint8[h, w, 3] as a PNG."""
    from PIL import Image

    Image.fromarray(np.asarray(picture)).quantize(256).save(target, format="PNG", optimize=True)


def gif(target: Path | BinaryIO, frames: Sequence[np.ndarray], milliseconds: int = 240) -> None:
    """Writes images uint8[h, w, 3] of one size as an endless GIF, the last one held longer."""
    from PIL import Image

    first, *rest = [Image.fromarray(np.asarray(frame)) for frame in frames]
    pause = [milliseconds] * len(rest) + [4 * milliseconds]
    first.save(
        target,
        format="GIF",
        save_all=True,
        append_images=rest,
        duration=pause,
        loop=0,
        optimize=True,
    )
