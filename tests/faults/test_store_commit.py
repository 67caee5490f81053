"""A crash at any step of a commit leaves the old store or the new one, and nothing else."""

import contextlib

import pytest

from envs import durable, writer
from envs.durable import DISK, beside
from tests.faults.stores import Crash, Shaky, contents, fill, plan, state

FEW = ("reward", "fingerprint")  # arrays: every file is a few steps more


def crash(path, layout, disk) -> None:
    with contextlib.suppress(Crash):
        fill(path, layout, disk, shards=1)


def steps(path, layout) -> int:
    disk = Shaky()
    fill(path, layout, disk, shards=1)
    return len(disk.steps)


def outcomes(tmp_path, begun: int, lose: bool) -> set[int]:
    """What a store of ``begun`` shards is after a crash before and after each step of adding one:
    levels that it holds. Each is continued to its end, which has to be the uninterrupted one."""
    layout, found = plan(names=FEW), set()
    fill(tmp_path / "whole", layout)
    whole = contents(tmp_path / "whole")
    fresh = tmp_path / "fresh"
    fill(fresh, layout, shards=begun)
    for stop in range(steps(fresh, layout)):
        for after in (False, True):
            path = tmp_path / f"{stop}-{after}"
            if begun:
                fill(path, layout, shards=begun)
            crash(path, layout, Shaky(stop, after=after, lose=lose))
            found.add(state(path))
            fill(path, layout)
            assert contents(path) == whole
    return found


@pytest.mark.parametrize("lose", [False, True], ids=["process", "power"])
def test_a_shard_is_there_or_not(tmp_path, lose):
    assert outcomes(tmp_path, 1, lose) == {4, 8}


@pytest.mark.parametrize("lose", [False, True], ids=["process", "power"])
def test_a_new_store_is_there_or_not(tmp_path, lose):
    layout, found = plan(names=FEW), set()
    for stop in range(60):
        for after in (False, True):
            path = tmp_path / f"{stop}-{after}" / "deep"
            disk = Shaky(stop, after=after, lose=lose)
            crash(path, layout, disk)
            found.add(state(path))
            fill(path, layout)
            assert state(path) == 10
        if not disk.crashed:
            break
    assert disk.crashed is False  # every step was reached
    assert found == {-1, 0, 4}


def broken_sync(path, data, disk=DISK):
    """The guard removed: the content is renamed into its place before it is on the disk."""
    disk.remove(beside(path))
    disk.write(beside(path), data)
    disk.rename(beside(path), path)
    disk.sync(path.parent)


def broken_rename(path, data, disk=DISK):
    """The guard removed: the file is written where it is."""
    disk.remove(path)
    disk.write(path, data)
    disk.sync(path)
    disk.sync(path.parent)


def broken_order(kept):
    """The guard removed: the manifest names a shard that is not there yet."""

    def put(self, shard, files):
        layout = self.layout
        self._commit(layout.with_shard(shard))
        kept(self.path / writer.layout_lib.folder(len(layout.shards)), files, self._disk)

    return put


def broken_folder(path, files, disk=DISK):
    """The guard removed: the shard's name is not brought to the disk before it is counted on."""

    class Forgetful:
        def __getattr__(self, name):
            return getattr(disk, name)

        def sync(self, folder):
            if folder != path.parent:
                disk.sync(folder)

    durable.write_folder(path, files, Forgetful())


@pytest.mark.parametrize(
    ("name", "broken", "lose"),
    [
        ("write_file", broken_sync, True),
        ("write_file", broken_rename, False),
        ("write_folder", broken_folder, True),
    ],
)
def test_without_its_guard_a_crash_shows(tmp_path, monkeypatch, name, broken, lose):
    monkeypatch.setattr(writer, name, broken)
    with pytest.raises((AssertionError, OSError, ValueError)):
        assert outcomes(tmp_path, 1, lose) == {4, 8}


def test_without_the_order_a_crash_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(writer.Writer, "put", broken_order(durable.write_folder))
    with pytest.raises((AssertionError, OSError, ValueError)):
        outcomes(tmp_path, 1, lose=False)


def test_two_do_not_write_at_once(tmp_path):
    with (
        writer.Writer.opened(tmp_path, plan()),
        pytest.raises(BlockingIOError, match=tmp_path.name),
    ):
        fill(tmp_path, plan())
    fill(tmp_path, plan())


def test_another_plan_is_refused(tmp_path):
    fill(tmp_path, plan(), shards=1)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"levels 10, asked for was 11"):
        fill(tmp_path, plan(11))
    with pytest.raises(ValueError, match=r"about.licence CC0-1.0, asked for was MIT"):
        fill(tmp_path, plan(licence="MIT"))
    assert contents(tmp_path) == before


def test_a_strange_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"thesis\.tex"):
        fill(tmp_path, plan())
    assert list(contents(tmp_path)) == ["thesis.tex"]
