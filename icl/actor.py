"""Who acts from a context: the transformer with its caches, or a reader."""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.retrieval import Reader
from agents.tokens import Tokens
from agents.transformer import Parameters
from envs.core import static
from icl.contexts import Context


class Actor(Protocol):
    """Something that acts from a context: the transformer or a reader."""

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The memory of rows [C, N] on contexts [C], of which each sees lengths int32[C, N]."""
        ...

    def grow(self, memory: Any, steps: int) -> Any:
        """The memory with room for ``steps`` more steps of the episode."""
        ...

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """Logits float32[C, N, A] for Tokens[C, N] at step ``time``, and the memory after it."""
        ...


class ModelActor(struct.PyTreeNode):
    """The transformer with its caches.

    Attributes:
        parameters: the model's.
        graph: the model's definition.
    """

    parameters: Parameters
    graph: nnx.GraphDef = static(None)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """Prefills the contexts once; the memory is (prefix, lengths, own cache)."""
        model = nnx.merge(self.graph, self.parameters)
        own = model.empty(*lengths.shape, 0)
        return model.prefill(contexts.tokens), lengths, own

    def grow(self, memory: Any, steps: int) -> Any:
        """Pads the own caches by the positions of ``steps`` steps."""
        prefix, lengths, own = memory
        return prefix, lengths, nnx.merge(self.graph, self.parameters).grow(own, steps)

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """One cached step of the model."""
        prefix, lengths, own = memory
        model = nnx.merge(self.graph, self.parameters)
        logits, own = model.decode(tokens, prefix, lengths, own, time)
        return logits, (prefix, lengths, own)


class ReaderActor(struct.PyTreeNode):
    """A reader of the demonstrations.

    Attributes:
        reader: the hash map or the nearest neighbour.
        num_actions: A.
    """

    reader: Reader
    num_actions: int = static(0)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The memory is what can be looked up."""
        return contexts.steps.observation, contexts.steps.action, lengths

    def grow(self, memory: Any, steps: int) -> Any:
        """A reader does not remember its own episode."""
        return memory

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """What is read, as logits."""

        def row(observation, seen, action, length):
            valid = jnp.arange(seen.shape[0]) < length
            return self.reader.logits(observation, seen, action, valid, self.num_actions)

        rows = jax.vmap(row, in_axes=(0, None, None, 0))
        return jax.vmap(rows)(tokens.observation, *memory), memory
