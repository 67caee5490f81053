"""Families with objects, from their documentation alone."""

import math
from typing import Any

from tests.envs.plain import Outcomes, Plain, State, certain, neighbour


def key_door(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    door, key, size = int(level.door), int(level.key), math.isqrt(len(walls))

    def step(state: State, action: int):
        cell, holds = state
        ahead = neighbour(cell, action, size)
        if not walls[ahead] and (ahead != door or holds):
            cell = ahead
        if cell == key:
            holds = 1
        return (cell, holds), cell == goal, cell == goal

    return Plain((int(level.start), 0), 4, certain(step))


def heist(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    keys, locks, size = level.keys.tolist(), level.locks.tolist(), math.isqrt(len(walls))

    def step(state: State, action: int):
        cell, held = state
        ahead = neighbour(cell, action, size)
        if not walls[ahead] and ahead not in locks[held:]:
            cell = ahead
        if held < len(keys) and cell == keys[held]:
            held += 1
        return (cell, held), cell == goal, cell == goal

    return Plain((int(level.start), 0), 4, certain(step))


def boulders(level: Any) -> Plain:
    walls, targets = level.walls.tolist(), set(level.targets.tolist())
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        cell, *lying = state
        ahead = neighbour(cell, action, size)
        behind = neighbour(ahead, action, size)
        if walls[ahead] or (
            ahead in lying and (behind == ahead or walls[behind] or behind in lying)
        ):
            return state, False, False
        moved = sorted(behind if boulder == ahead else boulder for boulder in lying)
        return (ahead, *moved), set(moved) == targets, set(moved) == targets

    return Plain((int(level.start), *sorted(level.boulders.tolist())), 4, certain(step))


def memory(level: Any) -> Plain:
    walls, doors = level.walls.tolist(), level.doors.tolist()
    start, size = int(level.start), math.isqrt(len(walls))

    def outcomes(state: State, action: int) -> Outcomes:
        cell, cue = state
        if cue == 0:
            return [(1 / len(doors), (cell, 1 + i), 0.0, False) for i in range(len(doors))]
        ahead = neighbour(cell, action, size)
        cell = cell if walls[ahead] else ahead
        return [(1.0, (cell, cue), float(cell == doors[cue - 1]), cell in doors)]

    return Plain((start, 0), 4, outcomes)


FAMILIES = {
    "boulders": boulders,
    "heist": heist,
    "key-door": key_door,
    "memory": memory,
}
