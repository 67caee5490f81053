"""Contexts: an arm arranges one pool of groups into what the transformer reads.

The experimental variable lives here and nowhere else. An arm is a permutation: every arm lays out
the *same* steps [level, rollout, time], only in another order. Each trajectory is cut on the grid
[0, c), [c, 2c) … of the horizon; one whole trajectory, the query, stays in a slot of its context;
the other cells, empty and partial ones included, are dealt to the remaining slots; only then are
the rows packed, valid steps first.

Every setting of an arm is a number and so a traced leaf: one compiled program serves all arms.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from agents.tokens import Steps, Tokens, tokens_of
from envs.rollout import Trajectories
from icl.arms import WHOLE, Arm

jax.tree_util.register_dataclass(
    Arm,
    data_fields=["chunk", "burstiness", "sharing", "apart", "shuffled"],
    meta_fields=["alone"],
)


class Context(struct.PyTreeNode):
    """n contexts of P = E * T positions (P = T where the arm is ``alone``).

    Attributes:
        steps: Steps[n, P], observation to successor; their actions are what is to be predicted.
        valid: bool[n, P]; valid positions come first, padding last.
        query: bool[n, P], positions of the query trajectory.
        source: int32[n, P], the flat index in [level, rollout, time] that each position came
            from; -1 for padding.
        slot: int32[n, E + 1], the number of valid positions before each slot, and in all.
    """

    steps: Steps
    valid: jax.Array
    query: jax.Array
    source: jax.Array
    slot: jax.Array

    @property
    def tokens(self) -> Tokens:
        """Tokens[n, P]: what the transformer reads."""
        return tokens_of(self.steps)


def arrange(
    key: jax.Array, arm: Arm, groups: Trajectories, query_slot: jax.Array | None = None
) -> Context:
    """Arranges a pool of one family's groups into contexts.

    Args:
        key: consumed. Arms given the same key draw the same query slots.
        arm: the rule; ``icl.arms.check`` says whether the pool is large enough for it.
        groups: Trajectories[n, E, T], all of one family, pairwise different levels.
        query_slot: int32[n], the query's slot in each context; drawn uniformly if None.

    Returns:
        Context[n, E * T], or Context[n * E, T] for an arm that is ``alone``.
    """
    levels, slots, horizon = groups.valid.shape
    if arm.alone:
        source = jnp.arange(groups.valid.size, dtype=jnp.int32).reshape(-1, horizon)
        return _pack(groups, source, jnp.ones_like(source, bool), 1)
    slot_key, deal_key = jax.random.split(key)
    if query_slot is None:
        query_slot = jax.random.randint(slot_key, (levels,), 0, slots)
    others = _deal(deal_key, arm, query_slot, groups.valid.shape)

    # A row is its slots in order: the query's own steps in its slot, dealt cells in the others.
    place = jnp.arange(slots, dtype=jnp.int32)[None, :]
    is_query = place == query_slot[:, None]
    after = (place > query_slot[:, None]).astype(jnp.int32)
    rank = jnp.where(is_query, 0, place - after)
    own = (jnp.arange(levels)[:, None] * slots + query_slot[:, None]) * horizon
    time = jnp.arange(horizon, dtype=jnp.int32)
    dealt = jnp.take_along_axis(others, rank[:, :, None], axis=1)
    source = jnp.where(is_query[:, :, None], own[:, :, None] + time, dealt)
    query = jnp.broadcast_to(is_query[:, :, None], source.shape)
    flat = (levels, slots * horizon)
    return _pack(groups, source.reshape(flat), query.reshape(flat), slots)


def whole_share(context: Context, arm: Arm, horizon: int) -> jax.Array:
    """float32[]: the share of the cells (of an arm that is not ``alone``, the query's cut like the
    others) that hold a whole trajectory; 1 where cells are trajectories."""
    chunk = jnp.where(jnp.asarray(arm.chunk) == WHOLE, horizon, arm.chunk)
    time = context.source % horizon
    ended = context.steps.terminated | (time == horizon - 1)
    cells = context.valid & (time % chunk == 0)
    return (context.valid & ended & (time < chunk)).sum() / jnp.maximum(cells.sum(), 1)


def _deal(key: jax.Array, arm: Arm, query_slot: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """int32[n, E - 1, T]: the source of every step of the slots that are not the query's.

    Cell h of a context (h counts the cells of its E - 1 other slots in order) stays at home or
    comes from the context ``shift[h]`` places further round a ring. Bursty contexts form one ring
    and the others another, ranked at random; for a given h every member of a ring shifts alike,
    so the exchange is a bijection, and different h have different non-zero shifts, so a context's
    foreign cells come from pairwise different levels. Where the query is apart, the cells that
    would stay at home all take the first shift: they are of one level, another than the query's.
    At last each context orders its cells.
    """
    levels, slots, horizon = shape
    steps = (slots - 1) * horizon
    rank_key, shift_key, order_key = jax.random.split(key, 3)
    chunk = jnp.where(jnp.asarray(arm.chunk) == WHOLE, horizon, arm.chunk).astype(jnp.int32)
    apart = jnp.asarray(arm.apart).astype(jnp.int32)
    sharing = jnp.minimum(jnp.asarray(arm.sharing), slots - apart).astype(jnp.int32)
    each = horizon // chunk
    cells = (slots - 1) * each

    # Rings: the first ``bursty`` of a random ranking, and the rest.
    ranking = jnp.argsort(jax.random.uniform(rank_key, (levels,))).astype(jnp.int32)
    rank = jnp.argsort(ranking).astype(jnp.int32)
    bursty = jnp.round(jnp.asarray(arm.burstiness) * levels).astype(jnp.int32)
    in_bursty = rank < bursty
    ring_first = jnp.where(in_bursty, 0, bursty)
    ring_size = jnp.where(in_bursty, bursty, levels - bursty)

    # Which original cell stands at each position: the context's own order of its cells.
    position = jnp.arange(steps, dtype=jnp.int32)
    noise = jax.random.uniform(order_key, (levels, steps))
    noise = jnp.where(position[None, :] < cells, noise, 2.0)
    order = jnp.argsort(noise, axis=1).astype(jnp.int32)
    order = jnp.where(jnp.asarray(arm.shuffled), order, position[None, :])
    cell = jnp.take_along_axis(order, jnp.broadcast_to(position // chunk, (levels, steps)), axis=1)

    # The shift of each original cell, one table a ring.
    alike = jnp.where(in_bursty, (sharing - 1 + apart) * each, 0)[:, None]
    moved = jnp.where(in_bursty, apart, 0)[:, None]
    sizes = jnp.stack([bursty, levels - bursty])
    tables = jax.vmap(lambda k, size: _shifts(k, size, steps))(jax.random.split(shift_key), sizes)
    table = jnp.where(in_bursty[:, None], tables[0], tables[1])
    shift = jnp.take_along_axis(table, jnp.maximum(cell - alike + moved, 0), axis=1)
    shift = jnp.where(cell >= alike, shift, moved * table[:, :1])
    turned = (rank[:, None] - ring_first[:, None] + shift) % jnp.maximum(ring_size[:, None], 1)
    level = ranking[ring_first[:, None] + turned]

    # The same place in the source context, whose own query slot is skipped.
    start = cell * chunk
    rollout = start // horizon
    rollout = rollout + (rollout >= query_slot[level]).astype(jnp.int32)
    time = start % horizon + position % chunk
    source = (level * slots + rollout) * horizon + time
    return source.reshape(levels, slots - 1, horizon).astype(jnp.int32)


def _shifts(key: jax.Array, size: jax.Array, count: int) -> jax.Array:
    """int32[count]: the numbers 1 … size - 1 in random order, over and over (0 if there is none).

    ``size`` is traced, so the numbers up to ``count`` are ordered with those out of range last.
    """
    candidates = jnp.arange(1, count + 1, dtype=jnp.int32)
    period = jnp.maximum(size - 1, 1)
    # A ring larger than the table would need its later numbers too: start anywhere in it.
    offset = jax.random.randint(jax.random.fold_in(key, 1), (), 0, period)
    noise = jax.random.uniform(key, (count,))
    noise = jnp.where(candidates <= period, noise, 2.0)
    ordered = candidates[jnp.argsort(noise)]
    shifts = 1 + (ordered[jnp.arange(count) % jnp.minimum(period, count)] - 1 + offset) % period
    return jnp.where(size > 1, shifts, 0)


def _pack(groups: Trajectories, source: jax.Array, query: jax.Array, slots: int) -> Context:
    """Packs rows of sources int32[n, P] and reads the steps they name."""
    rows, length = source.shape
    taken = groups.valid.ravel()[source]
    counts = taken.reshape(rows, slots, -1).sum(-1)
    slot = jnp.concatenate([jnp.zeros((rows, 1), jnp.int32), jnp.cumsum(counts, axis=1)], axis=1)

    front = jnp.argsort(~taken, axis=1, stable=True)
    source = jnp.take_along_axis(source, front, axis=1)
    query = jnp.take_along_axis(query, front, axis=1)
    valid = jnp.arange(length)[None, :] < slot[:, -1:]

    def steps(x: jax.Array) -> jax.Array:
        return x.reshape(-1, *x.shape[3:])[source]

    start = source % groups.valid.shape[2] == 0
    follows = jnp.pad(source[:, 1:] == source[:, :-1] + 1, ((0, 0), (1, 0)))
    return Context(
        steps=Steps(
            observation=steps(groups.observation),
            action=steps(groups.action),
            reward=steps(groups.reward),
            terminated=steps(groups.terminated),
            successor=steps(groups.successor),
            start=start,
            cut=~start & ~follows,
        ),
        valid=valid,
        query=query & valid,
        source=jnp.where(valid, source, -1),
        slot=slot.astype(jnp.int32),
    )
