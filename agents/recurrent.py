"""The recurrent rival of the decoder: its attention replaced by gated recurrent units.

All else is the transformer's: tokens, embedding, norms, perceptrons, head. A block's memory is one
vector of the residual stream's width (GRU; Cho et al. 2014, arXiv 1406.1078, with the reset gate on
the recurrent product), so what a context showed has to be kept in it, not looked up.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from agents.norm import RMSNorm
from agents.tokens import Tokens
from agents.transformer import ModelConfig, Transformer, linear


class Cell(nnx.Module):
    """A gated recurrent unit, then a multilayer perceptron of four times the width."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.norm_gates = RMSNorm(width, dtype)
        self.norm_mlp = RMSNorm(width, dtype)
        self.gates = linear(width, 3 * width, 1.0, rngs, dtype)
        self.recur = linear(width, 3 * width, 1.0, rngs, dtype)
        out = 1.0 / np.sqrt(2 * config.layers)
        self.project = linear(width, width, out, rngs, dtype)
        self.expand = linear(width, 4 * width, 1.0, rngs, dtype)
        self.contract = linear(4 * width, width, out, rngs, dtype)

    def step(self, state: jax.Array, given: jax.Array) -> jax.Array:
        """The next state float[..., d], from what the input gives to the gates float[..., 3 d]."""
        update, reset, new = jnp.split(given, 3, axis=-1)
        own_update, own_reset, own_new = jnp.split(self.recur(state), 3, axis=-1)
        keep = jax.nn.sigmoid(update + own_update + 1)  # it keeps more than it forgets, at first
        fresh = jnp.tanh(new + jax.nn.sigmoid(reset + own_reset) * own_new)
        return keep * state + (1 - keep) * fresh

    def given(self, x: jax.Array) -> jax.Array:
        """float[..., 3 d]: what an input float[..., d] gives to the gates."""
        return self.gates(self.norm_gates(x))

    def finish(self, x: jax.Array, state: jax.Array) -> jax.Array:
        """The rest of the block, float[..., d], given the state after the input."""
        x = x + self.project(state)
        return x + self.contract(jnp.square(jax.nn.relu(self.expand(self.norm_mlp(x)))))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x float[B, T, d] -> the same shape, and the states float[B, T, d] after each input."""
        given = jnp.swapaxes(self.given(x), 0, 1)

        def one(state: jax.Array, given: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = self.step(state, given)
            return state, state

        start = jnp.zeros_like(x[:, 0])
        states = jnp.swapaxes(jax.lax.scan(one, start, given)[1], 0, 1)
        return self.finish(x, states), states


class Recurrent(Transformer):
    """Tokens in, action logits out; instead of a cache, the states of the layers."""

    BLOCK = Cell

    def attention(self, tokens: Tokens) -> jax.Array:
        """float32[layer, B, H, T, T] of zeros: it looks at nothing but its own state."""
        batch, time = tokens.action.shape
        heads = (self.config.layers, batch, self.config.heads)
        return jnp.zeros((*heads, time, time))

    def prefill(self, tokens: Tokens) -> Any:
        """The states of contexts Tokens[B, T]: a tuple of float[B, T * stride + 1, d], one a layer;
        the first is that before any token."""
        x, found = self._sequence(tokens), []
        for block in self.blocks:
            x, states = block(x)
            found.append(jnp.pad(states, ((0, 0), (1, 0), (0, 0))))
        return tuple(found)

    def decode(
        self, tokens: Tokens, prefix: Any, lengths: jax.Array, own: Any, time: jax.Array
    ) -> tuple[jax.Array, Any]:
        """One more token for N rows on each of C contexts.

        Args:
            tokens: Tokens[C, N].
            prefix: the contexts' states, float[C, P * stride + 1, d] a layer.
            lengths: int32[C, N], valid steps of the prefix in each row.
            own: the rows' own states, float[C, N, d] a layer.
            time: int32[], the step; at 0 a row begins with the state of its prefix.

        Returns:
            Logits float32[C, N, A] and the states after this token.
        """
        place = (lengths * self.config.stride)[..., None]
        states = [
            jnp.where(time == 0, jnp.take_along_axis(before, place, axis=1), now)
            for before, now in zip(prefix, own, strict=True)
        ]
        x = None
        for x in self._positions(tokens):
            for i, block in enumerate(self.blocks):
                states[i] = block.step(states[i], block.given(x))
                x = block.finish(x, states[i])
        assert x is not None
        return self._logits(x), tuple(states)

    def empty(self, contexts: int, rows: int, length: int) -> Any:
        """States float[C, N, d] of zeros, one a layer; of one size, however long the episode."""
        shape = (contexts, rows, self.config.width)
        return tuple(jnp.zeros(shape, self.config.dtype) for _ in range(self.config.layers))

    def grow(self, own: Any, steps: int) -> Any:
        """States need no more room."""
        return own
