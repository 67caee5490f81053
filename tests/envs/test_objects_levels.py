"""The levels that heist, boulders and memory promise, against chi-squared tests."""

import itertools
from collections import defaultdict

import numpy as np
import pytest

from tests.envs.chances import DRAWS, draw, even, pairs, share
from tests.envs.plain import neighbour

ROWS = np.arange(DRAWS)


def area(start: int, closed: np.ndarray) -> set[int]:
    """The cells of a 6 x 6 room that can be reached from one, itself included."""
    found, todo = {start}, [start]
    while todo:
        cell = todo.pop()
        fresh = {neighbour(cell, action, 6) for action in range(4)} - found
        fresh = {other for other in fresh if not closed[other]}
        found |= fresh
        todo += fresh
    return found


def check_tour(arms: list[list[int]], walls: np.ndarray, locks: np.ndarray) -> tuple:
    """(the arm without a gap, clockwise or not, which of the gaps has no lock, the gaps' places) of
    a level of two locks, whose arms are given clockwise."""
    gaps = [[cell for cell in arm if not walls[cell]] for arm in arms]
    assert sorted(map(len, gaps)) == [0, 1, 1, 1]
    sealed = gaps.index([])
    tour = [gaps[(sealed + i) % 4][0] for i in (1, 2, 3)]
    here, there = tour.index(locks[0]), tour.index(locks[1])
    clockwise = here < there
    unlocked = 3 - here - there
    places = [((sealed + i) % 4, gap) for i, gap in zip((1, 2, 3), tour, strict=True)]
    return sealed, clockwise, unlocked if clockwise else 2 - unlocked, places


def test_levels_of_heist():
    drawn = draw("heist", density=0.0)
    walls, keys, locks, start, goal = drawn.values()
    row, column = np.divmod(np.arange(36), 6)
    middles, tours, gaps = [], [], defaultdict(list)
    ranks, cross_of = defaultdict(list), np.zeros((DRAWS, 36), bool)
    for r, c in itertools.product((2, 3), repeat=2):
        cross = (row == r) | (column == c)
        at = np.flatnonzero(((cross & ~walls).sum(1) == 3) & ~(walls & ~cross).any(1))
        cross_of[at] = cross
        middles += [r * 6 + c] * len(at)
        arms = [
            np.flatnonzero((column == c) & (row < r)).tolist(),
            np.flatnonzero((row == r) & (column > c)).tolist(),
            np.flatnonzero((column == c) & (row > r)).tolist(),
            np.flatnonzero((row == r) & (column < c)).tolist(),
        ]
        for i in at[:1500]:
            *tour, places = check_tour(arms, walls[i], locks[i])
            tours.append(tuple(tour))
            for arm, gap in places:
                gaps[r, c, arm, *arms[arm]].append(gap)
            closed = walls[i].copy()
            closed[locks[i]] = True
            zones = [area(int(cell), closed) for cell in (start[i], keys[i, 1], goal[i])]
            assert sum(map(len, zones)) == len(set().union(*zones)) == 36 - 8 - 2
            for lock, before, after in zip(locks[i], zones, zones[1:], strict=False):
                beside = {neighbour(int(lock), action, 6) for action in range(4)}
                assert beside & before and beside & after
            zones = [sorted(zone - set(np.flatnonzero(cross))) for zone in zones]
            others = [cell for cell in zones[0] if cell != start[i]]
            for name, cell, cells in (
                ("start", start[i], zones[0]),
                ("first key", keys[i, 0], others),
                ("second key", keys[i, 1], zones[1]),
                ("goal", goal[i], zones[2]),
            ):
                ranks[name, len(cells)].append(cells.index(cell))
    assert len(middles) == DRAWS
    even(np.array(middles), {14, 15, 20, 21})
    every = list(itertools.product(range(4), (False, True), range(3)))
    even(np.array([every.index(tour) for tour in tours]), range(24))
    for (_, _, _, *arm), found in gaps.items():
        even(np.array(found), set(arm))
    many = {case: found for case, found in ranks.items() if len(found) > 20 * case[1]}
    assert {name for name, _ in many} == {"start", "first key", "second key", "goal"}
    for (_, count), found in many.items():
        even(np.array(found), range(count))
    # The same keys with walls scattered: only off the cross, and on nothing that matters.
    other = draw("heist", density=0.3)
    for field in ("keys", "locks", "start", "goal"):
        assert (other[field] == drawn[field]).all()
    may = ~cross_of
    for places in (start, goal, *keys.T):
        may[ROWS, places] = False
    assert (other["walls"] | ~walls).all() and not (other["walls"] & ~walls & ~may).any()
    share(other["walls"][may], 0.3)


