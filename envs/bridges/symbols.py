"""Symbols of numbers: how observations that are boxes of numbers become symbols."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

MOST = 1024  # symbols that a vocabulary may need for one observation
UNBOUNDED = 1e6  # larger bounds are no bounds


@dataclasses.dataclass(frozen=True, eq=False)
class Alphabet:
    """Whole numbers are counted from their lower bound; fractions fall into bins.

    Attributes:
        shape: of an observation.
        count: V; symbols are int32 in [0, V).
        low: the whole number that is symbol 0.
        edges: float32[F, V - 1], where each field's bins meet, or None of whole numbers.
    """

    shape: tuple[int, ...]
    count: int
    low: int = 0
    edges: np.ndarray | None = None

    @property
    def fields(self) -> int:
        """F: symbols of one observation."""
        return int(np.prod(self.shape, dtype=int))

    def __call__(self, observation: jax.Array) -> jax.Array:
        """int32[F]: the symbols of numbers [*shape]; those out of bounds count as the nearest."""
        numbers = jnp.ravel(jnp.asarray(observation))
        if self.edges is None:
            return jnp.clip(numbers.astype(jnp.int32) - self.low, 0, self.count - 1)
        above = numbers.astype(jnp.float32)[:, None] >= jnp.asarray(self.edges)
        return above.sum(-1, dtype=jnp.int32)


def whole(shape: tuple[int, ...], low: int, high: int) -> Alphabet:
    """Of whole numbers from ``low`` to ``high``, the same symbol for the same number everywhere.

    Raises:
        ValueError: they are too many.
    """
    if not 0 <= high - low < MOST:
        raise ValueError(f"it shows whole numbers from {low} to {high}, more than {MOST} symbols")
    return Alphabet(shape, high - low + 1, low=low)


def binned(shape: tuple[int, ...], low: np.ndarray, high: np.ndarray, bins: int) -> Alphabet:
    """Of fractions, ``bins`` symbols to a field: equally wide between its bounds; where there are
    none, equally wide in x / (1 + |x|)."""
    size = int(np.prod(shape, dtype=int))
    low, high = (np.broadcast_to(np.asarray(x, float), shape).reshape(size, 1) for x in (low, high))
    share = np.arange(1, bins) / bins
    inside = low + (high - low) * share
    squashed = 2 * share - 1
    outside = np.broadcast_to(squashed / (1 - np.abs(squashed)), inside.shape)
    bounded = (np.abs(low) < UNBOUNDED) & (np.abs(high) < UNBOUNDED)
    edges = np.where(bounded, inside, outside).astype(np.float32)
    return Alphabet(shape, bins, edges=edges)
