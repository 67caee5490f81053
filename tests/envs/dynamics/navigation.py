"""Navigation families, from their documentation alone."""

import math
from typing import Any

from tests.envs.plain import Plain, State, certain, neighbour


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


FAMILIES = {
    "dark-room": dark_room,
    "teleporters": teleporters,
}
