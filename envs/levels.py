"""Sets of levels: an index becomes a level; train and test can share none.

Level ``i`` of a set is ``env.level(fold_in(key, ids[i]))``. The ids are those, in order, whose
level is admissible (solvable within the horizon, its optimal return ``env.margin`` above random
play: both exact where states can be enumerated, elsewhere an expert's and simulated), lies in the
split's bucket of the content hash, and repeats no earlier fingerprint. The bucket depends on the
content alone, so a train and a test set are disjoint by construction, whatever keys they were
drawn from.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs.core import Env, Level, Policy, advance, begin
from envs.oracle import optimal_return, random_return, solve

Split = Literal["train", "test", "all"]
BUCKETS = 8  # of which one holds the test levels
BLOCK = 1024  # draws looked at together
PATIENCE = 16  # blocks in a row without a new level before the search gives up
EPISODES = 16  # of a level, for each reference where it has to be simulated


class LevelSet(struct.PyTreeNode):
    """n different levels of one family.

    Attributes:
        env: the family, wrappers included.
        key: the key that levels are drawn from.
        ids: uint32[n], the admitted draws.
        fingerprints: uint32[n, 2], pairwise different.
        references: float32[n, 2], the expected return of random play and of the optimum: exact,
            or where states cannot be enumerated the means of 16 simulated episodes of random play
            and of the expert.
        zipf: float32[], exponent: level i is drawn with weight (i + 1) ** -zipf; 0 is uniform.
        expert: who demonstrates these levels; None is the oracle.
        solved: uint8[n, S, ceil(A / 8)], the oracle's optimal actions of every state as bits; None
            with another expert. Solved once, at admission: a level is played many times.
    """

    env: Env
    key: jax.Array
    ids: jax.Array
    fingerprints: jax.Array
    references: jax.Array
    zipf: jax.Array
    expert: Policy | None = None
    solved: jax.Array | None = None

    def level(self, index: int | jax.Array) -> Level:
        """The level with an index int32[] in [0, n)."""
        return self.env.level(jax.random.fold_in(self.key, self.ids[index]))

    def levels(self, indices: jax.Array) -> Level:
        """The levels with indices int32[L], stacked on a leading axis."""
        return jax.vmap(self.level)(indices)

    def optimal(self, indices: jax.Array) -> jax.Array | None:
        """bool[L, S, A], the optimal actions in the levels with indices int32[L], as the oracle
        remembers them; None with another expert."""
        if self.solved is None:
            return None
        bits = jnp.unpackbits(self.solved[indices], axis=-1, count=self.env.num_actions)
        return bits.astype(bool)

    def rollout_keys(self, indices: jax.Array) -> jax.Array:
        """Keys [L], one of each of the levels with indices int32[L], the same at every visit: for
        rollouts that are a level's own."""
        base = jax.random.fold_in(self.key, 2**31)  # beyond all ids
        return jax.vmap(lambda i: jax.random.fold_in(base, self.ids[i]))(indices)

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


@jax.jit
def _look(env: Env, key: jax.Array, ids: jax.Array, expert: Policy | None):
    """Of the draws with ids uint32[n]: fingerprints, references, admissibility, and the optimal
    actions where the oracle demonstrates."""

    def one(index: jax.Array):
        own = jax.random.fold_in(key, index)
        level = env.level(own)
        solved = None
        if env.num_states:
            table = env.tabulate(level)
            if expert is None:
                solved = jnp.packbits(solve(table).optimal, axis=-1)
            references = [random_return(table, env.horizon), optimal_return(table, env.horizon)]
        else:
            references = [
                _simulate(env, jax.random.fold_in(own, i), level, policy)
                for i, policy in enumerate((None, expert))
            ]
        references = jnp.stack(references)
        lead = references[1] - references[0]
        admitted = (lead >= env.margin) & (lead > 0)  # at margin 0, too, there must be a way
        return env.fingerprint(level), references, admitted, solved

    return jax.vmap(one)(ids)


def _simulate(env: Env, key: jax.Array, level: Level, policy: Policy | None) -> jax.Array:
    """float32[]: the mean return of ``EPISODES`` episodes; the policy None plays at random."""
    init_key, key = jax.random.split(key)
    memory = policy.init(init_key, env, level) if policy else None

    def episode(key: jax.Array) -> jax.Array:
        begin_key, key = jax.random.split(key)

        def step(carry, key):
            episode, memory = carry
            act_key, step_key = jax.random.split(key)
            if policy:
                action, memory = policy.act(act_key, env, level, episode.state, memory)
            else:
                action = jax.random.randint(act_key, (), 0, env.num_actions)
            episode = advance(env, step_key, level, episode, action)
            return (episode, memory), episode.timestep.reward

        first = (begin(env, begin_key, level), memory)
        return jax.lax.scan(step, first, jax.random.split(key, env.horizon))[1].sum()

    return jax.vmap(episode)(jax.random.split(key, EPISODES)).mean()


