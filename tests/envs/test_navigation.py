"""The navigation families: what their docstrings say of levels, of moves and of what is seen."""

import functools
import itertools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs import tiles
from envs.oracle import doomed, random_return, solve
from envs.room import State
from tests.envs.chances import DRAWS, draw, even, pairs, share
from tests.envs.plain import MOVES
from tests.envs.reference import plain, reachable
from tests.envs.worlds import QUICK, each, raw_levels, same

NAMES = ("four-rooms", "ice", "knight", "maze", "multi-room", "torus", "wind")
SIZES = {"four-rooms": 5, "ice": 4, "knight": 4, "maze": 5, "multi-room": 6, "torus": 4, "wind": 4}
ROWS = np.arange(DRAWS)
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


def few(name: str, count: int, **fields):
    """A small environment and some of its levels, stacked, from the program that draws many."""
    env = envs.make(name, size=SIZES[name], **fields)
    return env, jax.tree.map(lambda x: x[:count], raw_levels(env, 11, DRAWS))


def expect(pictures: np.ndarray, expected: dict[tuple, float]) -> None:
    """Asserts that rows of bool[N, …] come with the expected probabilities."""
    assert sum(expected.values()) == pytest.approx(1)
    seen = Counter(map(tuple, pictures.tolist()))
    assert set(seen) <= set(expected)
    frequencies = DRAWS * np.array(list(expected.values()))
    assert frequencies.min() > 5
    assert stats.chisquare([seen[p] for p in expected], frequencies).pvalue > 1e-4


def even_pairs(walls: np.ndarray, start: np.ndarray, goal: np.ndarray, free: int) -> None:
    """Asserts that start and goal are uniform in the levels that have so many free cells."""
    assert not walls[ROWS, start].any() and not walls[ROWS, goal].any()
    some = (~walls).sum(1) == free
    rank = np.cumsum(~walls, axis=1) - 1
    even(
        pairs(rank[ROWS, start][some], rank[ROWS, goal][some], free),
        range(free * (free - 1)),
    )


def crosses(size: int):
    """Every four-rooms layout without scattered walls: (its free cells on the cross, the cross,
    its probability)."""
    for row, column in itertools.product(range(1, size - 1), repeat=2):
        arms = [
            [(r, column) for r in range(row)],
            [(r, column) for r in range(row + 1, size)],
            [(row, c) for c in range(column)],
            [(row, c) for c in range(column + 1, size)],
        ]
        cross = {(row, column), *itertools.chain(*arms)}
        chance = 1 / (size - 2) ** 2 / np.prod([len(arm) for arm in arms])
        for gaps in itertools.product(*arms):
            yield set(gaps), cross, chance


def test_levels_of_four_rooms():
    size = SIZES["four-rooms"]
    drawn = draw("four-rooms", size=size)
    walls, cells = drawn["walls"], list(itertools.product(range(size), repeat=2))
    expected, off = Counter(), np.zeros(size**2)
    for gaps, cross, chance in crosses(size):
        expected[tuple(cell in cross - gaps for cell in cells)] += chance
        off += [chance * (cell not in cross) for cell in cells]
    expect(walls, expected)
    even_pairs(walls, drawn["start"], drawn["goal"], 20)
    # The same keys with walls scattered off the cross: never in a gap, and as many as they should.
    dense = draw("four-rooms", size=size, density=0.25)["walls"]
    assert (dense | ~walls).all()
    error = np.sqrt(0.25 * off / DRAWS) + 1e-9
    assert (np.abs((dense & ~walls).mean(0) - 0.25 * off) < 5 * error).all()


