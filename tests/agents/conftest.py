"""What the tests of this layer share: tokens drawn at random."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.tokens import Tokens
from agents.transformer import Interface

FACE = Interface(fields=2, symbols=7, actions=4)


@pytest.fixture(scope="session")
def face() -> Interface:
    return FACE


@pytest.fixture(scope="session")
def some_tokens():
    """some_tokens(seed, *shape) -> Tokens[*shape] for the interface ``face``."""

    def make(seed: int, *shape: int) -> Tokens:
        rng = np.random.default_rng(seed)
        return jax.tree.map(
            jnp.asarray,
            Tokens(
                observation=rng.integers(0, FACE.symbols, (*shape, 2), np.int32),
                action=rng.integers(-1, FACE.actions, shape, np.int32),
                reward=rng.uniform(-1, 1, shape).astype(np.float32),
                terminated=rng.random(shape) < 0.3,
                successor=rng.integers(-1, FACE.symbols, (*shape, 2), np.int32),
                start=rng.random(shape) < 0.3,
                cut=rng.random(shape) < 0.3,
            ),
        )

    return make
