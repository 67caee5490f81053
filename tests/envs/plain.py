"""Plain Python dynamics: what a family's documentation says, without JAX."""

import dataclasses
from collections.abc import Callable

State = tuple[int, ...]
Outcomes = list[tuple[float, State, float, bool]]
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))  # up, right, down, left


@dataclasses.dataclass(frozen=True)
class Plain:
    """Dynamics of one level.

    Attributes:
        start: the first state, its fields in a tuple, in the order of the family's State.
        actions: A.
        outcomes: (state, action) -> [(probability, successor, reward, over)], probabilities
            summing to 1.
    """

    start: State
    actions: int
    outcomes: Callable[[State, int], Outcomes]


def certain(step: Callable[[State, int], tuple[State, bool, bool]]):
    """The outcomes of a deterministic step (state, action) -> (successor, won, over): a win
    pays 1."""

    def outcomes(state: State, action: int) -> Outcomes:
        after, won, over = step(state, action)
        return [(1.0, after, float(won), bool(over))]

    return outcomes


def neighbour(cell: int, action: int, size: int) -> int:
    """The cell next to a cell, or the cell itself at the border."""
    row, column = cell // size + MOVES[action][0], cell % size + MOVES[action][1]
    return row * size + column if 0 <= row < size and 0 <= column < size else cell
