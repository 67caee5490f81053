"""Votes, filters and consensus, against loops in plain Python."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals.voting import bar, consensus, keep_above, kept, majority, tally, weighted

ROWS, TRACES, CHOICES = 40, 24, 3


@pytest.fixture(scope="module")
def polls():
    """Answers int32[R, K], −1 among them, some rows nearly of one mind, one without an answer; and
    weights float32[R, K] in eighths, so that sums are exact and ties are ties."""
    rng = np.random.default_rng(0)
    answers = rng.integers(-1, CHOICES, (ROWS, TRACES))
    agree = rng.random((ROWS, TRACES)) < np.linspace(0, 1, ROWS)[:, None]
    answers = np.where(agree, 1, answers).astype(np.int32)
    answers[0] = -1
    weights = (rng.integers(0, 24, (ROWS, TRACES)) / 8).astype(np.float32)
    return answers, weights


def plain_tally(answers, weights) -> list[float]:
    votes = [0.0] * CHOICES
    for answer, weight in zip(answers, weights):
        if answer >= 0:
            votes[answer] += float(weight)
    return votes


def plain_vote(answers, weights) -> tuple[int, float]:
    votes = plain_tally(answers, weights)
    if sum(votes) == 0:
        return -1, 0.0
    return votes.index(max(votes)), max(votes) / sum(votes)


def plain_consensus(answers, weights, tau: float, warmup: int) -> int:
    """The paper's loop: look at the vote so far, and play one more only where it is open."""
    number = min(warmup, len(answers))
    while number < len(answers):
        winner, share = plain_vote(answers[:number], weights[:number])
        if winner >= 0 and share >= tau:
            break
        number += 1
    return number


def test_tallies_and_votes_are_those_of_a_loop(polls):
    answers, weights = polls
    np.testing.assert_array_equal(
        tally(answers, weights, CHOICES), [plain_tally(*row) for row in zip(answers, weights)]
    )
    for found, cast in (
        (weighted(answers, weights, CHOICES), weights),
        (majority(answers, CHOICES), np.ones_like(weights)),
    ):
        expected = [plain_vote(*row) for row in zip(answers, cast)]
        assert found.winner.tolist() == [winner for winner, _ in expected]
        np.testing.assert_allclose(found.share, [share for _, share in expected], rtol=1e-6)
    assert found.winner[0] == -1 and found.share[0] == 0
    # A weight changes who wins somewhere, so the two votes are two.
    assert (weighted(answers, weights, CHOICES).winner != majority(answers, CHOICES).winner).any()


@pytest.mark.parametrize("answers", [[2, 1, 2, 1, -1], [1, 2, 1, 2, -1]])
def test_ties_go_to_the_lowest_answer(answers):
    vote = majority(jnp.array(answers), CHOICES)
    assert (int(vote.winner), float(vote.share)) == (1, 0.5)


def test_only_some_may_vote():
    answers, among = jnp.array([0, 0, 0, 2]), jnp.array([False, True, False, True])
    weights = jnp.array([1.0, 1, jnp.nan, 2])
    vote = weighted(answers, weights, CHOICES, among)
    assert (int(vote.winner), float(vote.share)) == (2, pytest.approx(2 / 3))
    assert majority(answers, CHOICES, among).winner == 0  # a tie
    nobody = majority(answers, CHOICES, jnp.zeros(4, bool))
    assert (int(nobody.winner), float(nobody.share)) == (-1, 0)


@pytest.mark.parametrize("keep", [0.05, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 2, 11, 16, 41])
def test_the_bar_is_numpys_percentile(keep, size):
    scores = np.random.default_rng(size).normal(10, 3, (5, size)).astype(np.float32)
    expected = np.percentile(scores.astype(float), 100 * (1 - keep), axis=1)
    np.testing.assert_allclose(bar(jnp.asarray(scores), keep), expected, rtol=1e-6)
    count = math.floor(keep * (size - 1) + 1e-9) + 1
    assert kept(jnp.asarray(scores), keep).sum(1).tolist() == [count] * 5


