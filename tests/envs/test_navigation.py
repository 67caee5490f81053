"""The navigation families: what their docstrings say of moves, of what is seen and of sizes."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import tiles
from envs.oracle import doomed, random_return, solve
from envs.room import State
from tests.envs.chances import share
from tests.envs.plain import MOVES
from tests.envs.reference import plain, reachable
from tests.envs.worlds import QUICK, each, raw_levels, same

COUNT = 40  # levels of a family
NAMES = ("four-rooms", "ice", "knight", "maze", "multi-room", "torus", "wind")
SIZES = {"four-rooms": 5, "ice": 4, "knight": 4, "maze": 5, "multi-room": 6, "torus": 4, "wind": 4}
STEP = jax.jit(lambda *a: a[0].step(*a[1:]), compiler_options=QUICK)
OUTCOMES = jax.jit(lambda env, *a: env.outcomes(*a), compiler_options=QUICK)
SEEN = jax.jit(
    lambda env, levels, cells: jax.vmap(
        lambda level, cell: (
            env.observe(level, State(cell)),
            env.draw(level, State(cell)),
            env.view(level, State(cell)),
        )
    )(levels, cells),
    compiler_options=QUICK,
)


def few(name: str, **fields):
    """A small environment and ``COUNT`` of its levels, stacked."""
    env = envs.make(name, size=SIZES[name], **fields)
    return env, raw_levels(env, 11, COUNT)


GOLDEN = {  # name: (the level, actions and the cells they lead to; the last one is the goal's)
    "four-rooms": ("@.#.. ..... #.##. ..... ..#.G", "R1 R1 D6 D11 D16 R17 R18 R19 D24"),
    "multi-room": ("@#.#. .#.#. ...#. .#.#. .#..G", "R0 D5 D10 R11 R12 R12 D17 D22 R23 R24"),
    "maze": ("@..#G ##.#. ..... .#### .....", "R1 R2 R2 D7 D12 R13 R14 U9 U4"),
    "torus": ("@#G ... ..#", "R0 U6 L6 U3 L5 U2"),
    "ice": ("..#.. ..... .G..@ .#... .....", "L10 R14 L10 U0 R1 D11"),
    # Moves of the knight by number, clockwise from two up and one to the right.
    "knight": ("@.## #### #.## .##G", "00 20 39 19 49 70 39 215"),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_steps(name):
    picture, moves = GOLDEN[name]
    picture = picture.replace(" ", "\n")
    env = envs.make(name, size=picture.index("\n"))
    level = env.parse(picture)
    state = env.reset(jax.random.key(0), level)
    assert env.text(level, state) == picture
    for move in moves.split():
        action, cell = "URDL".find(move[0]), int(move[1:])
        action = jnp.int32(int(move[0]) if name == "knight" else action)
        state, reward, over = STEP(env, jax.random.key(0), level, state, action)
        assert state.cell == cell
        assert bool(reward) == bool(over) == bool(cell == level.goal)
    assert over


WINDY = "@>.\n^<v\n..G"
# Where one is, the action, and where it leads with the wind and without it: in a calm, where the
# border takes the wind's part, across the wind, against it, …, where it takes the action's part.
WINDS = "0R11 1R22 1D54 1L10 3R14 3U00 4U01 4R45 5D88 5L74 5U52 5R85"


def test_golden_winds():
    env = envs.make("wind", size=3, gust=0.3)
    level = env.parse(WINDY)
    assert level.wind.tolist() == [0, 2, 0, 1, 4, 3, 0, 0, 0]
    for cell, action, *after in WINDS.split():
        after, move = [int(cell) for cell in after], jnp.int32("URDL".index(action))
        chance, outcome = OUTCOMES(env, level, State(jnp.int32(int(cell))), move)
        assert chance.tolist() == pytest.approx([0.3, 0.7])
        assert outcome.state.cell.tolist() == after
        won = [cell == 8 for cell in after]
        assert outcome.terminated.tolist() == outcome.reward.tolist() == won


@pytest.mark.parametrize("gust", [0.25, 0.9])
def test_wind_blows_as_often_as_it_says(gust):
    env = envs.make("wind", size=3, gust=gust)
    level = env.parse(WINDY)
    keys = jax.random.split(jax.random.key(2), 20_000)
    state, action = State(jnp.int32(5)), jnp.int32(3)
    after = jax.jit(jax.vmap(lambda key: env.step(key, level, state, action)))(keys)
    cells = np.asarray(after.state.cell)
    assert set(cells.tolist()) == {7, 4}
    share(cells == 7, gust)


@pytest.mark.parametrize("name", NAMES)
def test_what_text_shows_is_the_level(name):
    env, levels = few(name)
    for level in each(levels)[:5]:
        level = jax.tree.map(jnp.asarray, level)
        assert same(env.parse(env.text(level, env.reset(jax.random.key(0), level))), level)


@pytest.mark.parametrize("name", ["ice", "knight", "torus", "wind"])
def test_symmetric_copies_are_one_problem(name):
    """Random play from the start cannot tell them apart, at any length."""
    env, levels = few(name, density=0.4)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def values(env, levels):
        def value(level):
            table = env.tabulate(level)
            return jnp.stack([random_return(table, steps) for steps in (1, 4, 16)])

        copies = jax.vmap(env.symmetries)(levels)
        return jax.vmap(value)(levels), jax.vmap(jax.vmap(value))(copies)

    own, copied = values(env, levels)
    assert copied.shape == (COUNT, 8, 3)
    assert np.allclose(copied, own[:, None], atol=1e-6)
    assert len({round(float(value), 5) for value in own[:, -1]}) > 8


def windy_form(level) -> tuple:
    """The smallest picture over the square's symmetries: places about the centre, and winds, are
    complex numbers, which are turned and mirrored alike."""
    size = round(len(level.wind) ** 0.5)
    row, column = np.divmod(np.arange(size**2), size)
    places = 2 * row - size + 1 + 1j * (2 * column - size + 1)
    winds, forms = np.array([0, *(complex(*move) for move in MOVES)])[level.wind], []
    for turn, mirror in itertools.product((1, 1j, -1, -1j), (False, True)):
        where, blows = (turn * (x.conj() if mirror else x) for x in (places, winds))
        order = np.lexsort((where.imag, where.real))
        picture = [*blows[order], where[level.start], where[level.goal]]
        forms.append(tuple((z.real, z.imag) for z in picture))
    return min(forms)


def torus_form(level) -> tuple:
    """The smallest picture over the square's symmetries and all translations."""
    size = round(len(level.walls) ** 0.5)
    square = level.walls.astype(int).reshape(size, size)
    square[divmod(int(level.start), size)] += 2
    square[divmod(int(level.goal), size)] += 4
    turned = [np.rot90(s, k) for s in (square, square.T) for k in range(4)]
    shifts = itertools.product(turned, range(size), range(size))
    return min(tuple(np.roll(s, (i, j), (0, 1)).ravel().tolist()) for s, i, j in shifts)


