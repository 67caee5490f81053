"""Retrieve and play: the reader where it knows, the network where it does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.retrieval import Reader
from agents.tokens import Tokens
from icl.actor import ModelActor, ReaderActor
from icl.arms import Arm
from icl.demonstrations import show
from icl.evaluate import EvaluateConfig, evaluate
from icl.regent import RegentActor

DEMOS = 2
SHAPES = EvaluateConfig(levels=16, episodes=8, demos=DEMOS, block=8)


@pytest.fixture(scope="module")
def shown(world):
    kinds = ("whole",)
    make = jax.jit(lambda f: show(jax.random.key(0), Arm(), f, count=16, demos=DEMOS, kinds=kinds))
    return make(world.calm)


@pytest.fixture(scope="module")
def first(shown, world):
    """logits(actor, change) -> probabilities float[16, 3, A] at the first step of each level after
    k = 0, 1, 2 demonstrations; the observation is one that was demonstrated, plus ``change``."""
    contexts = jax.tree.map(lambda x: x[0, 0], shown.contexts)
    lengths = shown.lengths[0, 0]

    def logits(actor, change=0):
        def run(actor):
            seen = jnp.broadcast_to(contexts.steps.observation[:, :1], (16, DEMOS + 1, 2))
            tokens = Tokens(
                observation=seen + change,
                action=jnp.full(lengths.shape, -1),
                reward=jnp.zeros(lengths.shape),
                terminated=jnp.zeros(lengths.shape, bool),
                successor=jnp.full((*lengths.shape, 2), -1),
                start=jnp.ones(lengths.shape, bool),
                cut=jnp.zeros(lengths.shape, bool),
            )
            memory = actor.grow(actor.read(contexts, lengths), 1)
            return jax.nn.softmax(actor.logits(memory, tokens, jnp.int32(0))[0])

        return np.asarray(jax.jit(run)(actor))

    return logits


@pytest.fixture(scope="module")
def model(start):
    program, state = start()
    return ModelActor(state.parameters, program.graph)


def test_what_was_demonstrated_is_looked_up(first, model):
    blend = first(RegentActor(model, 10.0, 4))
    read = first(ReaderActor(Reader(nearest=True), 4))
    np.testing.assert_allclose(blend[:, 1:], read[:, 1:], atol=1e-6)
    np.testing.assert_allclose(blend.sum(-1), 1, atol=1e-5)


def test_without_demonstrations_the_network_plays_alone(first, model):
    np.testing.assert_allclose(first(RegentActor(model, 10.0, 4))[:, 0], first(model)[:, 0],
                               atol=1e-5)  # fmt: skip


def test_lambda_goes_from_the_reader_to_the_network(first, model):
    """On observations that differ from all that was shown."""
    novel = 1000
    read = first(ReaderActor(Reader(nearest=True), 4), novel)[:, 1:]
    alone = first(model, novel)[:, 1:]
    by_lambda = [first(RegentActor(model, x, 4), novel)[:, 1:] for x in (0.0, 1.0, 50.0)]
    np.testing.assert_allclose(by_lambda[0], read, atol=1e-6)
    np.testing.assert_allclose(by_lambda[2], alone, atol=1e-5)
    half = np.exp(-1.0) * read + (1 - np.exp(-1.0)) * alone  # d is 1: nothing is equal
    np.testing.assert_allclose(by_lambda[1], half, atol=1e-5)
    assert np.abs(read - alone).max() > 0.1


def test_around_an_untrained_network_it_plays_better_than_that(shown, world, model):
    test = jax.jit(lambda a, f, s: evaluate(a, SHAPES, jax.random.key(1), f, s))

    def success(actor):
        results = jax.device_get(test(actor, world.calm, shown))
        return np.mean([r.success[0, :, 1:].mean() for r in results])

    assert success(RegentActor(model, 10.0, 4)) > success(model) + 0.2
