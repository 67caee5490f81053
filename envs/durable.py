"""Files and folders written so that a crash at any instant leaves the old state or the new one.

What is to be there is written beside its place, brought to the disk (fsync), renamed into its
place, and the folder that holds the name is brought to the disk. What a killed process left beside
a place is hidden and no state: the next write to that place removes it, or ``sweep``. Nothing else
in the project renames.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

PARTIAL, OLD = ".partial", ".old"  # endings of what lies beside a place


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
                try:  # on macOS fsync stops at the disk's cache
                    fcntl.fcntl(file, fcntl.F_FULLFSYNC)  # type: ignore[attr-defined]
                except (AttributeError, OSError):  # no macOS, or a file system that cannot
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


def write_file(path: Path, content: bytes | str, disk: Disk = DISK) -> None:
    """Makes a file hold ``content`` (a str as UTF-8), whatever it held before; its folder is there.

    Raises:
        OSError: it could not be written; the file is as before, the message names a path.
    """
    partial = beside(path)
    with _without(partial, disk):
        disk.write(partial, content.encode() if isinstance(content, str) else content)
        disk.sync(partial)
        disk.rename(partial, path)
    disk.sync(path.parent)


@contextlib.contextmanager
def new_folder(path: Path, disk: Disk = DISK) -> Iterator[Path]:
    """Yields an empty folder beside ``path`` to be filled; where the block ends well, it takes the
    place of what was there. Folders above it that lack are made.

    Raises:
        OSError: it could not be written, the message names a path; what was there is as before, or
            the new is there whole.
    """
    make_folders(path.parent, disk)
    recover(path, disk)
    partial, old = beside(path), beside(path, OLD)
    try:
        with _without(partial, disk):
            disk.make(partial)
            with _named(path):
                yield partial
            for inner, _, names in os.walk(partial, topdown=False):
                for name in sorted(names):
                    disk.sync(Path(inner, name))
                disk.sync(Path(inner))
            if path.exists():
                disk.rename(path, old)  # ``recover`` takes it back where what follows fails
            disk.rename(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be heard of
            recover(path, disk)
        raise
    disk.sync(path.parent)
    disk.remove(old)


def write_folder(path: Path, files: Mapping[str, bytes], disk: Disk = DISK) -> None:
    """Makes a folder hold just ``files`` (name, with ``/`` for folders within -> content).

    Raises:
        OSError: as ``new_folder``.
    """
    with new_folder(path, disk) as partial:
        made = {partial}
        for name, data in files.items():
            target = partial / name
            for folder in reversed(target.parents):
                if folder.is_relative_to(partial) and folder not in made:
                    disk.make(folder)
                    made.add(folder)
            disk.write(target, data)


def make_folders(path: Path, disk: Disk = DISK) -> None:
    """Makes a folder and those above it that lack; each name is on the disk afterwards."""
    for folder in reversed((path, *path.parents)):
        if not folder.is_dir():
            with contextlib.suppress(FileExistsError):  # somebody else was faster
                disk.make(folder)
            disk.sync(folder.parent)


def recover(path: Path, disk: Disk = DISK) -> None:
    """Ends a replacement that was cut short: the old state comes back, unless the new one is
    there."""
    old = beside(path, OLD)
    if old.exists():
        disk.remove(old) if path.exists() else disk.rename(old, path)


def remove(path: Path, disk: Disk = DISK) -> None:
    """Removes a file or a folder, if it is there: first from its place, in one step, then all that
    it holds."""
    partial = beside(path)
    disk.remove(partial)
    if path.exists():
        disk.rename(path, partial)
        disk.remove(partial)


def sweep(parent: Path, disk: Disk = DISK) -> None:
    """Removes what a killed process left in a folder, and takes back what it had put aside."""
    for left in sorted(parent.glob(f".*{OLD}")):
        recover(parent / left.name[1 : -len(OLD)], disk)
    for left in sorted(parent.glob(f".*{PARTIAL}")):
        disk.remove(left)


def beside(path: Path, ending: str = PARTIAL) -> Path:
    """Where a state of ``path`` that does not count lies; always the same, so that what a crash
    left is found."""
    return path.with_name(f".{path.name}{ending}")


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
def _without(partial: Path, disk: Disk) -> Iterator[None]:
    """Nothing is at ``partial`` when the block begins, nor where it ends by an exception."""
    disk.remove(partial)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to be heard of
            disk.remove(partial)
        raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An OSError within says which path it is about."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None
