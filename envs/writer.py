"""A store, written shard by shard: a shard counts once the manifest names it, and not before."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from envs import layout as layout_lib
from envs.durable import (
    DISK,
    Disk,
    beside,
    locked,
    make_folders,
    write_file,
    write_folder,
)
from envs.layout import SHARDS, Layout, Shard
from envs.manifest import MANIFEST, Damaged, File, seal, unseal
from envs.zarr import encode


class Writer:
    """Adds to a store. ``Writer.opened`` makes one; what is there already stays.

    Attributes:
        path: the store's folder.
        layout: all that is on the disk.
    """

    def __init__(self, path: Path, layout: Layout, disk: Disk = DISK):
        self.path, self.layout, self._disk = path, layout, disk

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, plan: Layout, disk: Disk = DISK) -> Iterator[Self]:
        """The writer of a new store, or of one with the same plan that was cut short.

        Raises:
            BlockingIOError: another process writes to it.
            ValueError: what is there is of another plan; the first difference is named.
            OSError: it cannot be written; the message names a path.
        """
        make_folders(path, disk)
        with locked(path):
            writer = cls(path, plan, disk)
            if (path / MANIFEST).exists():
                writer.layout = layout_lib.read(unseal(path / MANIFEST), path / MANIFEST)
                refuse_other(plan, writer.layout, path)
            else:
                refuse_strange(path)
                make_folders(path / SHARDS, disk)
                writer._commit(plan)
            yield writer

    def left(self, part: str) -> range:
        """The levels of a part that are still to be added, in order."""
        return range(self.layout.written(part), self.layout.parts[part].levels)

    def add(self, part: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Adds a shard: the part's next levels, as arrays [level, …]. Afterwards it is on the disk.

        Raises:
            ValueError: the arrays are not those of the part.
            OSError: it could not be written; the store is as before, the message names a path.
        """
        forms = self.layout.parts[part].forms
        levels = max((len(array) for array in arrays.values()), default=0)
        alike = all(len(array) == levels for array in arrays.values())
        if arrays.keys() != forms.keys() or not alike:
            raise ValueError(f"part {part} has arrays {', '.join(forms)} of one length")
        files, hashes = {}, {}
        for name, form in forms.items():
            for file, data in encode(form, arrays[name]).items():
                files[f"{name}/{file}"] = data
            hashes[name] = File.of(files[f"{name}/{form.data(levels)[0]}"]).sha256
        self.put(Shard(part, levels, hashes), files)

    def put(self, shard: Shard, files: Mapping[str, bytes]) -> None:
        """Adds a shard whose files are known: as ``add``."""
        if shard.levels > len(self.left(shard.part)):
            raise ValueError(f"part {shard.part} has no room for {shard.levels} more levels")
        write_folder(self.path / layout_lib.folder(len(self.layout.shards)), files, self._disk)
        self._commit(self.layout.with_shard(shard))

    def _commit(self, layout: Layout) -> None:
        path = self.path / MANIFEST
        write_file(path, seal(layout.body(), path), self._disk)
        self.layout = layout


def refuse_other(plan: Layout, found: Layout, path: Path) -> None:
    """Raises ValueError where a store was begun with another plan."""
    wanted, there = (json.loads(json.dumps({**x.body(), "shards": []})) for x in (plan, found))
    for place, one, other in differences(there, wanted):
        raise ValueError(
            f"{path} holds a store with {place} {str(one)[:80]}, asked for was {str(other)[:80]}; "
            "ask for the same to go on, or name another folder"
        )


def refuse_strange(path: Path) -> None:
    """Raises ValueError where a folder holds anything but what a store's first instants leave."""
    allowed = {SHARDS, beside(path / MANIFEST).name}
    for name in sorted({item.name for item in path.iterdir()} - allowed):
        raise ValueError(f"{path} is no store and not empty: it holds {name}; name another folder")
    if (path / SHARDS).exists() and any((path / SHARDS).iterdir()):
        raise Damaged(f"{path / MANIFEST} is missing; restore it from a copy, or remove {path}")


def differences(one: Any, other: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two pieces of JSON differ: place, and what stands there in each."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            at = f"{place}.{key}" if place else key
            yield from differences(one.get(key), other.get(key), at)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, pair in enumerate(zip(one, other)):
            yield from differences(*pair, f"{place}[{index}]")
    elif one != other:
        yield place, one, other
