"""gymnax's side of ``simulate``: vmapped steps, which reset themselves."""

from __future__ import annotations

from typing import Any

import gymnax
import jax
from steps import Made, Play


def make(name: str) -> Made:
    """An environment by name, with its default parameters."""
    env, params = gymnax.make(name)

    def step(key: jax.Array, lane: Any, action: jax.Array) -> Any:
        _, state, *_ = lane
        seen, state, reward, terminated, truncated, _ = env.step(key, state, action, params)
        return seen, state, reward, terminated, truncated

    def first(key: jax.Array) -> Any:
        shapes = jax.eval_shape(lambda: step(key, (None, env.reset(key, params)[1]), 0))
        rest = jax.tree.map(lambda x: jax.numpy.zeros(x.shape, x.dtype), shapes[2:])
        return *env.reset(key, params), *rest

    return jax.vmap(step), jax.vmap(first), env.num_actions


if __name__ == "__main__":
    Play("gymnax", make).serve()
