"""Intervals over seeds: levels and episodes are averaged within, seeds are the replication."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with Student's t interval.

    Attributes:
        estimate: the mean.
        low: lower end; NaN with fewer than two seeds.
        high: upper end; NaN with fewer than two seeds.
        level: confidence, 0.95 unless told otherwise.
        seeds: how many values.
    """

    estimate: float
    low: float
    high: float
    level: float
    seeds: int


def interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """The mean of one value a seed, with a t interval (a percentile bootstrap under-covers at few
    seeds).

    Raises:
        ValueError: no value, or one that is not finite.
    """
    data = np.asarray(values, float)
    if not data.size or not np.isfinite(data).all():
        raise ValueError(f"an interval needs finite values, one a seed; got {data.tolist()}")
    mean = float(data.mean())
    if data.size < 2:
        return Interval(mean, float("nan"), float("nan"), level, data.size)
    half = float(stats.t.ppf(0.5 + level / 2, data.size - 1) * data.std(ddof=1) / data.size**0.5)
    return Interval(mean, mean - half, mean + half, level, data.size)


def interquartile(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval:
    """The interquartile mean of one value a seed: the ``floor(n / 4)`` lowest and highest are left
    out, so that a seed that failed does not decide. Its interval is that of Tukey and McLaughlin
    (Sankhya A 25, 1963): the spread is that of the winsorised values, and Student's t has a degree
    of freedom for each value kept, less one. With three seeds or fewer it is the mean.

    Raises:
        ValueError: no value, or one that is not finite.
    """
    whole = interval(values, level)
    data = np.sort(np.asarray(values, float))
    cut = data.size // 4
    if not cut:
        return whole
    kept = data[cut:-cut]
    drawn_in = np.clip(data, kept[0], kept[-1])
    squares = float(((drawn_in - drawn_in.mean()) ** 2).sum())
    error = (squares / (kept.size * (kept.size - 1))) ** 0.5
    half = float(stats.t.ppf(0.5 + level / 2, kept.size - 1)) * error
    mean = float(kept.mean())
    return Interval(mean, mean - half, mean + half, level, data.size)


def paired(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of ``first - second``, both of the same seeds in the same order."""
    if len(first) != len(second):
        raise ValueError(f"paired values of the same seeds: got {len(first)} and {len(second)}")
    return interval(np.asarray(first, float) - np.asarray(second, float), level)
