"""Readers: baselines that look the action up in the context without learning anything."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct


class Reader(struct.PyTreeNode):
    """Looks an observation up among the demonstrated ones.

    Attributes:
        nearest: False is the hash map (Raparthy et al., arXiv 2312.03801): an observation that is
            in the context gets the action last taken there, any other a uniform random action.
            True is the one-nearest-neighbour reader: the demonstrated observation that differs in
            the fewest symbols, the latest of those, gives the action; only an empty context
            leaves it to chance.
    """

    nearest: bool | jax.Array = False

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
        equal = (seen == observation).reshape(seen.shape[0], -1).sum(-1)
        usable = valid & (jnp.asarray(self.nearest) | (equal == observation.size))
        rank = equal * seen.shape[0] + jnp.arange(seen.shape[0])
        best = jnp.argmax(jnp.where(usable, rank, -1))
        other = jnp.arange(num_actions) != action[best]
        return jnp.where(other & usable.any(), -1e9, 0.0)


READERS = {"hash-map": Reader(nearest=False), "nearest-neighbour": Reader(nearest=True)}
