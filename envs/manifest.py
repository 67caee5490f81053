"""What was written, by SHA-256: a file that lists others and vouches for them and for itself.

A manifest is one line of JSON, ``{"sha256":"…","body":…}``: the hash is that of the bytes of the
body, so it is checked before anything is read out of them. Any other bit in it is found, too: what
is around the body has one spelling.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
LARGEST = 16 * 2**20
"""Bytes of a manifest, at most: what JSON makes of them has to fit in memory."""
_HEAD, _MIDDLE, _TAIL = b'{"sha256":"', b'","body":', b"}\n"
_FIRST = len(_HEAD) + 64 + len(_MIDDLE)


class Damaged(OSError):
    """What is there is not what was written, or nothing that may be read: one line, which names
    the path and says what to do."""


@dataclasses.dataclass(frozen=True)
class File:
    """What a file has to hold.

    Attributes:
        bytes: its size.
        sha256: its hash, 64 hexadecimal digits.
    """

    bytes: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> File:
        """That of a content."""
        return cls(len(data), hashlib.sha256(data).hexdigest())

    @classmethod
    def at(cls, path: Path) -> File:
        """What a file holds now."""
        with path.open("rb") as file:
            return cls(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())

    def check_size(self, path: Path) -> None:
        """Raises Damaged unless there is a regular file of that size (nothing is read)."""
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            raise Damaged(f"{path} is missing; restore it from a copy, or collect again") from None
        if not stat.S_ISREG(found.st_mode):
            raise Damaged(f"{path} is no regular file, so it is not read; restore it from a copy")
        if found.st_size != self.bytes:
            raise Damaged(
                f"{path} holds {found.st_size} bytes, expected {self.bytes}; restore it from a copy"
            )

    def check(self, path: Path) -> None:
        """Raises Damaged unless the file is there and holds what it has to."""
        self.check_size(path)
        found = hashlib.sha256()
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            while block := file.read(2**20):
                found.update(block)
        if found.hexdigest() != self.sha256:
            raise Damaged(f"{path} is damaged: it has another SHA-256; restore it from a copy")


def seal(body: Any, path: Path) -> bytes:
    """The bytes of a manifest.

    Raises:
        ValueError: there are too many; the message names the path.
    """
    text = json.dumps(body, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    sealed = _HEAD + hashlib.sha256(text).hexdigest().encode() + _MIDDLE + text + _TAIL
    if len(sealed) > LARGEST:
        raise ValueError(
            f"{path} would take {len(sealed)} bytes, and {LARGEST} are the most; use larger shards"
        )
    return sealed


def unseal(path: Path) -> Any:
    """The body of the manifest at ``path``.

    Raises:
        FileNotFoundError: there is none.
        Damaged: it is not as it was written, or no manifest at all.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Damaged(f"{path} is no regular file, so it is not read; name another folder")
    if found.st_size > LARGEST:
        raise Damaged(f"{path} holds {found.st_size} bytes, {LARGEST} are the most of a manifest")
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = file.read(LARGEST + 1)
    text = data[_FIRST : -len(_TAIL)]
    sealed = _HEAD + hashlib.sha256(text).hexdigest().encode() + _MIDDLE + text + _TAIL
    if sealed != data:
        raise Damaged(f"{path} is damaged: it is not what its SHA-256 says; restore it from a copy")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged(f"{path} is no manifest: its body is no JSON") from None


def seal_folder(folder: Path) -> None:
    """Writes the manifest of all files in a folder, the last of them; none may change afterwards.
    It is not brought to the disk: ``envs.durable.new_folder`` does that."""
    files = {name: dataclasses.asdict(File.at(folder / name)) for name in sorted(_files(folder))}
    (folder / MANIFEST).write_bytes(seal({"files": files}, folder / MANIFEST))


def verify_folder(folder: Path) -> None:
    """Reads every file of a folder and compares.

    Raises:
        FileNotFoundError: there is no such folder.
        Damaged: it is not as it was sealed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(2, "no such folder", str(folder))
    try:
        body = unseal(folder / MANIFEST)
    except FileNotFoundError:
        raise Damaged(f"{folder / MANIFEST} is missing; restore it from a copy") from None
    try:
        known = {name: File(**told) for name, told in body["files"].items()}
    except (AttributeError, KeyError, TypeError):
        raise Damaged(f"{folder / MANIFEST} lists no files of a folder") from None
    there = _files(folder) - {MANIFEST}
    for name in sorted(there - known.keys()):
        raise Damaged(f"{folder / name} does not belong there; remove it")
    for name, file in known.items():
        if name not in there:  # as are those that lead out of the folder
            raise Damaged(f"{folder / name} is missing; restore it from a copy")
        file.check(folder / name)


def _files(folder: Path) -> set[str]:
    """All files, and links to anything, by their paths within the folder."""
    found = set()
    for inner, folders, names in os.walk(folder):
        links = [name for name in folders if Path(inner, name).is_symlink()]
        found |= {Path(inner, name).relative_to(folder).as_posix() for name in names + links}
    return found
