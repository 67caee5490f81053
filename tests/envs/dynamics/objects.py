"""Families with objects, from their documentation alone."""

import math
from typing import Any

from tests.envs.plain import Plain, State, certain, neighbour


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


FAMILIES = {
    "key-door": key_door,
}
