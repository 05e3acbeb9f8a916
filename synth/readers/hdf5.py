"""HDF5 files: arrays that are what they should be, before any of their numbers is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError

Array = npt.NDArray[Any]
MOST_NUMBERS = 2**27
"""In one picture or depth map: three colours of 6600 x 6600 pixels."""


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file (MATLAB's v7.3 is one) for reading.

    Raises
    ------
    InputError
        If it is absent or none.
    """
    import h5py

    if not path.is_file():
        raise InputError(f"{path} does not exist: check the path.")
    try:
        file = h5py.File(path, "r", locking=False)  # locks fail on some shared file systems
    except PermissionError:
        raise InputError(f"{path} cannot be read: check its permissions.") from None
    except OSError:
        raise InputError(f"{path} is damaged or not an HDF5 file: fetch it again.") from None
    with file:
        yield file


def array(file: Any, name: str, shape: tuple[int | None, ...], kinds: str) -> Any:
    """Return an array of an open file without reading it, once it is what it should be.

    Parameters
    ----------
    file
        As `opened` gives it.
    name
        Of the array.
    shape
        Its shape; None allows any length but 0.
    kinds
        Letters of the dtypes that may be, such as "uf".

    Raises
    ------
    InputError
        If the file has no such array, or one of another shape or dtype.
    """
    import h5py

    found = file.get(name)
    if not isinstance(found, h5py.Dataset):
        others = ", ".join(sorted(file)[:6]) or "nothing"
        raise InputError(f"{file.filename} has no array {name!r}, only {others}: check that it is the right file.")
    return checked(found, Path(file.filename), name, shape, kinds)


def checked(found: Any, path: Path, name: str, shape: tuple[int | None, ...], kinds: str) -> Any:
    """Return an array once its shape and dtype are what they should be; see `array`."""
    fits = len(found.shape) == len(shape) and all(
        have > 0 and want in (None, have) for have, want in zip(found.shape, shape, strict=True)
    )
    if not fits or found.dtype.kind not in kinds:
        expected = ", ".join("any" if length is None else str(length) for length in shape)
        raise InputError(
            f"{path} has an array {name!r} of {found.dtype} and shape {tuple(found.shape)} where ({expected}) is "
            f"expected, of {' or '.join(_KINDS[kind] for kind in kinds)}: check that it is the right file."
        )
    return found


def whole(found: Any, path: Path) -> Array:
    """Read an array whole, unless it is larger than any picture.

    A few kilobytes of a file can stand for gigabytes of nothing.

    Raises
    ------
    InputError
        If it is.
    """
    if found.size > MOST_NUMBERS:
        raise InputError(
            f"{path} claims an array of shape {tuple(found.shape)}, larger than any picture: fetch it again."
        )
    return np.asarray(found[()])


_KINDS = {"u": "unsigned integers", "i": "integers", "f": "floating-point numbers", "O": "references", "b": "booleans"}
