"""A family behind the wrappers of the experiments, and what its levels are looked at with."""

from typing import Any

import jax
import numpy as np

from envs.core import Env
from envs.wrappers import Scramble, Sticky, Wrapper, pad, wrap

STICKINESS = 0.1
# Compiles 2-3 times faster; for what runs little and is not itself under test.
QUICK = {"xla_backend_optimization_level": 0}


def behind(env: Env, stickiness: float = STICKINESS) -> Wrapper:
    """Sticky(Scramble(Pad(env))), with a field, a symbol and an action to spare."""
    common = pad(env, env.num_fields + 1, env.num_symbols + 2, env.num_actions + 1)
    return wrap(Sticky, wrap(Scramble, common), stickiness=stickiness)


LEVELS = jax.jit(lambda env, keys: jax.vmap(env.level)(keys), compiler_options=QUICK)

MEMBERS = jax.jit(lambda chosen, indices: chosen.levels(indices), compiler_options=QUICK)


def raw_levels(env: Env, seed: int, count: int) -> Any:
    """Levels as drawn, admitted or not, stacked on a leading axis."""
    return LEVELS(env, jax.random.split(jax.random.key(seed), count))


def each(levels: Any) -> list[Any]:
    """Stacked levels as a list of levels of numpy arrays."""
    host = jax.tree.map(np.asarray, levels)
    count = jax.tree.leaves(host)[0].shape[0]
    return [jax.tree.map(lambda x, i=i: x[i], host) for i in range(count)]


def same(one: Any, other: Any) -> bool:
    """Two pytrees are equal to the bit, dtypes and structure included."""
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(
        x.dtype == y.dtype and np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs
    )
