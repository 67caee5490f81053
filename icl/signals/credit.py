"""Credit: what each step of a lane is paid, float32[L, N, T], from returns, trees and values.

A lane's steps are paid as often as lanes hold them: a prefix that a whole tree shares receives the
sum of what its leaves are paid there. Steps that are not live are paid 0.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from icl.signals.lanes import Lanes
from icl.signals.segments import forks, index

SMALL = 1e-6  # below it, a group has no spread, and no lead is made of it


def group(lanes: Lanes, *, scaled: bool = True) -> jax.Array:
    """A lane's lead over the mean of its level's, in standard deviations where ``scaled``: GRPO
    (Shao et al. 2024, arXiv 2402.03300), equation 3; not scaled, Dr. GRPO (arXiv 2503.20783)."""
    lead = lanes.returns - lanes.returns.mean(-1, keepdims=True)
    if scaled:
        spread = lanes.returns.std(-1, keepdims=True)
        lead = jnp.where(spread > SMALL, lead / (spread + SMALL), 0.0)
    return jnp.where(lanes.live, lead[..., None], 0.0)


@dataclasses.dataclass(frozen=True)
class Operator:
    """One rule for the whole family of trees: a node n with leaves L(n) and value V(n), their mean
    return, earns w(|L(n)|) [a (V − V_all) + b (V − V_tree) + c (V − V_parent)], and so does every
    step of it: nodes are the edges between forks (``segments.forks``). The parent of a tree's first
    node is its root, of value V_tree.

    Attributes:
        inter: a.
        intra: b.
        parent: c.
        power: w(|L|) = |L| ** power: what a node receives in all. 1: each leaf pays its own.
        scaled: divide the first lead by the standard deviation of all returns, the second by that
            of the tree's; the third stays as it is.
    """

    inter: float = 1.0
    intra: float = 1.0
    parent: float = 0.0
    power: float = 1.0
    scaled: bool = True


TREE_GRPO = Operator()  # equations 6 to 8 of arXiv 2509.21240
INTRA = Operator(inter=0.0)
INTER = Operator(intra=0.0)
TREE_RL = Operator(intra=0.0, parent=1.0, power=-0.5, scaled=False)  # arXiv 2506.11902, equation 4


def tree(lanes: Lanes, trees: jax.Array, operator: Operator = TREE_GRPO) -> jax.Array:
    """The operator's credit of every node, paid in equal parts by the leaves below it. It compares
    all lanes with all: L N² T numbers.

    Args:
        lanes: Lanes[L, N, T].
        trees: int32[N], the tree of each lane.
        operator: its weights.
    """
    same = (trees[:, None] == trees).astype(jnp.float32)
    everyone = jnp.ones_like(same)
    returns = lanes.returns
    share = (lanes.owner[:, :, None] == lanes.owner[:, None]) & lanes.live[:, None]
    count = jnp.maximum(share.sum(2), 1)  # [L, N, T], leaves of a step
    value = (share * returns[:, None, :, None]).sum(2) / count

    def lead(members: jax.Array) -> jax.Array:
        mean, spread = _moments(returns, members)
        spread = spread if operator.scaled else jnp.ones_like(spread)
        return jnp.where(
            spread[..., None] > SMALL, (value - mean[..., None]) / (spread[..., None] + SMALL), 0.0
        )

    root = _moments(returns, same)[0][..., None]
    time = jnp.arange(lanes.live.shape[-1])
    first = jax.lax.cummax(jnp.where(forks(lanes), time, 0), axis=2)  # of each step's node
    parent = jnp.take_along_axis(jnp.concatenate([root, value[..., :-1]], -1), first, axis=-1)
    total = operator.inter * lead(everyone) + operator.intra * lead(same)
    total = total + operator.parent * (value - parent)
    paid = jnp.power(count.astype(jnp.float32), operator.power - 1.0) * total
    return jnp.where(lanes.live, paid, 0.0)


def difference(lanes: Lanes, starts: jax.Array, value: jax.Array) -> jax.Array:
    """What a step's piece earned, and the value at its end less that at its beginning: VinePPO
    (Kazemnejad et al. 2024, arXiv 2410.01679) where pieces are steps, SPO (arXiv 2505.23564) where
    they are longer.

    Args:
        lanes: Lanes[L, N, T].
        starts: bool[L, N, T], where pieces begin.
        value: float32[L, N, T], before the steps that begin pieces; elsewhere it is not read.
    """
    value = value + jnp.cumsum(lanes.reward, axis=-1) - lanes.reward  # of the whole run, by then
    pieces = lanes.live.shape[-1]
    number = index(starts)
    here = starts[..., None] & (number[..., None] == jnp.arange(pieces + 1))  # [L, N, T, piece]
    begin = (here * value[..., None]).sum(2)  # [L, N, piece]
    there = jnp.arange(pieces + 1) <= number[..., -1:]
    last = jnp.where(there, begin, lanes.returns[..., None])
    gain = last[..., 1:] - begin[..., :-1]
    credit = jnp.take_along_axis(gain, jnp.maximum(number, 0), axis=-1)
    return jnp.where(lanes.live, credit, 0.0)


def over_others(lanes: Lanes, paid: jax.Array) -> jax.Array:
    """The lead of float32[L, N, T] over what the other runs of the level are paid for a step, in
    the mean over each one's steps and then over runs: the leave-one-out baseline that PURE learns
    with (arXiv 2504.15275, as in its published code, but for steps behind the end, which are not
    counted here).

    Raises:
        ValueError: there are no others.
    """
    runs = paid.shape[1]
    if runs < 2:
        raise ValueError("a lead over other runs needs two runs or more; there is one")
    each = jnp.where(lanes.live, paid, 0.0).sum(-1) / jnp.maximum(lanes.live.sum(-1), 1)
    others = (each.sum(-1, keepdims=True) - each) / (runs - 1)
    return jnp.where(lanes.live, paid - others[..., None], 0.0)


def unlikely(lanes: Lanes, credit: jax.Array, probability: float | jax.Array = 0.9) -> jax.Array:
    """Credit of the actions that were chosen with less than ``probability`` only: the probability
    mask of SPO (arXiv 2505.23564), which pays a segment's advantage at its cut points."""
    return jnp.where(jnp.exp(lanes.log) < probability, credit, 0.0)


