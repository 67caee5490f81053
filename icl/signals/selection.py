"""What a judge is for: scores of runs, the best of several, and the best share of many."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from icl.signals.omens import auroc
from icl.signals.thinking import Record


def area(scores: jax.Array, good: jax.Array, among: jax.Array) -> jax.Array:
    """float32[]: the AUROC of float32[L, N, S] for bool[L, N, S] over the steps that count, bool[L,
    N, S], of a level; the mean of the levels that have steps of both kinds, and one half where no
    level has."""

    def flat(x: jax.Array) -> jax.Array:
        return x.reshape(x.shape[0], -1)

    scores, good, among = flat(scores), flat(good), flat(among)
    told = (good & among).any(-1) & (~good & among).any(-1)
    # One level after the other: a level compares all pairs of its steps.
    areas = jax.lax.map(lambda given: auroc(*given), (scores, good, among), batch_size=8)
    mean = jnp.where(told, areas, 0.0).sum() / jnp.maximum(told.sum(), 1)
    return jnp.where(told.any(), mean, 0.5)


def thought(record: Record) -> jax.Array:
    """bool[...]: the live steps of the thinking; of a run without any, those of the answer."""
    thinks = record.live & ~record.answer
    return jnp.where(thinks.any(-1, keepdims=True), thinks, record.live)


def run_scores(
    steps: jax.Array, runs: jax.Array, record: Record, alpha: float | jax.Array
) -> dict[str, jax.Array]:
    """float32[...] of every run by name, before it answers.

    Args:
        steps: float32[..., S], of every step.
        runs: float32[...], of the run where its thinking ends.
        record: Record[..., S].
        alpha: α, what the run's own score weighs beside the mean of its steps'.

    Returns:
        ``mean``, ``lowest`` and ``last`` of the steps' scores, ``run``, the run's own, and
        ``joint``, mean + α · run (equation 8 of Zou et al., with the mean of the steps).
    """
    among = thought(record)
    mean = jnp.where(among, steps, 0.0).sum(-1) / jnp.maximum(among.sum(-1), 1)
    place = jnp.where(among, jnp.arange(among.shape[-1]), 0).max(-1)
    last = jnp.take_along_axis(steps, place[..., None], axis=-1)[..., 0]
    return {
        "mean": mean,
        "lowest": jnp.where(among, steps, jnp.inf).min(-1),
        "last": last,
        "run": runs,
        "joint": mean + alpha * runs,
    }


def best(scores: jax.Array, worth: jax.Array) -> jax.Array:
    """float32[L]: of float32[L, N], the worth of the run with the highest score; the first of
    equals."""
    return jnp.take_along_axis(worth, scores.argmax(-1)[:, None], axis=-1)[:, 0]


def top(scores: jax.Array, share: float) -> jax.Array:
    """int32[k]: the numbers of the best share of runs float32[R], at least one."""
    count = max(1, round(share * scores.shape[0]))
    return jax.lax.top_k(scores, count)[1]
