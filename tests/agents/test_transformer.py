"""The decoder: causal (contract 4), and the same through its cache (contract 5)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from agents import tokens as tokens_lib
from agents import transformer
from agents.attention import BLOCK
from agents.transformer import Cache, ModelConfig, define

SMALL = ModelConfig(width=16, layers=2, heads=2)
LENGTH = BLOCK + 6  # crosses a block of queries
ASKED = (0, 1, 20, BLOCK - 1, BLOCK, LENGTH - 1)


@pytest.fixture(scope="module")
def model(face):
    """(graph, parameters) of a small model."""
    return define(SMALL, face, jax.random.key(0))


@functools.partial(jax.jit, static_argnums=0)
def _forward(graph, parameters, tokens):
    return nnx.merge(graph, parameters)(tokens)


def forward(model, tokens) -> np.ndarray:
    """Logits float[B, T, A] of Tokens[B, T], compiled once a shape."""
    return np.asarray(_forward(*model, tokens))


def influence(model, tokens, face) -> np.ndarray:
    """float[asked, A, T, W]: the gradient of the logits at the positions ``ASKED`` with respect to
    every feature of every position, through embedding, blocks and head."""
    graph, parameters = model

    def logits(features):
        decoder = nnx.merge(graph, parameters)
        x = decoder.embed(features)
        for block in decoder.blocks:
            x, _ = block(x)
        return decoder._logits(x)[0, jnp.array(ASKED)]

    features = tokens_lib.features(tokens, face.symbols, face.actions)
    gradient, value = jax.jit(jax.jacrev(lambda x: (logits(x),) * 2, has_aux=True))(features)
    whole = jax.jit(lambda t: nnx.merge(graph, parameters)(t))(tokens)[0, jnp.array(ASKED)]
    np.testing.assert_allclose(value, whole, atol=1e-5)  # it is the model's own path
    return np.asarray(gradient)[:, :, 0]


def looks_ahead(gradient: np.ndarray) -> bool:
    """Whether any logit depends on an input after it."""
    return any(gradient[i, :, t + 1 :].any() for i, t in enumerate(ASKED))


def test_logits_depend_on_nothing_after_them(model, some_tokens, face):
    gradient = influence(model, some_tokens(0, 1, LENGTH), face)
    assert gradient.shape[:3] == (len(ASKED), face.actions, LENGTH)
    assert not looks_ahead(gradient)
    for i, t in enumerate(ASKED):  # but on everything up to them
        assert gradient[i, :, : t + 1].any(axis=(0, 2)).all()


def test_attention_is_what_the_layers_mix_by(model, some_tokens):
    """Of every layer: causal, sums to 1, and put in the place of attention gives its output."""
    graph, parameters = model
    tokens = some_tokens(2, 3, LENGTH)

    @jax.jit
    def layers(parameters, tokens):
        """The attention, and of each layer its output and the one that the attention gives."""
        decoder = nnx.merge(graph, parameters)
        seen, x, pairs = decoder.attention(tokens), decoder._embed(tokens), []
        for block, looks in zip(decoder.blocks, seen):
            after, (_, value) = block(x)
            pairs.append((after, block.finish(x, jnp.einsum("bhqk,bhkd->bqhd", looks, value))))
            x = after
        return seen, pairs

    seen, pairs = layers(parameters, tokens)
    assert seen.shape == (SMALL.layers, 3, SMALL.heads, LENGTH, LENGTH)
    assert seen.dtype == jnp.float32
    assert not np.triu(seen, 1).any()
    np.testing.assert_allclose(seen.sum(-1), 1, atol=1e-5)
    assert len(pairs) == SMALL.layers
    for whole, mixed in pairs:
        np.testing.assert_allclose(mixed, whole, atol=1e-4)
    assert np.abs(seen[0] - seen[1]).max() > 0.01


def bidirectional(query, key, value):
    weights = jax.nn.softmax(jnp.einsum("bhqd,bhkd->bhqk", query, key), axis=-1)
    return jnp.einsum("bhqk,bhkd->bhqd", weights, value)


def one_too_far(query, key, value):
    seen = jnp.tril(jnp.ones((query.shape[2],) * 2, bool), 1)
    scores = jnp.where(seen, jnp.einsum("bhqd,bhkd->bhqk", query, key), -1e30)
    return jnp.einsum("bhqk,bhkd->bhqd", jax.nn.softmax(scores, axis=-1), value)


@pytest.mark.parametrize("twin", [bidirectional, one_too_far])
def test_attention_that_looks_ahead_is_found(model, some_tokens, face, monkeypatch, twin):
    monkeypatch.setattr(transformer, "attend", twin)
    assert looks_ahead(influence(model, some_tokens(0, 1, LENGTH), face))


def through_cache(model, contexts, episodes, lengths, *, first: int, shift: int = 0) -> np.ndarray:
    """float[C, N, T, A]: logits of episodes Tokens[C, N, T] on contexts Tokens[C, P], one token at
    a time; the growing cache has room for ``first`` of them, and grows once."""
    graph, parameters = model
    times = episodes.action.shape[2]

    @jax.jit
    def prefill(contexts):
        decoder = nnx.merge(graph, parameters)
        return decoder.prefill(contexts), decoder.empty(*lengths.shape, first)

    @jax.jit
    def decode(prefix, own, tokens, time):
        return nnx.merge(graph, parameters).decode(tokens, prefix, lengths + shift, own, time)

    prefix, own = prefill(contexts)
    more = ((0, 0),) * 3 + ((0, times - first), (0, 0))
    found = []
    for time in range(times):
        if time == first:
            own = Cache(*jax.tree.map(lambda x: jnp.pad(x, more), (own.keys, own.values)))
        tokens = jax.tree.map(lambda x, time=time: x[:, :, time], episodes)
        logits, own = decode(prefix, own, tokens, jnp.int32(time))
        found.append(np.asarray(logits))
    return np.stack(found, axis=2)


@pytest.fixture(scope="module")
def rows(some_tokens):
    """Contexts [2, 9], episodes [2, 3, 40] and how much of its context each row sees."""
    lengths = jnp.array([[0, 3, 9], [0, 2, 7]], jnp.int32)
    return some_tokens(1, 2, 9), some_tokens(2, 2, 3, 40), lengths


def full_forward(model, contexts, episodes, lengths) -> np.ndarray:
    """float[C, N, T, A]: the same logits from whole rows, no cache."""
    times = episodes.action.shape[2]
    found = []
    for c, n in np.ndindex(*lengths.shape):
        length = int(lengths[c, n])
        pieces = (
            jax.tree.map(lambda x, c=c: x[c, :length], contexts),  # noqa: B023
            jax.tree.map(lambda x, c=c, n=n: x[c, n], episodes),
            jax.tree.map(lambda x, c=c: x[c, length:], contexts),  # noqa: B023
        )
        # What the row does not see stands behind it as padding: one shape, and causal.
        row = jax.tree.map(lambda *x: jnp.concatenate(x)[None], *pieces)
        found.append(forward(model, row)[0, length : length + times])
    return np.stack(found).reshape(*lengths.shape, times, -1)


def test_the_cache_gives_the_logits_of_the_full_forward_pass(model, rows):
    found = through_cache(model, *rows, first=32)
    expected = full_forward(model, *rows)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    # Nothing depends on where the cache grew.
    np.testing.assert_allclose(through_cache(model, *rows, first=40), found, atol=1e-5)


def test_a_cache_that_reads_one_position_too_many_is_found(model, rows):
    contexts, episodes, lengths = rows
    found = through_cache(model, contexts, episodes, lengths, first=40, shift=1)
    assert np.abs(found - full_forward(model, *rows)).max() > 1e-2


def test_padding_never_changes_valid_logits(model, some_tokens):
    tokens, other = some_tokens(3, 2, LENGTH), some_tokens(4, 2, LENGTH)
    for valid in (1, 30, BLOCK, LENGTH - 1):
        changed = jax.tree.map(
            lambda x, y, valid=valid: jnp.concatenate([x[:, :valid], y[:, valid:]], 1),
            tokens,
            other,
        )
        one, two = forward(model, tokens), forward(model, changed)
        np.testing.assert_array_equal(one[:, :valid], two[:, :valid])
        assert (one[:, valid:] != two[:, valid:]).any()


def test_rows_of_a_batch_do_not_meet(model, some_tokens):
    tokens = some_tokens(5, 3, 12)
    whole = forward(model, tokens)
    one = forward(model, jax.tree.map(lambda x: x[1:2], tokens))
    np.testing.assert_allclose(whole[1:2], one, atol=1e-5)


def test_half_precision_runs_near_the_whole(face, some_tokens):
    tokens = some_tokens(6, 2, 12)
    graph, parameters = define(
        dataclasses.replace(SMALL, dtype="bfloat16"), face, jax.random.key(0)
    )
    assert {x.dtype for x in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    logits = forward((graph, parameters), tokens)
    assert logits.dtype == jnp.float32 and np.isfinite(logits).all()
    exact = forward(define(SMALL, face, jax.random.key(0)), tokens)
    np.testing.assert_allclose(logits, exact, atol=0.15)
    assert (logits != exact).any()


def test_attention_gets_half_precision(face, some_tokens, monkeypatch):
    """A stray float32 scalar would send all of it through the slow path."""
    seen = []
    whole = transformer.attend

    def listens(*arrays):
        seen.extend(x.dtype for x in arrays)
        return whole(*arrays)

    monkeypatch.setattr(transformer, "attend", listens)
    config = dataclasses.replace(SMALL, dtype="bfloat16")
    graph, parameters = define(config, face, jax.random.key(0))
    nnx.merge(graph, parameters)(some_tokens(6, 2, 12))
    assert seen == [jnp.bfloat16] * 3 * SMALL.layers


def test_recomputing_blocks_changes_no_gradient(face, some_tokens):
    tokens = some_tokens(7, 2, 12)
    gradients = []
    for remat in (False, True):
        config = dataclasses.replace(SMALL, remat=remat)
        graph, parameters = define(config, face, jax.random.key(0))
        loss = lambda p, graph=graph: jnp.square(nnx.merge(graph, p)(tokens)).mean()  # noqa: E731
        gradients.append(jax.tree.leaves(jax.jit(jax.grad(loss))(parameters)))
    for plain, again in zip(*gradients, strict=True):
        np.testing.assert_allclose(again, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("width", "heads"), [(16, 3), (6, 2), (15, 5)])
def test_widths_that_heads_cannot_share_are_refused(face, width, heads):
    message = f"width {width} over {heads} heads: .* even whole number; change width or heads"
    with pytest.raises(ValueError, match=message):
        define(ModelConfig(width=width, heads=heads), face, jax.random.key(0))


def test_the_key_gives_the_parameters(face, model):
    same, other = (define(SMALL, face, jax.random.key(i))[1] for i in (0, 1))
    jax.tree.map(np.testing.assert_array_equal, same, model[1])
    assert any((a != b).any() for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(same)))
