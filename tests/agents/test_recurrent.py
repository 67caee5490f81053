"""The recurrent model: causal, the same step by step, and interchangeable with the transformer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents.recurrent import Recurrent
from agents.tokens import features
from agents.transformer import ModelConfig, define

SMALL = ModelConfig(width=16, layers=2, heads=2, kind="recurrent")


@pytest.fixture(scope="module", params=["step", "interleaved"])
def model(face, request):
    """(graph, parameters) of a small model."""
    return define(dataclasses.replace(SMALL, tokens=request.param), face, jax.random.key(0))


logits_of = jax.jit(
    lambda graph, parameters, tokens: nnx.merge(graph, parameters)(tokens), static_argnums=0
)


def test_logits_depend_on_nothing_after_them_and_on_all_before(model, some_tokens):
    tokens, other = some_tokens(3, 2, 12), some_tokens(4, 2, 12)
    one = np.asarray(logits_of(*model, tokens))
    assert one.shape[:2] == (2, 12)
    for place in (0, 5, 11):
        changed = jax.tree.map(lambda x, y, p=place: x.at[:, p].set(y[:, p]), tokens, other)
        two = np.asarray(logits_of(*model, changed))
        np.testing.assert_array_equal(one[:, :place], two[:, :place])
        assert (one[:, place:] != two[:, place:]).any(axis=(0, 2)).all()


def test_the_gradient_reaches_nothing_after_a_logit_and_all_before(some_tokens, face):
    graph, parameters = define(SMALL, face, jax.random.key(0))
    tokens = some_tokens(5, 1, 9)

    @jax.jit
    @jax.jacrev
    def influence(given):
        """float[T, A, 1, T, W]"""
        whole = nnx.merge(graph, parameters)
        x = whole.embed(given)
        for block in whole.blocks:
            x, _ = block(x)
        return whole._logits(x)[0]

    found = np.asarray(influence(features(tokens, face.symbols, face.actions)))
    reaches = (found != 0).any(axis=(1, 2, 4))
    np.testing.assert_array_equal(reaches, np.tri(9, dtype=bool))


def test_step_by_step_it_gives_the_logits_of_the_full_forward_pass(model, some_tokens):
    graph, parameters = model
    contexts, episodes = some_tokens(1, 2, 9), some_tokens(2, 2, 3, 6)
    lengths = jnp.array([[0, 3, 9], [0, 2, 7]], jnp.int32)

    @jax.jit
    def acted(parameters):
        whole = nnx.merge(graph, parameters)
        assert isinstance(whole, Recurrent)
        prefix, own, found = whole.prefill(contexts), whole.empty(2, 3, 0), []
        for time in range(6):
            own = whole.grow(own, 1)
            tokens = jax.tree.map(lambda x, t=time: x[:, :, t], episodes)
            logits, own = whole.decode(tokens, prefix, lengths, own, jnp.int32(time))
            found.append(logits)
        return jnp.stack(found, axis=2)

    found = np.asarray(acted(parameters))
    for c, n in np.ndindex(2, 3):
        length = int(lengths[c, n])
        pieces = (
            jax.tree.map(lambda x, c=c, k=length: x[c, :k], contexts),
            jax.tree.map(lambda x, c=c, n=n: x[c, n], episodes),
        )
        row = jax.tree.map(lambda *x: jnp.concatenate(x)[None], *pieces)
        expected = np.asarray(logits_of(graph, parameters, row))[0, length:]
        np.testing.assert_allclose(found[c, n], expected, atol=1e-5)


def test_it_has_about_as_many_parameters_as_the_transformer(face):
    sizes = {}
    for kind in ("transformer", "recurrent"):
        _, parameters = define(ModelConfig(width=64, layers=2, heads=2, kind=kind), face,
                               jax.random.key(0))  # fmt: skip
        sizes[kind] = sum(x.size for x in jax.tree.leaves(parameters))
    assert 1 < sizes["recurrent"] / sizes["transformer"] < 1.3  # 15 width^2 a block, against 12


def test_it_looks_at_nothing(model, some_tokens):
    seen = nnx.merge(*model).attention(some_tokens(0, 3, 4))
    assert seen.shape == (2, 3, 2, 4, 4) and not seen.any()
