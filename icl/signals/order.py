"""The order of training: what every order is predicted to come to, from trainings of one task each.

Omni-Thinker (arXiv 2507.14783) trains task after task, in the order that backward transfer tells.
b[i, j] is by how much the score of task j changes when task i is trained. It leaves open how an
order follows from them; here: what j has reached is changed by each task that is trained after it,

    Score(order) = constant + Σ b[i, j] over the pairs in which j comes before i,

so that the best order is that of a linear ordering problem, found by looking at all of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MOST = 6  # tasks: 720 orders
Order = tuple[int, ...]


def orders(tasks: int) -> list[Order]:
    """All orders of so many tasks.

    Raises:
        ValueError: there are too many to look at.
    """
    if not 1 <= tasks <= MOST:
        raise ValueError(f"{tasks} tasks: all orders of 1 to {MOST} can be looked at; take fewer")
    return list(itertools.permutations(range(tasks)))


def transfer(start: ArrayLike, after: ArrayLike) -> np.ndarray:
    """float[K, K], b[i, j]: the score of task j after training on i, ``after`` [K, K], less that of
    the checkpoint where all of these trainings began, ``start`` [K]."""
    return np.asarray(after, float) - np.asarray(start, float)


def predicted(moved: np.ndarray, order: Order) -> float:
    """Σ b[i, j] over the pairs in which j comes before i, of ``moved`` = b [K, K]."""
    pairs = itertools.combinations(order, 2)
    return float(np.sum([moved[i, j] for j, i in pairs]))


def ranked(moved: np.ndarray) -> list[Order]:
    """All orders of K tasks, the one that is predicted to be the best first."""
    return sorted(orders(len(moved)), key=lambda order: -predicted(moved, order))


def agreement(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of them does not vary."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """The correlation of two tables b [K, K] over the pairs of different tasks; 0 where one of them
    does not vary."""
    between = ~np.eye(len(first), dtype=bool)
    one, other = np.asarray(first)[between], np.asarray(second)[between]
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def standing(scores: Sequence[float], index: int) -> float:
    """The share of the others that score higher than ``scores[index]``, ties by half: 0 is the
    best, 1 the last, and by chance it is 1/2."""
    data = np.asarray(scores, float)
    better, like = (data > data[index]).sum(), (data == data[index]).sum() - 1
    return float((better + like / 2) / max(data.size - 1, 1))


def additive(given: Sequence[Order], scores: Sequence[float]) -> float:
    """The share of the variance of the measured scores that some table b can explain, fitted to
    them by least squares: what a prediction from pairs could come to at best."""
    pairs = list(itertools.combinations(range(len(given[0])), 2))
    first = [[1.0, *(order.index(a) < order.index(b) for a, b in pairs)] for order in given]
    table, data = np.asarray(first, float), np.asarray(scores, float)
    rest = data - table @ np.linalg.lstsq(table, data, rcond=None)[0]
    whole = ((data - data.mean()) ** 2).sum()
    return float(1 - (rest**2).sum() / whole) if whole else 1.0
