"""The decoder: defined with nnx, used functionally (``nnx.split`` once, plain jax after).

Pre-norm blocks with RMSNorm, rotary positions (Su et al. 2021, arXiv 2104.09864), queries and keys
normalised with a learned gain (QK-norm; Henry et al. 2020, arXiv 2010.04245) and squared ReLU
(So et al. 2021, arXiv 2109.08668). No biases, no dropout.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, struct

from agents import tokens as tokens_lib
from agents.attention import attend, attend_cached, weights
from agents.norm import RMSNorm
from agents.tokens import Tokens
from envs.render import SIDE

Parameters = Any  # nnx.State: a pytree of float arrays


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Sizes of the decoder.

    Attributes:
        width: residual stream, a multiple of ``heads``.
        layers: blocks.
        heads: attention heads; their depth, width / heads, must be even.
        dtype: activations and matrix products, ``float32`` or ``bfloat16``; parameters stay
            float32.
        remat: recompute blocks in the backward pass instead of storing them.
        tokens: "step", one position a step; or "interleaved", two: what came of the step before,
            then what is seen now (the form of Raparthy et al., arXiv 2312.03801, with the two
            outcomes, action and reward, in one position). Both have the same parameters.
        rewards: whether tokens tell the rewards.
        kind: "transformer", or "recurrent" (agents/recurrent.py).
    """

    width: int = 64
    layers: int = 2
    heads: int = 2
    dtype: str = "float32"
    remat: bool = False
    tokens: str = "step"
    rewards: bool = True
    kind: str = "transformer"

    @property
    def stride(self) -> int:
        """Positions of a step."""
        return 2 if self.tokens == "interleaved" else 1


@dataclasses.dataclass(frozen=True)
class Interface:
    """What the decoder reads and says: F fields of V symbols, or pixels; A actions."""

    fields: int
    symbols: int
    actions: int
    pixels: bool = False


