"""References in plain Python and numpy, written from the families' documentation alone: dynamics,
breadth-first search, and dynamic programming over the enlarged state (state, previous action)."""

import dataclasses
import math
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

State = tuple[int, ...]
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


@dataclasses.dataclass(frozen=True)
class Plain:
    """Deterministic dynamics of one level.

    Attributes:
        start: the first state, its fields in a tuple.
        actions: A.
        step: (state, action) -> (successor, won, over).
    """

    start: State
    actions: int
    step: Callable[[State, int], tuple[State, bool, bool]]


def neighbour(cell: int, action: int, size: int) -> int:
    """The cell next to a cell, or the cell itself at the border."""
    row, column = cell // size + MOVES[action][0], cell % size + MOVES[action][1]
    return row * size + column if 0 <= row < size and 0 <= column < size else cell


def plain(name: str, level: Any) -> Plain:
    """The dynamics of a family's level, given its arrays."""
    return FAMILIES[name](level)


def _dark_room(level: Any) -> Plain:
    walls, goal = level.walls.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        ahead = neighbour(state[0], action, size)
        cell = state[0] if walls[ahead] else ahead
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, step)


def _key_door(level: Any) -> Plain:
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

    return Plain((int(level.start), 0), 4, step)


def _lava_crossing(level: Any) -> Plain:
    lava, goal = level.lava.tolist(), int(level.goal)
    size = math.isqrt(len(lava))

    def step(state: State, action: int):
        cell = neighbour(state[0], action, size)
        return (cell,), cell == goal, cell == goal or lava[cell]

    return Plain((int(level.start),), 4, step)


def _random_graph(level: Any) -> Plain:
    edges, goal = level.edges.tolist(), int(level.goal)

    def step(state: State, action: int):
        node = edges[state[0]][action]
        return (node,), node == goal, node == goal

    return Plain((int(level.start),), len(edges[0]), step)


def _teleporters(level: Any) -> Plain:
    walls, link, goal = level.walls.tolist(), level.link.tolist(), int(level.goal)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        ahead = neighbour(state[0], action, size)
        cell = state[0] if ahead == state[0] or walls[ahead] else link[ahead]
        return (cell,), cell == goal, cell == goal

    return Plain((int(level.start),), 4, step)


FAMILIES = {
    "dark-room": _dark_room,
    "key-door": _key_door,
    "lava-crossing": _lava_crossing,
    "random-graph": _random_graph,
    "teleporters": _teleporters,
}


def reachable(world: Plain) -> list[State]:
    """The non-final states that can be reached, the start first."""
    found = {world.start: None}
    queue = deque(found)
    while queue:
        state = queue.popleft()
        for action in range(world.actions):
            after, _, over = world.step(state, action)
            if not over and after not in found:
                found[after] = None
                queue.append(after)
    return list(found)


def steps_to_goal(world: Plain, start: State | None = None) -> float:
    """The least number of steps to the goal by breadth-first search; infinite if there is none."""
    start = world.start if start is None else start
    distance, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        for action in range(world.actions):
            after, won, over = world.step(state, action)
            if won:
                return distance[state] + 1
            if not over and after not in distance:
                distance[after] = distance[state] + 1
                queue.append(after)
    return math.inf


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Dense dynamics for dynamic programming.

    Attributes:
        move: float64[S, A, S], the probability of going on in each state; rows that end sum to
            less than 1.
        reward: float64[S, A], expected.
        start: the first state.
        stickiness: the probability that the previous action is executed again.
    """

    move: np.ndarray
    reward: np.ndarray
    start: int
    stickiness: float

    def execution(self) -> np.ndarray:
        """float64[A + 1, A, A]: the probability that x is executed when a is chosen after u."""
        actions = self.reward.shape[1]
        chosen = np.broadcast_to(np.eye(actions), (actions, actions, actions))
        repeated = np.broadcast_to(np.eye(actions)[:, None, :], chosen.shape)
        after = (1 - self.stickiness) * chosen + self.stickiness * repeated
        return np.concatenate([after, np.eye(actions)[None]])

    def backup(self, value: np.ndarray, gamma: float) -> np.ndarray:
        """Q float64[S, A + 1, A] of (state, previous, chosen) from V float64[S, A + 1] after."""
        carried_out = self.reward + gamma * np.einsum("sxt,tx->sx", self.move, value[:, :-1])
        return np.einsum("uax,sx->sua", self.execution(), carried_out)


def dynamics(world: Plain, stickiness: float, idle: int = 0) -> tuple[Dynamics, list[State]]:
    """Dense dynamics over the reachable states, with ``idle`` more actions that do nothing."""
    states = reachable(world)
    number = {state: i for i, state in enumerate(states)}
    move = np.zeros((len(states), world.actions + idle, len(states)))
    reward = np.zeros(move.shape[:2])
    for state, i in number.items():
        for action in range(world.actions):
            after, won, over = world.step(state, action)
            reward[i, action] = won
            if not over:
                move[i, action, number[after]] = 1
        move[i, world.actions :, i] = 1
    return Dynamics(move, reward, 0, stickiness), states


def finite_return(world: Dynamics, horizon: int, policy: np.ndarray | None = None) -> float:
    """The expected return within the horizon of a policy float[S, A], or else of the best one,
    which may look at the time and at the previous action."""
    value = np.zeros((world.reward.shape[0], world.reward.shape[1] + 1))
    for _ in range(horizon):
        q = world.backup(value, 1.0)
        value = q.max(-1) if policy is None else np.einsum("sa,sua->su", policy, q)
    return float(value[world.start, -1])


def discounted(world: Dynamics, gamma: float) -> np.ndarray:
    """Q* float64[S, A + 1, A] by value iteration over (state, previous action)."""
    value = np.zeros((world.reward.shape[0], world.reward.shape[1] + 1))
    while True:
        q = world.backup(value, gamma)
        if np.abs(q.max(-1) - value).max() < 1e-12:
            return q
        value = q.max(-1)
