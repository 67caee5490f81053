"""Readers: against a reading in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.retrieval import READERS, Reader, hit

ACTIONS, PLACES, FIELDS = 4, 8, 3


@jax.jit
def read(reader: Reader, observation, seen, action, valid):
    return reader.logits(observation, seen, action, valid, ACTIONS)


found_there = jax.jit(hit)


def expected(reader: Reader, observation, seen, action, valid) -> int | None:
    """The action read, or None on a miss."""
    places = [place for place in range(PLACES) if valid[place]]

    def differing(place: int) -> int:
        return sum(a != b for a, b in zip(observation, seen[place], strict=True))

    exact = [place for place in places if differing(place) == 0]
    if not reader.nearest:
        places = exact or (places if reader.fall_back else [])
    near = sorted(places, key=lambda place: (differing(place), -place))[: int(reader.neighbours)]
    if not near:
        return None
    actions = [int(action[place]) for place in near]
    most = max(actions.count(a) for a in actions)
    tied = [a for a in actions if actions.count(a) == most]
    if len(set(tied)) == 1:
        return tied[0]
    return min(set(tied), key=actions.index)  # a draw goes to the nearest's


def said(logits) -> int | None:
    """The action of logits that leave no doubt, or None of logits that leave all."""
    assert logits.shape == (ACTIONS,) and logits.dtype == jnp.float32
    p = np.asarray(jax.nn.softmax(logits))
    if (p == 1 / ACTIONS).all():
        return None
    assert sorted(p) == [0.0] * (ACTIONS - 1) + [1.0]
    return int(p.argmax())


@given(
    seed=st.integers(0, 2**20),
    symbols=st.integers(1, 3),
    count=st.integers(0, PLACES),
    name=st.sampled_from(sorted(READERS)),
)
@settings(max_examples=300, deadline=None)
def test_a_reader_reads_as_plain_python_does(seed, symbols, count, name):
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, symbols, (PLACES, FIELDS), np.int32)
    action = rng.integers(0, ACTIONS, PLACES, np.int32)
    valid = rng.permutation(np.arange(PLACES) < count)
    observation = rng.integers(0, symbols, FIELDS, np.int32)
    logits = read(READERS[name], observation, seen, action, valid)
    want = expected(READERS[name], observation, seen, action, valid)
    assert said(logits) == want
    # What a hash map reads, and only that, is a hit.
    known = expected(READERS["hash-map"], observation, seen, action, valid) is not None
    assert bool(found_there(observation, seen, valid)) == known


@pytest.fixture
def book():
    """Observations [1 2 3], [1 2 4], [1 2 3], [9 9 9] with actions 0, 1, 2, 3."""
    seen = jnp.array([[1, 2, 3], [1, 2, 4], [1, 2, 3], [9, 9, 9]] * 2, jnp.int32)
    action = jnp.array([0, 1, 2, 3] * 2, jnp.int32)
    return seen, action, jnp.arange(8) < 4


@pytest.mark.parametrize(
    ("name", "observation", "action"),
    [
        ("hash-map", [1, 2, 3], 2),  # the last of two matches
        ("hash-map", [1, 2, 4], 1),
        ("hash-map", [1, 2, 5], None),
        ("nearest-neighbour", [1, 2, 3], 2),
        ("nearest-neighbour", [1, 2, 4], 1),  # exact beats later
        ("nearest-neighbour", [1, 2, 5], 2),  # three at one symbol's distance: the latest
        ("nearest-neighbour", [9, 9, 5], 3),
        ("nearest-neighbour", [7, 7, 7], 3),  # all alike far: the latest
    ],
)
def test_what_is_read_from_a_book(book, name, observation, action):
    found = read(READERS[name], jnp.array(observation, jnp.int32), *book)
    assert said(found) == action


def test_a_draw_of_five_goes_to_the_nearest():
    """Two votes each for the first and fourth, the second and third."""
    seen = jnp.array([[1, 2, 3], [1, 2, 9], [1, 9, 9], [9, 9, 9], [8, 8, 8]] + [[7] * 3] * 3)
    action = jnp.array([1, 0, 0, 1, 2, 3, 3, 3])
    valid = jnp.arange(8) < 5
    found = read(READERS["5-nearest-neighbours"], jnp.array([1, 2, 3]), seen, action, valid)
    assert said(found) == 1


@pytest.mark.parametrize("name", sorted(READERS))
def test_nothing_is_read_that_is_not_valid(book, name):
    seen, action, valid = book
    observation = jnp.array([1, 2, 3], jnp.int32)
    assert said(read(READERS[name], observation, seen, action, valid & (action < 2))) == 0
    assert said(read(READERS[name], observation, seen, action, valid & False)) is None


def test_readers_are_data(book):
    """Two readers side by side, as runs are: one program."""
    names = ("hash-map", "nearest-neighbour")
    both = jax.tree.map(lambda *x: jnp.array(x), *(READERS[name] for name in names))
    observation = jnp.array([1, 2, 5], jnp.int32)
    logits = jax.vmap(read, in_axes=(0, None, None, None, None))(both, observation, *book)
    assert [said(row) for row in logits] == [None, 2]
