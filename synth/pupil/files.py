"""Masks in files: JSON that says everything about a mask, so that a learned one can go into a recipe."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import ThinLens
from ..files import write_atomically
from .masks import Mask, mask_from

FILE_VERSION = 1
CAMERA = "camera"
"""Key of the camera, which is no part of the mask: the same mask for another camera has the same digest."""
SAME_PUPIL = 0.01
"""Relative difference of two pupils' diameters that is none: a mask's features are sized to its pupil."""


def save_mask(mask: Mask, path: str | Path, lens: ThinLens | None = None) -> None:
    """Write a mask to a JSON file: `kind`, its parameters in SI units, and the format's version.

    Parameters
    ----------
    mask
        The mask.
    path
        The file.
    lens
        The camera that it was learned or designed for, written beside it as `camera`; an infinite focus distance as
        null.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    data: dict[str, Any] = {"version": FILE_VERSION, **mask.to_dict()}
    if lens is not None:
        focus = lens.focus_distance
        data[CAMERA] = {**asdict(lens), "focus_distance": None if math.isinf(focus) else focus}
    text = json.dumps(data, indent=1)
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
    return load_mask_for(path)[0]


def load_mask_for(path: str | Path) -> tuple[Mask, ThinLens | None]:
    """Read a mask that `save_mask` wrote, and the camera that it is for; None if the file names none.

    Raises
    ------
    InputError
        If there is none, or it is damaged or of a later version.
    """
    data = _read(path)
    camera = data.pop(CAMERA, None)
    try:
        return mask_from(data), None if camera is None else _lens(camera)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path} holds no usable mask ({str(error).rstrip('.')}): write it again.") from None


def check_pupil(path: str | Path, lens: ThinLens | None, diameters: tuple[float, float], anyway: str) -> None:
    """Refuse a mask from a file in another pupil than it was made for, where the file says for which.

    Parameters
    ----------
    path
        Of the file, for the sentence.
    lens
        The camera that the file names.
    diameters
        The smallest and the largest pupil that the mask shall stand in, metres.
    anyway
        What lets it stand there all the same, in words.

    Raises
    ------
    InputError
        If the diameter differs by more than `SAME_PUPIL`.
    """
    if lens is None:
        return
    own, (low, high) = lens.aperture_diameter, diameters
    if low * (1 - SAME_PUPIL) <= own <= high * (1 + SAME_PUPIL):
        return
    asked = f"{low * 1e3:.4g} mm" if math.isclose(low, high) else f"{low * 1e3:.4g} to {high * 1e3:.4g} mm"
    raise InputError(
        f"the mask in {path} is for a pupil of {own * 1e3:.4g} mm ({lens.focal_length * 1e3:g} mm "
        f"f/{lens.f_number:.4g}, focused at {lens.focus_distance:.4g} m), to which its features are sized, and the "
        f"pupil here is {asked} wide: use its camera, or give --set {anyway} if you mean it."
    )


def _lens(camera: Any) -> ThinLens:
    if not isinstance(camera, dict) or set(camera) != set(ThinLens.__dataclass_fields__):
        raise ValueError(f"its {CAMERA} must have {', '.join(ThinLens.__dataclass_fields__)}")
    focus = camera["focus_distance"]
    numbers = {**camera, "focus_distance": math.inf if focus is None else focus}
    if not all(type(value) in (int, float) for value in numbers.values()):
        raise ValueError(f"the values of its {CAMERA} must be numbers")
    return ThinLens(**{name: float(value) for name, value in numbers.items()})


def _read(path: str | Path) -> dict[str, Any]:
    if not str(path):
        raise InputError("the path of the mask's file is empty: name a file, for example RUN/mask.json.")
    try:
        data: Any = json.loads(Path(path).read_text(encoding="utf-8"))
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
    assert isinstance(data, dict)
    return data


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
        raise InputError(f"{path} must hold one array of heights in metres: write it with numpy.save.")
    return heights.astype(np.float64)
