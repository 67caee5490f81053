"""The machine's own limits, measured in the same run: what no program here can exceed."""

from __future__ import annotations

import os
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from experiments.bench.clock import Race, Side, compiled, race, timed
from experiments.folder import environment


def limits(matrix: int, copy: int, repeats: int) -> dict[str, Any]:
    """Peak and bandwidth of the machine.

    Args:
        matrix: edge of the square matrices that are multiplied.
        copy: float32 numbers of each of the three arrays of the triad a = b + 2 c.
        repeats: timed goes of each.

    Returns:
        The environment of ``results.json``, and: ``devices``, how many; ``backend``; ``load``, the
        load averages of 1, 5 and 15 minutes at the start; ``float32`` and ``bfloat16``, matmul
        operations a second, the fastest of all goes on one device and on all; ``bandwidth``,
        bytes a second, alike; ``goes``, every go's seconds by name.
    """
    load = list(os.getloadavg()) if hasattr(os, "getloadavg") else []
    devices, found, goes = jax.devices(), {}, {}
    for dtype in ("float32", "bfloat16"):
        sides = tuple(_matmul(matrix, dtype, count) for count in sorted({1, len(devices)}))
        found[dtype] = _best(
            goes, Race(f"matmul {dtype}", "", matrix, "operations", sides), repeats
        )
    sides = tuple(_triad(copy, count) for count in sorted({1, len(devices)}))
    found["bandwidth"] = _best(goes, Race("triad", "", copy, "bytes", sides), repeats)
    return {
        **environment(devices),
        "devices": len(devices),
        "backend": jax.default_backend(),
        "load": [round(x, 2) for x in load],
        **found,
        "goes": goes,
    }


def spread(count: int) -> NamedSharding:
    """The leading axis over the first ``count`` devices."""
    mesh = jax.make_mesh(
        (count,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
    )
    return NamedSharding(mesh, PartitionSpec("data"))


def _best(goes: dict[str, Any], given: Race, repeats: int) -> float:
    cells = race("machine", given, repeats)
    goes |= {f"{cell.work}, {cell.what}": cell.seconds for cell in cells}
    return max(cell.amount / cell.low for cell in cells if cell.low)


def _matmul(edge: int, dtype: str, count: int) -> Side:
    """Each device multiplies its share of the rows."""
    rows = spread(count)
    left = jax.device_put(jnp.ones((edge // count * count, edge), dtype), rows)
    right = jax.device_put(jnp.ones((edge, edge), dtype), NamedSharding(rows.mesh, PartitionSpec()))
    program, seconds = compiled(jnp.matmul, left, right)
    work = 2.0 * left.shape[0] * edge * edge
    name = f"{count} device{'s' * (count > 1)}"
    return Side(name, name, work, timed(lambda: program(left, right)), seconds)


def _triad(size: int, count: int) -> Side:
    """b = b + 2 c in the place of b: two arrays are read and one is written."""
    rows = spread(count)
    other = jax.device_put(jnp.ones(size // count * count), rows)
    box = [jax.device_put(jnp.ones(size // count * count), rows)]
    program, seconds = compiled(lambda b, c: b + 2 * c, box[0], other, donate_argnums=0)

    def go() -> jax.Array:
        box[0] = program(box[0], other)
        return box[0]

    name = f"{count} device{'s' * (count > 1)}"
    return Side(name, name, 3.0 * other.nbytes, timed(go), seconds)
