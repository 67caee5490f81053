"""JSON from a file that anybody may have written: plain, of bounded size, or a mistake in one line.

What JSON makes of a few bytes can take twenty times their memory, so values are counted before they
are made.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LARGEST = 64 * 2**20
"""Bytes of a file, and of a line where there is one value a line."""
VALUES = 2_500_000
"""Values in a file, or in all of its lines, at most; an object counts twice."""
ALL = 2 * LARGEST
"""Bytes of all lines of a file."""


def read(path: Path) -> Any:
    """The value that a file holds.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no regular file, too large, or no JSON.
    """
    return _parsed(content(path))


def content(path: Path) -> bytes:
    """All that a file holds.

    Raises:
        OSError: there is no such file, or it cannot be read.
        ValueError: it is no regular file, or too large.
    """
    size = _size(path)
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes, {LARGEST} are the most")
    return path.read_bytes()


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Number, from 1, and value of each line of a file; a ValueError stands for the value of a line
    that is none. Nothing where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or holds too much.
    """
    if not path.exists():
        return
    if (size := _size(path)) > ALL:
        raise ValueError(f"it has {size} bytes, {ALL} are the most")
    with path.open("rb") as file:
        number = values = 0
        while line := file.readline(LARGEST + 1):
            number += 1
            values += _values(line)
            if values > VALUES:
                raise ValueError(f"its lines hold more than {VALUES} values")
            try:
                if len(line) > LARGEST:
                    raise ValueError(f"a line has more than {LARGEST} bytes")
                yield number, _parsed(line)
            except ValueError as error:
                yield number, error


def _size(path: Path) -> int:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):  # a pipe would never end
        raise ValueError("it is no regular file")
    return found.st_size


def _values(data: bytes) -> int:
    """How many values there are in a piece of JSON, at most."""
    return 1 + sum(map(data.count, (b",", b"[", b"{", b"{")))


def _parsed(data: bytes) -> Any:
    if _values(data) > VALUES:
        raise ValueError(f"it holds more than {VALUES} values")
    try:
        return json.loads(data.decode())
    except RecursionError:
        raise ValueError("it is nested too deep") from None
