"""Arrays as zarr v3 through tensorstore, in a form that leaves a reader nothing to guess.

An array [level, …] is one zarr shard: chunks of a few levels, each with a CRC-32C, behind one
index. Nothing is compressed, so sizes follow from the form alone: a file of another size is
refused before it is read, and no file can grow in memory. The header is the same bytes for the
same form, so a header that says anything else is refused by its hash, unread.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorstore as ts

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float32", "float64")  # fmt: skip
CHUNK = 2**18
"""Bytes of a chunk, about: what is read to get at one level."""
LARGEST = 2**26
"""Bytes of a chunk, at most."""
HEADER = "zarr.json"


@dataclasses.dataclass(frozen=True)
class Form:
    """An array of levels, but for their number.

    Attributes:
        dtype: one of ``DTYPES``.
        shape: of one level.
        axes: the names of its dimensions.
        chunk: levels of a chunk.
    """

    dtype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    chunk: int

    @classmethod
    def of(cls, dtype: Any, shape: tuple[int, ...], axes: tuple[str, ...], most: int = 64) -> Form:
        """With chunks of a handy size, and of so many levels at ``most``.

        Raises:
            ValueError: the dtype cannot be stored, or one level is too large.
        """
        form = cls(np.dtype(dtype).name, shape, axes, 1)
        form.check()
        return dataclasses.replace(form, chunk=max(1, min(most, CHUNK // max(form.level, 1))))

    def check(self) -> None:
        """Raises ValueError for a form that is not written."""
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype {self.dtype} is not stored; use one of {', '.join(DTYPES)}")
        if len(self.shape) != len(self.axes) or not all(n > 0 for n in self.shape):
            raise ValueError(f"shape {self.shape} with axes {self.axes} is not stored")
        if not 0 < self.chunk * self.level <= LARGEST:
            raise ValueError(
                f"a chunk of {self.chunk} levels of {self.level} bytes is not stored; {LARGEST} "
                "bytes are the most"
            )

    @property
    def level(self) -> int:
        """Bytes of one level."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def data(self, levels: int) -> tuple[str, int]:
        """The name and the bytes of the file that holds the numbers of so many levels."""
        chunks = -(-levels // self.chunk)
        index = 16 * chunks + 4  # where each chunk is and how long, and a CRC-32C
        name = ".".join(["c", *["0"] * (1 + len(self.shape))])
        return name, chunks * (self.chunk * self.level + 4) + index

    def index(self, levels: int) -> bytes:
        """The end of that file: where each chunk is, how long, and a CRC-32C of that. There is one
        way to say it, so whatever else stands there was not written here."""
        size, chunks = self.chunk * self.level + 4, -(-levels // self.chunk)
        pairs = np.array([(i * size, size) for i in range(chunks)], "<u8").tobytes()
        return pairs + crc32c(pairs).to_bytes(4, "little")

    def metadata(self, levels: int) -> dict[str, Any]:
        """What zarr.json says of so many levels."""
        one = np.dtype(self.dtype).itemsize == 1
        endian = {} if one else {"configuration": {"endian": "little"}}
        kept = [{"name": "bytes", **endian}, {"name": "crc32c"}]
        index = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [levels, *self.shape],
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {
                    "chunk_shape": [-(-levels // self.chunk) * self.chunk, *self.shape]
                },
            },
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": False if self.dtype == "bool" else 0,
            "codecs": [
                {
                    "name": "sharding_indexed",
                    "configuration": {
                        "chunk_shape": [self.chunk, *self.shape],
                        "codecs": kept,
                        "index_codecs": index,
                        "index_location": "end",
                    },
                }
            ],
            "attributes": {},
            "dimension_names": ["level", *self.axes],
        }

    def header(self, levels: int) -> bytes:
        """zarr.json of so many levels."""
        return json.dumps(self.metadata(levels), separators=(",", ":"), sort_keys=True).encode()


def encode(form: Form, array: np.ndarray) -> dict[str, bytes]:
    """The files of an array [level, …]: name -> content, the same for the same array.

    Raises:
        ValueError: the array is not of that form, or has no levels.
    """
    if array.dtype.name != form.dtype or array.shape[1:] != form.shape or not len(array):
        raise ValueError(
            f"an array {array.dtype}{list(array.shape)} is not of form {form.dtype}[level, "
            f"{', '.join(map(str, form.shape))}]"
        )
    import tensorstore as ts

    memory, levels = ts.Context(), len(array)
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "memory"},
        "metadata": form.metadata(levels),
        "store_data_equal_to_fill_value": True,  # every chunk is there: none may be made up
    }
    ts.open(spec, context=memory, create=True).result().write(array).result()
    name, size = form.data(levels)
    kept = ts.KvStore.open({"driver": "memory"}, context=memory).result()
    data = kept.read(name).result().value
    assert len(data) == size, (len(data), size)
    return {HEADER: form.header(levels), name: data}


def opened(folder: Path, form: Form, levels: int) -> ts.TensorStore:
    """The array in a folder; nothing but its header and its index is read.

    Raises:
        ValueError: the index is another one. Tensorstore is not asked what it makes of one that
            lies.
    """
    import tensorstore as ts

    name, size = form.data(levels)
    expected = form.index(levels)
    with (folder / name).open("rb") as file:
        file.seek(size - len(expected))
        if file.read() != expected:
            raise ValueError("its index is not that of its chunks")

    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder.absolute()}/"},
        "metadata": form.metadata(levels),
    }
    return ts.open(spec, context=_context(), open=True, read=True).result()


def crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of a few bytes, RFC 3720, appendix B.4."""
    found = 0xFFFFFFFF
    for byte in data:
        found = _table()[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return tuple(table)


@functools.cache
def _context() -> ts.Context:
    """Nothing is kept in memory: whoever reads keeps what is wanted."""
    import tensorstore as ts

    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})
