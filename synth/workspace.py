"""Large arrays that a thread uses again for every image: fresh memory costs more than the arithmetic done in it."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

_local = threading.local()


def scratch(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return an array of this thread with whatever an earlier user of `name` left in it.

    Valid until the thread asks for the same name again: never hand it out.
    """
    buffers: dict[str, npt.NDArray[np.uint8]] = _local.__dict__.setdefault("buffers", {})
    wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if name not in buffers or buffers[name].size < wanted:
        buffers[name] = np.empty(wanted, np.uint8)
    return buffers[name][:wanted].view(dtype).reshape(shape)


def cleared(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return `scratch` filled with zeros."""
    buffers = _local.__dict__.setdefault("buffers", {})
    clear: set[str] = _local.__dict__.setdefault("clear", set())
    before = buffers.get(name)
    array = scratch(name, shape, dtype)
    if name not in clear or buffers[name] is not before:
        buffers[name].fill(0)
    clear.discard(name)
    return array


def keep_clear(name: str) -> None:
    """Promise that the user of `cleared` has left nothing but zeros in it, so that it need not be filled again."""
    _local.clear.add(name)