@pytest.mark.parametrize(("keep", "size", "count"), [(0.4, 101, 41), (0.9, 11, 10), (0.95, 21, 20)])
def test_rounding_does_not_lose_one(keep, size, count):
    scores = jnp.asarray(np.random.default_rng(size).permutation(size).astype(np.float32))
    for share in (keep, jnp.float32(keep)):
        assert kept(scores, share).sum() == count


def test_both_meanings_of_eta():
    scores = jnp.asarray(np.random.default_rng(0).permutation(101).astype(np.float32))
    # The scripts' 90 is the percentile of the bar and keeps the top 10 %: DeepConf-low.
    assert sorted(scores[kept(scores, keep_above(90))].tolist()) == list(range(90, 101))
    # The paper's η = 90 keeps the top 90 %: DeepConf-high, which the scripts call 10.
    assert sorted(scores[kept(scores, 0.9)].tolist()) == list(range(10, 101))
    assert keep_above(10) == 0.9
    assert keep_above(0) == 1


@pytest.mark.parametrize("keep", [10, 90, 0, -0.1, 1.5])
def test_a_percentage_is_not_taken_for_a_share(keep):
    with pytest.raises(ValueError, match=f"keep {keep} is no share"):
        kept(jnp.arange(4.0), keep)


@pytest.mark.parametrize("percentile", [100, -1])
def test_a_percentile_that_keeps_nothing_is_refused(percentile):
    with pytest.raises(ValueError, match=f"percentile {percentile}"):
        keep_above(percentile)


def test_ties_at_the_bar_stay_whatever_their_order():
    scores = jnp.array([5.0, 7, 5, 1, 5, 9])
    assert kept(scores, 0.5).tolist() == [True, True, True, False, True, True]
    assert kept(scores[::-1], 0.5).tolist() == [True, True, False, True, True, True]
    # Between equals nothing may be rounded up: all of them stay.
    for value in (0.1, 3.3, 12.7):
        for keep in (0.1, 0.37, 0.9):
            assert kept(jnp.full(7, value), keep).all()


def test_the_bar_counts_only_some():
    scores = jnp.array([[1.0, 2, 3, 99], [4, 99, 99, 99], [1, 2, 3, 4]])
    among = jnp.array([[True, True, True, False], [True, False, False, False], [False] * 4])
    found = kept(scores, 0.5, among)
    assert found.astype(int).tolist() == [[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    assert bar(scores, 0.5, among).tolist() == [2, 4, math.inf]


@functools.partial(jax.jit, static_argnames="warmup")
def agreed(answers, weights, tau, warmup):
    return consensus(answers, weights, CHOICES, tau=tau, warmup=warmup)


@pytest.mark.parametrize("warmup", [1, 6, TRACES + 5])
def test_a_consensus_stops_where_a_loop_stops(polls, warmup):
    answers, weights = polls
    numbers = []
    for tau in (0.6, 0.75, 1.0):
        found = agreed(answers, weights, tau, warmup).tolist()
        assert found == [plain_consensus(*row, tau, warmup) for row in zip(answers, weights)]
        numbers += found
    assert found[0] == TRACES  # nobody answers, so nobody agrees
    # The budget, the warm-up and what lies between have all been met.
    spread = {min(warmup, TRACES), TRACES}
    assert spread <= set(numbers) and (warmup > TRACES or len(set(numbers)) > len(spread))


def test_a_consensus_is_95_percent_of_the_vote():
    open_, closed = jnp.array([0] * 18 + [1] + [0] * 11), jnp.array([0] * 19 + [1] + [0] * 10)
    ones = jnp.ones(30)
    assert consensus(open_, ones, 2, warmup=19) == 20  # 18 of 19 are less, 19 of 20 are enough
    assert consensus(closed, ones, 2, warmup=20) == 20
    assert consensus(closed, ones, 2, warmup=16) == 16
    # Who has no weight has no say.
    assert consensus(open_, ones.at[18].set(0), 2, warmup=19) == 19
