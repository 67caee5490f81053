"""Tokens: what each position says, and that the features say all of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.tokens import Steps, Tokens, features, tokens_of, width


def steps_of(tokens: Tokens) -> Steps:
    """Steps with the values of tokens: any numbers will do."""
    return Steps(**vars(tokens))


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (4, 1)])
def test_a_token_carries_the_outcome_of_the_one_before_it(some_tokens, shape):
    steps = steps_of(some_tokens(0, *shape))
    tokens = tokens_of(steps)
    for field in ("observation", "start", "cut"):
        np.testing.assert_array_equal(getattr(tokens, field), getattr(steps, field))
    for field, empty in (("action", -1), ("reward", 0), ("terminated", False), ("successor", -1)):
        old, new = np.asarray(getattr(steps, field)), np.asarray(getattr(tokens, field))
        assert new.dtype == old.dtype and new.shape == old.shape
        old, new = (np.moveaxis(x, len(shape) - 1, 0) for x in (old, new))
        np.testing.assert_array_equal(new[1:], old[:-1])
        assert (new[0] == empty).all()


def read_back(row: np.ndarray, fields: int, symbols: int, actions: int) -> tuple:
    """What the features of one token say, by the documented order; -1 for no indicator."""

    def index(indicators: np.ndarray) -> int:
        assert indicators.sum() in (0, 1) and set(indicators) <= {0, 1}
        return int(np.argmax(indicators)) if indicators.any() else -1

    parts = np.split(row, np.cumsum([*[symbols] * 2 * fields, actions, 1, 1, 1]))
    seen = [index(part) for part in parts[: 2 * fields + 1]]
    return seen[:fields], seen[fields : 2 * fields], seen[-1], *(float(x[0]) for x in parts[-4:])


@given(
    seed=st.integers(0, 2**20),
    fields=st.integers(1, 4),
    symbols=st.integers(1, 9),
    actions=st.integers(1, 5),
)
@settings(max_examples=60, deadline=None)
def test_features_say_everything_that_a_token_holds(seed, fields, symbols, actions):
    rng = np.random.default_rng(seed)
    token = Tokens(
        observation=rng.integers(0, symbols, fields, np.int32),
        action=rng.integers(-1, actions, (), np.int32),
        reward=np.float32(rng.uniform(-1, 1)),
        terminated=rng.random() < 0.5,
        successor=rng.integers(-1, symbols, fields, np.int32),
        start=rng.random() < 0.5,
        cut=rng.random() < 0.5,
    )
    row = features(jax.tree.map(jnp.asarray, token), symbols, actions)
    assert row.shape == (width(fields, symbols, actions),)
    assert row.dtype == jnp.float32
    said = read_back(np.asarray(row), fields, symbols, actions)
    assert said[0] == token.observation.tolist()
    assert said[1] == token.successor.tolist()
    assert said[2] == token.action
    assert said[3:] == (token.reward, token.terminated, token.start, token.cut)


def test_features_of_many_tokens_are_those_of_each(some_tokens, face):
    tokens = some_tokens(1, 3, 4)
    whole = features(tokens, face.symbols, face.actions)
    one = jax.tree.map(lambda x: x[2, 1], tokens)
    np.testing.assert_array_equal(whole[2, 1], features(one, face.symbols, face.actions))
