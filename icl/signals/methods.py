"""Methods: how runs are sampled, cut, valued and paid, composed of the parts beside this file.

A method draws what it needs in every level and says what each step is paid and how many actions it
took to know: forks are counted like any other action, steps that a fork shares are counted once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from icl.signals import credit, segments, tools, trees
from icl.signals.aggregators import AGGREGATORS
from icl.signals.lanes import Agent, Lanes, Snapshot, Table, at_step, earn, go, start
from icl.signals.truth import decisive, exact
from icl.signals.world import World

Segmenter = Callable[[World, Lanes], jax.Array]
"""bool[L, N, T]: where pieces begin (segments.py)."""


class Signal(struct.PyTreeNode):
    """What a method found out.

    Attributes:
        lanes: Lanes[L, N, T], the runs that are paid.
        credit: float32[L, N, T].
        actions: int32[L], generated in all.
    """

    lanes: Lanes
    credit: jax.Array
    actions: jax.Array


SEGMENTERS: dict[str, Segmenter] = {
    "step": lambda world, lanes: segments.steps(lanes),
    "move": lambda world, lanes: segments.moves(world.env, world.levels, lanes),
    "inside": lambda world, lanes: segments.inside(world.env, world.levels, lanes),
    "sub-goal": lambda world, lanes: segments.goals(world.env, world.levels, lanes),
    "call": lambda world, lanes: segments.calls(world.env, lanes),
    "chunk": lambda world, lanes: segments.chunks(lanes, 3),
    "unsure": lambda world, lanes: segments.unsure(lanes),
    "oracle": lambda world, lanes: segments.alone(
        lanes, decisive(world.env, world.dynamics, lanes)
    ),
}


@dataclasses.dataclass(frozen=True)
class Chains:
    """Runs of their own, paid by their returns.

    Attributes:
        runs: G.
        rule: float32[L, N, T] of Lanes[L, N, T].
    """

    runs: int = 4
    rule: Callable[[Lanes], jax.Array] = credit.group

    def __call__(self, world: World, agent: Agent, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        lanes, _ = _runs(world, agent, key, self.runs)
        return Signal(lanes, self.rule(lanes), lanes.generated)


@dataclasses.dataclass(frozen=True)
class Forest:
    """Trees of runs, paid by an operator (credit.Operator).

    Attributes:
        unit: what a lane may fork before, a name in SEGMENTERS.
        trees: M.
        nodes: N, in a round.
        rounds: L of the paper.
        operator: who pays.
    """

    unit: str = "move"
    trees: int = 2
    nodes: int = 2
    rounds: int = 1
    operator: credit.Operator = credit.TREE_GRPO

    def __call__(self, world: World, agent: Agent, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        lanes, tree = trees.grow(
            agent, world.env, key, world.levels, lambda lanes: SEGMENTERS[self.unit](world, lanes),
            trees=self.trees, nodes=self.nodes, rounds=self.rounds,
        )  # fmt: skip
        return Signal(lanes, credit.tree(lanes, tree, self.operator), lanes.generated)


@dataclasses.dataclass(frozen=True)
class Valued:
    """Runs cut into pieces, whose beginnings are valued by forks.

    Attributes:
        pieces: where they are cut, a name in SEGMENTERS.
        runs: G.
        forks: K, of each piece's beginning.
        aggregator: what a step is paid of its piece's gain and the later ones, a name in
            ``aggregators.AGGREGATORS``.
        compared: pay the lead over what the other runs are paid (``credit.over_others``), for what
            aggregators say is no lead by itself; a group needs two runs then.
        masked: pay the unlikely actions of a piece only.
    """

    pieces: str = "step"
    runs: int = 1
    forks: int = 9
    aggregator: str = "own"
    compared: bool = False
    masked: bool = False

    def __call__(self, world: World, agent: Agent, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        run_key, fork_key = jax.random.split(key)
        lanes, snapshots = _runs(world, agent, run_key, self.runs)
        starts = SEGMENTERS[self.pieces](world, lanes)
        value, actions = valued(world, agent, fork_key, snapshots, starts, self.forks)
        gain = credit.difference(lanes, starts, value)
        paid = AGGREGATORS[self.aggregator](lanes, starts, gain)
        paid = credit.over_others(lanes, paid) if self.compared else paid
        paid = credit.unlikely(lanes, paid) if self.masked else paid
        return Signal(lanes, paid, lanes.generated + actions)


@dataclasses.dataclass(frozen=True)
class Exact:
    """Runs of a Markov policy, paid by the exact advantage of every step: what a signal could tell
    at most.

    Attributes:
        runs: G.
    """

    runs: int = 4

    def __call__(self, world: World, agent: Table, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        lanes, _ = _runs(world, agent, key, self.runs)
        found = exact(world.env, world.dynamics, agent.scores, lanes)
        return Signal(lanes, found.advantage, lanes.generated)


@dataclasses.dataclass(frozen=True)
class Called:
    """Runs of their own, paid for success and for their calls of tools: ToolPO (arXiv 2510.21618).
    The two weights are numbers, but of the program: there are few of them.

    Attributes:
        runs: K.
        meaning: of a correct call, one of ``tools.MEANINGS``.
        mean: pay for the share of correct calls, not for their number.
        masked: pay the action reward to the tokens of calls and folds only, not to all.
        right: λ₁, of correct calls.
        folded: λ₂, of folds that save tokens.
    """

    runs: int = 8
    meaning: str = "improves"
    mean: bool = False
    masked: bool = True
    right: float = 1.0
    folded: float = 1.0

    def __call__(self, world: World, agent: Agent, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        lanes, _ = _runs(world, agent, key, self.runs)
        calls = tools.calls(world, lanes)
        earned = tools.action_reward(
            calls, self.meaning, mean=self.mean, right=self.right, folded=self.folded
        )
        tokens = calls.spelled if self.masked else lanes.live
        return Signal(lanes, tools.attributed(lanes, earned, tokens), lanes.generated)


Method = Chains | Forest | Valued | Exact | Called


def valued(
    world: World,
    agent: Agent,
    key: jax.Array,
    snapshots: Snapshot,
    starts: jax.Array,
    count: int,
) -> tuple[jax.Array, jax.Array]:
    """The value before the steps that begin pieces, by ``count`` forks of each. Forks of the other
    steps are computed, too, and count nothing: L N T K lanes, and as many memories of the agent.

    Args:
        world: the levels.
        agent: of each level, stacked on L.
        key: consumed.
        snapshots: Snapshot[L, N, T].
        starts: bool[L, N, T].
        count: K.

    Returns:
        float32[L, N, T], 0 where no piece begins, and int32[L], the actions generated.
    """
    levels, runs, horizon = starts.shape
    lane, time = jnp.divmod(jnp.arange(runs * horizon * count) // count, horizon)
    lane, time = (jnp.broadcast_to(x, (levels, len(x))) for x in (lane, time))
    wanted = jnp.repeat(starts.reshape(levels, -1), count, axis=1)
    begun = at_step(snapshots, lane, time, key)
    # A fork that nobody wants is one that never comes to its first step.
    at = jnp.where(wanted, time, horizon)
    earned, generated = earn(agent, world.env, world.levels, begun, at)
    return jnp.where(starts, earned.reshape(*starts.shape, count).mean(-1), 0.0), generated


def _runs(world: World, agent: Agent, key: jax.Array, runs: int) -> tuple[Lanes, Snapshot]:
    return go(agent, world.env, world.levels, start(agent, world.env, key, world.levels, runs))
