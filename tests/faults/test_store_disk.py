"""A disk that is full, read-only or broken: what was written stays, and a path is named."""

import errno
import os

import pytest

from envs import durable
from envs.bridges import minari
from envs.export import as_zarr
from envs.merge import merge
from envs.store import Store
from envs.writer import Writer
from tests.faults.stores import Quick, contents, fill, numbers, plan, state

LEVELS = 20  # of how full the disk is


class Full(Quick):
    """A disk with room for so many bytes; what does not fit is written in part."""

    def __init__(self, room: int, error: int = errno.ENOSPC):
        self.room, self.error = room, error

    def write(self, path, data):
        if len(data) > self.room:
            super().write(path, data[: self.room])
            self.room = 0
            raise OSError(self.error, os.strerror(self.error), str(path))
        self.room -= len(data)
        super().write(path, data)


def bytes_of_a_shard(path) -> int:
    fill(path, plan(), shards=1)
    before = sum(map(len, contents(path).values()))
    fill(path, plan(), shards=1)
    return sum(map(len, contents(path).values())) - before


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=os.strerror)
def test_a_full_disk_takes_nothing(tmp_path, error):
    size = bytes_of_a_shard(tmp_path / "size")
    path = tmp_path / "store"
    fill(path, plan(), shards=1)
    before = contents(path)
    for level in range(LEVELS):
        with pytest.raises(OSError) as raised:
            fill(path, plan(), Full(size * level // LEVELS, error), shards=1)
        assert raised.value.errno == error and str(path) in str(raised.value)
        # A shard that no manifest names may stay: the next one takes its place.
        assert before.items() <= contents(path).items() and state(path) == 4
    fill(path, plan())
    assert state(path) == 10


def test_without_its_guard_a_full_disk_leaves_half_a_file(tmp_path, monkeypatch):
    """The guard removed: nobody takes away what was begun, and the manifest is written in place."""

    def broken(path, data, disk):
        disk.remove(path)
        disk.write(path, data)

    path = tmp_path / "store"
    fill(path, plan(), shards=1)
    before = contents(path)
    size = bytes_of_a_shard(tmp_path / "size")
    monkeypatch.setattr("envs.writer.write_file", broken)
    with pytest.raises(OSError):
        fill(path, plan(), Full(size + len(before["manifest.json"]) - 1), shards=1)
    assert contents(path) != before


@pytest.mark.parametrize("kind", ["sync", "rename", "make"])
def test_any_step_may_fail(tmp_path, kind):
    class Broken(Quick):
        def __init__(self, after):
            self.after = after

    def step(self, *paths):
        if self.after == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(paths[-1]))
        self.after -= 1
        return getattr(Quick, kind)(self, *paths)

    setattr(Broken, kind, step)
    path = tmp_path / "store"
    fill(path, plan(), shards=1)
    for after in range(40):
        try:
            fill(path, plan(), Broken(after), shards=1)
        except OSError as error:
            assert str(path) in str(error)
            assert state(path) in (4, 8)  # a rename whose folder could not be synced has happened
            continue
        break
    assert after > 0
    fill(path, plan())
    assert state(path) == 10


def test_other_writers_leave_nothing_behind(tmp_path):
    """Merging and exporting, on a disk that is full at twenty levels."""
    fill(tmp_path / "a", plan(parts=("maze/0",)))
    fill(tmp_path / "b", plan(parts=("ice/0",)))
    stores = [Store.open(tmp_path / x) for x in "ab"]
    merge(stores, tmp_path / "whole", Quick())
    size = sum(map(len, contents(tmp_path / "whole").values()))
    for level in range(LEVELS):
        path = tmp_path / f"half{level}"
        with pytest.raises(OSError, match=path.name):
            merge(stores, path, Full(size * level // LEVELS))
        merge(stores, path, Quick())
        assert contents(path) == contents(tmp_path / "whole")
        with pytest.raises(OSError, match="export"):
            as_zarr(stores[0], tmp_path / "export", Full(200 * level // LEVELS))
        assert not [x for x in os.listdir(tmp_path) if "export" in x]


def test_an_export_never_replaces(tmp_path):
    fill(tmp_path / "a", plan())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    store = Store.open(tmp_path / "a")
    with pytest.raises(FileExistsError, match="out"):
        as_zarr(store, tmp_path / "out")
    (tmp_path / "out" / minari.data_set("maze/0")).mkdir()
    with pytest.raises(FileExistsError, match="out"):
        minari.export(store.groups("maze/0"), tmp_path / "out", "CC0-1.0")
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_a_read_only_folder_is_named(tmp_path, monkeypatch):
    """Root may write anywhere, so the system's answer is put in its place."""
    path = tmp_path / "store"
    fill(path, plan(), shards=1)
    before = contents(path)

    def refused(name, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(name))

    with monkeypatch.context() as patched:
        patched.setattr(durable.os, "mkdir", refused)
        with pytest.raises(OSError, match=r"Read-only.*store"):
            fill(path, plan())
    assert contents(path) == before


def test_a_write_without_a_name_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as os.write says it

    monkeypatch.setattr(durable.os, "write", full)
    with pytest.raises(OSError, match=r"No space.*manifest\.json"):
        fill(tmp_path / "store", plan())


def test_a_store_on_a_broken_disk_is_named(tmp_path, monkeypatch):
    fill(tmp_path, plan())
    groups = Store.open(tmp_path).groups("maze/0")

    def broken(path, *_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr("envs.manifest.os.open", broken)
    with pytest.raises(OSError, match="shards/000000"):
        groups.read([0])


def test_a_writer_that_failed_goes_on(tmp_path):
    layout = plan()
    with Writer.opened(tmp_path, layout, disk := Full(10**9)) as writer:
        writer.add("maze/0", numbers(0, 4))
        disk.room = 100
        with pytest.raises(OSError, match="shards"):
            writer.add("maze/0", numbers(4, 4))
        disk.room = 10**9
        writer.add("maze/0", numbers(4, 4))
        writer.add("maze/0", numbers(8, 2))
    assert state(tmp_path) == 10