def test_levels_of_multi_room():
    size = SIZES["multi-room"]
    drawn = draw("multi-room", size=size, density=0.0)
    walls, start, goal = drawn["walls"], drawn["start"], drawn["goal"]
    expected = {
        tuple(
            (column == first and row != door) or (column == second and row != other)
            for row, column in itertools.product(range(size), repeat=2)
        ): 1 / (3 * size**2)
        for first, second in ((1, 3), (1, 4), (2, 4))
        for door, other in itertools.product(range(size), repeat=2)
    }
    expect(walls, expected)
    columns = walls.reshape(-1, size, size).sum(1) == size - 1
    first, second = columns.argmax(1), size - 1 - columns[:, ::-1].argmax(1)
    assert (start % size < first).all() and (goal % size > second).all()
    for left, right in ((1, 3), (1, 4), (2, 4)):
        at = (first == left) & (second == right)
        width = size - 1 - right
        place = start[at] // size * left + start[at] % size
        even(
            place * width * size + goal[at] // size * width + goal[at] % size - right - 1,
            range(left * size * width * size),
        )
    # The same keys with walls scattered: only off the columns, and not on start and goal.
    other = draw("multi-room", size=size, density=0.3)
    assert (other["start"] == start).all() and (other["goal"] == goal).all()
    may = ~columns[:, np.arange(size**2) % size]
    may[ROWS, start] = may[ROWS, goal] = False
    scattered = other["walls"] & ~walls
    assert not (scattered & ~may).any() and (other["walls"] | ~walls).all()
    share(scattered[may], 0.3)


def forests(passages: dict[int, tuple[int, int]]) -> dict[frozenset, float]:
    """The probability of each tree that grows by uniform passages between unconnected parts."""
    grown = {frozenset(): 1.0}
    for _ in range(len({end for ends in passages.values() for end in ends}) - 1):
        after = Counter()
        for opened, chance in grown.items():
            part: dict[int, int] = {}
            for passage in opened:
                here, there = (part.get(end, end) for end in passages[passage])
                part |= {e: here for e in range(25) if part.get(e, e) == there}
            joins = [p for p, (a, b) in passages.items() if part.get(a, a) != part.get(b, b)]
            for passage in joins:
                after[opened | {passage}] += chance / len(joins)
        grown = after
    return grown


def test_levels_of_maze():
    size = SIZES["maze"]
    passages = {
        row * size + column: (cell - beside, cell + beside)
        for row, column in itertools.product(range(size), repeat=2)
        if (row + column) % 2
        for cell, beside in [(row * size + column, size if row % 2 else 1)]
    }
    pillars = {6, 8, 16, 18}
    drawn = draw("maze", size=size)
    walls, chances = drawn["walls"], forests(passages)
    assert len(chances) == 192  # the spanning trees of 3 × 3 junctions
    assert max(chances.values()) > 1.1 * min(chances.values())  # they are not equally likely
    expect(
        walls,
        {
            tuple(
                cell in pillars or (cell in passages and cell not in opened) for cell in range(25)
            ): p
            for opened, p in chances.items()
        },
    )
    even_pairs(walls, drawn["start"], drawn["goal"], 9 + 8)
    # The same keys, with walls taken away that close a passage.
    sparse = draw("maze", size=size, density=0.4)["walls"]
    assert (walls | ~sparse).all() and sparse[:, sorted(pillars)].all()
    closed = walls.copy()
    closed[:, sorted(pillars)] = False
    share(sparse[closed], 0.4)


@pytest.mark.parametrize("name", ["ice", "knight", "torus"])
def test_scattered_walls(name):
    drawn = draw(name, size=4, density=0.2)
    share(drawn["walls"], 0.2)
    even_pairs(drawn["walls"], drawn["start"], drawn["goal"], 13)


def test_levels_of_wind():
    drawn = draw("wind", size=4, density=0.3)
    wind, start, goal = drawn["wind"], drawn["start"], drawn["goal"]
    even(pairs(start, goal, 16), range(240))
    may = np.ones(wind.shape, bool)
    may[ROWS, start] = may[ROWS, goal] = False
    assert (wind[~may] == 0).all()
    share(wind[may] > 0, 0.3)
    share(wind > 0, 0.3 * 14 / 16)
    even(wind[wind > 0], range(1, 5))
    even(wind[:, 5][wind[:, 5] > 0], range(1, 5))


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


