"""What the tests of signals share: trajectories with stretches of live steps of every kind, and two
small worlds."""

import dataclasses

import numpy as np
import pytest

from icl.signals.world import World
from tests.icl.signals.worlds import STICKINESS, made


@dataclasses.dataclass(frozen=True)
class Lanes:
    """Attributes:
    logits: float32[R, T, A].
    live: bool[R, T]: whole, none, shorter than a window, just a window, beginning late, at random.
    """

    logits: np.ndarray
    live: np.ndarray


@pytest.fixture(scope="session")
def lanes() -> Lanes:
    rng = np.random.default_rng(0)
    rows, horizon, actions = 60, 33, 5
    stretches = [(0, horizon), (0, 0), (0, 3), (5, 1), (0, 4), (9, 4), (10, horizon - 10)]
    for _ in range(rows - len(stretches)):
        start = rng.integers(horizon)
        stretches.append((start, rng.integers(horizon - start + 1)))
    time = np.arange(horizon)
    live = np.stack([(time >= start) & (time < start + length) for start, length in stretches])
    sharp = rng.gamma(1.5, 2, (rows, horizon, 1))  # some steps are all but certain
    logits = (sharp * rng.normal(size=(rows, horizon, actions))).astype(np.float32)
    return Lanes(logits, live)


@pytest.fixture(scope="session")
def calm() -> World:
    """Moves of two tokens, and six steps to spare."""
    return made(spelling=2, horizon=16)


@pytest.fixture(scope="session")
def sticky() -> World:
    """Moves of one token, sticky hands, four steps to spare."""
    return made(seed=1, sticky=STICKINESS, horizon=9)
