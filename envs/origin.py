"""Where groups come from, as JSON: the environment with its wrappers, the software, the level."""

from __future__ import annotations

import dataclasses
import sys
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.core import Env, Level
from envs.keys import THREEFRY, new_key

PACKAGES = ("levelburst", "jax", "jaxlib", "flax", "numpy", "tensorstore")


def described(env: Env) -> list[dict[str, Any]]:
    """The environment from the outermost wrapper to the family: class and fields of each."""
    found: list[dict[str, Any]] = []
    inner: Any = env
    while inner is not None:
        kind = type(inner)
        layer: dict[str, Any] = {"class": f"{kind.__module__}:{kind.__qualname__}"}
        within = None
        for field in dataclasses.fields(inner):
            value = getattr(inner, field.name)
            if isinstance(value, Env):
                within = value
            else:
                layer[field.name] = _plain(value)
        found.append(layer)
        inner = within
    return found


def software() -> dict[str, str]:
    """Versions of what made the numbers; of a package that is only on the path none is known."""
    found = {"python": sys.version.split()[0]}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def numbers_of(level: Level) -> dict[str, jax.Array]:
    """The arrays of stacked levels [L], by their place: ``level.inner.goal``. Random keys become
    the words that they consist of."""
    return {_name(place): _words(x) for place, x in jax.tree.leaves_with_path(level)}


def level_of(env: Env, arrays: dict[str, Any]) -> Level:
    """The stacked levels [L] whose ``numbers_of`` those are.

    Raises:
        KeyError: the arrays are not those of this family's levels.
    """
    form = jax.eval_shape(env.level, new_key(0))

    def leaf(place: Any, of: Any) -> jax.Array:
        found = jnp.asarray(arrays[_name(place)])
        if jnp.issubdtype(of.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(found, impl=THREEFRY)
        return found

    return jax.tree_util.tree_map_with_path(leaf, form)


def _name(place: Any) -> str:
    return ".".join(["level", jax.tree_util.keystr(place, simple=True, separator=".")]).strip(".")


def _words(x: jax.Array) -> jax.Array:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def _plain(value: Any) -> Any:
    """Numbers as JSON has them; what it has no form for, in words."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, tuple | list):
        return [_plain(x) for x in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return np.asarray(value).tolist()
    return str(value)