@pytest.mark.parametrize(
    ("cell", "action", "blown", "still"),
    [
        (0, "R", 1, 1),  # calm
        (1, "R", 2, 2),  # the border takes the wind's part
        (1, "D", 5, 4),  # across the wind
        (1, "L", 1, 0),  # against it
        (3, "R", 1, 4),
        (3, "U", 0, 0),
        (4, "U", 0, 1),
        (4, "R", 4, 5),
        (5, "D", 8, 8),
        (5, "R", 8, 5),  # the border takes the action's part
        (5, "L", 7, 4),
        (5, "U", 5, 2),
    ],
)
def test_golden_winds(cell, action, blown, still):
    env = envs.make("wind", size=3, gust=0.3)
    level = env.parse(WINDY)
    assert level.wind.tolist() == [0, 2, 0, 1, 4, 3, 0, 0, 0]
    chance, outcome = OUTCOMES(env, level, State(jnp.int32(cell)), jnp.int32("URDL".index(action)))
    assert chance.tolist() == pytest.approx([0.3, 0.7])
    assert outcome.state.cell.tolist() == [blown, still]
    assert outcome.terminated.tolist() == [blown == 8, still == 8]
    assert outcome.reward.tolist() == [blown == 8, still == 8]


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
    env, levels = few(name, 5)
    for level in each(levels):
        level = jax.tree.map(jnp.asarray, level)
        assert same(env.parse(env.text(level, env.reset(jax.random.key(0), level))), level)


@pytest.mark.parametrize("name", ["ice", "knight", "torus", "wind"])
def test_symmetric_copies_are_one_problem(name):
    """Random play from the start cannot tell them apart, at any length."""
    env, levels = few(name, 24, density=0.4)

    @functools.partial(jax.jit, compiler_options=QUICK)
    def values(env, levels):
        def value(level):
            table = env.tabulate(level)
            return jnp.stack([random_return(table, steps) for steps in (1, 4, 16)])

        copies = jax.vmap(env.symmetries)(levels)
        return jax.vmap(value)(levels), jax.vmap(jax.vmap(value))(copies)

    own, copied = values(env, levels)
    assert copied.shape == (24, 8, 3)
    assert np.allclose(copied, own[:, None], atol=1e-6)
    assert len({round(float(value), 5) for value in own[:, -1]}) > 8


def windy_form(level) -> tuple:
    """The smallest picture over the square's symmetries, as matrices that act on places about the
    centre and on winds alike."""
    size = round(len(level.wind) ** 0.5)
    middle = np.full(2, (size - 1) / 2)
    places = np.stack(np.divmod(np.arange(size**2), size), axis=1)
    winds = np.array([(0, 0), *MOVES])[level.wind]
    forms = []
    for signs, swap in itertools.product(itertools.product((1, -1), repeat=2), (False, True)):
        turn = np.diag(signs)[::-1] if swap else np.diag(signs)
        where = (places - middle) @ turn.T + middle
        moved = {tuple(p): tuple(w) for p, w in zip(where, (winds @ turn.T).tolist(), strict=True)}
        forms.append((*sorted(moved.items()), tuple(where[level.start]), tuple(where[level.goal])))
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
    table = env.tabulate(level)
    solution = solve(table)
    assert solution.optimal[4].tolist() == [True, False, False, False]
    lost = np.asarray(doomed(solution))
    assert not lost[4] and lost[3] and lost[5]


def test_maze_shows_the_window_and_nothing_else():
    env, levels = envs.make("maze", view_size=5), raw_levels(envs.make("maze"), 3, 40)
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
            env, levels = few(name, 3)
            shown, _, view = SEEN(env, levels, jnp.array([4, 5, 6]))
            assert shown.tolist() == [[4], [5], [6]]
            assert (np.asarray(view).reshape(3, -1).argmax(1) == [4, 5, 6]).all()
            assert (np.sort(np.asarray(view).reshape(3, -1))[:, :-1] == tiles.FLOOR).all()


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
