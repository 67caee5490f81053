"""What the tests of this layer share: strict dtypes, and every family's levels, drawn once."""

import functools

import jax
import pytest

import envs
from envs.levels import LevelSet, draw_levels
from tests.envs.worlds import behind


@pytest.fixture(scope="module", autouse=True)
def strict():
    """No silent promotion between int32, uint32 and float32 anywhere in the layer."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="session")
def draws():
    """draws(name, count) -> LevelSet of a family behind the wrappers, drawn once a session."""

    @functools.cache
    def draw(name: str, count: int) -> LevelSet:
        return draw_levels(behind(envs.make(name)), jax.random.key(7), count)

    return draw
