"""Sizes: what runs of a policy cost, and how many of them a budget of actions pays for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from envs.core import Env
from icl.signals.lanes import Agent
from icl.signals.methods import SEGMENTERS, Chains, Forest, Segmenter, Valued
from icl.signals.tools import tells
from icl.signals.world import World

NEAR = 0.1  # of the budget: sizes that miss it by no more are as good as each other
MOST = 64  # trees, or nodes of one


@dataclasses.dataclass(frozen=True)
class Costs:
    """What runs of a policy cost, as measured (``costs``).

    Attributes:
        steps: of a run, mean.
        pieces: by segmenter, how many pieces a run is cut into, mean.
        left: by segmenter, the steps from the beginnings of all pieces of a run to its end, added
            up, mean: what a fork of each of them costs.
        fork: by segmenter, what one fork costs, before a piece drawn uniformly in a run.
    """

    steps: float
    pieces: Mapping[str, float]
    left: Mapping[str, float]
    fork: Mapping[str, float]

    @classmethod
    def of(cls, found: tuple[Any, dict[str, tuple[Any, ...]]]) -> Costs:
        """Of what ``measured`` returns, on the host."""
        steps, each = jax.device_get(found)
        pieces, left, fork = ({name: float(cut[i]) for name, cut in each.items()} for i in range(3))
        return cls(float(steps), pieces, left, fork)


def costs(world: World, agent: Agent, key: jax.Array, runs: int = 32) -> Costs:
    """What ``runs`` runs in every level cost, on the host; the key is consumed."""
    return Costs.of(_measured(world, agent, key, runs=runs))


def measured(
    world: World, agent: Agent, key: jax.Array, *, runs: int = 32
) -> tuple[jax.Array, dict[str, tuple[jax.Array, ...]]]:
    """The fields of Costs as float32[], by segmenter pieces, left and fork; pure, the key is
    consumed."""
    lanes = Chains(runs)(world, agent, key).lanes
    length = lanes.live.sum(-1)
    remain = length[..., None] - jnp.arange(lanes.live.shape[-1])  # [L, N, T]

    def cost(starts: jax.Array) -> tuple[jax.Array, ...]:
        pieces, left = starts.sum(-1), jnp.where(starts, remain, 0).sum(-1)
        return pieces.mean(), left.mean(), (left / jnp.maximum(pieces, 1)).mean()

    return length.mean(), {name: cost(cut(world, lanes)) for name, cut in cuts(world).items()}


_measured = jax.jit(measured, static_argnames="runs")  # worlds of the same sizes share it


def cuts(world: World) -> dict[str, Segmenter]:
    """The segmenters that the family has."""
    has = {
        "sub-goal": type(world.env.bare).milestone is not Env.milestone,
        "call": tells(world.env),
    }
    return {name: cut for name, cut in SEGMENTERS.items() if has.get(name, True)}


def chains(budget: float, steps: float) -> int:
    """Runs that a budget pays for; a group needs two.

    Raises:
        ValueError: it does not pay for two.
    """
    runs = round(budget / steps)
    if runs < 2:
        raise ValueError(
            f"budget {budget:g}: a group needs two runs of {steps:.1f} actions; use "
            f"{math.ceil(2 * steps)} or more"
        )
    return runs


def forest(budget: float, costs: Costs, unit: str, **fields) -> Forest:
    """Trees of one round that fork before ``unit``: of those that come near the budget the one with
    as many nodes as trees, or nearly so, as the paper's M 2, N 2.

    Raises:
        ValueError: the budget does not pay for the smallest.
    """

    def cost(trees: int, nodes: int) -> float:
        return trees * (costs.steps + nodes * costs.fork[unit])

    if cost(2, 2) > 1.1 * budget:
        raise ValueError(
            f"budget {budget:g}: two trees of {costs.steps:.1f} actions with two forks each take "
            f"about {math.ceil(cost(2, 2))}; use that or more"
        )
    sizes = [(m, n) for m in range(2, MOST + 1) for n in range(2, MOST + 1)]
    trees, nodes = _nearest(budget, sizes, cost, lambda size: abs(size[0] - size[1]))
    return Forest(unit, trees, nodes, **fields)


def valued(
    budget: float, costs: Costs, pieces: str, forks: int = 9, least: int = 1, **fields
) -> Valued:
    """``least`` runs or more whose pieces are valued by forks: of the sizes that come near the
    budget the one with the most forks of a piece, ``forks`` at most.

    Raises:
        ValueError: the budget does not pay for the smallest.
    """

    def cost(runs: int, count: int) -> float:
        return runs * (costs.steps + count * costs.left[pieces])

    if cost(least, 1) > 1.1 * budget:
        raise ValueError(
            f"budget {budget:g}: {least} {'run' if least == 1 else 'runs'} and a fork of each of "
            f"their pieces take about {math.ceil(cost(least, 1))}; use that or more"
        )
    most = max(least, math.ceil(budget / cost(1, 1)))
    sizes = [(runs, count) for runs in range(least, most + 1) for count in range(1, forks + 1)]
    runs, count = _nearest(budget, sizes, cost, lambda size: -size[1])
    return Valued(pieces, runs, count, **fields)


def _nearest(
    budget: float,
    sizes: list[tuple[int, int]],
    cost: Callable[[int, int], float],
    less: Callable[[tuple[int, int]], int],
) -> tuple[int, int]:
    """Of the sizes that are as near to the budget as any, or nearly so, the one with the least
    ``less``."""

    def miss(size: tuple[int, int]) -> float:
        return abs(cost(*size) / budget - 1)

    bound = max(min(map(miss, sizes)), NEAR)
    return min((size for size in sizes if miss(size) <= bound), key=lambda x: (less(x), miss(x)))
