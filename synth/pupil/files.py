"""Masks in files: JSON that says everything about a mask, so that a learned one can go into a recipe."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..files import write_atomically
from .masks import Mask, mask_from

FILE_VERSION = 1


def save_mask(mask: Mask, path: str | Path) -> None:
    """Write a mask to a JSON file: `kind`, its parameters in SI units, and the format's version.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    text = json.dumps({"version": FILE_VERSION, **mask.to_dict()}, indent=1)
    try:
        write_atomically(Path(path), text + "\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror or error}): check the folder.") from None


def load_mask(path: str | Path) -> Mask:
    """Read a mask that `save_mask` wrote.

    Raises
    ------
    InputError
        If there is none, or it is damaged or of a later version.
    """
    if not str(path):
        raise InputError("the path of the mask's file is empty: name a file, for example RUN/mask.json.")
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        version = data.pop("version")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): check the path.") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError):
        raise InputError(f"{path} is not a file that holds a mask: write one with save_mask.") from None
    if type(version) is not int:
        raise InputError(
            f"{path} is not a file that holds a mask: its version is {str(version)[:20]!r} and no whole number. Write "
            "one with save_mask."
        )
    if not 1 <= version <= FILE_VERSION:
        raise InputError(
            f"{path} has format version {version}, and {FILE_VERSION} can be read: fetch the defocal that wrote it."
        )
    try:
        return mask_from(data)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds no usable mask ({str(error).rstrip('.')}): write it again.") from None


def read_heights(path: str | Path) -> npt.NDArray[np.float64]:
    """Read heights, metres, from a .npy file; `HeightMap` and `RadialMask` check what it may hold.

    Raises
    ------
    InputError
        If the file cannot be read as an array of numbers.
    """
    try:
        heights = np.load(Path(path), allow_pickle=False)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or 'damaged'}): check the path.") from None
    except Exception:  # numpy raises many kinds of error for foreign files
        raise InputError(f"{path} is not a .npy file of heights in metres: save it with numpy.save.") from None
    if not isinstance(heights, np.ndarray) or heights.dtype.kind not in "fiu":
        raise InputError(f"{path} must hold one array of heights in metres.")
    return heights.astype(np.float64)
