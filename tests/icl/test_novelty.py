"""Novelty: distances and their sums are those of a count by hand; pictures are one symbol."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.tokens import Steps
from icl.contexts import Context
from icl.novelty import BINS, distances, novelty

ROWS, PLACES, FIELDS, ACTIONS = 200, 14, 3, 4
SHOWN = 8  # positions of demonstrations, before the query's


@pytest.fixture(scope="module")
def random():
    """Contexts of random symbols, with queries of 1 to 6 steps, most of them shown, and logits."""
    draw = np.random.default_rng(0)
    seen = draw.integers(0, 4, (ROWS, PLACES, FIELDS)).astype(np.int32)
    copies = draw.random((ROWS, PLACES - SHOWN, 1)) < 0.6
    seen[:, SHOWN:] = np.where(copies, seen[:, : PLACES - SHOWN], seen[:, SHOWN:])
    place, length = np.arange(PLACES), draw.integers(1, PLACES - SHOWN + 1, ROWS)
    valid = place < SHOWN + length[:, None]
    logits = draw.normal(size=(ROWS, PLACES, ACTIONS)).astype(np.float32)
    return context_of(seen, valid, draw.integers(0, ACTIONS, (ROWS, PLACES))), logits


def context_of(seen, valid, action):
    none = jnp.zeros(valid.shape, bool)
    steps = Steps(
        observation=jnp.asarray(seen),
        action=jnp.asarray(action, jnp.int32),
        reward=jnp.zeros(valid.shape),
        terminated=none,
        successor=jnp.asarray(seen),
        start=none,
        cut=none,
    )
    query = valid & (np.arange(valid.shape[1]) >= SHOWN)
    nothing = jnp.zeros(valid.shape, jnp.int32)
    return Context(steps, jnp.asarray(valid), jnp.asarray(query), nothing, nothing)


def by_hand(context, logits):
    """What ``novelty`` is to return, counted step by step."""
    seen, action = np.asarray(context.steps.observation), np.asarray(context.steps.action)
    distance, episode = np.zeros((FIELDS + 1, 2)), np.zeros((len(BINS), 4))
    for row in range(len(seen)):
        own = []
        for t in np.flatnonzero(context.query[row]):
            away = min(int((seen[row, t] != seen[row, j]).sum()) for j in range(SHOWN))
            scores = logits[row, t].astype(float)
            agrees = scores.argmax() == action[row, t]
            loss = np.log(np.exp(scores).sum()) - scores[action[row, t]]
            distance[away] += 1, agrees
            own.append((away > 0, agrees, loss))
        new, agrees, loss = np.sum(own, axis=0)
        share = new / len(own)
        place = next(i for i, end in enumerate(BINS) if share <= end)
        episode[place] += 1, len(own), agrees, loss
    return distance, episode


def test_sums_are_those_counted_by_hand(random):
    context, logits = random
    found = jax.device_get(jax.jit(novelty)(context, logits))
    distance, episode = by_hand(context, logits)
    assert (distance[:3, 0] > 3).all() and (episode[:, 0] > 0).all()  # there is something in all
    np.testing.assert_array_equal(found.distance, distance)
    np.testing.assert_array_equal(found.episode[:, :3], episode[:, :3])
    np.testing.assert_allclose(found.episode[:, 3], episode[:, 3], rtol=1e-5)
    assert found.distance.dtype == found.episode.dtype == np.float32


def test_a_copy_is_at_no_distance_and_a_stranger_at_all_of_it(random):
    context, _ = random
    seen = np.array(context.steps.observation)
    seen[:, SHOWN:] = seen[:, :1]
    same = context.replace(steps=context.steps.replace(observation=jnp.asarray(seen)))
    away, fields = distances(same)
    assert fields == FIELDS and not np.asarray(away)[np.asarray(context.query)].any()
    seen[:, SHOWN:] += 5
    strange = context.replace(steps=context.steps.replace(observation=jnp.asarray(seen)))
    assert (np.asarray(distances(strange)[0])[:, SHOWN:] == FIELDS).all()
    # Padding and the episode itself are no demonstrations; without any, nothing is alike.
    alone = same.replace(valid=same.query)
    assert (np.asarray(distances(alone)[0]) == FIELDS).all()


def test_a_picture_is_one_symbol(random):
    context, logits = random
    seen = np.asarray(context.steps.observation)
    number = (seen * (1, 4, 16)).sum(-1)  # one a combination of symbols
    pictures = np.zeros((*number.shape, 4, 4, 3), np.uint8)
    pictures[..., 1, 2, 0] = number
    shown = context.replace(steps=context.steps.replace(observation=jnp.asarray(pictures)))
    found, plain = (jax.device_get(novelty(x, logits)) for x in (shown, context))
    assert found.distance.shape == (2, 2)
    np.testing.assert_array_equal(found.distance[0], plain.distance[0])
    np.testing.assert_array_equal(found.distance[1], plain.distance[1:].sum(0))
    np.testing.assert_array_equal(found.episode, plain.episode)
