"""Judgements: an episode beside the oracle, and where it first went wrong."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.oracle import Solution, doomed


class Judgement(struct.PyTreeNode):
    """Episodes beside the oracle.

    Attributes:
        optimal: bool[..., T, A], the optimal actions at every step.
        doomed: bool[..., T + 1], before every step and after the last: nothing can be earned any
            more, as in every final state.
        wrong: int32[...], the first step whose chosen action is not optimal; -1 if there is none.
        lost: int32[...], the first step that pays nothing and after which nothing can be earned;
            -1 if there is none.
    """

    optimal: jax.Array
    doomed: jax.Array
    wrong: jax.Array
    lost: jax.Array


def judge(
    solution: Solution,
    states: jax.Array,
    action: jax.Array,
    reward: jax.Array,
    terminated: jax.Array,
    running: jax.Array,
) -> Judgement:
    """One episode beside the oracle.

    Args:
        solution: of its level.
        states: int32[T + 1], before every step and after the last; of final ones any number.
        action: int32[T], chosen.
        reward: float32[T].
        terminated: bool[T], the episode has ended in a final state, by this step or before.
        running: bool[T], the step took place.
    """
    final = jnp.concatenate([jnp.zeros(1, bool), terminated])
    optimal = solution.optimal[states[:-1]]
    hopeless = final | doomed(solution)[states]
    right = jnp.take_along_axis(optimal, action[:, None], axis=1)[:, 0]
    loses = ~hopeless[:-1] & hopeless[1:] & (reward <= 0)

    def first(where: jax.Array) -> jax.Array:
        return jnp.where(where.any(), jnp.argmax(where), -1).astype(jnp.int32)

    return Judgement(optimal, hopeless, first(running & ~right), first(running & loses))
