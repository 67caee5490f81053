"""Readers: baselines that look the action up in the context without learning anything."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

MOST = 5  # neighbours at most


class Reader(struct.PyTreeNode):
    """Looks an observation up among the demonstrated ones. All settings are numbers, so that one
    program serves all readers.

    Attributes:
        nearest: False is the hash map (Raparthy et al., arXiv 2312.03801): an observation that is
            in the context gets the action last taken there. True reads what is nearest: the
            demonstrated observations that differ in the fewest symbols, the latest first.
        neighbours: how many of them vote, 1 to ``MOST``; a draw goes to the nearer one.
        fall_back: what a hash map does on a miss: True takes the nearest, False plays a uniform
            random action, as all do that read an empty context.
    """

    nearest: bool | jax.Array = False
    neighbours: int | jax.Array = 1
    fall_back: bool | jax.Array = False

    def logits(
        self,
        observation: jax.Array,
        seen: jax.Array,
        action: jax.Array,
        valid: jax.Array,
        num_actions: int,
    ) -> jax.Array:
        """float32[A]: 0 for the action read and -1e9 for the others; all 0 on a miss.

        Args:
            observation: int32[F], to act on (or pixels uint8[64, 64, 3]).
            seen: int32[P, F], the context's observations.
            action: int32[P], the actions chosen there.
            valid: bool[P], which of them may be read.
            num_actions: A.
        """
        equal = alike(observation, seen)
        exact = valid & (equal == observation.size)
        loose = jnp.asarray(self.nearest) | (jnp.asarray(self.fall_back) & ~exact.any())
        usable = valid & (loose | exact)
        rank = jnp.where(usable, equal * seen.shape[0] + jnp.arange(seen.shape[0]), -1)
        near, place = jax.lax.top_k(rank, min(MOST, seen.shape[0]))
        order = jnp.arange(near.shape[0])
        votes = (near >= 0) & (order < self.neighbours)
        # One vote each, and a draw goes to whom the nearest of them votes for: a half more for the
        # first, a quarter for the second …, so that no two sums are equal and all are below one.
        weight = jnp.where(votes, 1.0 + 0.5 ** (order + 1), 0.0)
        best = jnp.argmax(weight @ jax.nn.one_hot(action[place], num_actions))
        other = jnp.arange(num_actions) != best
        return jnp.where(other & usable.any(), -1e9, 0.0)


def hit(observation: jax.Array, seen: jax.Array, valid: jax.Array) -> jax.Array:
    """bool[]: whether the observation int32[F] is among those of int32[P, F] that may be read,
    bool[P]: then a hash map knows what to do."""
    return (valid & (alike(observation, seen) == observation.size)).any()


def alike(observation: jax.Array, seen: jax.Array) -> jax.Array:
    """int32[P]: how many symbols of the observations int32[P, F] equal those of int32[F]."""
    return (seen == observation).reshape(seen.shape[0], -1).sum(-1)


READERS = {
    "hash-map": Reader(),
    "nearest-neighbour": Reader(nearest=True),
    "5-nearest-neighbours": Reader(nearest=True, neighbours=5),
    "hash-map-else-nearest": Reader(fall_back=True),
}
