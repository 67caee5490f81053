"""Files and folders written so that a crash at any instant leaves the old state or the new one.

What is to be there is written beside its place, brought to the disk (fsync), renamed into its
place, and the folder that holds the name is brought to the disk. Nothing else in envs renames.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path


class Disk:
    """The steps of a durable write, one a method; tests put a failing one in its place. An
    OSError always names the path."""

    def write(self, path: Path, data: bytes) -> None:
        """Makes a new file; an existing one, or a link, is an error."""
        with _named(path):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(file, left) :]
            finally:
                os.close(file)

    def make(self, path: Path) -> None:
        """Makes a new folder."""
        with _named(path):
            os.mkdir(path)

    def sync(self, path: Path) -> None:
        """Brings a file, or the names in a folder, to the disk."""
        with _named(path):
            file = os.open(path, os.O_RDONLY)
            try:
                if whole := getattr(fcntl, "F_FULLFSYNC", 0):  # macOS: fsync stops at its cache
                    fcntl.fcntl(file, whole)
                else:
                    os.fsync(file)
            finally:
                os.close(file)

    def rename(self, old: Path, new: Path) -> None:
        """Gives a file, or a folder, another name at once; a file may take another's place."""
        with _named(new):
            os.rename(old, new)

    def remove(self, path: Path) -> None:
        """Removes a file or a folder with all that it holds; what is not there is no error."""
        with _named(path), contextlib.suppress(FileNotFoundError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


DISK = Disk()


def put_file(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Makes a file hold ``data``, whatever it held before.

    Raises:
        OSError: it could not be written; the file is as before, the message names a path.
    """
    beside = partial(path)
    with _without(beside, disk):
        disk.write(beside, data)
        disk.sync(beside)
        disk.rename(beside, path)
    disk.sync(path.parent)


def put_folder(path: Path, files: Mapping[str, bytes], disk: Disk = DISK) -> None:
    """Makes a folder that holds just ``files`` (name, with ``/`` for folders within -> content).
    One that is there already must be of no worth: it is removed first.

    Raises:
        OSError: it could not be written; the message names a path.
    """

    def fill(beside: Path) -> None:
        made = {beside}
        for name, data in files.items():
            target = beside / name
            for folder in reversed(target.parents):
                if folder.is_relative_to(beside) and folder not in made:
                    disk.make(folder)
                    made.add(folder)
            disk.write(target, data)

    put_tree(path, fill, disk)


def put_tree(path: Path, fill: Callable[[Path], None], disk: Disk = DISK) -> None:
    """As ``put_folder``, with what ``fill`` writes into the new folder that it is given.

    Raises:
        OSError: it could not be written; the message names a path.
    """
    beside = partial(path)
    with _without(beside, disk):
        disk.make(beside)
        fill(beside)
        for folder, _, files in os.walk(beside, topdown=False):
            for name in sorted(files):
                disk.sync(Path(folder) / name)
            disk.sync(Path(folder))
        disk.remove(path)
        disk.rename(beside, path)
    disk.sync(path.parent)


def make_folders(path: Path, disk: Disk = DISK) -> None:
    """Makes a folder and those above it that lack; each name is on the disk afterwards."""
    for folder in reversed((path, *path.parents)):
        if not folder.is_dir():
            disk.make(folder)
            disk.sync(folder.parent)


def partial(path: Path) -> Path:
    """Where what is to be at ``path`` is written first; always the same, so that what a crash left
    is found and removed."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keeps others that ask for it out of a folder; the lock ends with the process at the latest.

    Raises:
        BlockingIOError: somebody has it; the message names the folder.
    """
    file = os.open(folder, os.O_RDONLY)
    try:
        with _named(folder):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(file)


@contextlib.contextmanager
def _without(beside: Path, disk: Disk) -> Iterator[None]:
    """Nothing is at ``beside`` when the block begins, nor where it ends by an exception."""
    disk.remove(beside)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be heard of
            disk.remove(beside)
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An OSError within says which path it is about."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename == str(path):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
