"""Files and folders that are on the disk whole or not at all, whatever happens in between.

A file is written beside its place, forced to the disk and renamed into it; a folder is filled
beside its place as ``.NAME.partial``, and every file in it is forced to the disk before the folder
is renamed. A rename is one step for the file system, so a process that is killed, or a machine that
loses its power, leaves the old state or the new one. What a killed process left beside a place is
no state: ``sweep`` removes it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

PARTIAL, OLD = ".partial", ".old"  # endings of what lies beside a place


def write(path: Path, content: str | bytes) -> None:
    """Writes a file; its folder is there.

    Raises:
        OSError: it cannot be written, as on a full disk; what was there before is still there.
    """
    partial = beside(path, PARTIAL)
    with _named(path):
        try:
            with partial.open("wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        sync(path.parent)


@contextlib.contextmanager
def folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside ``path`` to be filled; where the block ends well, it takes the
    place of what was there.

    Raises:
        OSError: it cannot be written; what was there before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    recover(path)
    partial, old = beside(path, PARTIAL), beside(path, OLD)
    remove(partial)
    partial.mkdir()
    try:
        with _named(path):
            yield partial
            for inner, _, names in os.walk(partial):
                for name in names:
                    sync(Path(inner, name))
                sync(Path(inner))
            if path.exists():
                os.rename(path, old)  # ``recover`` takes it back where what follows is not reached
            os.rename(partial, path)
            sync(path.parent)
    except BaseException:
        recover(path)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    remove(old)


def recover(path: Path) -> None:
    """Ends a replacement that was cut short: the old state comes back, unless the new one is
    there."""
    old = beside(path, OLD)
    if old.exists():
        if path.exists():
            remove(old)
        else:
            os.rename(old, path)


def remove(path: Path) -> None:
    """Removes a folder, if it is there: first from its place, in one step, then its files."""
    if path.name.endswith(PARTIAL):
        if path.exists():
            shutil.rmtree(path)
        return
    partial = beside(path, PARTIAL)
    remove(partial)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, partial)
        shutil.rmtree(partial)


def sweep(parent: Path) -> None:
    """Removes what a killed process left in a folder, and takes back what it had put aside."""
    for left in sorted(parent.glob(f".*{OLD}")):
        recover(parent / left.name[1 : -len(OLD)])
    for left in sorted(parent.glob(f".*{PARTIAL}")):
        remove(left) if left.is_dir() else left.unlink()


def beside(path: Path, ending: str) -> Path:
    """Where a state that does not count lies: hidden, beside its place."""
    return path.with_name(f".{path.name}{ending}")


def sync(path: Path) -> None:
    """Forces a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """An error of the system that does not say where it happened says it."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise
