"""Retrieve and play: the action that was demonstrated nearby, blended with the network's."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from agents.retrieval import Reader, alike
from agents.tokens import Tokens
from envs.core import static
from icl.actor import ModelActor
from icl.contexts import Context


class RegentActor(struct.PyTreeNode):
    """REGENT's policy (Sridhar et al. 2024, arXiv 2412.04759) around a trained model.

        pi(a) = exp(-lambda d) pi_retrieved(a) + (1 - exp(-lambda d)) pi_network(a)

    d in [0, 1] is the share of the symbols in which the observation differs from the nearest
    demonstrated one, whose action pi_retrieved plays. So an observation that was demonstrated is
    answered by looking it up, and far from all demonstrations the network plays alone, as it does
    with none. The paper measures d otherwise (between embeddings, normalised), trains its network
    with the blend inside, and takes lambda = 10.

    Attributes:
        model: the network.
        sharpness: float32[], lambda.
        num_actions: A.
    """

    model: ModelActor
    sharpness: jax.Array | float = 10.0
    num_actions: int = static(0)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The network's memory, and what can be looked up."""
        seen = (contexts.steps.observation, contexts.steps.action, lengths)
        return self.model.read(contexts, lengths), seen

    def grow(self, memory: Any, steps: int) -> Any:
        """Room for the network; retrieval does not remember its own episode."""
        return self.model.grow(memory[0], steps), memory[1]

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """The blend's log-probabilities float32[C, N, A]."""
        own, seen = memory
        logits, own = self.model.logits(own, tokens, time)
        reader = Reader(nearest=True)

        def row(observation, known, action, length):
            valid = jnp.arange(known.shape[0]) < length
            read = reader.logits(observation, known, action, valid, self.num_actions)
            nearest = jnp.where(valid, alike(observation, known), 0).max()
            far = 1 - nearest / observation.size
            return jax.nn.softmax(read), jnp.where(length > 0, jnp.exp(-self.sharpness * far), 0.0)

        rows = jax.vmap(row, in_axes=(0, None, None, 0))
        retrieved, share = jax.vmap(rows)(tokens.observation, *seen)
        blend = share[..., None] * retrieved + (1 - share[..., None]) * jax.nn.softmax(logits)
        return jnp.log(jnp.maximum(blend, 1e-30)), (own, seen)
