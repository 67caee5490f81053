"""Several runs side by side, each on devices of its own: arms, seeds, learning rates … on a leading
axis ``run`` of the mesh; a run's contexts on ``data``, its matrices on ``model``.

    devices    0      1      2      3      4      5      6      7
    run        0      0      0      0      1      1      1      1     half of the stacked runs each
    data       0      0      1      1      0      0      1      1     half of a run's contexts each
    model      0      1      0      1      0      1      0      1     half of its heads and MLP each

A run never sees another: over ``run`` the program is split by hand (``shard_map``), and what is
many to a device is batched (``vmap``). Over ``data`` and ``model`` the compiler splits it, by the
rules in agents/sharding.py. With one device a run, as by default, nothing speaks to anything; on
CPU every core then trains its own runs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from agents import sharding

RUN = "run"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How runs lie on devices.

    Attributes:
        data: devices that share the contexts of one run.
        model: devices that split its matrices.
        fsdp: cut parameters and moments over ``data``, too.
        devices: of each process, how many are used; 0 takes all.
    """

    data: int = 1
    model: int = 1
    fsdp: bool = False
    devices: int = 0

    @property
    def groups(self) -> int:
        """Runs that can be trained at the same time, one on each group of devices."""
        return len(self.used()) // (self.data * self.model)

    def used(self) -> list[Any]:
        """The devices used, those of a process together, so that a group spans few of them."""
        taken: dict[int, list[Any]] = {}
        for device in jax.devices():
            taken.setdefault(device.process_index, []).append(device)
        return [x for own in taken.values() for x in own[: self.devices or len(own)]]

    def mesh(self, runs: int) -> Mesh:
        """As many groups of devices as divide the number of runs.

        Raises:
            ValueError: there are fewer devices than one run is to share.
        """
        if not self.groups:
            raise ValueError(
                f"data {self.data} x model {self.model} devices share a run, and there are "
                f"{len(self.used())}"
            )
        lanes = max(n for n in range(1, self.groups + 1) if runs % n == 0)
        shape = (lanes, self.data, self.model)
        devices = np.asarray(self.used()[: lanes * self.data * self.model]).reshape(shape)
        return Mesh(devices, (RUN, sharding.DATA, sharding.MODEL), axis_types=(AxisType.Auto,) * 3)

    def places(self, tree: Any) -> Any:
        """The NamedSharding of every array of stacked runs: split over ``run`` along its first
        dimension, parameters and moments by their rule along the others."""
        mesh = self.mesh(_runs(tree))
        specs = sharding.specs(tree, mesh.shape, self.fsdp, lead=(RUN,))
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)


ALONE = Layout()  # one device a run, on all there are


def stack(trees: list[Any], layout: Layout = ALONE) -> Any:
    """Pytrees of arrays and numbers, alike in form, stacked on a new leading axis over devices.
    Every process gives the same trees, and holds the parts that its own devices need."""
    stacked = jax.tree.map(lambda *x: _stacked([jnp.asarray(y) for y in x]), *trees)
    return jax.tree.map(
        lambda x, place: jax.make_array_from_callback(x.shape, place, lambda index: x[index]),
        stacked,
        layout.places(stacked),
    )


def unstack(tree: Any) -> list[Any]:
    """The runs of a stacked tree, in order."""
    return [jax.tree.map(lambda x, i=i: x[i], tree) for i in range(_runs(tree))]


def fetch(tree: Any) -> Any:
    """Arrays as NumPy arrays, whole on every process; all processes have to ask at once."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def side_by_side(
    function: Callable[..., Any],
    runs: int,
    donate: int | None = None,
    layout: Layout = ALONE,
) -> Any:
    """Compiles a function of one run's trees into the same function of ``runs`` stacked runs.

    Args:
        function: pure, of positional pytrees.
        runs: length of the leading axis; it must not change between calls.
        donate: the argument whose buffers the result may take over.
        layout: how they lie on devices; the arguments were stacked with the same.
    """
    mesh = layout.mesh(runs)
    donated = () if donate is None else donate
    if layout.data * layout.model == 1:
        spec = PartitionSpec(RUN)
        split = jax.shard_map(
            jax.vmap(function), mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False
        )
        # Said again: where there is one device, JAX hands scalars back as P(), another sharding.
        return jax.jit(split, donate_argnums=donated, out_shardings=NamedSharding(mesh, spec))

    def shared(*arguments: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return jax.vmap(function, spmd_axis_name=RUN)(*arguments)

    return _Shared(shared, donated, layout)


@dataclasses.dataclass
class _Shared:
    """A compiled function whose results lie as ``layout`` wants them; where that is depends on what
    they are, so it is compiled when it is called first."""

    function: Callable[..., Any]
    donated: int | tuple[()]
    layout: Layout
    compiled: Any = None

    def __call__(self, *arguments: Any) -> Any:
        if self.compiled is None:
            places = self.layout.places(jax.eval_shape(self.function, *arguments))
            self.compiled = jax.jit(
                self.function, donate_argnums=self.donated, out_shardings=places
            )
        return self.compiled(*arguments)

    def _cache_size(self) -> int:
        return self.compiled._cache_size()


def _stacked(leaves: list[jax.Array]) -> Any:
    """On the host, where no device has to hold it all; keys have no form there."""
    if jnp.issubdtype(leaves[0].dtype, jax.dtypes.prng_key):
        return jnp.stack(leaves)
    return np.stack([np.asarray(x) for x in leaves])


def _runs(tree: Any) -> int:
    return jax.tree.leaves(tree)[0].shape[0]
