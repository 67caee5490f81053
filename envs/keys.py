"""Random keys: JAX's threefry, bit for bit, in a form that is fast on CPUs.

There JAX rolls the twenty rounds of Threefry-2x32 (Salmon et al. 2011, "Parallel random numbers: as
easy as 1, 2, 3") into a loop of many small kernels, which for the few numbers of an environment's
step costs more than their arithmetic. Here the rounds are straight: numbers become part of the
kernel that reads them, and keys, which many kernels read, are made once by a kernel of their own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import ShapedArray
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.extend.mlir import ir
from jax.extend.mlir.dialects import stablehlo as hlo
from jax.extend.random import define_prng_impl
from jax.interpreters import batching, mlir

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
PARITY = 0x1BD11BDA


def new_key(seed: int | np.integer | jax.Array) -> jax.Array:
    """The key of a seed, an integer: of ``jax.random.key``, with the same numbers to come. It
    and its descendants go wherever a key may; but not into one array with other keys of JAX."""
    return jax.random.key(seed, impl=THREEFRY)


def _rounds(ctx: mlir.LoweringRuleContext, *words: ir.Value) -> list[ir.Value]:
    """Twenty rounds over four words, uint32 and broadcast to the shape of the two that come out.
    In StableHLO: traced from operations of JAX, a hundred for each shape that a program hashes,
    they took a quarter of the time in which a training is lowered."""
    shape = ctx.avals_out[0].shape
    kind = ir.RankedTensorType.get(shape, ir.IntegerType.get_unsigned(32))

    def spread(word: ir.Value) -> ir.Value:
        own = ir.RankedTensorType(word.type).rank
        return hlo.broadcast_in_dim(kind, word, range(len(shape) - own, len(shape)))

    def constant(number: int) -> ir.Value:
        return spread(mlir.ir_constant(np.uint32(number)))

    first, second, high, low = map(spread, words)
    keys = (first, second, hlo.xor(hlo.xor(first, second), constant(PARITY)))
    turns = {turn: (constant(turn), constant(32 - turn)) for turn in sum(ROTATIONS, ())}
    high, low = hlo.add(high, keys[0]), hlo.add(low, keys[1])
    for group in range(5):
        for turn in ROTATIONS[group % 2]:
            high, (left, right) = hlo.add(high, low), turns[turn]
            turned = hlo.or_(hlo.shift_left(low, left), hlo.shift_right_logical(low, right))
            low = hlo.xor(high, turned)
        high = hlo.add(high, keys[(group + 1) % 3])
        low = hlo.add(hlo.add(low, keys[(group + 2) % 3]), constant(group + 1))
    return [high, low]


def _primitive(name: str) -> Primitive:
    """A hash, uint32 each and broadcast together, of a counter (high, low) by a key (first,
    second): one operation to JAX, so that tracing it costs nothing."""
    made = Primitive(name)
    made.multiple_results = True
    made.def_impl(jax.jit(made.bind))
    made.def_abstract_eval(lambda *words: (_form(words),) * 2)
    batching.defbroadcasting(made)
    mlir.register_lowering(made, _rounds)
    return made


def _form(words: Sequence[ShapedArray]) -> ShapedArray:
    shape = np.broadcast_shapes(*(word.shape for word in words))
    return ShapedArray(shape, np.dtype(np.uint32))


NUMBERS = _primitive("threefry_numbers")
KEYS = _primitive("threefry_keys")


def _numbers(*words: jax.Array) -> list[jax.Array]:
    return NUMBERS.bind(*words)


def _apart(*words: jax.Array) -> list[jax.Array]:
    """The rounds in a call that stays a call: the compiler would fold them into all that reads a
    key, and a chain of keys would be hashed anew for every number at its end."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(_numbers)(*words)


mlir.register_lowering(KEYS, mlir.lower_fun(_apart), platform="cpu")


def _hash(kind: Primitive, key: jax.Array, high: jax.Array, low: jax.Array) -> list[jax.Array]:
    return kind.bind(key[0], key[1], high, low)


def _counts(shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Counters (high, low), uint32[shape] each, of the elements in order."""
    size = math.prod(shape)
    if size >= 2**32:
        raise NotImplementedError(f"{size} random numbers in one draw; draw fewer than 2**32")
    low = lax.iota(jnp.uint32, size).reshape(shape)
    return jnp.zeros_like(low), low


def _seed(seed: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))


@functools.partial(jax.jit, static_argnums=1)
def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_hash(KEYS, key, *_counts(shape)), axis=-1)


@jax.jit
def _fold_in(key: jax.Array, data: int | jax.Array) -> jax.Array:
    return jnp.stack(_hash(KEYS, key, jnp.uint32(0), jnp.asarray(data, jnp.uint32)))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _random_bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    high, low = _hash(NUMBERS, key, *_counts(shape))
    if width == 64:
        return (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
    return (high ^ low).astype(f"uint{width}")


THREEFRY = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="levelburst_threefry",
    tag="lvl",
)
