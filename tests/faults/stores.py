"""Small stores without any environment, and a disk that loses what was not brought to it."""

import shutil
from pathlib import Path

import numpy as np

from envs.durable import Disk
from envs.layout import Layout, Part
from envs.store import Store
from envs.writer import Writer
from envs.zarr import Form


class Quick(Disk):
    """A disk that need not survive a power failure."""

    def sync(self, path):
        path.stat()


QUICK = Quick()
SHAPES = {
    "observation": ("int32", (3, 4, 2), ("rollout", "time", "field")),
    "reward": ("float32", (3, 4), ("rollout", "time")),
    "valid": ("bool", (3, 4), ("rollout", "time")),
    "fingerprint": ("uint32", (2,), ("word",)),
}


def plan(
    levels: int = 10,
    shard: int = 4,
    parts: tuple[str, ...] = ("maze/0",),
    names: tuple[str, ...] = tuple(SHAPES),
    **about,
) -> Layout:
    """A store of so many levels a part."""
    forms = {name: Form.of(*SHAPES[name], most=2) for name in names}
    made = {name: Part(name, levels, forms, {"family": name}) for name in parts}
    return Layout(about={"licence": "CC0-1.0", **about}, shard=shard, parts=made)


def numbers(first: int, count: int) -> dict[str, np.ndarray]:
    """The arrays of the levels from ``first`` on; no level's are another's."""
    found = {}
    for index, (name, (dtype, shape, _)) in enumerate(SHAPES.items()):
        rows = [
            np.random.default_rng([level, index]).integers(0, 100, shape)
            for level in range(first, first + count)
        ]
        found[name] = (np.stack(rows) % (2 if dtype == "bool" else 100)).astype(dtype)
    return found


def fill(path: Path, layout: Layout, disk: Disk = QUICK, shards: int = 99) -> None:
    """Writes what is missing of a store, or so many shards of it."""
    with Writer.opened(path, layout, disk) as writer:
        for part in layout.parts:
            left = writer.left(part)
            for first in list(left)[:: layout.shard][:shards]:
                count = min(layout.shard, left.stop - first)
                arrays = numbers(first, count)
                writer.add(part, {name: arrays[name] for name in layout.parts[part].forms})


def state(path: Path) -> int:
    """Levels that an intact store holds, -1 where there is none; all are as they were written.

    Raises:
        Exception: it is neither.
    """
    if not (path / "manifest.json").exists():
        return -1
    store = Store.open(path)
    count = 0
    for name in store.parts:
        groups = store.groups(name)
        found, expected = groups.read(range(len(groups))), numbers(0, max(len(groups), 1))
        for array in found:
            np.testing.assert_array_equal(found[array], expected[array][: len(groups)])
        count += len(groups)
    assert [x for x in store.verify() if "is not part of" not in x] == []
    return count


def contents(path: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


class Crash(BaseException):
    """The process, or the machine, stops."""


class Shaky(Quick):
    """Stops before or after its n-th step; what was not synced may be lost then.

    Attributes:
        steps: what was done, in order.
        lose: whether a power failure takes what was not brought to the disk: of a file its second
            half, of a folder's names the latest ones.
    """

    def __init__(self, stop: int = -1, *, after: bool = False, lose: bool = False):
        self.stop, self.after, self.lose = stop, after, lose
        self.steps: list[tuple[str, str]] = []
        self.crashed = False
        self._files: set[Path] = set()  # not synced
        self._names: dict[Path, list] = {}  # folder -> how to undo what is not synced

    def _step(self, name: str, path: Path, act) -> None:
        if self.crashed:  # nothing happens after the end
            raise Crash
        here = len(self.steps) == self.stop
        self.steps.append((name, path.name))
        if here and not self.after:
            self._crash()
        act()
        if here:
            self._crash()

    def _crash(self) -> None:
        self.crashed = True
        if self.lose:
            for path in self._files:
                if path.exists():
                    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            for undo in reversed([x for own in self._names.values() for x in own]):
                undo()
        raise Crash

    def write(self, path, data):
        def act():
            super(Shaky, self).write(path, data)
            self._files.add(path)

        self._step("write", path, act)

    def make(self, path):
        self._step("make", path, lambda: super(Shaky, self).make(path))

    def sync(self, path):
        def act():
            super(Shaky, self).sync(path)
            self._files.discard(path)
            self._names.pop(path, None)

        self._step("sync", path, act)

    def rename(self, old, new):
        def act():
            before = new.read_bytes() if new.is_file() else None
            super(Shaky, self).rename(old, new)
            moved = {p: new / p.relative_to(old) for p in self._files if p.is_relative_to(old)}
            self._files = (self._files - moved.keys()) | set(moved.values())

            def undo():
                if not new.exists():
                    return
                if new.is_dir():
                    shutil.rmtree(new)
                elif before is None:
                    new.unlink()
                else:
                    new.write_bytes(before)

            self._names.setdefault(new.parent, []).append(undo)

        self._step("rename", new, act)

    def remove(self, path):
        if path.exists() or path.is_symlink() or self.crashed:
            self._step("remove", path, lambda: super(Shaky, self).remove(path))
