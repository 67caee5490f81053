"""Families with hazards, from their documentation alone."""

import math
from typing import Any

from tests.envs.plain import Plain, State, certain, neighbour


def lava_crossing(level: Any) -> Plain:
    lava, goal = level.lava.tolist(), int(level.goal)
    size = math.isqrt(len(lava))

    def step(state: State, action: int):
        cell = neighbour(state[0], action, size)
        return (cell,), cell == goal, cell == goal or lava[cell]

    return Plain((int(level.start),), 4, certain(step))


def platformer(level: Any, jump: int = 2) -> Plain:
    """``jump`` is the family's, not the level's."""
    solid, spikes, goal = level.solid.tolist(), level.spikes.tolist(), int(level.goal)
    size = math.isqrt(len(solid))

    def free(row: int, column: int) -> bool:
        return 0 <= row < size and 0 <= column < size and not solid[row * size + column]

    def step(state: State, action: int):
        (row, column), lift = divmod(state[0], size), state[1]
        if action == 2 and not free(row + 1, column):
            lift = jump
        aside = column + {0: -1, 1: 1}.get(action, 0)
        if free(row, aside):
            column = aside
        if lift > 0:
            lift = lift - 1 if free(row - 1, column) else 0
            row = row - 1 if free(row - 1, column) else row
        elif free(row + 1, column):
            row += 1
        cell = row * size + column
        return (cell, lift), cell == goal, cell == goal or spikes[cell]

    return Plain((int(level.start), 0), 4, certain(step))


FAMILIES = {
    "lava-crossing": lava_crossing,
    "platformer": platformer,
}
