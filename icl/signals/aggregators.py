"""Aggregators: what a step is paid of the gains of its piece and of those behind it.

A run is cut into pieces, and each piece has gained something (``credit.difference``). Its steps may
be paid that gain alone, or what the gains from there to the run's end come to, in one of the ways
below: functions of Lanes[L, N, T], where pieces begin bool[L, N, T] and the gain of every step's
piece float32[L, N, T], that give credit float32[L, N, T], 0 at steps that are not live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from icl.signals.lanes import Lanes

SMALL = 1e-6
TENTH = 0.1

Aggregator = Callable[[Lanes, jax.Array, jax.Array], jax.Array]


def own(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The gain of the step's own piece: VinePPO and SPO."""
    return jnp.where(lanes.live, gain, 0.0)


def total(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The sum of all that is still gained: the return of usual reinforcement from step rewards."""
    return jnp.where(lanes.live, _later(jnp.where(_ends(lanes, starts), gain, 0.0)), 0.0)


def mean(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The mean of the gains still to come, a piece counted once."""
    left = _later(_ends(lanes, starts).astype(jnp.float32))
    return total(lanes, starts, gain) / jnp.maximum(left, 1)


def tail(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The gain of the run's last piece, for all steps."""
    ends = _ends(lanes, starts)
    last = ends & (_later(ends.astype(jnp.float32)) == 1)
    return jnp.where(lanes.live, jnp.where(last, gain, 0.0).sum(-1, keepdims=True), 0.0)


def bottom(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The mean of the lowest tenth of the gains still to come, of one at least."""
    ends = _ends(lanes, starts)
    time = jnp.arange(ends.shape[-1])
    behind = ends[..., None, :] & (time >= time[:, None])  # [L, N, step, piece's end]
    rising = jnp.sort(jnp.where(behind, gain[..., None, :], jnp.inf), axis=-1)
    left = behind.sum(-1, keepdims=True)
    kept = time < jnp.maximum(jnp.ceil(TENTH * left), 1)
    lowest = jnp.where(kept & (time < left), rising, 0.0).sum(-1)
    return jnp.where(lanes.live, lowest / jnp.maximum(kept.sum(-1), 1), 0.0)


def least(lanes: Lanes, starts: jax.Array, gain: jax.Array) -> jax.Array:
    """The least of the gains still to come."""
    ends = jnp.where(_ends(lanes, starts), gain, jnp.inf)
    return jnp.where(lanes.live, jax.lax.cummin(ends, axis=ends.ndim - 1, reverse=True), 0.0)


def soft_least(
    lanes: Lanes, starts: jax.Array, gain: jax.Array, temperature: float | jax.Array = 0.1
) -> jax.Array:
    """What is left of a run's worst piece from a step on: PURE (Cheng et al. 2025, arXiv
    2504.15275), equations 6 and 7. Each piece's gain is weighted by softmax(−gain / temperature)
    over all pieces of the run, and a step is paid the sum over its own piece and the later ones.
    Near 0 temperature that is the least gain of the run up to the worst piece, and 0 behind it.

    Args:
        lanes: Lanes[L, N, T].
        starts: bool[L, N, T], where pieces begin.
        gain: float32[L, N, T], of a step's piece.
        temperature: above 0.
    """
    ends = _ends(lanes, starts)
    weight = jnp.where(ends, -gain / temperature, -jnp.inf)
    top = jnp.max(weight, axis=-1, keepdims=True)
    part = jnp.exp(weight - jnp.where(jnp.isfinite(top), top, 0.0))
    shaped = part / jnp.maximum(part.sum(-1, keepdims=True), SMALL) * gain
    return jnp.where(lanes.live, _later(jnp.where(ends, shaped, 0.0)), 0.0)


AGGREGATORS: Mapping[str, Aggregator] = {
    "own": own,
    "sum": total,
    "mean": mean,
    "tail": tail,
    "bottom-10": bottom,
    "min": least,
    "soft-min": soft_least,
}


def _ends(lanes: Lanes, starts: jax.Array) -> jax.Array:
    """bool[L, N, T]: the last step of every piece, which stands for it."""
    after = [jnp.pad(x[..., 1:], ((0, 0), (0, 0), (0, 1))) for x in (starts, lanes.live)]
    return lanes.live & (after[0] | ~after[1])


def _later(x: jax.Array) -> jax.Array:
    """The sum over a step and all behind it."""
    return jnp.flip(jnp.cumsum(jnp.flip(x, -1), axis=-1), -1)
