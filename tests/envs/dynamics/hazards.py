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


FAMILIES = {
    "lava-crossing": lava_crossing,
}
