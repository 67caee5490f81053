"""The levels of the navigation families: chi-squared tests of what their docstrings promise."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from tests.envs.chances import DRAWS, draw, even, pairs, share

ROWS = np.arange(DRAWS)


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
    size = 5
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
    size = 6
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
    size = 5
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
