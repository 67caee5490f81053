"""Programs made ready: compiled once for the sizes at hand, and refused where memory lacks."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from experiments.errors import ConfigError

SPARE = 0.9  # share of the free memory that may be asked for


def ready(function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``, compiled once for every program and its sizes.

    Raises:
        ConfigError: it would take more memory than there is; nothing has run.
    """
    arguments = jax.tree.map(_array, arguments)
    leaves, structure = jax.tree.flatten(arguments)
    sizes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return _compiled(function, structure, sizes)(*arguments)


@functools.lru_cache(maxsize=128)
def _compiled(function: Callable[..., Any], structure: Any, sizes: Any) -> Any:
    shapes = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in sizes]
    made = jax.jit(function).lower(*jax.tree.unflatten(structure, shapes)).compile()
    refuse(made.memory_analysis())
    return made


def refuse(analysis: Any, free: float | None = None) -> None:
    """Raises ConfigError where a compiled program asks for more memory than is free, in bytes; by
    default as much as the device or the machine has."""
    if analysis is None:  # a backend that does not tell
        return
    need = analysis.temp_size_in_bytes + analysis.output_size_in_bytes
    free = SPARE * _free() if free is None else free
    if need > free:
        raise ConfigError(
            f"this needs {need / 2**30:.1f} GiB of memory, {free / 2**30:.1f} are free: lower "
            "--levels, --repetitions or --budget"
        )


def _free() -> float:
    """Bytes of the device's memory, on CPU of the machine's that nobody uses."""
    limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", 0)
    return limit or os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _array(x: Any) -> Any:
    return x if hasattr(x, "dtype") else np.asarray(x, jax.dtypes.result_type(x))