@pytest.mark.parametrize(
    ("name", "sizes", "form"),
    [
        ("torus", {"size": 3, "density": 0.3}, torus_form),
        ("wind", {"size": 3, "density": 0.1}, windy_form),
    ],
)
def test_equal_prints_mean_equal_problems(name, sizes, form):
    """Small families, so that most of the levels come several times, in all positions. The other
    families have the levels of a room, and its symmetries."""
    env = envs.make(name, **sizes)
    levels = raw_levels(env, 0, 2000)
    prints = jax.jit(lambda levels: jax.vmap(env.fingerprint)(levels))(levels)
    found = [tuple(row) for row in np.asarray(prints).tolist()]
    forms = [form(level) for level in each(levels)]
    both = set(zip(found, forms, strict=True))
    assert len(both) == len(set(found)) == len(set(forms))
    assert 30 < len(both) < 1500


def test_a_maze_without_spare_passages_has_one_way_between_cells():
    for level in each(raw_levels(envs.make("maze"), 1, 40)):
        open_ended = level.replace(goal=np.int32(-1))  # nothing to stop at
        assert (~level.walls).sum() == 25 + 24 == len(reachable(plain("maze", open_ended)))


def test_ice_has_ways_of_no_return():
    env = envs.make("ice", size=3)
    level = env.parse("#G#\n.@.\n###")
    solution = jax.jit(lambda level: solve(env.tabulate(level)), compiler_options=QUICK)(level)
    assert solution.optimal[4].tolist() == [True, False, False, False]
    lost = np.asarray(doomed(solution))
    assert not lost[4] and lost[3] and lost[5]


