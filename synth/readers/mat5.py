"""MATLAB files of version 5: arrays of numbers, and cells of text.

scipy reads more of them, but a damaged file can end the whole process there: it believes what sizes the file states.
Here no size is believed that the file is too short for.
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError

Array = npt.NDArray[Any]
Bytes = bytes | memoryview

# Of elements, and of arrays.
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_MATRIX, _COMPRESSED, _CELL, _CHAR, _COMPLEX = 14, 15, 1, 4, 0x800
_HEAD = 4096
"""Bytes that surely hold an array's name."""


def read_mat(path: Path, *names: str) -> dict[str, Array]:
    """Read arrays of a MATLAB file of version 5.

    Parameters
    ----------
    path
        The file.
    names
        Of the arrays.

    Returns
    -------
    Each array, of numbers as they are declared, or of `str` objects where it is a cell of text.

    Raises
    ------
    InputError
        If the file is absent, damaged, of version 7.3 or has no such array.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from None
    version, order = data[124:126], {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if data[512:516] == b"\x89HDF" or data[:4] == b"\x89HDF":
        raise InputError(f"{path} is a MATLAB file of version 7.3: the original is of version 5.")
    if order is None or version != struct.pack(order + "H", 0x0100):
        raise InputError(f"{path} is damaged or not a MATLAB file: fetch it again.")
    try:
        found = dict(_File(order).arrays(memoryview(data)[128:], set(names)))
    except (ValueError, KeyError, struct.error, zlib.error):  # includes undecodable text
        raise InputError(f"{path} is damaged or holds other arrays than expected: fetch it again.") from None
    for name in names:
        if name not in found:
            raise InputError(f"{path} has no array {name!r}: check that it is the right file.")
    return found


class _File:
    """Takes a file's bytes apart, in its order of bytes."""

    def __init__(self, order: str) -> None:
        self.order = order

    def element(self, data: Bytes) -> tuple[int, Bytes, Bytes]:
        """Split off the first element: its type, its content, and the rest."""
        kind, size = struct.unpack_from(self.order + "II", data)
        if kind >> 16:  # short: four bytes at most, in the place of the second number
            kind, size, start, end = kind & 0xFFFF, kind >> 16, 4, 8
        else:
            start, end = 8, 8 + size + (-size % 8 if kind != _COMPRESSED else 0)
        content = data[start : start + size]
        if len(content) != size:
            raise ValueError("cut short")
        return kind, content, data[end:]

    def arrays(self, data: Bytes, names: set[str]) -> Iterator[tuple[str, Array]]:
        """Read those arrays that have one of the names."""
        while data:
            kind, content, data = self.element(data)
            if kind == _COMPRESSED:
                inflater = zlib.decompressobj()
                head = inflater.decompress(content, _HEAD)
                # The outer tag states the size of what is not there yet.
                if self.head(head[8:])[2] not in names:
                    continue
                kind, content, _ = self.element(head + inflater.decompress(inflater.unconsumed_tail) + inflater.flush())
            if kind == _MATRIX and (name := self.head(content)[2]) in names:
                yield name, self.matrix(content)

    def head(self, content: Bytes) -> tuple[int, tuple[int, ...], str, Bytes]:
        """Read an array's flags, its shape and its name; return them with the rest."""
        _, flags, content = self.element(content)
        _, shape, content = self.element(content)
        _, name, content = self.element(content)
        lengths = tuple(int(n) for n in np.frombuffer(shape, self.order + "i4"))
        if min(lengths) < 0:
            raise ValueError("a negative length")
        return int(struct.unpack_from(self.order + "I", flags)[0]), lengths, bytes(name).decode("latin-1"), content

    def matrix(self, content: Bytes) -> Array:
        """Read an array of numbers, or a cell of text."""
        flags, shape, _, content = self.head(content)
        count = math.prod(shape)
        if flags & 0xFF == _CELL:
            if count > len(content):
                raise ValueError("more cells than bytes")
            texts = np.empty(count, object)
            for i in range(count):
                kind, cell, content = self.element(content)
                if kind != _MATRIX:
                    raise ValueError("a cell that is no array")
                texts[i] = self.text(cell)
            return texts.reshape(shape, order="F")
        if flags & _COMPLEX:
            raise ValueError("complex numbers")
        kind, numbers, _ = self.element(content)
        values = np.frombuffer(numbers, self.order + _TYPES[kind])
        if len(values) != count:
            raise ValueError("a shape of another size")
        return values.astype(_CLASSES[flags & 0xFF]).reshape(shape, order="F")

    def text(self, content: Bytes) -> str:
        flags, _, _, content = self.head(content)
        if flags & 0xFF != _CHAR:
            raise ValueError("a cell of other than text")
        kind, letters, _ = self.element(content)
        encoding = _TEXT[kind]
        wide = encoding in ("utf-16", "utf-32")
        return bytes(letters).decode(encoding + ("-le" if self.order == "<" else "-be") * wide)
