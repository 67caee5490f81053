"""A judge's word as a reward: (1 - β) r_out + β r̂ (ReasonFlux-PRM, arXiv 2506.18896)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.transformer import Parameters
from envs.core import static
from icl.signals import credit
from icl.signals.answering import recorded
from icl.signals.judge import read
from icl.signals.lanes import Agent, go, start
from icl.signals.methods import Signal
from icl.signals.selection import thought
from icl.signals.thinking import check
from icl.signals.world import World


class Rewarded(struct.PyTreeNode):
    """A method (icl/signals/methods.py) of whole runs, each an answer without thinking.

    Attributes:
        parameters: of the judge.
        beta: β, what r̂, the mean score of a run's steps, weighs beside its return; 0 is GRPO.
        graph: the judge's definition.
        runs: G.
    """

    parameters: Parameters
    beta: float | jax.Array = 0.3
    graph: nnx.GraphDef = static(None)
    runs: int = static(8)

    def __call__(self, world: World, agent: Agent, key: jax.Array) -> Signal:
        """Draws and pays; the key is consumed."""
        env = check(world.env)
        lanes, _ = go(agent, env, world.levels, start(agent, env, key, world.levels, self.runs))
        record = recorded(env, world.levels, lanes)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), record)
        steps, _ = read(self.graph, self.parameters, flat)
        among = thought(flat)
        mean = jnp.where(among, steps, 0.0).sum(-1) / jnp.maximum(among.sum(-1), 1)
        paid = (1 - self.beta) * lanes.returns + self.beta * mean.reshape(lanes.returns.shape)
        first = jnp.arange(lanes.live.shape[-1]) == 0
        alike = lanes.replace(reward=jnp.where(first, paid[..., None], 0.0))
        return Signal(lanes, credit.group(alike), lanes.generated)
