"""The levels that the families' docstrings promise, against chi-squared tests."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from tests.envs.chances import DRAWS, draw, even, pairs, share


def test_dark_room():
    drawn = draw("dark-room", size=4, density=0.2)
    walls, start, goal = drawn["walls"], drawn["start"], drawn["goal"]
    share(walls, 0.2)
    rows = np.arange(DRAWS)
    assert not walls[rows, start].any() and not walls[rows, goal].any()
    even(pairs(start, goal, 16), range(240))
    # Given the walls, too: the places of start and goal among 13 free cells.
    rank = np.cumsum(~walls, axis=1) - 1
    some = (~walls).sum(1) == 13
    even(pairs(rank[rows, start][some], rank[rows, goal][some], 13), range(13 * 12))


def test_key_door():
    drawn = draw("key-door", size=6)
    door, key, start, goal = (drawn[name] for name in ("door", "key", "start", "goal"))
    column = door % 6
    even(column, range(2, 5))
    even(door // 6, range(6))
    standing = np.arange(36) % 6 == column[:, None]
    standing[np.arange(DRAWS), door] = False
    assert (drawn["walls"] == standing).all()
    assert (start % 6 < column).all() and (key % 6 < column).all() and (goal % 6 > column).all()
    for wall in range(2, 5):
        at = column == wall
        left = np.cumsum(np.arange(36) % 6 < wall) - 1  # numbers the cells on the left
        places = pairs(left[key[at]], left[start[at]], 6 * wall)
        even(places // (6 * wall - 1), range(6 * wall))
        if wall == 2:
            even(places, range(12 * 11))
        even(goal[at], {cell for cell in range(36) if cell % 6 > wall})


def streams(size: int) -> list[tuple[set, tuple]]:
    """Every stream of a square: the cells it runs through, and its gap."""
    return [
        (
            {(place, i) if row else (i, place) for i in range(size)},
            (place, gap) if row else (gap, place),
        )
        for row, place, gap in itertools.product((True, False), range(1, size - 1), range(size))
    ]


@pytest.mark.parametrize("count", [1, 2])
def test_lava_crossing(count):
    size = 4
    drawn = draw("lava-crossing", size=size, streams=count)
    lava, start, goal = drawn["lava"], drawn["start"], drawn["goal"]
    expected = Counter()
    for chosen in itertools.product(streams(size), repeat=count):
        cells = set().union(*(run for run, _ in chosen)) - {gap for _, gap in chosen}
        picture = tuple((row, column) in cells for row in range(size) for column in range(size))
        expected[picture] += DRAWS / len(streams(size)) ** count
    seen = Counter(map(tuple, lava.tolist()))
    assert set(seen) <= set(expected)
    assert min(expected.values()) > 5
    assert stats.chisquare([seen[p] for p in expected], list(expected.values())).pvalue > 1e-4
    rows = np.arange(DRAWS)
    assert not lava[rows, start].any() and not lava[rows, goal].any()
    rank = np.cumsum(~lava, axis=1) - 1
    for free in np.unique((~lava).sum(1)):
        some = (~lava).sum(1) == free
        if some.sum() > 5 * free**2:
            even(
                pairs(rank[rows, start][some], rank[rows, goal][some], free),
                range(free * (free - 1)),
            )


def test_random_graph():
    nodes, reach, distance = 20, 3, 7
    drawn = draw("random-graph", nodes=nodes, reach=reach, distance=distance)
    edges, start, goal = drawn["edges"], drawn["start"], drawn["goal"]
    even(start, range(nodes))
    even((goal - start) % nodes, range(distance, nodes - distance + 1))
    hops = (edges - np.arange(nodes)[:, None]) % nodes
    steps = {h % nodes for h in range(-reach, reach + 1) if h}
    even(hops[:, 0, 0], steps)
    even(hops[:, 11, 2], steps)
    even(hops[:, 5, 0] * nodes + hops[:, 5, 1], {a * nodes + b for a in steps for b in steps})
    even(hops[:500].ravel(), steps)


def test_teleporters():
    drawn = draw("teleporters", size=4, pairs=2, density=0.3)
    walls, link, start, goal = (drawn[name] for name in ("walls", "link", "start", "goal"))
    rows, cells = np.arange(DRAWS), np.arange(16)
    assert (np.take_along_axis(link, link, axis=1) == cells).all()  # there and back
    pads = link != cells
    assert (pads.sum(1) == 4).all()
    assert not (pads & walls).any()
    for place in (start, goal):
        assert not pads[rows, place].any() and not walls[rows, place].any()
    even(pairs(start, goal, 16), range(240))
    share(pads, 4 / 16)
    first = pads.argmax(1)
    even(pairs(np.full(pads[:, 0].sum(), 0), link[pads[:, 0], 0], 16), range(15))
    others = np.cumsum(pads, axis=1)[rows, link[rows, first]] - 1
    even(others, range(1, 4))  # which of the other three pads is the partner
    free = ~pads
    free[rows, start] = free[rows, goal] = False
    share(walls[free], 0.3)
    share(walls, 0.3 * 10 / 16)