class Cache(struct.PyTreeNode):
    """Keys (rotated) and values of every layer.

    Attributes:
        keys: tuple of float[..., H, T, D], one a layer.
        values: tuple of float[..., H, T, D], one a layer.
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


def rotate(x: jax.Array, position: jax.Array | np.ndarray) -> jax.Array:
    """Rotary embedding of x float[..., D] at position int32[...] (broadcast against x[..., 0]).

    The halves of a pair are swapped by turning an axis round: unlike slices set side by side, that
    fuses with what is around it, forwards and backwards.
    """
    half = x.shape[-1] // 2
    frequency = (10000.0 ** (-np.arange(half) / half)).astype(np.float32)
    angle = position[..., None].astype(np.float32) * frequency
    library = np if isinstance(angle, np.ndarray) else jnp  # known positions are constants
    cos, sin = (jnp.asarray(f(angle), x.dtype)[..., None, :] for f in (library.cos, library.sin))
    pair = x.reshape(*x.shape[:-1], 2, half)
    sign = jnp.asarray([[-1.0], [1.0]], x.dtype)
    return (pair * cos + pair[..., ::-1, :] * (sign * sin)).reshape(x.shape)


def linear(inputs: int, outputs: int, scale: float, rngs: nnx.Rngs, dtype: Any) -> nnx.Linear:
    """A matrix without bias, its entries normal with standard deviation scale / sqrt(inputs)."""
    init = nnx.initializers.normal(scale / np.sqrt(inputs))
    return nnx.Linear(inputs, outputs, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs)


class Block(nnx.Module):
    """Attention, then a multilayer perceptron of four times the width."""

    def __init__(self, config: ModelConfig, rngs: nnx.Rngs):
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.heads = config.heads
        depth = width // config.heads
        self.norm_attention = RMSNorm(width, dtype)
        self.norm_mlp = RMSNorm(width, dtype)
        # Three products: cutting one wide product into heads costs more on CPU than it saves.
        self.query, self.key, self.value = (
            linear(width, width, 1.0, rngs, dtype) for _ in range(3)
        )
        self.norm_query = RMSNorm(depth, dtype, gain=depth**0.25)
        self.norm_key = RMSNorm(depth, dtype, gain=depth**0.25)
        out = 1.0 / np.sqrt(2 * config.layers)
        self.project = linear(width, width, out, rngs, dtype)
        self.expand = linear(width, 4 * width, 1.0, rngs, dtype)
        self.contract = linear(4 * width, width, out, rngs, dtype)

    def heads_of(self, x: jax.Array, position: jax.Array | np.ndarray) -> tuple[jax.Array, ...]:
        """Query, key (normalised and rotated) and value float[..., H, D] of x float[..., d];
        the queries are scaled so that attention needs no 1/sqrt(D)."""
        x = self.norm_attention(x)
        query, key, value = (
            product(x).reshape(*x.shape[:-1], self.heads, -1)
            for product in (self.query, self.key, self.value)
        )
        query = rotate(self.norm_query(query), position[..., None]) * value.shape[-1] ** -0.5
        return query, rotate(self.norm_key(key), position[..., None]), value

    def finish(self, x: jax.Array, attended: jax.Array) -> jax.Array:
        """The rest of the block, given the attention's output float[..., H, D]."""
        x = x + self.project(attended.reshape(*x.shape))
        return x + self.contract(jnp.square(jax.nn.relu(self.expand(self.norm_mlp(x)))))

    def __call__(self, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """x float[B, T, d] -> the same shape, with the layer's keys and values [B, H, T, D]."""
        position = np.arange(x.shape[1])
        query, key, value = (jnp.swapaxes(h, 1, 2) for h in self.heads_of(x, position))
        return self.finish(x, jnp.swapaxes(attend(query, key, value), 1, 2)), (key, value)


class Eye(nnx.Module):
    """Pixels in, features out: patches of 8 × 8 pixels through one matrix and a rectifier, side by
    side (a patch embedding; Dosovitskiy et al. 2021, arXiv 2010.11929)."""

    PATCH = 8
    CHANNELS = 32

    def __init__(self, rngs: nnx.Rngs, dtype: Any):
        self.patch = linear(3 * self.PATCH**2, self.CHANNELS, 2.0, rngs, dtype)

    @classmethod
    def width(cls) -> int:
        """Features of a picture."""
        return cls.CHANNELS * (SIDE // cls.PATCH) ** 2

    def __call__(self, picture: jax.Array) -> jax.Array:
        """float[..., width] of uint8[..., 64, 64, 3]."""
        lead, cut, patch = picture.shape[:-3], SIDE // self.PATCH, self.PATCH
        patches = picture.reshape(*lead, cut, patch, cut, patch, 3)
        patches = jnp.swapaxes(patches, -4, -3).reshape(*lead, cut * cut, -1)
        light = patches.astype(self.patch.dtype) / 127.5 - 1
        return jax.nn.relu(self.patch(light)).reshape(*lead, -1)


class Transformer(nnx.Module):
    """Tokens in, action logits out."""

    BLOCK: Any = Block

    def __init__(self, config: ModelConfig, interface: Interface, rngs: nnx.Rngs):
        if config.width % config.heads or (config.width // config.heads) % 2:
            raise ValueError(
                f"width {config.width} over {config.heads} heads: the depth of a head must be an "
                "even whole number; change width or heads"
            )
        self.config = config
        self.interface = interface
        dtype = jnp.dtype(config.dtype)
        if interface.pixels:
            self.eye = Eye(rngs, dtype)
            self.see = linear(2 * Eye.width(), config.width, 1.0, rngs, dtype)
            features = tokens_lib.width(0, 0, interface.actions)
        else:
            features = tokens_lib.width(interface.fields, interface.symbols, interface.actions)
        self.embed = linear(features, config.width, np.sqrt(features), rngs, dtype)
        self.blocks = nnx.List([self.BLOCK(config, rngs) for _ in range(config.layers)])
        self.norm = RMSNorm(config.width, dtype)
        self.head = linear(config.width, interface.actions, 1.0, rngs, dtype)

    def _embed(self, tokens: Tokens) -> jax.Array:
        face = self.interface
        if not face.pixels:
            return self.embed(tokens_lib.features(tokens, face.symbols, face.actions))
        seen = [self.eye(tokens.observation), self.eye(tokens.successor)]
        told = self.embed(tokens_lib.outcomes(tokens, face.actions))
        return told + self.see(jnp.concatenate(seen, axis=-1))

    def _positions(self, tokens: Tokens) -> list[jax.Array]:
        """What stands at each position of a step, float[..., d] each; actions are said at the
        last."""
        if not self.config.rewards:
            tokens = tokens.replace(reward=jnp.zeros_like(tokens.reward))
        if self.config.stride == 1:
            return [self._embed(tokens)]
        return [self._embed(part) for part in tokens_lib.halves(tokens)]

    def _sequence(self, tokens: Tokens) -> jax.Array:
        """float[B, T * stride, d] of Tokens[B, T]."""
        parts = self._positions(tokens)
        if len(parts) == 1:
            return parts[0]
        x = jnp.stack(parts, axis=2)
        return x.reshape(x.shape[0], -1, x.shape[-1])

    def _logits(self, x: jax.Array) -> jax.Array:
        return self.head(self.norm(x)).astype(jnp.float32)

    def __call__(self, tokens: Tokens) -> jax.Array:
        """Logits float32[B, T, A] of contexts Tokens[B, T]."""
        return self.head(self.features(tokens)).astype(jnp.float32)

    def features(self, tokens: Tokens) -> jax.Array:
        """float[B, T, d] of contexts Tokens[B, T]: what the head reads, and a critic may."""
        x = self._sequence(tokens)
        for block in self.blocks:
            whole = type(block).__call__
            call = nnx.remat(whole) if self.config.remat else whole
            x, _ = call(block, x)
        stride = self.config.stride
        return self.norm(x if stride == 1 else x[:, stride - 1 :: stride])

    def attention(self, tokens: Tokens) -> jax.Array:
        """float32[layer, B, H, T, T]: of contexts Tokens[B, T], how much each position (axis -2)
        looks at each one (axis -1) in the full forward pass; of a step of two positions the last
        looks, and what it looks at is added up. For probes and the viewer."""
        x = self._sequence(tokens)
        found = []
        for block in self.blocks:
            query, key, _ = block.heads_of(x, np.arange(x.shape[1]))
            found.append(weights(jnp.swapaxes(query, 1, 2), jnp.swapaxes(key, 1, 2)))
            x, _ = block(x)
        every, stride = jnp.stack(found), self.config.stride
        looking = every[..., stride - 1 :: stride, :]
        return looking.reshape(*looking.shape[:-1], -1, stride).sum(-1)

    def prefill(self, tokens: Tokens) -> Cache:
        """The cache float[B, H, T * stride, D] of contexts Tokens[B, T]: read-only from here on."""
        x = self._sequence(tokens)
        pairs = []
        for block in self.blocks:
            x, pair = block(x)
            pairs.append(pair)
        return Cache(*map(tuple, zip(*pairs, strict=True)))

    def decode(
        self, tokens: Tokens, prefix: Cache, lengths: jax.Array, own: Cache, time: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """One more token for N rows on each of C contexts.

        Args:
            tokens: Tokens[C, N].
            prefix: cache of the contexts, float[C, H, P * stride, D].
            lengths: int32[C, N], valid steps of the prefix in each row.
            own: the rows' growing cache, float[C, N, H, T * stride, D].
            time: int32[], the step to write in it: one index for all rows.

        Returns:
            Logits float32[C, N, A] and the cache with this token in it.
        """
        stride, keys, values = self.config.stride, list(own.keys), list(own.values)
        x = None
        for offset, x in enumerate(self._positions(tokens)):
            place, before = time * stride + offset, lengths * stride
            for i, block in enumerate(self.blocks):
                query, key, value = block.heads_of(x, before + place)
                keys[i] = jax.lax.dynamic_update_index_in_dim(keys[i], key, place, 3)
                values[i] = jax.lax.dynamic_update_index_in_dim(values[i], value, place, 3)
                pair = (prefix.keys[i], prefix.values[i])
                attended = attend_cached(query, pair, before, (keys[i], values[i]), place)
                x = block.finish(x, attended)
        assert x is not None
        return self._logits(x), Cache(tuple(keys), tuple(values))

    def empty(self, contexts: int, rows: int, length: int) -> Cache:
        """A growing cache float[C, N, H, T * stride, D] of zeros, for ``length`` T steps."""
        config = self.config
        length *= config.stride
        shape = (contexts, rows, config.heads, length, config.width // config.heads)
        zeros = tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))
        return Cache(zeros, zeros)

    def grow(self, own: Cache, steps: int) -> Cache:
        """The growing cache with room for ``steps`` more steps."""
        widths = ((0, 0), (0, 0), (0, 0), (0, steps * self.config.stride), (0, 0))
        return jax.tree.map(lambda x: jnp.pad(x, widths), own)


def define(
    config: ModelConfig, interface: Interface, key: jax.Array
) -> tuple[nnx.GraphDef, Parameters]:
    """The model's definition (static, hashable) and freshly drawn parameters; ``nnx.merge`` of
    the two inside a compiled function is the model. The key is consumed."""
    return _definition(config, interface), _parameters(config, interface, key)


@functools.cache
def _definition(config: ModelConfig, interface: Interface) -> nnx.GraphDef:
    kind = _kind(config)
    return nnx.graphdef(nnx.eval_shape(lambda: kind(config, interface, nnx.Rngs(0))))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _parameters(config: ModelConfig, interface: Interface, key: jax.Array) -> Parameters:
    return nnx.state(_kind(config)(config, interface, nnx.Rngs(key)))


def _kind(config: ModelConfig) -> type[Transformer]:
    if config.kind == "transformer":
        return Transformer
    from agents.recurrent import Recurrent  # it builds on this file

    return Recurrent
