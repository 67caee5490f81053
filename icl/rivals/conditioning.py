"""Return conditioning: the decision transformer (Chen et al. 2021, arXiv 2106.01345).

Every token tells what its episode is still to earn, in the place of what the step before it earned
(the two say the same: one is the difference of the other), and at a test the agent is told that it
will earn all there is. In training that is a fact, so the model learns what is done by whoever
earns that much.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Parameters
from icl.actor import Actor, ModelActor
from icl.contexts import Context
from icl.train import Program


def to_go(context: Context) -> jax.Array:
    """float32[B, P]: what is earned from each position to the end of its cell, this step
    included; undiscounted."""
    steps = context.steps
    goes_on = jnp.pad(context.valid & ~steps.start & ~steps.cut, ((0, 0), (0, 1)))[:, 1:]
    reward = jnp.where(context.valid, steps.reward, 0.0)

    def back(later: jax.Array, now: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reward, goes_on = now
        total = reward + jnp.where(goes_on, later, 0.0)
        return total, total

    nothing = jnp.zeros_like(reward[:, 0])
    return jax.lax.scan(back, nothing, (reward.T, goes_on.T), reverse=True)[1].T


class Conditioned(Program):
    """Training on contexts whose tokens tell the return still to come."""

    def tokens(self, context: Context) -> Tokens:
        """As ``Program``, the rewards replaced."""
        return context.tokens.replace(reward=to_go(context))

    def actor(self, parameters: Parameters) -> Actor:
        """It is told to earn 1, the most that most families pay."""
        return Promised(ModelActor(parameters, self.graph))


class Promised(struct.PyTreeNode):
    """A return-conditioned model, and what it is told that it will earn.

    Attributes:
        model: trained by ``Conditioned``.
        target: float32[], the return at the first step; then what was earned is taken off.
    """

    model: ModelActor
    target: float | jax.Array = 1.0

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The model's memory of contexts that tell returns; float32[C, N], what is promised."""
        model = nnx.merge(self.model.graph, self.model.parameters)
        told = contexts.tokens.replace(reward=to_go(contexts))
        memory = model.prefill(told), lengths, model.empty(*lengths.shape, 0)
        return memory, jnp.full(lengths.shape, jnp.float32(self.target))

    def grow(self, memory: Any, steps: int) -> Any:
        """Room for the model."""
        return self.model.grow(memory[0], steps), memory[1]

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """One step; an episode that starts is promised the target anew."""
        own, promised = memory
        promised = jnp.where(tokens.start, jnp.float32(self.target), promised - tokens.reward)
        logits, own = self.model.logits(own, tokens.replace(reward=promised), time)
        return logits, (own, promised)
