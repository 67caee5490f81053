"""Killed before or after any step of the commit protocol: the old state or the new one, whole."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from envs import durable, manifest
from tests.faults.crashes import calls, killed

pytestmark = pytest.mark.early  # every instant is a fork

OLD, NEW = b"old" * 100, b"new" * 1000


def write_folder(path: Path, content: bytes) -> None:
    """A folder as agents.checkpoint.save makes it, by what stands for orbax here."""
    with durable.new_folder(path) as partial:
        (partial / "arrays" / "d").mkdir(parents=True)
        for name in ("arrays/d/0", "arrays/d/1", "notes.json"):
            (partial / name).write_bytes(content)
        manifest.seal_folder(partial)


def read_folder(path: Path) -> bytes | None:
    """What a folder holds; None where there is none. Anything between is an error."""
    durable.sweep(path.parent)
    if not path.exists():
        return None
    manifest.verify_folder(path)
    found = {file.read_bytes() for file in path.rglob("*") if file.name in ("0", "1", "notes.json")}
    (only,) = found
    return only


def read_file(path: Path) -> bytes | None:
    durable.sweep(path.parent)
    return path.read_bytes() if path.exists() else None


WRITERS = {"folder": (write_folder, read_folder), "file": (durable.write_file, read_file)}


def violations(place: Path, writer: str, before: bytes | None) -> list[str]:
    """What is neither old nor new, over every instant at which the process can be killed."""
    write, read = WRITERS[writer]

    def prepare() -> Path:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        if before is not None:
            write(place / "x", before)
        return place / "x"

    target = prepare()
    count = calls(lambda: write(target, NEW))
    assert count > 6
    found, seen = [], set()
    for instant in range(count):
        target = prepare()
        if not killed(lambda target=target: write(target, NEW), instant):
            found.append(f"{instant}: was not killed")
        try:
            state = read(target)
            seen.add(state)
            if state not in (before, NEW):
                found.append(f"{instant}: {state!r}")
            write(target, NEW)  # and the next one goes well
            if read(target) != NEW or [*place.iterdir()] != [target]:
                found.append(f"{instant}: something is left: {[*place.iterdir()]}")
        except (OSError, ValueError) as error:
            found.append(f"{instant}: {error}")
    if seen != {before, NEW}:
        found.append(f"only {seen} was seen")
    return found


@pytest.mark.parametrize("before", [None, OLD], ids=["new", "replaced"])
@pytest.mark.parametrize("writer", WRITERS)
def test_every_instant_leaves_the_old_or_the_new(tmp_path, writer, before):
    assert violations(tmp_path / "place", writer, before) == []


@contextlib.contextmanager
def in_place(path: Path):
    """The twin: a folder that is written where it is to be."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    yield path


def write_in_place(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])
    with path.open("ab") as file:
        file.write(content[len(content) // 2 :])


def test_twin_without_a_rename_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "new_folder", in_place)
    monkeypatch.setitem(WRITERS, "file", (write_in_place, read_file))
    assert violations(tmp_path / "folder", "folder", OLD)
    assert violations(tmp_path / "file", "file", OLD)


def test_twin_that_puts_nothing_aside_is_found(tmp_path, monkeypatch):
    """Without ``recover``, a crash between the two renames leaves nothing."""
    monkeypatch.setattr(durable, "recover", lambda *_: None)
    assert violations(tmp_path / "folder", "folder", OLD)


def unsynced(write, path: Path, monkeypatch) -> list[str]:
    """Renames of what is not on the disk yet: after a power failure, names without content."""
    synced, found, fsync, rename = set(), [], os.fsync, os.rename

    def sync(handle: int) -> None:
        synced.add(os.stat(handle).st_ino)
        fsync(handle)

    def move(source, target) -> None:
        inner = [Path(source), *Path(source).rglob("*")] if Path(target) == path else []
        found.extend(str(x) for x in inner if x.stat().st_ino not in synced)
        rename(source, target)
        synced.discard(path.parent.stat().st_ino)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        patch.setattr(os, "rename", move)
        patch.setattr(os, "replace", move)
        write(path, NEW)
    if path.parent.stat().st_ino not in synced:
        found.append("its name")
    return found


@pytest.mark.parametrize("writer", WRITERS)
def test_all_is_on_the_disk_before_it_counts(tmp_path, monkeypatch, writer):
    assert unsynced(WRITERS[writer][0], tmp_path / "x", monkeypatch) == []


def test_twin_without_fsync_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(durable.Disk, "sync", lambda *_: None)
    assert len(unsynced(write_folder, tmp_path / "x", monkeypatch)) > 5
    assert len(unsynced(durable.write_file, tmp_path / "y", monkeypatch)) == 2
