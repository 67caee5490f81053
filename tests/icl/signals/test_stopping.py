"""Online stopping: a Guard in a scan, against the groups of complete trajectories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals.confidence import groups, lowest, token_confidence
from icl.signals.stopping import Guard, account, stops, threshold, until
from icl.signals.voting import keep_above

WINDOW = 4


@jax.jit
def guarded(guard: Guard, logits: jax.Array, live: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(stop, taken) bool[R, T]: what the guard says at each step, and the steps that take place
    where each lane is frozen once it says stop."""

    def lane(logits: jax.Array, live: jax.Array):
        def step(carry, inputs):
            watch, frozen = carry
            logits, live = inputs
            taken = live & ~frozen
            watch, stop = guard.look(watch, logits, taken)
            return (watch, stop), (stop, taken)

        return jax.lax.scan(step, (guard.begin(), jnp.zeros((), bool)), (logits, live))[1]

    return jax.vmap(lane)(logits, live)


@jax.jit
def offline(logits: jax.Array, live: jax.Array):
    confidence = token_confidence(logits)
    return confidence, groups(confidence, live, WINDOW), lowest(confidence, live, WINDOW)


def plain_stop(confidence: np.ndarray, live: np.ndarray, bar: float) -> int:
    """A loop over the steps of one lane."""
    window: list[float] = []
    for time in np.flatnonzero(live):
        window = [*window, float(confidence[time])][-WINDOW:]
        if len(window) == WINDOW and sum(window) / WINDOW < bar:
            return int(time)
    return -1


def margin(mean: np.ndarray, bar: float) -> float:
    """How close a group comes to the bar: closer than rounding, and a step may differ."""
    return float(np.abs(mean - bar).min())


@pytest.mark.parametrize("quantile", [0.02, 0.2, 0.5, 0.9])
def test_a_guard_stops_at_the_first_low_group(lanes, quantile):
    confidence, found, lows = jax.device_get(offline(lanes.logits, lanes.live))
    bar = np.float32(np.quantile(lows[lanes.live.any(1)], quantile) + 1e-3)
    assert margin(found.mean[found.exists], bar) > 1e-5
    stop, taken = jax.device_get(guarded(Guard(bar, WINDOW), lanes.logits, lanes.live))

    expected = [plain_stop(c, live, bar) for c, live in zip(confidence, lanes.live)]
    assert stops(confidence, lanes.live, WINDOW, bar).tolist() == expected
    first = np.where(stop.any(1), stop.argmax(1), -1)
    assert first.tolist() == expected
    assert (np.diff(stop.astype(int), axis=1) >= 0).all()  # a lane that has stopped stays so
    np.testing.assert_array_equal(taken, until(lanes.live, jnp.array(expected)))

    # Of those that fill a window, exactly those whose lowest group is below the bar stop.
    full = lanes.live.sum(1) >= WINDOW
    np.testing.assert_array_equal(first[full] >= 0, lows[full] < bar)
    assert 0 < (first >= 0).sum() < full.sum()


def test_a_twin_that_stops_before_its_window_is_full_is_found(lanes):
    """The comparison above can fail: the same guard, believing that it has seen a window."""

    class Hasty(Guard):
        def begin(self):
            return super().begin().replace(seen=jnp.int32(self.window))

    bar = jnp.float32(3.0)
    stop = guarded(Guard(bar, WINDOW), lanes.logits, lanes.live)[0]
    assert (guarded(Hasty(bar, WINDOW), lanes.logits, lanes.live)[0] != stop).any()


def test_short_trajectories_never_stop(lanes):
    short = lanes.live.sum(1) < WINDOW
    stop, taken = guarded(Guard(jnp.float32(1e9), WINDOW), lanes.logits, lanes.live)
    assert not stop[short].any()
    assert stop[~short].any(1).all()
    np.testing.assert_array_equal(taken[short], lanes.live[short])
    confidence = token_confidence(lanes.logits)
    found = stops(confidence, lanes.live, WINDOW, jnp.float32(1e9))
    expected = np.where(short, -1, lanes.live.argmax(1) + WINDOW - 1)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("noise", [np.nan, 50.0])
def test_what_lies_outside_the_live_steps_does_not_matter(lanes, noise):
    bumps = noise * np.random.default_rng(1).normal(size=lanes.logits.shape)
    perturbed = np.where(lanes.live[..., None], lanes.logits, bumps).astype(np.float32)
    guard = Guard(jnp.float32(3.0), WINDOW)
    before, after = (guarded(guard, x, lanes.live) for x in (lanes.logits, perturbed))
    np.testing.assert_array_equal(before[0], after[0])
    one, other = (
        stops(token_confidence(x), lanes.live, WINDOW, guard.threshold)
        for x in (lanes.logits, perturbed)
    )
    np.testing.assert_array_equal(one, other)
    assert (one >= 0).any()