def draw_levels(
    env: Env,
    key: jax.Array,
    count: int,
    *,
    split: Split = "all",
    zipf: float = 0.0,
    expert: Policy | None = None,
) -> LevelSet:
    """Draws ``count`` different admissible levels of one split.

    Args:
        env: a family, wrappers included.
        key: consumed.
        count: n, how many.
        split: ``train``, ``test`` (one content bucket in eight) or ``all``.
        zipf: exponent of the sampling weights.
        expert: who demonstrates; None is the oracle, which needs states that can be enumerated.

    Raises:
        ValueError: there is neither oracle nor expert, or the family does not have that many (the
            search is bounded: it stops when ``PATIENCE`` blocks of draws in a row bring nothing
            new, or after 2²⁶ draws).
    """
    name = type(env.bare).__name__
    if not env.num_states and expert is None:
        raise ValueError(
            f"{name} cannot be enumerated, so its levels have no oracle: give an expert "
            "(agents/ppo.py trains one)"
        )
    ids, prints = np.zeros(0, np.uint32), np.zeros((0, 2), np.uint32)
    references, solved = [], []
    first = dry = 0
    while ids.size < count:
        drawn, values, admitted, optimal = jax.device_get(
            _look(env, key, jnp.arange(first, first + BLOCK, dtype=jnp.uint32), expert)
        )
        if split != "all":
            admitted = admitted & ((np.asarray(bucket(drawn)) == 0) == (split == "test"))
        found = np.flatnonzero(admitted)
        joined = np.concatenate([prints, drawn[found]])
        _, unique = np.unique(joined, axis=0, return_index=True)
        fresh = found[np.sort(unique[unique >= len(prints)]) - len(prints)]
        ids = np.concatenate([ids, np.asarray(first + fresh, np.uint32)])
        prints = np.concatenate([prints, drawn[fresh]])
        references.append(values[fresh])
        solved.append(None if optimal is None else optimal[fresh])
        first += BLOCK
        dry = 0 if fresh.size else dry + 1
        if ids.size < count and (dry == PATIENCE or first >= 2**26):
            raise ValueError(
                f"{name} has too few {split} levels: {count} asked for, {ids.size} "
                f"found in {first} draws; ask for fewer, or raise size or lower margin"
            )
    return LevelSet(
        env=env,
        key=key,
        ids=jnp.asarray(ids[:count]),
        fingerprints=jnp.asarray(prints[:count]),
        references=jnp.asarray(np.concatenate(references)[:count]),
        zipf=jnp.float32(zipf),
        expert=expert,
        solved=None if expert else jnp.asarray(np.concatenate(solved)[:count]),
    )


def under(levels: LevelSet, env: Env, count: int) -> LevelSet:
    """The first ``count`` levels of a set in another environment of the family, say a stickier
    one: the same levels, with the references and the optimal play of that environment."""
    ids = levels.ids[:count]
    prints, references, _, solved = _look(env, levels.key, ids, levels.expert)
    return levels.replace(
        env=env, ids=ids, fingerprints=prints, references=references, solved=solved
    )


def blank_levels(
    env: Env, key: jax.Array, count: int, *, zipf: float = 0.0, expert: Policy | None = None
) -> LevelSet:
    """What ``draw_levels`` returns, with zeros for levels: for compiling before any is drawn."""
    bits = (count, env.num_states, -(-env.num_actions // 8))
    return LevelSet(
        env=env,
        key=key,
        ids=jnp.zeros(count, jnp.uint32),
        fingerprints=jnp.zeros((count, 2), jnp.uint32),
        references=jnp.zeros((count, 2)),
        zipf=jnp.float32(zipf),
        expert=expert,
        solved=None if expert else jnp.zeros(bits, jnp.uint8),
    )


def overlap(first: LevelSet, second: LevelSet) -> list[tuple[int, int]]:
    """Pairs of indices (in the first, in the second) of levels with the same fingerprint."""
    where = {tuple(row): i for i, row in enumerate(np.asarray(first.fingerprints).tolist())}
    rows = np.asarray(second.fingerprints).tolist()
    return [(where[tuple(row)], j) for j, row in enumerate(rows) if tuple(row) in where]
