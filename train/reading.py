"""Reading single samples of a sharded array into memory that is given: three ways, the same numbers.

`DirectReader` reads the files that `defocal.synth.store` writes with one positioned read and one decompression a
sample; `ZarrReader` reads whatever zarr opens; `TensorReader` needs `tensorstore`.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from .. import InputError

Backend = Literal["auto", "direct", "zarr", "tensorstore"]
Array = npt.NDArray[Any]

NOTHING = 2**64 - 1
"""What the index of a shard has in the place of a chunk that is not stored."""
KEPT_INDICES = 1 << 14
"""Indices of shards that a reader remembers."""


class Reader(Protocol):
    """Reads samples of one array."""

    def read(self, rows: Sequence[int], out: Sequence[Array]) -> None:
        """Fill `out[i]`, contiguous and of the sample's shape and dtype, with the sample at `rows[i]`."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the samples of an array lie in local files: all that is needed to read them.

    Attributes
    ----------
    folder
        The array's folder.
    shape
        Of one sample.
    dtype
        Of its numbers, little-endian.
    per_shard
        Samples in a shard.
    fill
        What chunks that are not stored hold.
    """

    folder: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    per_shard: int
    fill: float

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> "Layout | None":
        """Return the layout of an array, or None where it is not the one that `create_split` gives."""
        store, shape = array.store, array.shape[1:]
        if not isinstance(store, zarr.storage.LocalStore) or sys.byteorder != "little":
            return None
        data = array.metadata.to_dict()
        chunks = data.get("chunk_grid")
        if data.get("zarr_format") != 3 or data.get("chunk_key_encoding") != _KEYS or not isinstance(chunks, dict):
            return None
        codecs = _plain(data["codecs"])
        per_shard = array.shards[0] if array.shards else 0
        if array.chunks != (1, *shape) or array.shards != (per_shard, *shape) or not _known(codecs, array.chunks):
            return None
        folder = str(Path(store.root) / array.path)
        return cls(folder, shape, array.dtype, per_shard, float(np.asarray(array.fill_value)))


_KEYS = {"name": "default", "configuration": {"separator": "/"}}
_INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]


def _plain(value: Any) -> Any:
    """Return nested metadata with lists in the place of tuples, and words in the place of enumerations."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return getattr(value, "value", value)


def _known(codecs: Any, chunk: tuple[int, ...]) -> bool:
    if len(codecs) != 1 or codecs[0]["name"] != "sharding_indexed":
        return False
    outer = codecs[0]["configuration"]
    inner = outer["codecs"]
    little = [{"name": "bytes"}, {"name": "bytes", "configuration": {"endian": "little"}}]
    return bool(
        outer["chunk_shape"] == list(chunk)
        and outer["index_codecs"] == _INDEX
        and outer["index_location"] == "end"
        and [codec["name"] for codec in inner] == ["bytes", "blosc"]
        and inner[0] in little
    )


