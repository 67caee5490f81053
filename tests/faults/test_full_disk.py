"""A disk that is full, read-only or broken: older data stay, the message names the path."""

import errno
import os
import resource
from pathlib import Path

import numpy as np
import pytest

from agents import checkpoint
from envs import durable
from envs.durable import beside

LEVELS = range(20)


def tree(value: float) -> dict:
    draw = np.random.default_rng(0)
    return {"x": draw.normal(size=20_000).astype(np.float32) + np.float32(value)}


def write_file(path: Path, value: float) -> None:
    durable.write_file(path, tree(value)["x"].tobytes())


def read_file(path: Path) -> bytes:
    return path.read_bytes()


def write_checkpoint(path: Path, value: float) -> None:
    checkpoint.save(path, tree(value), {"value": value})


def read_checkpoint(path: Path) -> bytes:
    return checkpoint.restore(path, tree(0))["x"].tobytes()


WRITERS = {
    "file": (write_file, read_file, 80_000),
    "checkpoint": (write_checkpoint, read_checkpoint, 70_000),
}


class Room:
    """How large a file may become: what is written beyond fails, in libraries of C++ too, as on a
    disk that is full."""

    def __init__(self, size: int):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *_):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def broken(place: Path, writer: str, size: int) -> list[str]:
    """What goes wrong where only files of ``size`` bytes can be written."""
    write, read, _ = WRITERS[writer]
    path, found = place / "x", []
    write(path, 1.0)
    before = read(path)
    try:
        with Room(size):
            write(path, 2.0)
        found.append("nothing was raised")
    except OSError as error:
        told = str(error).replace(str(beside(path)), str(path))  # what is written there, or beside
        found += [] if str(path) in told else [f"no path: {error}"]
    try:
        found += [] if read(path) == before else ["the older data changed"]
    except (OSError, ValueError) as error:
        found.append(f"the older data are gone: {error}")
    durable.sweep(place)
    found += [] if [*place.iterdir()] == [path] else ["something is left"]
    write(path, 2.0)  # there is room again
    if read(path) != tree(2.0)["x"].tobytes():
        found.append("it cannot be written any more")
    return found


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_at_any_level(tmp_path, writer):
    for level in LEVELS:
        place = tmp_path / str(level)
        place.mkdir()
        size = WRITERS[writer][2] * level // len(LEVELS)
        assert (level, broken(place, writer, size)) == (level, [])


def test_twin_that_writes_in_place_is_found(tmp_path, monkeypatch):
    monkeypatch.setitem(
        WRITERS, "file", (lambda p, v: p.write_bytes(tree(v)["x"].tobytes()), read_file, 80_000)
    )
    assert "the older data changed" in broken(tmp_path, "file", 40_000)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["mkdir", "fsync", "rename"])
def test_an_error_of_the_system_names_the_path(tmp_path, monkeypatch, call, code):
    path = tmp_path / "x"
    write_checkpoint(path, 1.0)
    before, real = read_checkpoint(path), getattr(os, call)

    def fail(*arguments, **more):
        told = str(arguments[0])
        if call == "fsync" or str(tmp_path) in told:
            raise OSError(code, os.strerror(code), None if call == "fsync" else told)
        return real(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=str(path.parent)) as error:
            write_checkpoint(path, 2.0)
    assert os.strerror(code) in str(error.value)
    assert read_checkpoint(path) == before
