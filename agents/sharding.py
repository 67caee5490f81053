"""How one run's arrays lie on the devices that share it: rules by a parameter's name and shape.

The axes of the mesh are ``data`` (devices that share a run's contexts) and ``model`` (devices that
split its matrices by attention head and by unit of the perceptron; Shoeybi et al. 2019, arXiv
1909.08053). Parameters and Adam's moments follow one rule; with ``fsdp`` they are also cut over
``data`` while nobody computes with them (Rajbhandari et al. 2020, arXiv 1910.02054, stage 3).

Every function here only tells the compiler where arrays are to lie, never what they hold, and
tells it nothing where the mesh around it has no such axis: on one device all of it is the identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import nnx
from jax.sharding import AxisType, PartitionSpec

DATA = "data"
MODEL = "model"

# Which dimension of a matrix [inputs, outputs] its devices split, by its name: outputs that are
# heads, or units of the perceptron, and the inputs of the products after them. The columns of a
# fused qkv are no whole heads; the compiler deals them out.
SPLIT = {"query": 1, "key": 1, "value": 1, "qkv": 1, "project": 0, "expand": 1, "contract": 0}

Sizes = Mapping[str, int]
"""Devices of each axis of a mesh."""


def rule(path: tuple[Any, ...], shape: tuple[int, ...], sizes: Sizes, fsdp: bool) -> PartitionSpec:
    """Where a parameter, or a moment of one, lies.

    Args:
        path: its keys in the tree, of which one names the matrix.
        shape: its own, of one run.
        sizes: devices of the axes ``data`` and ``model``; an axis that is not there has one.
        fsdp: cut it over ``data``, too, along its longest dimension that divides.
    """
    names: list[Any] = [None] * len(shape)
    for key in path:
        axis = SPLIT.get(str(getattr(key, "key", "")))
        if axis is not None and len(shape) == 2 and sizes.get(MODEL, 1) > 1:
            names[axis] = MODEL
    ways = sizes.get(DATA, 1)
    if fsdp and ways > 1:
        free = [a for a, name in enumerate(names) if name is None and shape[a] % ways == 0]
        if free:
            names[max(free, key=lambda a: shape[a])] = DATA
    while names and names[-1] is None:  # JAX takes P("x") and P("x", None) for two shardings
        names.pop()
    return PartitionSpec(*names)


def specs(tree: Any, sizes: Sizes, fsdp: bool, lead: tuple[str, ...] = ()) -> Any:
    """The PartitionSpec of every array of a tree: ``rule`` for what lies in an ``nnx.State`` (the
    parameters, and moments alike them), whole on every device for all else. ``lead`` names the
    axes of leading dimensions that a run's own arrays do not have."""

    def state(node: Any) -> Any:
        if not isinstance(node, nnx.State):
            return PartitionSpec(*lead)
        return jax.tree_util.tree_map_with_path(
            lambda path, x: PartitionSpec(*lead, *rule(path, x.shape[len(lead) :], sizes, fsdp)),
            node,
        )

    return jax.tree.map(state, tree, is_leaf=lambda node: isinstance(node, nnx.State))


def at_rest(tree: Any, fsdp: bool) -> Any:
    """Parameters, moments or gradients where they are kept between two uses."""
    sizes = _sizes()
    return _constrain(tree, specs(tree, sizes, fsdp)) if math.prod(sizes.values()) > 1 else tree


def in_use(parameters: Any) -> Any:
    """Parameters gathered over ``data`` for the forward and backward pass; ``model`` stays cut."""
    return at_rest(parameters, fsdp=False)


def share(tree: Any, axis: int = 0) -> Any:
    """Arrays cut over ``data`` along an axis of contexts, where that divides."""
    ways = _sizes().get(DATA, 1)

    def cut(x: jax.Array) -> jax.Array:
        if ways == 1 or x.shape[axis] % ways:
            return x
        return jax.lax.with_sharding_constraint(x, PartitionSpec(*[None] * axis, DATA))

    return jax.tree.map(cut, tree)


def by_hand(function: Callable[..., Any], axis: int | None = None) -> Callable[..., Any]:
    """The same function of whole arguments, computed by every device for itself, without the
    compiler's splitting: loops end when a device's own work is done. Inside, ``own`` and ``joined``
    divide the work.

    Args:
        function: of positional pytrees, to a pytree that is the same on all devices.
        axis: of which each device keeps its share of the result; None keeps the whole.

    Raises:
        ValueError: (when called) that axis cannot be shared equally.
    """

    def whole(*arguments: Any) -> Any:
        ways = _sizes().get(DATA, 1)
        if math.prod(_sizes().values()) == 1:
            return function(*arguments)
        spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, DATA)

        def one_device(*arguments: Any) -> Any:
            made = function(*arguments)
            if axis is None:
                return made
            for x in jax.tree.leaves(made):
                if x.shape[axis] % ways:
                    raise ValueError(f"{ways} devices cannot share {x.shape[axis]} equally")
            return own(made, axis)

        split = jax.shard_map(one_device, in_specs=PartitionSpec(), out_specs=spec, check_vma=False)
        return split(*arguments)

    return whole


def by_head(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The same function of arrays [context, head, …], every device on its own contexts and heads:
    for kernels that the compiler cannot split. An axis that does not divide stays whole."""

    def split(*arrays: jax.Array) -> jax.Array:
        sizes = _sizes()
        if math.prod(sizes.values()) == 1:
            return function(*arrays)
        lengths = zip((DATA, MODEL), arrays[0].shape)
        spec = PartitionSpec(*[None if n % sizes.get(x, 1) else x for x, n in lengths])
        return jax.shard_map(function, in_specs=spec, out_specs=spec, check_vma=False)(*arrays)

    return split


def own(tree: Any, axis: int = 0) -> Any:
    """Within ``by_hand``, this device's share of arrays along an axis, where that divides."""
    ways = _sizes(AxisType.Manual).get(DATA, 1)

    def cut(x: jax.Array) -> jax.Array:
        size = x.shape[axis] // ways
        if ways == 1 or x.shape[axis] % ways:
            return x
        return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(DATA) * size, size, axis)

    return jax.tree.map(cut, tree)


def joined(tree: Any, count: int) -> Any:
    """Within ``by_hand``, the ``count`` rows of which every device holds its ``own``."""
    return jax.tree.map(
        lambda x: x if x.shape[0] == count else jax.lax.all_gather(x, DATA, tiled=True), tree
    )


def _constrain(tree: Any, where: Any) -> Any:
    return jax.tree.map(jax.lax.with_sharding_constraint, tree, where)


def _sizes(kind: AxisType = AxisType.Auto) -> dict[str, int]:
    """Devices of the axes of the mesh around the caller that are split by the compiler (Auto), or
    by hand (Manual)."""
    mesh = jax.sharding.get_abstract_mesh()
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    return {name: mesh.shape[name] for name in (DATA, MODEL) if kinds.get(name) == kind}
