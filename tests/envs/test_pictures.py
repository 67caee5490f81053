"""Tiles, text and pixels: one picture in three forms, without what an agent may not see."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import render, tiles
from envs.core import Env
from envs.pixels import Pixels
from envs.wrappers import wrap
from tests.envs.worlds import QUICK, behind, raw_levels


def first(env, seed: int = 0):
    level = jax.tree.map(lambda x: x[0], raw_levels(env, seed, 1))
    return level, env.reset(jax.random.key(0), level)


def test_no_two_tiles_look_alike():
    characters = [tile.character for tile in tiles.TILES]
    assert len(set(characters)) == len(characters)
    assert len({tile.name for tile in tiles.TILES}) == len(tiles.TILES)
    drawn = tiles.atlas(24).reshape(len(tiles.TILES), -1).astype(int)
    apart = np.abs(drawn[:, None] - drawn[None]).mean(-1)
    apart[np.diag_indices(len(apart))] = 255
    assert apart.min() > 1, [tiles.TILES[i].name for i in np.argwhere(apart == apart.min())[0]]


def test_named_numbers_are_those_of_the_tiles():
    wanted = {"WALL": "wall", "AGENT": "agent", "GOAL": "goal", "LAVA": "lava", "BLANK": "blank"}
    for constant, name in wanted.items():
        assert tiles.TILES[getattr(tiles, constant)].name == name
    groups = ((tiles.PADS, "pad"), (tiles.ITEMS, "item"), (tiles.LOCKS, "lock"))
    for numbers, word in (*groups, (tiles.DIGITS, "digit")):
        assert all(tiles.TILES[number].name.startswith(word) for number in numbers)


def test_text_and_tiles_are_inverse():
    picture = np.arange(len(tiles.TILES))
    picture = picture[picture != tiles.BLANK].reshape(4, -1).astype(np.int32)
    assert (tiles.parse(tiles.text(picture)) == picture).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [("..\n...", "line 2 of the level has 3 characters"), (".!", "'!' in the level is no tile")],
)
def test_text_that_is_no_level_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        tiles.parse(text)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("dark-room", "S.\n.G", "2 x 2 tiles, this environment's are 3 x 3"),
        ("dark-room", "S..\n...\n...", "0 cells 'G'; it needs exactly one"),
        ("dark-room", "S.S\n...\n..G", "2 cells 'S' or '@'; it needs exactly one"),
        ("teleporters", "S.a\n...\n..G", "pad 'a' stands 1 times; pads come in pairs"),
        ("random-graph", "...", "RandomGraph does not define 'from_tiles'"),
    ],
)
def test_levels_that_do_not_fit_are_refused(name, text, message):
    sizes = {"random-graph": {}, "teleporters": {"size": 3, "pairs": 1}}
    env = envs.make(name, **sizes.get(name, {"size": 3}))
    with pytest.raises((ValueError, NotImplementedError), match=message):
        env.parse(text)


@pytest.mark.parametrize("name", envs.names())
def test_every_family_is_a_picture_in_three_forms(name):
    env = envs.make(name)
    level, state = first(env)
    picture = np.asarray(env.draw(level, state))
    assert picture.dtype == np.int32 and picture.min() >= 0 and picture.max() < len(tiles.TILES)
    pixels = wrap(Pixels, env)
    shown = jax.jit(pixels.observe, compiler_options=QUICK)(level, state)
    assert shown.shape == pixels.observation_shape == (64, 64, 3)
    assert str(shown.dtype) == pixels.observation_dtype == "uint8"
    assert (np.asarray(shown) == np.asarray(render.pixels(env.view(level, state)))).all()
    if type(env).from_tiles is Env.from_tiles:  # no grid
        return
    again = env.parse(env.text(level, state))
    assert env.text(again, env.reset(jax.random.key(0), again)) == env.text(level, state)
    prints = jax.jit(env.fingerprint, compiler_options=QUICK)
    assert (prints(again) == prints(level)).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 7), (8, 8), (7, 7), (64, 64), (2, 16)])
def test_pixels_show_every_tile_in_its_place(height, width):
    """Each tile's middle has its colour, in reading order, and the rest of the square is blank."""
    rng = np.random.default_rng(0)
    # Tiles of one plain colour: floor, wall, door, unseen.
    plain = np.array([tiles.FLOOR, tiles.WALL, tiles.DOOR, tiles.UNSEEN])
    picture = rng.choice(plain, (height, width)).astype(np.int32)
    shown = np.asarray(jax.jit(render.pixels)(picture))
    assert shown.shape == (64, 64, 3) and shown.dtype == np.uint8
    longest = max(height, width)
    top, left = (longest - height) // 2, (longest - width) // 2
    colours = np.array([tile.ground for tile in tiles.TILES], np.uint8)
    for row, column in np.ndindex(height, width):
        y, x = (int((at + 0.5) * 64 / longest) for at in (row + top, column + left))
        assert (shown[y, x] == colours[picture[row, column]]).all()
    beside = np.zeros((longest, longest), bool)
    beside[top : top + height, left : left + width] = True
    for row, column in np.argwhere(~beside):
        assert (
            shown[int((row + 0.5) * 64 / longest), int((column + 0.5) * 64 / longest)] == 255
        ).all()


def test_pictures_too_large_for_pixels_are_refused():
    with pytest.raises(ValueError, match="65 x 3 tiles does not fit 64 pixels"):
        render.pixels(jnp.zeros((65, 3), jnp.int32))


def test_pixels_show_what_is_inside_the_wrappers():
    env = behind(envs.make("key-door"))
    level, state = first(env)
    bare = env.bare
    shown = wrap(Pixels, env).observe(level, state)
    assert (shown == wrap(Pixels, bare).observe(level.inner, state.inner)).all()


def test_what_is_hidden_is_not_in_the_pixels():
    """Two rooms that differ in walls and goal look alike from the same cell."""
    env = envs.make("dark-room", size=3)
    rooms = [env.parse(text) for text in ("@..\n...\n..G", "@#.\n..#\nG..")]
    views = [env.view(room, env.reset(jax.random.key(0), room)) for room in rooms]
    assert (views[0] == views[1]).all()
    moved = [
        env.view(room, env.reset(jax.random.key(0), room).replace(cell=jnp.int32(3)))
        for room in rooms
    ]
    assert (moved[0] == moved[1]).all() and (moved[0] != views[0]).any()


def test_a_gif_is_written(tmp_path):
    from PIL import Image

    env = envs.make("dark-room")
    level, state = first(env)
    frames = [render.image(np.asarray(env.draw(level, state)), 8)]
    render.gif(tmp_path / "a.gif", [frames[0], frames[0][::-1]])
    with Image.open(tmp_path / "a.gif") as film:
        assert film.n_frames == 2 and film.size == (56, 56) and film.info["loop"] == 0
