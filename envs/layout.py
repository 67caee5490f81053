"""What a store holds, as its manifest says it: parts, the form of their arrays, and shards.

docs/format.md describes the format. Whatever a manifest says is checked here, word by word, before
any other file is touched; names of files are made from numbers and names that were checked.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from envs.manifest import Damaged, File
from envs.zarr import HEADER, Form

FORMAT, VERSION = "levelburst-store", 1
LEVELS, SHARD = 2**24, 2**16  # of a part, and of a shard, at most: their sizes must fit in memory
SHARDS = "shards"
NAME = re.compile(r"[a-z0-9][a-zA-Z0-9_.:/-]{0,199}")
ARRAY = re.compile(r"[a-z][a-zA-Z0-9_]*(\.[a-zA-Z0-9_]+)*")  # no slash, no dot at an end
HASH = re.compile(r"[0-9a-f]{64}")

Kind = TypeVar("Kind")


@dataclasses.dataclass(frozen=True)
class Part:
    """Groups of one family from one seed.

    Attributes:
        name: as ``dark-room/0``.
        levels: how many it is to hold.
        forms: its arrays.
        about: family, wrappers, policy, seed and what else there is to say, as JSON.
    """

    name: str
    levels: int
    forms: Mapping[str, Form]
    about: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Shard:
    """Some levels of a part, the ones after those of the part's shards before it.

    Attributes:
        part: its name.
        levels: how many.
        hashes: SHA-256 of each array's file.
    """

    part: str
    levels: int
    hashes: Mapping[str, str]

    def files(self, forms: Mapping[str, Form]) -> dict[str, File]:
        """Its files, by name within its folder."""
        found = {}
        for name, form in forms.items():
            data, size = form.data(self.levels)
            found[f"{name}/{HEADER}"] = File.of(form.header(self.levels))
            found[f"{name}/{data}"] = File(size, self.hashes[name])
        return found


@dataclasses.dataclass(frozen=True)
class Layout:
    """All that a manifest says.

    Attributes:
        about: licence, software, command line …, as JSON.
        shard: levels of a shard; the last one of a part may hold fewer, and so may merged ones.
        parts: by name.
        shards: in the order in which they were written; shard i lies in ``shards/00000i``.
    """

    about: Mapping[str, Any]
    shard: int
    parts: Mapping[str, Part]
    shards: tuple[Shard, ...] = ()

    def written(self, part: str) -> int:
        """Levels of a part that are there."""
        return sum(shard.levels for shard in self.shards if shard.part == part)

    def with_shard(self, shard: Shard) -> Layout:
        """With one more."""
        return dataclasses.replace(self, shards=(*self.shards, shard))

    def body(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "about": self.about,
            "shard": self.shard,
            "parts": [
                {
                    "name": part.name,
                    "levels": part.levels,
                    "about": part.about,
                    "arrays": {name: dataclasses.asdict(form) for name, form in part.forms.items()},
                }
                for part in self.parts.values()
            ],
            "shards": [
                {"part": shard.part, "levels": shard.levels, "sha256": shard.hashes}
                for shard in self.shards
            ],
        }


def folder(number: int) -> str:
    """Where a shard lies in its store."""
    return f"{SHARDS}/{number:06d}"


def read(body: Any, path: Path) -> Layout:
    """The layout that a manifest's body describes.

    Raises:
        Damaged: it describes none, or is of a version that cannot be read here.
    """
    refuse_version(body, path)
    try:
        parts: dict[str, Part] = {}
        for told in _of(body, "parts", list):
            part = _part(told)
            if part.name in parts:
                raise ValueError(f"part {part.name} stands twice")
            parts[part.name] = part
        layout = Layout(
            about=_of(body, "about", dict),
            shard=_count(body, "shard", SHARD),
            parts=parts,
            shards=tuple(_shard(told, parts) for told in _of(body, "shards", list)),
        )
        for name, part in parts.items():
            if layout.written(name) > part.levels:
                raise ValueError(
                    f"part {name} has more levels than the {part.levels} it is to have"
                )
    except ValueError as error:
        raise Damaged(f"{path} describes no store: {error}; restore it from a copy") from None
    return layout


def refuse_version(body: Any, path: Path) -> None:
    """Raises Damaged, and says what to do, where a manifest is of another format or version."""
    if not isinstance(body, dict) or body.get("format") != FORMAT:
        raise Damaged(f"{path} is no manifest of a store; name a folder that `collect` made")
    version = body.get("version")
    if type(version) is int and version == VERSION:
        return
    if type(version) is int and version > VERSION:
        raise Damaged(
            f"{path} is of version {version} and this Levelburst reads {VERSION}: install a newer "
            "one"
        )
    raise Damaged(
        f"{path} is of version {str(version)[:20]}, which was never released: collect it again"
    )


def _part(told: Any) -> Part:
    name = _of(told, "name", str)
    if not NAME.fullmatch(name):
        raise ValueError(f"a part has the name {name[:80]!r}")
    forms = {}
    for array, form in _of(told, "arrays", dict).items():
        if not ARRAY.fullmatch(array) or len(array) > 200:
            raise ValueError(f"part {name} has an array {array[:80]!r}")
        forms[array] = Form(
            dtype=_of(form, "dtype", str),
            shape=_all(form, "shape", int),
            axes=_all(form, "axes", str),
            chunk=_count(form, "chunk"),
        )
        forms[array].check()
    if not forms:
        raise ValueError(f"part {name} has no arrays")
    return Part(name, _count(told, "levels"), forms, _of(told, "about", dict))


def _shard(told: Any, parts: Mapping[str, Part]) -> Shard:
    name, hashes = _of(told, "part", str), _of(told, "sha256", dict)
    if name not in parts:
        raise ValueError(f"a shard is of part {name[:80]!r}, which there is not")
    if hashes.keys() != parts[name].forms.keys():
        raise ValueError(f"a shard of part {name} has other arrays than the part")
    if not all(isinstance(x, str) and HASH.fullmatch(x) for x in hashes.values()):
        raise ValueError(f"a shard of part {name} has a hash that is none")
    return Shard(name, _count(told, "levels", SHARD), hashes)


def _of(told: Any, field: str, kind: type[Kind]) -> Kind:
    """A field of a JSON object, of one kind."""
    found = told.get(field) if isinstance(told, dict) else None
    if type(found) is not kind:  # a bool is no int
        raise ValueError(f"{field} is {str(found)[:80]!r}, expected {kind.__name__}")
    return found  # type: ignore[return-value]


def _count(told: Any, field: str, most: int = LEVELS) -> int:
    found = _of(told, field, int)
    if not 0 < found <= most:
        raise ValueError(f"{field} is {str(found)[:80]}, expected a number from 1 to {most}")
    return found


def _all(told: Any, field: str, kind: type[Kind]) -> tuple[Kind, ...]:
    found = _of(told, field, list)
    if not all(type(x) is kind for x in found) or len(found) > 16:
        raise ValueError(f"{field} is {str(found)[:80]}, expected a list of {kind.__name__}")
    return tuple(found)
