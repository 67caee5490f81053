"""dark-room: find a goal that cannot be seen, among walls that cannot be seen."""

from __future__ import annotations

from envs.registry import register
from envs.room import Room


class DarkRoom(Room):
    """A square room with scattered walls and a hidden goal.

    Observation: int32[1], the agent's cell. Actions: up, right, down, left; a wall or the border
    blocks. Reward: 1 on entering the goal, which terminates the episode; 0 elsewhere.
    Levels: every cell is a wall with probability ``density``; start and goal are uniform over the
    pairs of different free cells.

    Attributes:
        size: cells along an edge.
        density: probability of a wall, in [0, 1).
    """


register("dark-room", DarkRoom)