class DirectReader:
    """Reads the shards of an array by itself.

    A shard ends with its index: for each of its k chunks offset and length, uint64 little-endian, and the CRC-32C of
    that (Zarr sharding codec, version 1.0). Chunks are Blosc frames.

    Parameters
    ----------
    layout
        Of the array.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._tail = "/0" * len(layout.shape)
        self._indices: dict[int, Array] = {}

    def read(self, rows: Sequence[int], out: Sequence[Array]) -> None:
        """Fill `out[i]` with the sample at `rows[i]`; a shard's file is opened once.

        Raises
        ------
        InputError
            If a file is missing or damaged.
        """
        from numcodecs.blosc import decompress

        shards: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            shards.setdefault(row // self.layout.per_shard, []).append(place)
        for shard, places in shards.items():
            path = f"{self.layout.folder}/c/{shard}{self._tail}"
            try:
                file = os.open(path, os.O_RDONLY)
                try:
                    index = self._index(shard, file)
                    for place in places:
                        offset, size = index[rows[place] % self.layout.per_shard].tolist()
                        if offset == NOTHING:
                            out[place][...] = self.layout.fill
                        else:
                            decompress(_piece(file, size, offset), out[place])
                finally:
                    os.close(file)
            except (OSError, RuntimeError, ValueError) as error:
                raise InputError(
                    f"{path} is damaged ({str(error)[:100]}): fetch a fresh copy, or generate it again."
                ) from None

    def _index(self, shard: int, file: int) -> Array:
        found = self._indices.get(shard)
        if found is None:
            from google_crc32c import value

            size = 16 * self.layout.per_shard
            end = os.fstat(file).st_size
            if end < size + 4:
                raise ValueError("it is too short")
            raw = _piece(file, size + 4, end - size - 4)
            if value(raw[:size]) != int.from_bytes(raw[size:], "little"):
                raise ValueError("its index has another checksum")
            if len(self._indices) >= KEPT_INDICES:
                self._indices.clear()
            found = self._indices[shard] = np.frombuffer(raw, "<u8", 2 * self.layout.per_shard).reshape(-1, 2)
        return found


def _piece(file: int, size: int, offset: int) -> bytes:
    piece = os.pread(file, size, offset)
    if len(piece) != size:
        raise ValueError("it is too short")
    return piece


class ZarrReader:
    """Reads an array by zarr: neighbouring rows as slices, never by lists of rows, which zarr turns into pixels.

    Parameters
    ----------
    array
        The array.
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array

    def read(self, rows: Sequence[int], out: Sequence[Array]) -> None:
        """Fill `out[i]` with the sample at `rows[i]`.

        Raises
        ------
        InputError
            If they are damaged.
        """
        order = sorted(range(len(rows)), key=rows.__getitem__)
        while order:
            run = 1
            while run < len(order) and rows[order[run]] == rows[order[0]] + run:
                run += 1
            places, order = order[:run], order[run:]
            first = rows[places[0]]
            try:
                block = np.asarray(self.array[first : first + run])
            # Whatever can be wrong with chunks: zarr raises many kinds of error for it.
            except Exception as error:
                raise InputError(
                    f"{self.array.store_path}, rows {first} to {first + run - 1}, is damaged "
                    f"({type(error).__name__}: {str(error)[:100]}): fetch a fresh copy, or generate it again."
                ) from None
            for place, sample in zip(places, block, strict=True):
                out[place][...] = sample


class TensorReader:
    """Reads an array by tensorstore, all samples of a call at once.

    Parameters
    ----------
    folder
        The array's local folder.
    """

    def __init__(self, folder: str) -> None:
        import tensorstore

        # One copy for each thread that waits; a cache would only be copied through, as no sample is read twice.
        self.array = tensorstore.open(
            {"driver": "zarr3", "kvstore": {"driver": "file", "path": folder}},
            open=True,
            read=True,
            context=tensorstore.Context({"cache_pool": {"total_bytes_limit": 0}}),
            recheck_cached_metadata=False,
            recheck_cached_data=False,
        ).result()

    def read(self, rows: Sequence[int], out: Sequence[Array]) -> None:
        """Fill `out[i]` with the sample at `rows[i]`.

        Raises
        ------
        InputError
            If they are damaged.
        """
        waiting = [self.array[row].read() for row in rows]
        for sample, one in zip(out, waiting, strict=True):
            try:
                sample[...] = one.result()
            except ValueError as error:
                raise InputError(
                    f"a sample is damaged ({str(error)[:200]}): fetch a fresh copy, or generate it again."
                ) from None


def check_backend(backend: Backend) -> None:
    """Refuse a backend that is not installed.

    Raises
    ------
    InputError
        Saying how to install it.
    """
    if backend == "tensorstore" and find_spec("tensorstore") is None:
        raise InputError("backend = 'tensorstore' needs tensorstore: pip install 'defocal[fast]', or leave it out.")


def check_readable(array: zarr.Array[Any], backend: Backend, layout: Layout | None) -> None:
    """Refuse an array that a backend cannot read.

    Raises
    ------
    InputError
        Naming the array.
    """
    if backend == "tensorstore" and not isinstance(array.store, zarr.storage.LocalStore):
        raise InputError(f"backend = 'tensorstore' reads local stores alone, not {array.store_path}: use 'zarr'.")
    if backend == "direct" and layout is None:
        raise InputError(f"{array.store_path} has not the layout that backend = 'direct' reads: use 'zarr' or 'auto'.")


def reader(array: zarr.Array[Any], backend: Backend, layout: Layout | None) -> Reader:
    """Return the reader of an array; "auto" reads directly what has the known layout, and by zarr what has not."""
    check_readable(array, backend, layout)
    if backend == "tensorstore":
        assert isinstance(array.store, zarr.storage.LocalStore)
        return TensorReader(str(Path(array.store.root) / array.path))
    return ZarrReader(array) if backend == "zarr" or layout is None else DirectReader(layout)
