"""What belongs to a folder: every file with its size and its SHA-256, in ``manifest.json``.

A folder without one, with a file too many or too few, or with another bit in any of them, is
damaged. The manifest itself has one spelling, so that no bit of it can change unnoticed either.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

NAME = "manifest.json"
SCHEMA = 1


class Damaged(ValueError):
    """A folder is not what its manifest says; the message names the folder and what is wrong."""


def seal(folder: Path) -> None:
    """Writes the manifest of all files in a folder, the last of them; none may change afterwards.
    It is not forced to the disk: ``agents.durable.folder`` does that."""
    files = {name: _entry(folder / name) for name in sorted(_files(folder) - {NAME})}
    (folder / NAME).write_text(_spelt({"schema": SCHEMA, "files": files}), encoding="utf-8")


def verify(folder: Path) -> None:
    """Reads every file of a folder and compares.

    Raises:
        FileNotFoundError: there is no such folder.
        Damaged: it is not as it was sealed.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    known = _read(folder)
    there = _files(folder) - {NAME}
    for name in sorted(known.keys() | there):
        if name not in there:
            raise Damaged(f"{folder} is damaged: {name} is missing")
        if name not in known:
            raise Damaged(f"{folder} is damaged: {name} does not belong there")
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise Damaged(f"{folder} is damaged: {name} is no plain file")
        if path.stat().st_size != known[name]["bytes"]:
            raise Damaged(
                f"{folder} is damaged: {name} has {path.stat().st_size} bytes instead of "
                f"{known[name]['bytes']}"
            )
        if _entry(path) != known[name]:
            raise Damaged(f"{folder} is damaged: {name} has another SHA-256 than it was saved with")


def _read(folder: Path) -> dict[str, Any]:
    path = folder / NAME
    if path.is_symlink() or not path.is_file():
        raise Damaged(f"{folder} is damaged: {NAME} is missing")
    try:
        text = path.read_bytes().decode()
        found = json.loads(text)
        whole = found.keys() == {"schema", "files"} and _spelt(found) == text
    except (ValueError, AttributeError, RecursionError) as error:
        raise Damaged(f"{folder} is damaged: {NAME} cannot be read: {error}") from None
    if not whole:
        raise Damaged(f"{folder} is damaged: {NAME} is not as it was written")
    if found["schema"] != SCHEMA:
        raise Damaged(
            f"{folder}: {NAME} has schema {found['schema']}, and this version reads {SCHEMA}"
        )
    files = found["files"]
    if not isinstance(files, dict) or any(
        not isinstance(entry, dict) or entry.keys() != {"bytes", "sha256"}
        for entry in files.values()
    ):
        raise Damaged(f"{folder} is damaged: {NAME} is not as it was written")
    return files


def _files(folder: Path) -> set[str]:
    """All files, and links to anything, by their paths within the folder."""
    found = set()
    for inner, folders, names in os.walk(folder):
        links = [name for name in folders if Path(inner, name).is_symlink()]
        found |= {Path(inner, name).relative_to(folder).as_posix() for name in names + links}
    return found


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _spelt(found: Any) -> str:
    return json.dumps(found, indent=1, sort_keys=True) + "\n"
