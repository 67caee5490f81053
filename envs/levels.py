"""Sets of levels: an index becomes a level; train and test can share none.

Level ``i`` of a set is ``env.level(fold_in(key, ids[i]))``. The ids are those, in order, whose
level is admissible (solvable within the horizon, its exact optimal return ``env.margin`` above
random play), lies in the split's bucket of the content hash, and repeats no earlier fingerprint.
The bucket depends on the content alone, so a train and a test set are disjoint by construction,
whatever keys they were drawn from.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Env, Level
from envs.oracle import optimal_return, random_return

Split = Literal["train", "test", "all"]
BUCKETS = 8  # of which one holds the test levels
BLOCK = 1024  # draws looked at together
PATIENCE = 16  # blocks in a row without a new level before the search gives up


class LevelSet(struct.PyTreeNode):
    """n different levels of one family.

    Attributes:
        env: the family, wrappers included.
        key: the key that levels are drawn from.
        ids: uint32[n], the admitted draws.
        fingerprints: uint32[n, 2], pairwise different.
        references: float32[n, 2], the exact expected return of random play and of the optimum.
        zipf: float32[], exponent: level i is drawn with weight (i + 1) ** -zipf; 0 is uniform.
    """

    env: Env
    key: jax.Array
    ids: jax.Array
    fingerprints: jax.Array
    references: jax.Array
    zipf: jax.Array

    def level(self, index: int | jax.Array) -> Level:
        """The level with an index int32[] in [0, n)."""
        return self.env.level(jax.random.fold_in(self.key, self.ids[index]))

    def levels(self, indices: jax.Array) -> Level:
        """The levels with indices int32[L], stacked on a leading axis."""
        return jax.vmap(self.level)(indices)

    def sample(self, key: jax.Array, count: int) -> jax.Array:
        """int32[count]: different indices, drawn one after the other by weight without
        replacement (the ``count`` largest of Gumbel-perturbed log weights). The key is consumed."""
        size = self.ids.shape[0]
        weight = -self.zipf * jnp.log1p(jnp.arange(size, dtype=jnp.float32))
        noise = jax.random.gumbel(key, (size,))
        return jax.lax.top_k(weight + noise, count)[1].astype(jnp.int32)


def bucket(fingerprint: jax.Array | np.ndarray) -> jax.Array:
    """int32[...]: the bucket of a fingerprint uint32[..., 2]."""
    return (jnp.asarray(fingerprint)[..., 1] % BUCKETS).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="count")
def _draw(env: Env, key: jax.Array, first: jax.Array, *, count: int):
    """Fingerprints, references and admissibility of the draws first … first + count - 1."""

    def one(index: jax.Array):
        level = env.level(jax.random.fold_in(key, index))
        table = env.tabulate(level)
        references = jnp.stack(
            [random_return(table, env.horizon), optimal_return(table, env.horizon)]
        )
        lead = references[1] - references[0]
        admitted = (lead >= env.margin) & (lead > 0)  # at margin 0, too, there must be a way
        return env.fingerprint(level), references, admitted

    return jax.vmap(one)(first + jnp.arange(count, dtype=jnp.uint32))


def draw_levels(
    env: Env, key: jax.Array, count: int, *, split: Split = "all", zipf: float = 0.0
) -> LevelSet:
    """Draws ``count`` different admissible levels of one split.

    Args:
        env: an enumerable family, wrappers included.
        key: consumed.
        count: n, how many.
        split: ``train``, ``test`` (one content bucket in eight) or ``all``.
        zipf: exponent of the sampling weights.

    Raises:
        ValueError: the family does not have that many (the search is bounded: it stops when
            ``PATIENCE`` blocks of draws in a row bring nothing new, or after 2²⁶ draws).
    """
    if not env.num_states:
        raise ValueError(
            f"{type(env).__name__} cannot be enumerated; its levels cannot be admitted"
        )
    ids, prints, references = np.zeros(0, np.uint32), np.zeros((0, 2), np.uint32), []
    first = dry = 0
    while ids.size < count:
        drawn, values, admitted = map(np.asarray, _draw(env, key, jnp.uint32(first), count=BLOCK))
        if split != "all":
            admitted = admitted & ((np.asarray(bucket(drawn)) == 0) == (split == "test"))
        found = np.flatnonzero(admitted)
        joined = np.concatenate([prints, drawn[found]])
        _, unique = np.unique(joined, axis=0, return_index=True)
        fresh = found[np.sort(unique[unique >= len(prints)]) - len(prints)]
        ids = np.concatenate([ids, np.asarray(first + fresh, np.uint32)])
        prints = np.concatenate([prints, drawn[fresh]])
        references.append(values[fresh])
        first += BLOCK
        dry = 0 if fresh.size else dry + 1
        if ids.size < count and (dry == PATIENCE or first >= 2**26):
            raise ValueError(
                f"{type(env).__name__} has too few {split} levels: {count} asked for, {ids.size} "
                f"found in {first} draws; ask for fewer, or raise size or lower margin"
            )
    return LevelSet(
        env=env,
        key=key,
        ids=jnp.asarray(ids[:count]),
        fingerprints=jnp.asarray(prints[:count]),
        references=jnp.asarray(np.concatenate(references)[:count]),
        zipf=jnp.float32(zipf),
    )


def overlap(first: LevelSet, second: LevelSet) -> list[tuple[int, int]]:
    """Pairs of indices (in the first, in the second) of levels with the same fingerprint."""
    where = {tuple(row): i for i, row in enumerate(np.asarray(first.fingerprints).tolist())}
    rows = np.asarray(second.fingerprints).tolist()
    return [(where[tuple(row)], j) for j, row in enumerate(rows) if tuple(row) in where]
