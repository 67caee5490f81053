"""Several runs side by side: arms, seeds, learning rates … on a leading axis ``run``.

A run never sees another. The axis is split over the devices, each of which computes its own runs
without a word to the others; on CPU with one device a core, every core trains its own run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "run"


def mesh(runs: int) -> Mesh:
    """As many devices as divide the number of runs, on one axis."""
    devices = jax.devices()
    used = max(d for d in range(1, len(devices) + 1) if runs % d == 0)
    return jax.make_mesh((used,), (AXIS,), axis_types=(AxisType.Auto,), devices=devices[:used])


def stack(trees: list[Any]) -> Any:
    """Pytrees of arrays and numbers, alike in form, stacked on a new leading axis over devices."""
    stacked = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *trees)
    return jax.device_put(stacked, NamedSharding(mesh(len(trees)), PartitionSpec(AXIS)))


def unstack(tree: Any) -> list[Any]:
    """The runs of a stacked tree, in order."""
    runs = jax.tree.leaves(tree)[0].shape[0]
    return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(runs)]


def side_by_side(function: Callable[..., Any], runs: int, donate: int | None = None) -> Any:
    """Compiles a function of one run's trees into the same function of ``runs`` stacked runs.

    Args:
        function: pure, of positional pytrees.
        runs: length of the leading axis; it must not change between calls.
        donate: the argument whose buffers the result may take over.
    """
    spec = PartitionSpec(AXIS)
    split = jax.shard_map(
        jax.vmap(function), mesh=mesh(runs), in_specs=spec, out_specs=spec, check_vma=False
    )
    return jax.jit(split, donate_argnums=() if donate is None else donate)
