"""What a trajectory-aware reward model learns to say (ReasonFlux-PRM, arXiv 2506.18896).

A step of thinking has three scores: how like it is to a step of the answer, how good it is in
itself, and whether it follows from the step before it. They are mixed by a softmax over themselves,
so that the loudest is heard most. A whole run has one: how often a policy succeeds that is given
what the thinking found. A judge of language says how good a step is; here the oracle does, and the
belief of one who does not know the level.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from icl.signals.thinking import Record

TERMS = ("alignment", "quality", "coherence")
NEIGHBOUR = 0.5  # of a symbol in the embedding, beside the symbol itself


class Terms(struct.PyTreeNode):
    """Which of the scores are mixed, bool[] each, traced; ``information`` is a part of quality.

    Attributes:
        alignment: with the answer.
        quality: of the step.
        information: as a part of quality; without it quality is that of the best action alone.
        expected: information is what a step promised to tell, else what it happened to tell.
        coherence: with the step before.
    """

    alignment: bool | jax.Array = True
    quality: bool | jax.Array = True
    information: bool | jax.Array = True
    expected: bool | jax.Array = True
    coherence: bool | jax.Array = True


class Scores(struct.PyTreeNode):
    """Of steps [..., S].

    Attributes:
        value: float32[..., S, 3], in the order of TERMS.
        there: bool[..., S, 3], it is defined: an answer is not aligned with itself, and a first
            step follows from none.
    """

    value: jax.Array
    there: jax.Array


def embedding(record: Record, num_symbols: int, num_actions: int) -> jax.Array:
    """float32[..., W], of length 1: Φ of a step. Equal parts are what was seen before, what was
    done and what was seen after it; symbols that are neighbours are somewhat alike."""
    symbols = jnp.arange(num_symbols)

    def seen(x: jax.Array) -> jax.Array:
        away = jnp.abs(x[..., None] - symbols)
        near = jnp.where(away == 0, 1.0, jnp.where(away == 1, NEIGHBOUR, 0.0))
        near /= jnp.linalg.norm(near, axis=-1, keepdims=True)
        return near.reshape(*near.shape[:-2], -1) / jnp.sqrt(x.shape[-1])

    action = (record.action[..., None] == jnp.arange(num_actions)).astype(jnp.float32)
    parts = [seen(record.observation), action, seen(record.successor)]
    return jnp.concatenate(parts, axis=-1) / jnp.sqrt(3.0)


def alignment(phi: jax.Array, record: Record) -> tuple[jax.Array, jax.Array]:
    """float32[L, N, S], bool[L, N, S]: the cosine of every step of thinking and the step of the
    run's answer that it is most alike, and where there is one. The paper pairs steps by number;
    attempts and answers have no common count, so the nearest is taken."""
    answer = record.answer & record.live
    near = jnp.einsum("...sw,...tw->...st", phi, phi)
    near = jnp.where(answer[..., None, :], near, -1.0).max(-1)
    return near, record.live & ~record.answer & answer.any(-1, keepdims=True)


def quality(record: Record, terms: Terms) -> jax.Array:
    """float32[...] in [0, 1]: 1 for an optimal action, else the information that it was good for,
    as a share of what there was to be had."""
    told = jnp.where(jnp.asarray(terms.expected), record.promise, jnp.clip(record.drop, 0.0, 1.0))
    told = jnp.where(jnp.asarray(terms.information), told, 0.0)
    return jnp.maximum(record.optimal.astype(jnp.float32), told)


def coherence(
    phi: jax.Array,
    record: Record,
    key: jax.Array,
    negatives: int = 16,
    temperature: float | jax.Array = 0.1,
) -> tuple[jax.Array, jax.Array]:
    """float32[L, N, S], bool[L, N, S]: the logarithm of the InfoNCE of the step before and the
    step, against steps of other levels; and where there is one before.

    Args:
        phi: float32[L, N, S, W].
        record: Record[L, N, S].
        key: consumed.
        negatives: drawn among all live steps, the same for all; those of the step's own level do
            not count.
        temperature: of the cosines.
    """
    levels = record.live.shape[0]
    weight = jnp.where(record.live, 0.0, -jnp.inf).reshape(-1)
    drawn = jax.random.categorical(key, weight, shape=(negatives,))
    bank, home = phi.reshape(-1, phi.shape[-1])[drawn], drawn // (weight.size // levels)
    before = jnp.roll(phi, 1, axis=-2)
    with_step = (before * phi).sum(-1) / temperature
    with_others = jnp.einsum("...w,nw->...n", before, bank) / temperature
    foreign = home != jnp.arange(levels)[:, None, None, None]
    with_others = jnp.where(foreign, with_others, -jnp.inf)
    every = jnp.concatenate([with_step[..., None], with_others], axis=-1)
    first = jnp.arange(phi.shape[-2]) == 0
    return with_step - jax.nn.logsumexp(every, axis=-1), record.live & ~first


def mixed(scores: Scores, terms: Terms) -> jax.Array:
    """float32[..., S]: r = Σ softmax(r)_k r_k over the scores that are defined and wanted; 0 where
    none is."""
    wanted = jnp.stack([jnp.asarray(getattr(terms, name)) for name in TERMS])
    used = scores.there & wanted
    loud = jnp.where(used, scores.value, -jnp.inf)
    loud = jnp.where(used.any(-1, keepdims=True), loud, 0.0)
    return (jax.nn.softmax(loud) * jnp.where(used, scores.value, 0.0)).sum(-1)


def step_labels(
    record: Record,
    key: jax.Array,
    num_symbols: int,
    num_actions: int,
    terms: Terms,
    temperature: float | jax.Array = 0.1,
) -> jax.Array:
    """float32[L, N, S]: the label of every step of Record[L, N, S]; the key is consumed."""
    phi = embedding(record, num_symbols, num_actions)
    aligned, has_answer = alignment(phi, record)
    follows, has_before = coherence(phi, record, key, temperature=temperature)
    worth = quality(record, terms)
    value = jnp.stack([aligned, worth, follows], axis=-1)
    there = jnp.stack([has_answer, record.live, has_before], axis=-1)
    return mixed(Scores(value, there), terms)