def test_maze_shows_the_window_and_nothing_else():
    env, levels = envs.make("maze", view_size=5), raw_levels(envs.make("maze"), 1, 40)
    cells = np.arange(40, dtype=np.int32) * 2 + 1
    here, there = np.array(np.divmod(cells, 9)), np.array(np.divmod(np.arange(81), 9))
    away = np.abs(here[:, :, None] - there[:, None])
    outside = (away > 2).any(0)
    shown, truth, view = map(np.asarray, SEEN(env, levels, cells))
    assert shown.shape == (40, 25) and view.shape == (40, 5, 5)
    # What is seen is what is there, row by row.
    kind = np.where(np.asarray(levels.walls), 1, 0)
    kind[np.arange(40), levels.goal] = 2
    padded = np.pad(kind.reshape(40, 9, 9), ((0, 0), (2, 2), (2, 2)), constant_values=1)
    for one, picture, cell in zip(shown, padded, np.asarray(cells), strict=True):
        row, column = divmod(int(cell), 9)
        assert (one == picture[row : row + 5, column : column + 5].ravel()).all()
    # Pixels show the same, and where the agent is.
    agent = view == tiles.AGENT
    assert agent[:, 2, 2].all() and agent.sum() == 40
    symbols = np.select([view == tiles.WALL, view == tiles.GOAL], [1, 2])
    assert (symbols == np.where(agent, 0, shown.reshape(40, 5, 5))).all()
    assert set(np.unique(view)) == {tiles.FLOOR, tiles.WALL, tiles.GOAL, tiles.AGENT}
    # Everything outside can change unseen; nothing inside can.
    far = levels.replace(walls=jnp.asarray(np.asarray(levels.walls) ^ outside))
    assert (SEEN(env, far, cells)[0] == shown).all()
    assert (SEEN(env, far, cells)[1] != truth).any((1, 2)).all()
    near = levels.replace(walls=~levels.walls, goal=jnp.full(40, -1))
    assert (SEEN(env, near, cells)[0] != shown).sum() == (~outside).sum()


def test_dark_families_show_the_cell_alone():
    for name in NAMES:
        if name != "maze":
            env, levels = few(name)
            cells = np.arange(COUNT, dtype=np.int32) % 16
            shown, _, view = SEEN(env, levels, cells)
            assert (np.asarray(shown) == cells[:, None]).all()
            expected = np.full((COUNT, SIZES[name] ** 2), tiles.FLOOR)
            expected[np.arange(COUNT), cells] = tiles.AGENT
            assert (np.asarray(view).reshape(COUNT, -1) == expected).all()


@pytest.mark.parametrize(
    ("name", "sizes", "message"),
    [
        ("four-rooms", {"size": 2}, "four-rooms size 2: use 3 or more"),
        ("multi-room", {"rooms": 1}, "multi-room rooms 1: use 2 or more"),
        ("multi-room", {"size": 6, "rooms": 4}, "4 rooms and the walls between them need 7"),
        ("maze", {"size": 8}, "maze size 8: use an odd number from 3"),
        ("maze", {"size": 1}, "maze size 1: use an odd number from 3"),
        ("maze", {"view_size": 4}, "maze view_size 4: use an odd number from 3"),
        ("maze", {"view_size": 1}, "maze view_size 1: use an odd number from 3"),
        ("torus", {"size": 1}, "size 1: use 2 or more"),
        ("knight", {"size": 2}, "knight size 2: use 3 or more"),
        ("ice", {"size": 1}, "size 1: use 2 or more"),
        ("wind", {"size": 1}, "size 1: use 2 or more"),
    ],
)
def test_impossible_sizes_are_refused(name, sizes, message):
    with pytest.raises(ValueError, match=message) as refused:
        envs.make(name, **sizes)
    assert "\n" not in str(refused.value)


def test_the_smallest_sizes_work():
    for name, fields in (
        ("four-rooms", {"density": 0.0}),
        ("multi-room", {"rooms": 2, "density": 0.0}),
        ("maze", {}),
        ("knight", {"density": 0.0}),
    ):
        for level in each(raw_levels(envs.make(name, size=3, **fields), 0, 20)):
            assert level.start != level.goal
            assert not level.walls[level.start] and not level.walls[level.goal]
