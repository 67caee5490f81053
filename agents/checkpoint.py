"""Checkpoints: a pytree of arrays and a few notes in a folder, by orbax.

    NAME/
      arrays/          what orbax wrote: all arrays of one dtype as one, end to end
      notes.json       where each array lies in those, the SHA-256 of all, and what else was told
      manifest.json    the SHA-256 of every file

Orbax takes milliseconds an array, and a model has a hundred; hence one for each dtype. A folder is
there whole or not at all (envs/durable.py), its files are verified when they are opened, and so
are the arrays that came out of them. No pickle is read or written.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs import durable, manifest
from envs.manifest import Damaged

ARRAYS, NOTES = "arrays", "notes.json"
ORBAX = "_CHECKPOINT_METADATA"  # what orbax writes into the folder that it is given


def save(path: Path, tree: Any, notes: dict[str, Any] | None = None) -> None:
    """Writes a pytree of arrays, and JSON, to a new folder that takes the place of an older one
    once it is whole.

    Raises:
        FloatingPointError: a number is not finite; nothing is written.
        OSError: it cannot be written, or its notes are too large; what was there before is still
            there.
    """
    tree = jax.device_get(tree)
    if wrong := unbounded(tree):
        raise FloatingPointError(f"{path} is not saved: {wrong} is not finite")
    told = {"arrays": _layout(tree), "sha256": digest(tree), "notes": notes or {}}
    text = (json.dumps(told, indent=1) + "\n").encode()
    if len(text) > manifest.LARGEST:
        raise OSError(
            f"{path} is not saved: its notes take {len(text)} bytes, and {manifest.LARGEST} are "
            "the most"
        )
    with durable.new_folder(path) as partial:
        try:
            with _alone() as checkpointer:
                checkpointer.save((partial / ARRAYS).absolute(), _packed(tree))
        except OSError:
            raise
        except Exception as error:  # tensorstore has its own for a full disk
            raise OSError(f"{path} cannot be written: {' '.join(str(error).split())}") from None
        (partial / NOTES).write_bytes(text)
        manifest.seal_folder(partial)


def verify(path: Path) -> None:
    """Finds out whether a checkpoint is as it was saved.

    Raises:
        FileNotFoundError: there is none at that path.
        Damaged: it is not.
    """
    durable.recover(path)
    if not path.is_dir():
        raise FileNotFoundError(f"no checkpoint at {path}")
    if _old(path):
        raise Damaged(
            f"{path} was saved by an older version, whose manifest this one does not know; if you "
            f"trust it: python -m agents.checkpoint {path}"
        )
    manifest.verify_folder(path)


def adopt(path: Path) -> None:
    """Gives a checkpoint of a version that wrote no manifest, or one of another form, its own,
    unseen.

    Raises:
        ValueError: it is none.
    """
    if not _old(path):
        raise ValueError(f"{path} is no checkpoint of an older version")
    with durable.new_folder(path) as partial:
        if (path / NOTES).exists():
            shutil.copytree(path, partial, dirs_exist_ok=True)
            (partial / manifest.MANIFEST).unlink()
            manifest.seal_folder(partial)
            return
        shutil.copytree(path, partial / ARRAYS)
        (partial / NOTES).write_text(
            '{"arrays": null, "sha256": null, "notes": {}}\n', encoding="utf-8"
        )
        manifest.seal_folder(partial)


def _old(path: Path) -> bool:
    """Whether a version wrote it that knew no manifests, or spelt them over several lines."""
    if (path / ORBAX).exists():
        return True
    try:
        with (path / manifest.MANIFEST).open("rb") as file:
            return file.read(2) == b"{\n"
    except OSError:
        return False


def notes(path: Path) -> dict[str, Any]:
    """The notes of a checkpoint that was verified.

    Raises:
        Damaged: they are not what is written here.
    """
    return _told(path)["notes"]


def _told(path: Path) -> dict[str, Any]:
    """All of notes.json: ``arrays``, ``sha256`` and ``notes``."""
    try:
        if (path / NOTES).stat().st_size > manifest.LARGEST:
            raise ValueError("what JSON makes of it has to fit in memory")
        told = json.loads((path / NOTES).read_bytes())
        arrays = [(str(name), str(kind), list(shape)) for name, kind, shape in told["arrays"] or ()]
        whole = isinstance(told["notes"], dict) and "sha256" in told
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        whole, arrays = False, []
    if not whole or arrays != [tuple(x) for x in told["arrays"] or ()]:
        raise Damaged(f"{path / NOTES} is not as it was saved; restore it from a copy")
    return told


def restore(path: Path, like: Any) -> Any:
    """Reads a checkpoint into the structure, shapes and dtypes of ``like``.

    Raises:
        FileNotFoundError: there is none at that path.
        Damaged: it is not as it was saved.
        ValueError: its arrays have other shapes than ``like``.
    """
    verify(path)
    told = _told(path)
    form = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), like)
    adopted = told["arrays"] is None
    if not adopted:
        _compare(path, told["arrays"], _layout(form))
    with _alone() as checkpointer:
        packed = form if adopted else _sizes(form)
        found = checkpointer.restore((path / ARRAYS).absolute(), packed)
    if adopted:
        _compare(path, _layout(found), _layout(form))
        return found
    found = _unpacked(found, form)
    if digest(found) != told["sha256"]:
        raise Damaged(f"{path} is damaged: its arrays have another SHA-256 than was saved")
    return found


def _compare(path: Path, saved: list[Any], wanted: list[Any]) -> None:
    """Raises ValueError where arrays are not what is wanted."""
    before, now = ({name: kind for name, *kind in layout} for layout in (saved, wanted))
    wrong = [
        f"{name} is {_words(before.get(name))}, expected {_words(now.get(name))}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    if wrong:
        raise ValueError(f"checkpoint {path} is of another model: {'; '.join(wrong)}")


def _words(kind: list[Any] | None) -> str:
    return f"{kind[0]} {tuple(kind[1])}" if kind else "missing"


def _layout(tree: Any) -> list[Any]:
    """The place, dtype and shape of each array, in order."""
    return [
        [jax.tree_util.keystr(place), str(leaf.dtype), list(leaf.shape)]
        for place, leaf in jax.tree.leaves_with_path(tree)
    ]


def _packed(tree: Any) -> dict[str, np.ndarray]:
    """dtype -> all arrays of it, end to end."""
    parts: dict[str, list[np.ndarray]] = {}
    for leaf in jax.tree.leaves(tree):
        parts.setdefault(str(leaf.dtype), []).append(np.ravel(leaf))
    return {kind: np.concatenate(own) for kind, own in parts.items()}


def _sizes(form: Any) -> dict[str, Any]:
    """The form of ``_packed``."""
    sizes: dict[Any, int] = {}
    for leaf in jax.tree.leaves(form):
        sizes[leaf.dtype] = sizes.get(leaf.dtype, 0) + math.prod(leaf.shape)
    return {str(kind): jax.ShapeDtypeStruct((size,), kind) for kind, size in sizes.items()}


def _unpacked(packed: dict[str, Any], form: Any) -> Any:
    """The arrays of ``_packed`` in their places."""
    begun = dict.fromkeys(packed, 0)

    def cut(leaf: Any) -> np.ndarray:
        kind, size = str(leaf.dtype), math.prod(leaf.shape)
        begun[kind] += size
        whole = np.asarray(packed[kind])
        return whole[begun[kind] - size : begun[kind]].reshape(leaf.shape)

    return jax.tree.map(cut, form)


def digest(tree: Any) -> str:
    """The SHA-256 of a pytree of arrays: of their places, dtypes, shapes and bytes."""
    found = hashlib.sha256()
    for place, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf)
        found.update(f"{jax.tree_util.keystr(place)} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def unbounded(tree: Any) -> str:
    """The place of the first array that holds a number that is not finite; empty for none."""
    for place, leaf in jax.tree.leaves_with_path(tree):
        array = np.asarray(leaf)
        if jnp.issubdtype(array.dtype, jnp.inexact):
            array = array if array.dtype.kind in "fc" else array.astype(np.float32)
            if not np.isfinite(array).all():
                return jax.tree_util.keystr(place) or "it"
    return ""


def _alone() -> Any:
    """A checkpointer that waits for no other process: who calls it reads and writes alone. It
    returns when all is written. Orbax's StandardCheckpointer writes in threads; where one of them
    cannot make its folder, the others wait for it ten minutes long, and the process with them."""
    import orbax.checkpoint as ocp

    this = jax.process_index()
    options = ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process{this}"
    )
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=options)
    return ocp.Checkpointer(handler, multiprocessing_options=options)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        adopt(Path(name))