def test_a_step_exactly_at_the_threshold_goes_on():
    logits = jnp.zeros((1, 6, 4))  # uniform: log 4 at each step, and so the mean of any two
    live = jnp.ones((1, 6), bool)
    level = token_confidence(logits)[0, 0]
    assert not guarded(Guard(level, 2), logits, live)[0].any()
    above = jnp.nextafter(level, jnp.float32(9))
    assert guarded(Guard(above, 2), logits, live)[0].tolist() == [[False] + [True] * 5]


def test_a_guard_that_has_said_stop_says_nothing_else():
    guard = Guard(jnp.float32(3.0), 2)
    watch, said = guard.begin(), []
    look = jax.jit(Guard.look)
    for sharpness in (9.0, 0.0, 0.0, 9.0, 9.0):  # confidence comes back
        watch, stop = look(guard, watch, jnp.array([sharpness, 0, 0]), jnp.ones((), bool))
        said.append(bool(stop))
    assert said == [False, False, True, True, True]


def test_levels_have_a_threshold_each(lanes):
    bars = jnp.array([0.0, 3.0, 1e9])
    together = jax.vmap(guarded, in_axes=(0, None, None))(
        Guard(bars, WINDOW), lanes.logits, lanes.live
    )[0]
    for bar, found in zip(bars, together):
        expected = guarded(Guard(bar, WINDOW), lanes.logits, lanes.live)[0]
        np.testing.assert_array_equal(found, expected)
    rows = jnp.broadcast_to(token_confidence(lanes.logits), (3, *lanes.live.shape))
    found = stops(rows, jnp.broadcast_to(lanes.live, rows.shape), WINDOW, bars[:, None])
    np.testing.assert_array_equal(found >= 0, together.any(-1))


def test_an_empty_window_is_refused():
    with pytest.raises(ValueError, match="window 0 of a guard"):
        Guard(jnp.float32(1), 0).begin()


@pytest.mark.parametrize(("percentile", "eta"), [(90, 10), (10, 90)])
def test_the_threshold_is_a_percentile_of_the_lowest_groups(lanes, percentile, eta):
    warmup = slice(7, 23)
    confidence, _, lows = jax.device_get(offline(lanes.logits, lanes.live))
    expected = np.percentile(lows[warmup].astype(float), percentile)  # as the scripts have it
    for keep in (eta / 100, keep_above(percentile)):
        found = threshold(confidence[warmup], lanes.live[warmup], WINDOW, keep)
        assert found == pytest.approx(expected, rel=1e-5)
    other = threshold(confidence[warmup], lanes.live[warmup], WINDOW, 1 - eta / 100)
    assert abs(other - expected) > 0.1  # the other meaning is another threshold


def plain_account(live, stop, warmup: int, used: int) -> tuple[int, list[bool]]:
    actions, votes = 0, []
    for trace, (steps, last) in enumerate(zip(live, stop)):
        votes.append(bool(trace < used and last < 0))
        for time in np.flatnonzero(steps):
            actions += trace < used and (trace < warmup or last < 0 or time <= last)
    return int(actions), votes


@pytest.mark.parametrize("frozen", [False, True])
def test_the_account_counts_live_steps_up_to_the_stop(lanes, frozen):
    warmup = 3
    live = lanes.live.reshape(4, 15, -1)  # 4 levels of 15 trajectories
    confidence = token_confidence(lanes.logits).reshape(live.shape)
    stop = np.asarray(stops(confidence, live, WINDOW, jnp.float32(3.0)))
    used = np.array([15, 3, 9, 14], np.int32)
    expected = [plain_account(*row, warmup, n) for *row, n in zip(live, stop, used)]
    whole = [plain_account(*row, warmup, 15) for row in zip(live, stop)]
    if frozen:  # lanes behind the warm-up end where they were stopped
        live = np.where(np.arange(15)[:, None] < warmup, live, until(live, stop))
    found = account(jnp.asarray(live), jnp.asarray(stop), warmup=warmup, used=jnp.asarray(used))
    assert found.actions.tolist() == [actions for actions, _ in expected]
    assert found.votes.tolist() == [votes for _, votes in expected]
    everyone = account(jnp.asarray(live), jnp.asarray(stop), warmup=warmup)
    assert everyone.actions.tolist() == [actions for actions, _ in whole]
    assert everyone.votes.tolist() == [votes for _, votes in whole]
    assert (everyone.actions < lanes.live.reshape(4, -1).sum(1)).all()  # something was saved
    assert (stop[:, :warmup] >= 0).any()  # and some of the warm-up has no vote
