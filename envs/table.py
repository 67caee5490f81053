"""The transition table of one level: all that exact computation needs."""

from __future__ import annotations

import jax
from flax import struct


class Table(struct.PyTreeNode):
    """Dynamics of one level over S numbered states, A actions and K outcomes of each.

    Attributes:
        target: int32[S, A, K], the number of the successor (ignored where terminated).
        probability: float32[S, A, K], summing to 1 over K.
        reward: float32[S, A, K].
        terminated: bool[S, A, K].
        start: int32[], the first state.
        stickiness: float32[], the probability that the action executed before is executed again
            in place of the chosen one (never at the first step). It makes the Markov state
            (state, previous action); keeping it apart from the table keeps the table small.
    """

    target: jax.Array
    probability: jax.Array
    reward: jax.Array
    terminated: jax.Array
    start: jax.Array
    stickiness: jax.Array
