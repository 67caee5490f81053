"""Reads the HDF5 files of Minari data sets that others wrote, and runs nothing in them.

Links and external files are refused, and what a number of bytes would grow to is bounded before it
is read.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from envs.manifest import Damaged

DATA, METADATA, MAIN = "data", "metadata.json", "main_data.hdf5"
LARGEST = 2**28  # bytes of an array of an episode, and of what a compressed chunk may grow to
DEFLATE = 1032  # bytes that one byte of DEFLATE stands for, at most


def metadata_of(folder: Path) -> dict[str, Any]:
    """What a data set says of itself.

    Raises:
        Damaged: it is no data set, or of a format that is not read.
    """
    path = folder / METADATA
    if path.is_symlink() or not path.is_file() or path.stat().st_size > 2**24:
        raise Damaged(f"{path} is no file of a Minari data set; name the folder that holds `data`")
    try:
        told = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise Damaged(f"{path} is no JSON; restore it from a copy") from None
    if not isinstance(told, dict) or told.get("data_format", "hdf5") != "hdf5":
        raise Damaged(f"{path}: only data sets in format hdf5 are read; convert it with Minari")
    return told


def opened(path: Path) -> Any:
    """An HDF5 file, for reading.

    Raises:
        Damaged: it is none.
    """
    import h5py

    if path.is_symlink() or not path.is_file():
        raise Damaged(f"{path} is no regular file; name the folder of a Minari data set")
    try:
        return h5py.File(path, "r")
    except OSError:
        raise Damaged(f"{path} is damaged: HDF5 cannot read it; restore it from a copy") from None


def array_of(group: Any, name: str) -> np.ndarray:
    """An array within a group of an HDF5 file, of bounded size and from that file alone.

    Raises:
        Damaged: it is not there, or anything else, or too large.
        ValueError: it is a group of arrays.
    """
    import h5py

    here = f"{group.file.filename}: {group.name}/{name}"
    if name not in group:
        raise Damaged(f"{here} is missing; name a data set of whole episodes")
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Damaged(f"{here} is a link, which is not followed")
    found = group[name]
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{here} is a group of arrays; only data sets with one array are read")
    if found.external or found.is_virtual or found.dtype.kind not in "biuf":
        raise Damaged(f"{here} is of {found.dtype} or lies in another file, which is not read")
    if (
        found.nbytes > LARGEST
        or int(np.prod(found.chunks or (0,))) * found.dtype.itemsize > LARGEST
    ):
        raise Damaged(f"{here} has more than {LARGEST} bytes, the most that is read")
    if found.chunks and found.id.get_create_plist().get_nfilters():
        for index in range(found.id.get_num_chunks()):
            if found.id.get_chunk_info(index).size * DEFLATE > LARGEST:
                raise Damaged(f"{here} is compressed in chunks that may grow without bound")
    try:
        return found[()]
    except OSError:
        raise Damaged(f"{here} is damaged: HDF5 cannot read it; restore it from a copy") from None


def group_of(file: Any, name: str) -> Any:
    """A group of that file alone; Damaged where it is none."""
    import h5py

    if not isinstance(file.get(name, getlink=True), h5py.HardLink) or not isinstance(
        file[name], h5py.Group
    ):
        raise Damaged(f"{file.filename}: {name} is a link or no group, which is not read")
    return file[name]


def episodes_of(file: Any) -> list[str]:
    """The episodes, in order."""
    found = [name for name in file if re.fullmatch(r"episode_\d{1,9}", name)]
    return sorted(found, key=lambda name: int(name.removeprefix("episode_")))
