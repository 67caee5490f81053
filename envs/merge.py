"""Several stores as one: shards are copied as they are, once their hashes were found right."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from envs import layout as layout_lib
from envs.durable import DISK, Disk
from envs.layout import Layout, Part
from envs.store import Groups, Store
from envs.writer import Writer, differences


def merge(stores: list[Store], path: Path, disk: Disk = DISK) -> Layout:
    """Writes a store of all their parts; a part that several hold gets the levels of each, in
    order. What was cut short goes on when it is called again.

    Raises:
        ValueError: parts of one name are not alike or share a level, or the licences differ.
        OSError: a file is damaged, or cannot be written; the message names it.
    """
    plan = joined(stores)
    with Writer.opened(path, plan, disk) as writer:
        sources = [
            (store, number, shard)
            for store in stores
            for number, shard in enumerate(store.layout.shards)
        ]
        for store, number, shard in sources[len(writer.layout.shards) :]:
            files = {}
            folder = store.path / layout_lib.folder(number)
            for name, file in shard.files(store.layout.parts[shard.part].forms).items():
                file.check(folder / name)
                files[name] = (folder / name).read_bytes()
            writer.put(shard, files)
        return writer.layout


def joined(stores: list[Store]) -> Layout:
    """What a merged store is to hold.

    Raises:
        ValueError: as ``merge``.
    """
    licences = {str(store.layout.about.get("licence")) for store in stores}
    if len(licences) > 1:
        raise ValueError(f"licences {', '.join(sorted(licences))} do not go into one store")
    parts: dict[str, Part] = {}
    for store in stores:
        for name, groups in store.parts.items():
            if not len(groups):
                continue
            own = dataclasses.replace(groups.part, levels=len(groups))
            if name not in parts:
                parts[name] = own
                continue
            one, other = ({"about": p.about, "arrays": p.forms} for p in (parts[name], own))
            for place, first, second in differences(one, other):
                raise ValueError(
                    f"{store.path}: {name} has {place} {str(second)[:60]}, the store before it "
                    f"{str(first)[:60]}; merge parts that are alike"
                )
            parts[name] = dataclasses.replace(own, levels=parts[name].levels + len(groups))
    for name in parts:
        _refuse_twins(name, [x.groups(name) for x in stores if name in x.layout.parts])
    return Layout(
        about={
            "licence": licences.pop(),
            "merged": [dict(store.layout.about) for store in stores],
        },
        shard=max(store.layout.shard for store in stores),
        parts=parts,
    )


def _refuse_twins(name: str, held: list[Groups]) -> None:
    """Raises ValueError where two stores hold the same level: its rollouts would count twice."""
    if len(held) < 2 or "fingerprint" not in held[0].part.forms:
        return
    prints = np.concatenate([groups.array("fingerprint") for groups in held])
    twice = len(prints) - len(np.unique(prints, axis=0))
    if twice:
        raise ValueError(
            f"{name}: {twice} levels are in more than one of the stores; merge stores of other "
            "seeds or families"
        )
