"""Other ways to decode the same model: what our segment-grown cache is held against."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Cache, Parameters
from envs.core import static
from icl.contexts import Context


class Plain(struct.PyTreeNode):
    """A plain cache: for every row one of its full size from the start, in which its copy of the
    shown context stands first; each step attends over all of it, behind a mask.

    Attributes:
        parameters: the model's.
        graph: the model's definition.
        steps: T, of the rollout.
    """

    parameters: Parameters
    graph: nnx.GraphDef = static(None)
    steps: int = static(0)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The memory of rows [C, N]: (cache [C * N], lengths [C * N, 1], own cache)."""
        model = nnx.merge(self.graph, self.parameters)
        count = lengths.shape[1]
        shown: Cache = model.prefill(contexts.tokens)
        own = model.empty(lengths.size, 1, self.steps)
        copies = jax.tree.map(lambda x: jnp.repeat(x, count, axis=0), shown)
        return copies, lengths.reshape(-1, 1), own

    def grow(self, memory: Any, steps: int) -> Any:
        """It has all the room that it needs."""
        return memory

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """One cached step of every row."""
        shown, lengths, own = memory
        model = nnx.merge(self.graph, self.parameters)
        shape = tokens.action.shape
        alone = jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), tokens)
        logits, own = model.decode(alone, shown, lengths, own, time)
        return logits.reshape(*shape, -1), (shown, lengths, own)


class Naive(struct.PyTreeNode):
    """No cache: each step reads the whole row from its beginning, padded to its final length.

    Attributes:
        parameters: the model's.
        graph: the model's definition.
        steps: T, of the rollout.
    """

    parameters: Parameters
    graph: nnx.GraphDef = static(None)
    steps: int = static(0)

    def read(self, contexts: Context, lengths: jax.Array) -> Any:
        """The memory of rows [C, N]: (Tokens[C, N, P + T], lengths [C, N])."""
        rows, shown = lengths.shape[1], contexts.valid.shape[1]

        def room(x: jax.Array) -> jax.Array:
            wide = jnp.repeat(x[:, None], rows, axis=1)
            widths = [(0, 0)] * wide.ndim
            widths[2] = (0, shown + self.steps - wide.shape[2])
            return jnp.pad(wide, widths)

        return jax.tree.map(room, contexts.tokens), lengths

    def grow(self, memory: Any, steps: int) -> Any:
        """It has all the room that it needs."""
        return memory

    def logits(self, memory: Any, tokens: Tokens, time: jax.Array) -> tuple[jax.Array, Any]:
        """The whole model over the whole rows."""
        told, lengths = memory
        place = lengths + time

        def put(old: jax.Array, new: jax.Array) -> jax.Array:
            write = jax.vmap(jax.vmap(lambda o, n, i: o.at[i].set(n)))
            return write(old, new, place)

        told = jax.tree.map(put, told, tokens)
        model = nnx.merge(self.graph, self.parameters)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), told)
        every = model(flat)
        every = every.reshape(*lengths.shape, *every.shape[1:])
        chosen = jnp.take_along_axis(every, place[:, :, None, None], axis=2)[:, :, 0]
        return chosen, (told, lengths)
