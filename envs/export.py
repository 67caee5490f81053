"""A store as plain zarr, which xarray reads: one group a part, one array a name, whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from envs.durable import DISK, Disk, new_folder
from envs.store import Groups, Store
from envs.zarr import HEADER

BLOCK = 1024  # levels that are copied at once


def as_zarr(store: Store, path: Path, disk: Disk = DISK) -> None:
    """Writes the levels that are there to a new folder: ``xarray.open_zarr(path, group=part)``.

    Raises:
        FileExistsError: there is something at ``path``.
        OSError: a file is damaged, or cannot be written; the message names it.
    """
    if path.exists():
        raise FileExistsError(17, "there is something already; name another folder", str(path))
    with new_folder(path, disk) as beside:
        _group(beside, {"licence": store.layout.about.get("licence"), **_attributes(store)}, disk)
        for name, groups in store.parts.items():
            folder = beside
            for step in name.split("/"):
                folder = folder / step
                if not folder.exists():
                    disk.make(folder)
                    _group(folder, {}, disk)
            disk.remove(folder / HEADER)
            _group(folder, dict(groups.part.about), disk)
            _arrays(folder, groups)


def _attributes(store: Store) -> dict[str, Any]:
    return {"source": "levelburst", "about": dict(store.layout.about)}


def _group(folder: Path, attributes: dict[str, Any], disk: Disk) -> None:
    header = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    disk.write(folder / HEADER, json.dumps(header, sort_keys=True, indent=1).encode())


def _arrays(folder: Path, groups: Groups) -> None:
    """Every array of a part, block by block; tensorstore writes them."""
    import tensorstore as ts

    count = len(groups)
    if not count:
        return
    arrays = {}
    try:
        for name, form in groups.part.forms.items():
            metadata = form.metadata(count)
            size = max(1, min(BLOCK, count) // form.chunk) * form.chunk
            grid = metadata["chunk_grid"]["configuration"]
            grid["chunk_shape"] = [size, *form.shape]
            spec = {
                "driver": "zarr3",
                "kvstore": {"driver": "file", "path": f"{(folder / name).absolute()}/"},
                "metadata": metadata,
                "store_data_equal_to_fill_value": True,
            }
            arrays[name] = (size, ts.open(spec, create=True).result())
        for name, (size, array) in arrays.items():
            for first in range(0, count, size):
                last = min(first + size, count)
                block = groups.read(range(first, last), (name,))[name]
                array[first:last].write(block).result()
    except ValueError as error:
        raise OSError(f"{folder}: {str(error).split(' [', 1)[0][:300]}") from None
