"""Raw levels in numbers, and chi-squared assertions about them."""

from collections import Counter

import numpy as np
from scipy import stats

import envs
from tests.envs.worlds import raw_levels

DRAWS = 24_000


def draw(name: str, **fields) -> dict[str, np.ndarray]:
    """The fields of raw levels, stacked."""
    levels = raw_levels(envs.make(name, **fields), 11, DRAWS)
    return {field: np.asarray(value) for field, value in vars(levels).items()}


def even(values: np.ndarray, expected: set | range) -> None:
    """Asserts that values are uniform over what is expected, and nothing else."""
    counts = Counter(np.asarray(values).tolist())
    assert set(counts) == set(expected)
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def share(hits: np.ndarray, probability: float) -> None:
    """Asserts that every column of hits bool[N, …] is true with the probability."""
    error = np.sqrt(probability * (1 - probability) / len(hits))
    assert np.abs(hits.mean(0) - probability).max() < 5 * error


def pairs(first: np.ndarray, second: np.ndarray, cells: int) -> np.ndarray:
    """One number for each ordered pair of different cells, in [0, cells * (cells - 1))."""
    assert (first != second).all()
    return first * (cells - 1) + second - (second > first)
