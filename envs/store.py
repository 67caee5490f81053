"""Groups on disk, read by level. What is read has been checked against its SHA-256.

A store is opened by its manifest alone; files are looked at for their size, and hashed when their
shard is read for the first time. Memory holds what was asked for and nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from envs import layout as layout_lib
from envs import zarr
from envs.layout import SHARDS, Layout, Part, Shard
from envs.manifest import MANIFEST, Damaged, unseal

if TYPE_CHECKING:
    import tensorstore as ts

    from envs.rollout import Trajectories

STEPS = ("observation", "action", "reward", "terminated", "truncated", "successor", "valid")
GROUP = (*STEPS, "fingerprint")
"""The arrays of ``envs.rollout.Trajectories``."""
HANDLES = 4096  # open arrays that are kept; each takes a few KB


@dataclasses.dataclass(frozen=True)
class Groups:
    """The levels of one part that are there.

    Attributes:
        path: the store's.
        part: what they are.
        shards: (number, shard) of those that hold them, in order.
    """

    path: Path
    part: Part
    shards: tuple[tuple[int, Shard], ...]

    def __len__(self) -> int:
        """Levels."""
        return int(self.edges[-1])

    @functools.cached_property
    def edges(self) -> np.ndarray:
        """int64[shards + 1]: the first level of each shard, and the number of levels."""
        return np.cumsum([0, *(shard.levels for _, shard in self.shards)])

    def read(
        self, indices: Sequence[int] | np.ndarray, names: Iterable[str] | None = None
    ) -> dict[str, np.ndarray]:
        """Arrays [level, …] of the levels with ``indices``, in that order; by default all arrays.

        Raises:
            IndexError: there is no such level.
            KeyError: there is no such array.
            Damaged: a file is not what was written.
        """
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"{self.path} has {len(self)} levels of {self.part.name}")
        names = list(self.part.forms if names is None else names)
        found = {name: self._blank(name, wanted.size) for name in names}
        where = np.searchsorted(self.edges, wanted, side="right") - 1
        opened = []  # all of them before one is read: what is damaged leaves no read under way
        for place in np.unique(where):
            here = np.flatnonzero(where == place)
            within = wanted[here] - self.edges[place]
            opened += [(name, here, within, self._array(int(place), name)) for name in names]
        waiting = [(name, here, array[within].read()) for name, here, within, array in opened]
        for *_, read in waiting:
            read.exception()  # waits; none is under way any more when one has gone wrong
        try:
            for name, here, read in waiting:
                found[name][here] = read.result()
        except ValueError as error:  # a CRC-32C that was right when the file was hashed
            raise Damaged(f"{self.path}: {_short(error)}; restore it from a copy") from None
        return found

    def trajectories(self, indices: Sequence[int] | np.ndarray) -> Trajectories:
        """Trajectories[L, R, T] of NumPy arrays: the groups of the levels with ``indices``."""
        from envs.rollout import Trajectories

        return Trajectories(**self.read(indices, GROUP))  # type: ignore[arg-type]

    def array(self, name: str) -> np.ndarray:
        """One array [level, …] of all levels: for the small ones, as ``fingerprint``."""
        return self.read(np.arange(len(self)), (name,))[name]

    def blocks(self, size: int = 1024) -> Iterator[range]:
        """All indices in order, in blocks that never reach from one shard into the next."""
        for first, last in zip(self.edges[:-1], self.edges[1:]):
            for start in range(int(first), int(last), size):
                yield range(start, min(start + size, int(last)))

    def _blank(self, name: str, count: int) -> np.ndarray:
        form = self.part.forms[name]
        return np.empty((count, *form.shape), form.dtype)

    @functools.cached_property
    def _array(self) -> Callable[[int, str], ts.TensorStore]:
        """(place of a shard, array) -> the array; the latest ones stay open."""
        return functools.lru_cache(HANDLES)(self._opened)

    def _opened(self, place: int, name: str) -> ts.TensorStore:
        """An array, opened after its files were found to be what was written."""
        number, shard = self.shards[place]
        form = self.part.forms[name]
        folder = self.path / layout_lib.folder(number)
        for file, expected in shard.files({name: form}).items():
            expected.check(folder / file)
        try:
            return zarr.opened(folder / name, form, shard.levels)
        except ValueError as error:
            raise Damaged(f"{folder / name}: {_short(error)}; restore it from a copy") from None


@dataclasses.dataclass(frozen=True)
class Store:
    """A store that is open for reading.

    Attributes:
        path: its folder.
        layout: what it holds.
    """

    path: Path
    layout: Layout

    @classmethod
    def open(cls, path: Path | str) -> Store:
        """Reads the manifest, and looks for every file that it names.

        Raises:
            Damaged: there is no store, or not all of it, or one of another version.
        """
        path = Path(path).absolute()
        try:
            body = unseal(path / MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(
                f"no store at {path}: {MANIFEST} is missing; name a folder that `collect` made"
            ) from None
        store = cls(path, layout_lib.read(body, path / MANIFEST))
        refuse_links(path / SHARDS)
        for file, expected in store.files():
            expected.check_size(file)
        return store

    def files(self) -> Iterator[tuple[Path, Any]]:
        """Every file but the manifest, and what it has to hold."""
        for number, shard in enumerate(self.layout.shards):
            folder = self.path / layout_lib.folder(number)
            for name, file in shard.files(self.layout.parts[shard.part].forms).items():
                yield folder / name, file

    def groups(self, name: str) -> Groups:
        """The groups of a part.

        Raises:
            KeyError: there is no such part.
        """
        part = self.layout.parts[name]
        numbered = tuple(x for x in enumerate(self.layout.shards) if x[1].part == name)
        return Groups(self.path, part, numbered)

    @property
    def parts(self) -> Mapping[str, Groups]:
        """All of them, by name."""
        return {name: self.groups(name) for name in self.layout.parts}

    @property
    def whole(self) -> bool:
        """Whether every level that it is to hold is there."""
        return all(self.layout.written(x.name) == x.levels for x in self.layout.parts.values())

    def verify(self) -> Iterator[str]:
        """Hashes every file; a line for each that is not what was written. What nobody knows of is
        told, too: it is never read."""
        known = {self.path / MANIFEST, self.path / SHARDS}
        for file, expected in self.files():
            known |= {file, file.parent, file.parent.parent}
            try:
                expected.check(file)
            except OSError as error:
                yield str(error)
        for folder, folders, files in os.walk(self.path):
            for name in sorted(folders + files):
                if (strange := Path(folder) / name) not in known:
                    yield f"{strange} is not part of the store and is never read; remove it"
            folders[:] = sorted(x for x in folders if Path(folder) / x in known)


def refuse_links(folder: Path) -> None:
    """Raises Damaged where a folder is a link or holds one, however deep: nothing outside of a
    store is read."""
    inside = (
        os.path.join(inner, name)
        for inner, folders, files in os.walk(folder)
        for name in folders + files
    )
    for path in (str(folder), *inside):
        if os.path.islink(path):
            raise Damaged(f"{path} is a link, which a store never holds; restore it from a copy")


def _short(error: Exception) -> str:
    return str(error).split(" [", 1)[0].splitlines()[0][:300]
