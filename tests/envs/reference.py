"""References in plain Python and numpy, written from the families' documentation alone: dynamics,
breadth-first search, and dynamic programming over the enlarged state (state, previous action)."""

import dataclasses
import math
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import sparse

from tests.envs.dynamics import abstract, hazards, navigation, objects
from tests.envs.plain import Plain, State

FAMILIES = {
    **navigation.FAMILIES,
    **objects.FAMILIES,
    **hazards.FAMILIES,
    **abstract.FAMILIES,
}


def plain(name: str, level: Any) -> Plain:
    """The dynamics of a family's level, given its arrays."""
    return FAMILIES[name](level)


def deterministic(world: Plain) -> bool:
    """Every reachable action has one outcome, and a reward is 1 and the end, or nothing."""
    return all(
        len(outcomes) == 1 and outcomes[0][2] in (0, 1) and (outcomes[0][3] or not outcomes[0][2])
        for state in reachable(world)
        for outcomes in (world.outcomes(state, action) for action in range(world.actions))
    )


def reachable(world: Plain) -> list[State]:
    """The non-final states that can be reached, the start first."""
    found = {world.start: None}
    queue = deque(found)
    while queue:
        state = queue.popleft()
        for action in range(world.actions):
            for probability, after, _, over in world.outcomes(state, action):
                if probability > 0 and not over and after not in found:
                    found[after] = None
                    queue.append(after)
    return list(found)


def steps_to_goal(world: Plain, start: State | None = None) -> float:
    """The least number of steps to a reward, with luck where there is chance, by breadth-first
    search; infinite if there is none."""
    start = world.start if start is None else start
    distance, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        for action in range(world.actions):
            for probability, after, reward, over in world.outcomes(state, action):
                if probability > 0 and reward > 0:
                    return distance[state] + 1
                if probability > 0 and not over and after not in distance:
                    distance[after] = distance[state] + 1
                    queue.append(after)
    return math.inf


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Dynamics for dynamic programming.

    Attributes:
        move: for each of A actions float64[S, S], sparse or not, the probability of going on in
            each state; rows that end sum to less than 1.
        reward: float64[S, A], expected.
        start: the first state.
        stickiness: the probability that the previous action is executed again.
    """

    move: Sequence[Any]
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
        after = [move @ value[:, x] for x, move in enumerate(self.move)]
        carried_out = self.reward + gamma * np.stack(after, axis=1)
        return np.einsum("uax,sx->sua", self.execution(), carried_out)


def dynamics(world: Plain, stickiness: float, idle: int = 0) -> tuple[Dynamics, list[State]]:
    """Dynamics over the reachable states, with ``idle`` more actions that do nothing."""
    states = reachable(world)
    number, size = {state: i for i, state in enumerate(states)}, len(states)
    reward = np.zeros((size, world.actions + idle))
    flows: list[list[tuple[float, int, int]]] = [[] for _ in range(world.actions)]
    for state, i in number.items():
        for action, flow in enumerate(flows):
            for probability, after, pay, over in world.outcomes(state, action):
                reward[i, action] += probability * pay
                if probability > 0 and not over:
                    flow.append((probability, i, number[after]))
    move: list[Any] = []
    for flow in flows:
        chance, source, target = zip(*flow, strict=True) if flow else ((), (), ())
        move.append(sparse.csr_array((chance, (source, target)), shape=(size, size)))  # sums
    move += [sparse.eye_array(size, format="csr")] * idle
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
