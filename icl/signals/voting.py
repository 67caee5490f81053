"""Votes: many trajectories of one level answer, and one answer comes out.

After DeepConf (Fu et al. 2025, arXiv 2508.15260, section 3). Throughout, K trajectories, in the
order in which they arrive, give ``answers`` int32[..., K] of 0 … n − 1, where n is the static
``choices``; −1 is no answer and does not vote. A weight is a confidence (icl/signals/confidence.py)
and never below 0.

The share of the trajectories that are kept is called ``keep`` here, 0.1 or 0.9, for the paper's η
means two opposite things in its authors' code: see ``keep_above``.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

TAU = 0.95  # the share of the vote that is a consensus
WARMUP = 16  # trajectories that are always played


class Vote(struct.PyTreeNode):
    """What a vote came to.

    Attributes:
        winner: int32[...], the answer with the most weight, the lowest of equals; −1 where no
            weight was cast.
        share: float32[...], its share of the weight that was cast; 0 where none was.
    """

    winner: jax.Array
    share: jax.Array


def tally(answers: jax.Array, weights: jax.Array, choices: int) -> jax.Array:
    """float32[..., n]: V(a), the sum of the weights float32[..., K] of those that answer a."""
    return _ballots(answers, weights, choices).sum(-2)


def majority(answers: jax.Array, choices: int, among: jax.Array | None = None) -> Vote:
    """Vote[...]: one trajectory, one vote; of those in ``among`` bool[..., K] only, if given."""
    return weighted(answers, jnp.ones(answers.shape), choices, among)


def weighted(
    answers: jax.Array, weights: jax.Array, choices: int, among: jax.Array | None = None
) -> Vote:
    """Vote[...]: each votes with its weight float32[..., K]; of those in ``among`` bool[..., K]
    only, if given, such as those that are ``kept``."""
    if among is not None:
        weights = jnp.where(among, weights, 0.0)
    votes = tally(answers, weights, choices)
    cast = votes.sum(-1)
    winner = jnp.where(cast > 0, votes.argmax(-1), -1).astype(jnp.int32)
    return Vote(winner, _share(votes))


def keep_above(percentile: float) -> float:
    """The share that is kept where the bar is a percentile, from 0 to below 100: 90 keeps 0.1.

    So the authors' first scripts have it (``CONFIDENCE_PERCENTILE = 90`` is "DeepConf-low" and
    keeps the top 10 %). The paper's η and their later package's ``confidence_percentile`` are the
    opposite, 100 · keep: 90 is "DeepConf-high" and keeps the top 90 %.

    Raises:
        ValueError: no such percentile.
    """
    if not 0 <= percentile < 100:
        raise ValueError(f"percentile {percentile} of a bar: use 0 to below 100")
    return 1 - percentile / 100


def bar(scores: jax.Array, keep: float | jax.Array, among: jax.Array | None = None) -> jax.Array:
    """float32[...]: the score that a share of the trajectories reaches, the percentile
    100 · (1 − keep), linear between neighbours; +∞ among none.

    Args:
        scores: float32[..., K].
        keep: the share, above 0 and up to 1.
        among: bool[..., K], who is counted, by default everyone.

    Raises:
        ValueError: a number that is no share. (A traced one is not looked at.)
    """
    if isinstance(keep, int | float) and not 0 < keep <= 1:
        raise ValueError(
            f"keep {keep} is no share of trajectories; use a number above 0 and up to 1, such as "
            "0.1 for the top 10 %"
        )
    among = jnp.ones(scores.shape, bool) if among is None else among
    ordered = jnp.sort(jnp.where(among, scores, jnp.inf), axis=-1)
    last = jnp.maximum(among.sum(-1) - 1, 0)
    place = (1 - keep) * last
    # What should be a whole number often is not quite, and would then keep one too few.
    place = jnp.where(jnp.abs(place - jnp.round(place)) < 1e-3, jnp.round(place), place)
    below = jnp.floor(place).astype(jnp.int32)
    low, high = (
        jnp.take_along_axis(ordered, at[..., None], axis=-1)[..., 0]
        for at in (below, jnp.minimum(below + 1, last))
    )
    # Of equals this is exactly their value: (1 − w) · low + w · high may be more.
    return low + (place - below) * jnp.where(among.any(-1), high - low, 0.0)


def kept(scores: jax.Array, keep: float | jax.Array, among: jax.Array | None = None) -> jax.Array:
    """bool[..., K]: the trajectories whose score reaches the ``bar``, so the top share of them, and
    at least one if there are any. All level with the bar stay, in whatever order: ties keep more.
    Arguments and errors are those of ``bar``."""
    reached = scores >= bar(scores, keep, among)[..., None]
    return reached if among is None else reached & among


def consensus(
    answers: jax.Array,
    weights: jax.Array,
    choices: int,
    *,
    tau: float | jax.Array = TAU,
    warmup: int = WARMUP,
) -> jax.Array:
    """int32[...]: how many trajectories are played: at least ``warmup``, then until one answer has
    tau of the weight cast so far, at most all K, which is the budget (algorithm 2).

    Args:
        answers: int32[..., K].
        weights: float32[..., K]; 0 for those that do not vote, such as those that were stopped.
        choices: n.
        tau: the share, above 0 and up to 1.
        warmup: how many are played whatever they say.
    """
    so_far = _ballots(answers, weights, choices).cumsum(-2)
    budget = answers.shape[-1]
    number = jnp.arange(1, budget + 1)
    agreed = (_share(so_far) >= tau) & (number >= warmup)
    first = jnp.where(agreed, number, budget).min(-1)
    return first.astype(jnp.int32)


def _ballots(answers: jax.Array, weights: jax.Array, choices: int) -> jax.Array:
    """float32[..., K, n]: the weight of each trajectory in the place of its answer."""
    own = answers[..., None] == jnp.arange(choices)
    return jnp.where(own, weights[..., None], 0.0)


def _share(votes: jax.Array) -> jax.Array:
    """float32[...]: what the leading answer has of votes float32[..., n]; 0 of none."""
    cast = votes.sum(-1)
    return jnp.where(cast > 0, votes.max(-1) / jnp.where(cast > 0, cast, 1.0), 0.0)
