"""Checkpoints of parameters and of experts, by orbax."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax


def save(path: Path, tree: Any) -> None:
    """Writes a pytree of arrays to a new folder; orbax renames it into place once it is whole."""
    with _alone() as checkpointer:
        checkpointer.save(path.absolute(), jax.device_get(tree), force=True)


def restore(path: Path, like: Any) -> Any:
    """Reads a checkpoint into the structure, shapes and dtypes of ``like``.

    Raises:
        FileNotFoundError: there is none at that path.
        ValueError: its arrays have other shapes than ``like``.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}")
    form = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    with _alone() as checkpointer:
        restored = checkpointer.restore(path.absolute(), form)
    # Orbax hands arrays of the host back in the shape that they were saved in.
    pairs = zip(jax.tree.leaves_with_path(form), jax.tree.leaves(restored), strict=True)
    wrong = [
        f"{jax.tree_util.keystr(place)} is {saved.shape}, expected {wanted.shape}"
        for (place, wanted), saved in pairs
        if saved.shape != wanted.shape
    ]
    if wrong:
        raise ValueError(f"checkpoint {path} is of another model: {'; '.join(wrong)}")
    return restored


def _alone() -> Any:
    """A checkpointer that waits for no other process: who calls it reads and writes alone."""
    import orbax.checkpoint as ocp

    this = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )
    return ocp.StandardCheckpointer(multiprocessing_options=options)
