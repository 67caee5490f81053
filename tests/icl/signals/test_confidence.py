"""Local confidence, against loops in plain Python."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals.confidence import SCORES, default_window, groups, token_confidence, where

WINDOW = 4


def plain_confidence(logits: np.ndarray, k: int) -> float:
    """Of one step."""
    values = [float(x) for x in logits]
    total = math.log(sum(math.exp(x - max(values)) for x in values)) + max(values)
    logs = sorted((max(x - total, -20.0) for x in values), reverse=True)
    return -sum(logs[:k]) / k


def plain_groups(confidence: list[float], window: int) -> list[float]:
    """Of the live steps of one trajectory."""
    steps = len(confidence)
    if steps < window:
        return [sum(confidence) / steps] if steps else []
    return [sum(confidence[i : i + window]) / window for i in range(steps - window + 1)]


def plain_scores(confidence: list[float], window: int) -> dict[str, float]:
    ordered = sorted(plain_groups(confidence, window))
    if not ordered:
        return dict.fromkeys(SCORES, 0.0)
    lowest = ordered[: max(1, math.floor(0.1 * len(ordered)))]
    tail = confidence[-window:]
    return {
        "mean": sum(confidence) / len(confidence),
        "bottom-10": sum(lowest) / len(lowest),
        "lowest": ordered[0],
        "tail": sum(tail) / len(tail),
    }


@jax.jit
def everything(logits: jax.Array, live: jax.Array):
    confidence = token_confidence(logits)
    found = groups(confidence, live, WINDOW)
    scores = {name: score(confidence, live, WINDOW) for name, score in SCORES.items()}
    return confidence, found, scores, where(confidence, live, WINDOW)


@pytest.fixture(scope="module")
def found(lanes):
    return jax.device_get(everything(lanes.logits, lanes.live))


@pytest.mark.parametrize("k", [None, 1, 2, 5])
def test_the_confidence_of_a_step_is_that_of_the_definition(lanes, k):
    some = lanes.logits[:3]
    expected = [[plain_confidence(x, k or 5) for x in row] for row in some]
    np.testing.assert_allclose(
        token_confidence(jnp.asarray(some), k), expected, rtol=1e-5, atol=1e-6
    )


def test_confidence_of_uniform_certain_and_forbidden_actions():
    logits = jnp.array([[0.0, 0, 0, 0], [1000, 0, 0, 0], [0, 0, -jnp.inf, -jnp.inf]])
    log2 = math.log(2)
    np.testing.assert_allclose(token_confidence(logits), [2 * log2, 15, (40 + 2 * log2) / 4])
    # The most probable action alone turns the meaning round: what is certain has the least.
    np.testing.assert_allclose(token_confidence(logits, 1), [2 * log2, 0, log2])


@pytest.mark.parametrize("k", [0, 5])
def test_k_has_to_be_a_number_of_actions(k):
    with pytest.raises(ValueError, match=f"k {k} of a confidence over 4 actions"):
        token_confidence(jnp.zeros((2, 4)), k)


def test_the_default_window_is_8_percent_and_at_least_4():
    found = {horizon: default_window(horizon) for horizon in (1, 16, 50, 51, 100, 175, 176, 1000)}
    assert found == {1: 4, 16: 4, 50: 4, 51: 5, 100: 8, 175: 14, 176: 15, 1000: 80}
    with pytest.raises(ValueError, match="horizon 0"):
        default_window(0)


def test_groups_lie_wholly_inside_the_live_steps(lanes, found):
    confidence, windows, _, _ = found
    for row, live in enumerate(lanes.live):
        expected = plain_groups(confidence[row][live].tolist(), WINDOW)
        start = int(live.argmax())
        begins = np.arange(len(expected)) + start  # a short one begins where its trajectory does
        np.testing.assert_array_equal(np.flatnonzero(windows.exists[row]), begins)
        np.testing.assert_allclose(windows.mean[row][begins], expected, rtol=1e-5)
        assert not windows.mean[row][~windows.exists[row]].any()


@pytest.mark.parametrize("name", SCORES)
def test_the_scores_of_a_trajectory_are_those_of_the_definitions(lanes, found, name):
    confidence, _, scores, _ = found
    rows = [plain_scores(c[live].tolist(), WINDOW) for c, live in zip(confidence, lanes.live)]
    np.testing.assert_allclose(scores[name], [row[name] for row in rows], rtol=1e-5)
    # The others are others: the comparison could have failed.
    for other in set(SCORES) - {name}:
        assert not np.allclose(scores[name], [row[other] for row in rows], rtol=1e-3)


def test_the_lowest_group_is_found_where_it_begins(lanes, found):
    confidence, _, scores, places = found
    for row, live in enumerate(lanes.live):
        if not live.any():
            assert places[row] == -1
            continue
        expected = np.argmin(plain_groups(confidence[row][live].tolist(), WINDOW)) + live.argmax()
        assert places[row] == expected
        stretch = confidence[row][expected : expected + WINDOW][live[expected:][:WINDOW]]
        assert stretch.mean() == pytest.approx(scores["lowest"][row], rel=1e-5)


def test_of_equal_groups_the_first_is_the_lowest():
    flat = jnp.ones((1, 6))
    live = jnp.array([[False, True, True, True, True, True]])
    assert where(flat, live, 2).tolist() == [1]


@pytest.mark.parametrize("noise", [np.nan, np.inf, 50.0])
def test_what_lies_outside_the_live_steps_does_not_matter(lanes, found, noise):
    bumps = noise * np.random.default_rng(1).normal(size=lanes.logits.shape)
    with np.errstate(invalid="ignore"):
        perturbed = np.where(lanes.live[..., None], lanes.logits, bumps).astype(np.float32)
    _, windows, scores, places = jax.device_get(everything(perturbed, lanes.live))
    np.testing.assert_array_equal(windows.mean, found[1].mean)
    np.testing.assert_array_equal(windows.exists, found[1].exists)
    np.testing.assert_array_equal(places, found[3])
    for name in SCORES:
        np.testing.assert_array_equal(scores[name], found[2][name])


def test_what_lies_inside_the_live_steps_matters(lanes, found):
    louder = jnp.where(lanes.live[..., None], 2 * lanes.logits, lanes.logits)
    scores = everything(louder, lanes.live)[2]
    for name in SCORES:
        assert ((scores[name] > found[2][name]) == lanes.live.any(1)).all()


def test_a_window_longer_than_the_horizon_is_the_whole_trajectory():
    confidence, live = jnp.array([[1.0, 2, 6]]), jnp.ones((1, 3), bool)
    for name, score in SCORES.items():
        assert score(confidence, live, 7).tolist() == [3.0], name
    with pytest.raises(ValueError, match="window 0"):
        groups(confidence, live, 0)


def test_leading_axes_are_free():
    confidence = jnp.arange(24.0).reshape(2, 3, 4)
    live = jnp.ones((2, 3, 4), bool)
    for score in (*SCORES.values(), where):
        alone = [[score(confidence[i, j], live[i, j], 2) for j in range(3)] for i in range(2)]
        np.testing.assert_array_equal(score(confidence, live, 2), alone)
