"""Navigation families, from their documentation alone."""

import functools
import math
from typing import Any

from tests.envs.plain import MOVES, Plain, State, certain, neighbour

JUMPS = ((-2, 1), (-1, 2), (1, 2), (2, 1), (2, -1), (1, -2), (-1, -2), (-2, -1))  # clockwise


def dark_room(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        ahead = neighbour(state[0], action, size)
        cell = state[0] if walls[ahead] else ahead
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, certain(step))


def teleporters(level: Any) -> Plain:
    walls, link, goal = level.walls.tolist(), level.link.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        ahead = neighbour(state[0], action, size)
        cell = state[0] if ahead == state[0] or walls[ahead] else link[ahead]
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, certain(step))


def torus(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        (row, column), (down, right) = divmod(state[0], size), MOVES[action]
        ahead = (row + down) % size * size + (column + right) % size
        cell = state[0] if walls[ahead] else ahead
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, certain(step))


def knight(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        cell = state[0]
        row, column = cell // size + JUMPS[action][0], cell % size + JUMPS[action][1]
        if 0 <= row < size and 0 <= column < size and not walls[row * size + column]:
            cell = row * size + column
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 8, certain(step))


def ice(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    @functools.cache
    def stop(cell: int, action: int) -> int:
        ahead = neighbour(cell, action, size)
        return cell if ahead == cell or walls[ahead] else stop(ahead, action)

    def step(state: State, action: int):
        cell = stop(state[0], action)
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, certain(step))


def wind(gust: float, level: Any) -> Plain:
    winds, goal = level.wind.tolist(), int(level.goal)
    size = math.isqrt(len(winds))

    def after(cell: int, *steps: tuple[int, int]) -> int:
        row = cell // size + sum(step[0] for step in steps)
        column = cell % size + sum(step[1] for step in steps)
        return min(max(row, 0), size - 1) * size + min(max(column, 0), size - 1)

    def outcomes(state: State, action: int):
        still, found = after(state[0], MOVES[action]), []
        blown = after(state[0], MOVES[action], MOVES[winds[state[0]] - 1])
        chances = ((gust, blown), (1 - gust, still)) if winds[state[0]] else ((1.0, still),)
        for chance, cell in chances:
            found.append((chance, (cell,), float(cell == goal), cell == goal))
        return found

    return Plain((int(level.start),), 4, outcomes)


FAMILIES = {
    "dark-room": dark_room,
    "teleporters": teleporters,
    "four-rooms": dark_room,  # it differs in its layout only, and so do the next two
    "multi-room": dark_room,
    "maze": dark_room,
    "torus": torus,
    "knight": knight,
    "ice": ice,
    "wind": functools.partial(wind, 0.7),
}
