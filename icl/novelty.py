"""Novelty: how far an expert's steps lie from what was demonstrated, and what a model does there.

The distance of a step is the number of symbols in which its observation differs from the nearest
demonstrated one (agents/retrieval.py counts likewise): 0 was demonstrated, F is like nothing shown.
Symbols that a family does not use are blank everywhere and so always equal: small observations
have few distances, those of one symbol 0 and 1 only, and a picture counts as one symbol. Hence a
measure of whole episodes, too: novelty, the share of an episode's steps whose observation was not
demonstrated.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax
from flax import struct

from agents.retrieval import alike
from icl.contexts import Context

BINS = (0.0, 0.25, 0.5, 0.75, 1.0)  # of novelty: each reaches up to this, the first is 0 only


class Novelty(struct.PyTreeNode):
    """Sums and counts, so that families can be pooled; S sets, B bins.

    Attributes:
        distance: float32[S, F + 1, 2], by distance: steps, and at how many of them the model's
            most probable action is the expert's.
        episode: float32[S, B, 4], by novelty: episodes, their steps, at how many of them it is,
            and the sum of the loss over them.
    """

    distance: jax.Array
    episode: jax.Array


def novelty(context: Context, logits: jax.Array) -> Novelty:
    """Of one set, so without the axis S.

    Args:
        context: Context[n, P] whose query is the expert's episode.
        logits: float32[n, P, A], what the model says there.
    """
    query, action = context.query, context.steps.action
    away, fields = distances(context)
    agrees = query & (logits.argmax(-1) == action)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, action)
    at = query[..., None] & (away[..., None] == jnp.arange(fields + 1))
    by_distance = [at, at & agrees[..., None]]

    steps = query.sum(1)
    new = (query & (away > 0)).sum(1)
    quarters = len(BINS) - 1
    place = (quarters * new + steps - 1) // jnp.maximum(steps, 1)  # rounded up, without rounding
    own = (steps > 0)[:, None] & (place[:, None] == jnp.arange(len(BINS)))
    counts = jnp.stack([jnp.ones_like(steps), steps, agrees.sum(1)], axis=1).astype(jnp.float32)
    values = jnp.column_stack([counts, jnp.where(query, loss, 0.0).sum(1)])
    return Novelty(
        jnp.stack([part.sum((0, 1)) for part in by_distance], axis=-1).astype(jnp.float32),
        jnp.where(own[..., None], values[:, None], 0.0).sum(0),
    )


def distances(context: Context) -> tuple[jax.Array, int]:
    """The distance int32[n, P] of each position to the demonstrations of its context, and F; where
    nothing is shown it is F."""
    seen = context.steps.observation
    equal = jax.vmap(jax.vmap(alike, (0, None)))(seen, seen)  # of position -2 and position -1
    size = seen[0, 0].size
    if seen.ndim > 3:
        equal, size = (equal == size).astype(jnp.int32), 1
    shown = context.valid & ~context.query
    return size - jnp.where(shown[:, None], equal, 0).max(-1), size