@pytest.mark.parametrize("count", [1, 2])
def test_levels_of_boulders(count):
    drawn = draw("boulders", size=4, boulders=count, density=0.2)
    walls, boulders, targets, start = drawn.values()
    inner = [5, 6, 9, 10]
    assert (np.sort(boulders) == boulders).all() and (np.sort(targets) == targets).all()
    sets = list(itertools.combinations(inner, count))
    which = np.array([sets.index(tuple(some)) for some in boulders.tolist()])
    free = np.ones_like(walls)
    free[ROWS[:, None], boulders] = False
    assert free[ROWS, start].all() and free[ROWS[:, None], targets].all()
    rank = np.cumsum(free, axis=1) - 1
    left = 16 - count
    even(which * left + rank[ROWS, start], range(len(sets) * left))
    if count == 1:
        places = pairs(rank[ROWS, start], rank[ROWS, targets[:, 0]], left)
        even(which * left * (left - 1) + places, range(len(sets) * left * (left - 1)))
    free[ROWS, start] = False
    rank = np.cumsum(free, axis=1) - 1
    chosen = [tuple(some) for some in rank[ROWS[:, None], targets].tolist()]
    every = list(itertools.combinations(range(left - 1), count))
    even(np.array([every.index(some) for some in chosen]), range(len(every)))
    free[ROWS[:, None], targets] = False
    assert not (walls & ~free).any()
    share(walls[free], 0.2)


def test_levels_of_memory():
    size, cues = 6, 3
    drawn = draw("memory", size=size, cues=cues, density=1.0)
    walls, start, doors = drawn.values()
    room = walls.reshape(-1, size, size)
    assert room[:, :, 0].all() and not room[:, :, 4].any()
    assert (room[:, :, 5].sum(1) == size - cues).all() and (doors % size == 5).all()
    assert not walls[ROWS[:, None], doors].any()
    orders = list(itertools.permutations(range(size), cues))
    even(np.array([orders.index(tuple(some)) for some in (doors // size).tolist()]), range(120))
    # The corridor: in the first column the exit only, in each other one from exit to exit.
    assert (start % size == 1).all()
    exits = [start // size]
    for column in (1, 2, 3):
        free = ~room[:, :, column]
        top, bottom = free.argmax(1), size - 1 - free[:, ::-1].argmax(1)
        assert (free.sum(1) == bottom - top + 1).all()  # one run, and
        assert ((top == exits[-1]) | (bottom == exits[-1])).all()  # the last exit is an end of it
        exits.append(np.where(top == exits[-1], bottom, top))
    assert (exits[0] == exits[1]).all()
    even(exits[1] * 36 + exits[2] * 6 + exits[3], range(216))
    even(exits[3] * 6 + doors[:, 0] // size, range(36))
    # The same keys with fewer walls beside the corridor.
    other = draw("memory", size=size, cues=cues, density=0.3)
    assert (other["start"] == start).all() and (other["doors"] == doors).all()
    inner = np.isin(np.arange(36) % size, (1, 2, 3))
    assert (other["walls"] == walls)[:, ~inner].all() and (walls | ~other["walls"]).all()
    share(other["walls"][walls & inner], 0.3)
