"""Intervals over seeds: right against scipy, and right in how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from icl.statistics import interquartile, interval, paired

TRIALS = 4000  # the standard error of a coverage of 95 % is 0.34 points


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("seeds", "freedom"), [(2, 1), (3, 2), (4, 2), (5, 3), (7, 5)])
def test_an_interval_of_few_values_is_that_of_scipy(seeds, freedom, level):
    data = np.random.default_rng(seeds).normal(3, 2, seeds)
    found = interval(data.tolist(), level)
    low, high = stats.t.interval(level, freedom, loc=data.mean(), scale=stats.sem(data))
    assert found.estimate == pytest.approx(data.mean())
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (found.level, found.seeds) == (level, seeds)


def test_an_interval_of_many_normal_values_nears_that_of_scipy():
    data = np.random.default_rng(0).normal(3, 2, 400)
    found = interval(data)
    low, high = stats.t.interval(0.95, 399, loc=data.mean(), scale=stats.sem(data))
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_an_interval_does_not_depend_on_the_order():
    data = [0.97, 0.99, 0.98, 0.7, 0.95, 0.96, 0.9, 0.93]
    found = interval(data)
    assert interval(data[::-1]) == found
    assert found.high - found.low > np.ptp(stats.t.interval(0.95, 7, scale=stats.sem(data)))


def test_a_paired_interval_is_that_of_scipy():
    rng = np.random.default_rng(0)
    base = rng.normal(0, 5, 7)
    first, second = base + rng.normal(1, 0.1, 7), base
    found = paired(first, second)
    test = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((test.low, test.high))
    # The seeds' own spread cancels: unpaired, the same values say nothing.
    assert found.low > 0.5 > interval(first).low


def coverage(draw: np.ndarray, truth: float, level: float = 0.95) -> float:
    """The share of the rows of draw float[trials, seeds] whose interval holds the truth."""
    intervals = [interval(row, level) for row in draw]
    return float(np.mean([x.low <= truth <= x.high for x in intervals]))


SCORES = {
    "normal": (lambda rng, size: rng.normal(0.4, 0.1, size), 0.4),
    "skewed": (lambda rng, size: rng.gamma(4, 0.1, size), 0.4),
    "bounded": (lambda rng, size: rng.beta(8, 2, size), 0.8),
}


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize("scores", SCORES)
def test_95_percent_intervals_cover_95_percent(scores, seeds):
    draw, truth = SCORES[scores]
    drawn = draw(np.random.default_rng(100 + seeds), (TRIALS, seeds))
    assert 0.93 <= coverage(drawn, truth) <= 0.97
    # The same check sees intervals that are too narrow: 90 % ones.
    assert coverage(drawn[:2000], truth, level=0.90) < 0.93


def test_what_student_t_leaves_uncovered_is_covered():
    """Near a bound, ten seeds: t covers less than 93 %."""
    drawn = np.random.default_rng(1).beta(5, 1, (TRIALS, 10))
    half = stats.t.ppf(0.975, 9) * drawn.std(axis=1, ddof=1) / 10**0.5
    assert np.mean(np.abs(drawn.mean(1) - 5 / 6) <= half) < 0.93 <= coverage(drawn, 5 / 6) <= 0.97


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_interquartile_means_cover_what_they_say(seeds):
    drawn = np.random.default_rng(seeds).normal(0.4, 0.1, (TRIALS, seeds))
    found = [interquartile(row) for row in drawn]
    assert 0.925 <= np.mean([x.low <= 0.4 <= x.high for x in found]) <= 0.97
    # One seed in four that failed moves the mean, and hardly the interquartile mean.
    broken = drawn.copy()
    broken[:, 0] = -5.0
    assert np.mean([interquartile(row).estimate for row in broken]) > 0.3
    assert broken.mean() < 0.2
    assert interquartile([0.1, 0.2, 0.6]) == interval([0.1, 0.2, 0.6])


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_two_equal_arms_differ_in_few_false_alarms(seeds):
    rng = np.random.default_rng(seeds)
    level = rng.normal(0, 1, (TRIALS, seeds))  # what both arms of a seed share
    first, second = (level + rng.normal(0, 0.1, level.shape) for _ in range(2))
    found = [paired(a, b) for a, b in zip(first, second, strict=True)]
    alarms = np.mean([x.low > 0 or x.high < 0 for x in found])
    assert 0.04 <= alarms <= 0.06
    shifted = [paired(a, b) for a, b in zip(first + 0.3, second, strict=True)]
    assert np.mean([x.low > 0 for x in shifted]) > 0.9  # and a difference is seen


def test_equal_values_have_an_interval_of_no_width():
    found = interval([0.25, 0.25, 0.25])
    assert (found.estimate, found.low, found.high) == (0.25, 0.25, 0.25)


def test_one_seed_has_an_estimate_and_no_interval():
    found = paired([0.75], [0.5])
    assert (found.estimate, found.seeds) == (0.25, 1)
    assert math.isnan(found.low) and math.isnan(found.high)


@pytest.mark.parametrize("values", [[], [math.nan, 1.0], [1.0, math.inf]])
def test_values_that_are_none_or_not_finite_are_refused(values):
    with pytest.raises(ValueError, match="finite values, one a seed"):
        interval(values)


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="got 3 and 2"):
        paired([1.0, 2.0, 3.0], [1.0, 2.0])