def same_state(lanes: Lanes, *, gamma: float = 0.95, omega: float = 1.0) -> jax.Array:
    """GiGPO (Feng et al. 2025, arXiv 2505.10978), equations 6 to 8: the lane's lead over its group,
    and ``omega`` times the lead of what a step still earns, discounted, over all steps of the group
    that were taken in the same state. It compares all steps with all: L (N T)² numbers."""

    def back(later: jax.Array, reward: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = reward + gamma * later
        return now, now

    rewards = jnp.moveaxis(lanes.reward, -1, 0)
    zero = jnp.zeros_like(rewards[0])
    to_go = jnp.moveaxis(jax.lax.scan(back, zero, rewards, reverse=True)[1], 0, -1)
    count, lanes_, horizon = lanes.live.shape
    flat = (count, lanes_ * horizon)
    state, live = lanes.state[..., :-1].reshape(flat), lanes.live.reshape(flat)
    met = (state[:, :, None] == state[:, None]) & live[:, None] & live[:, :, None]
    mean, spread = _weighted(to_go.reshape(flat), met.astype(jnp.float32))
    lead = jnp.where(spread > SMALL, (to_go.reshape(flat) - mean) / (spread + SMALL), 0.0)
    return group(lanes) + omega * jnp.where(lanes.live, lead.reshape(lanes.live.shape), 0.0)


def _moments(returns: jax.Array, members: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation float32[L, N] of returns over each lane's members [N, N]."""
    return _weighted(returns, jnp.broadcast_to(members, (len(returns), *members.shape)))


def _weighted(values: jax.Array, members: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation float32[L, n] of values [L, n] over members [L, n, n]."""
    count = jnp.maximum(members.sum(-1), 1)
    mean = (members * values[:, None]).sum(-1) / count
    centred = values[:, None] - mean[..., None]
    return mean, jnp.sqrt((members * jnp.square(centred)).sum(-1) / count)
