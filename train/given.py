"""What a user gives a trained model: arrays, checked with one sentence each, as the tensors that models read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from .. import InputError
from ..synth.camera import ThinLens

Images = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating[Any]] | Sequence[float]
NEAREST = 1e-12
"""Metres, and the inverse of the farthest but infinity: both are numbers of single precision."""
MOST_BEYOND = 10.0
"""Times farther or nearer than any scene: focus distances that are all so are no metres."""


def as_batch(images: Images, name: str = "images", *, stacks: bool = False) -> torch.Tensor:
    """Return (n, 3, h, w) float32 in [0, 1] of images as `Predictor.predict` takes them; or (n, S, 3, h, w) of stacks.

    Raises
    ------
    InputError
        If they are none.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(f"{name} must be a numpy array, not of type {type(images).__name__}: use np.stack.")
    if isinstance(images, np.ma.MaskedArray):
        raise InputError(f"{name} must have no masked pixels, as models know none: fill them, and give a plain array.")
    one = 4 if stacks else 3
    if images.ndim not in (one, one + 1) or images.shape[-1] != 3 or 0 in images.shape:
        shapes = "(slices, h, w, 3) or (n, slices, h, w, 3)" if stacks else "(h, w, 3) or (n, h, w, 3)"
        why = ", as the model reads focal stacks," if stacks else ","
        raise InputError(f"{name} must have shape {shapes}{why} not {images.shape}.")
    whole = images if images.ndim == one + 1 else images[None]
    if native(images.dtype) in (np.uint8, np.uint16):
        scaled = whole.astype(np.float32) / (255 if images.dtype == np.uint8 else 65535)
    elif images.dtype.kind == "f":
        scaled = whole.astype(np.float32)
        if not (np.isfinite(scaled).all() and scaled.min() >= 0 and scaled.max() <= 1):
            raise InputError(f"{name} of floating point must be finite and in [0, 1].")
    else:
        raise InputError(f"{name} must be uint8, uint16 or of floating point, not {images.dtype}.")
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(scaled, -1, -3)))


def native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the same numbers in this machine's order of bytes: TIFF and PNG have the other one."""
    return dtype.newbyteorder("=")


def check_numbers(array: object, name: str) -> None:
    """Refuse what is no array of real numbers.

    Raises
    ------
    InputError
        If it is not.
    """
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} must be a numpy array, not of type {type(array).__name__}: use np.asarray.")
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name} must be an array of real numbers, not of type {array.dtype}.")


def focus_beside(
    stack: torch.Tensor, focus: Numbers | None, scenes: tuple[float, float], *, anywhere: bool = False
) -> torch.Tensor:
    """Return the focus distance of each slice, (n, S) float32 metres.

    Parameters
    ----------
    stack
        (n, S, 3, h, w).
    focus
        (S,), of all stacks, or (n, S); in any order, infinity included.
    scenes
        Nearest and farthest depth that the model was trained on, metres.
    anywhere
        Take distances that are all far from these.

    Raises
    ------
    InputError
        If they are missing, of another number, or no distances in metres.
    """
    count, slices = stack.shape[:2]
    if focus is None:
        raise InputError(
            f"the model reads focal stacks: give predict(images, focus=...), the focus distances of the {slices} "
            "slices in metres."
        )
    try:
        given = np.asarray(focus)
        metres = given.astype(np.float64) if given.dtype.kind in "fiu" else None
    except (TypeError, ValueError):
        metres = None
    if metres is None:
        raise InputError(f"focus must be numbers, in metres, not {str(focus)[:60]!r}.")
    if metres.shape not in ((slices,), (count, slices)):
        raise InputError(
            f"focus must have shape ({slices},) or ({count}, {slices}), a distance for each slice, not {metres.shape}."
        )
    if not (metres > 0).all():
        raise InputError(f"focus distances must be metres above 0, not {metres[~(metres > 0)][0]:g}.")
    if not ((metres >= NEAREST) & ((metres <= 1 / NEAREST) | np.isinf(metres))).all():
        raise InputError(f"focus distances are from {NEAREST:g} to {1 / NEAREST:g} m, or infinite.")
    near, far = scenes
    if not anywhere and (metres.min() > far * MOST_BEYOND or metres.max() < near / MOST_BEYOND):
        raise InputError(
            f"focus is from {metres.min():g} to {metres.max():g} m, and the model was trained on scenes of {near:g} to "
            f"{far:g} m: give focus distances in metres."
        )
    return torch.from_numpy(np.broadcast_to(metres, (count, slices)).astype(np.float32))


def intrinsics_beside(stack: torch.Tensor, intrinsics: npt.NDArray[np.floating[Any]] | None) -> torch.Tensor:
    """Return the camera matrix of each slice, (n, S, 3, 3) float32 pixels.

    Raises
    ------
    InputError
        If they are missing, or no such matrices.
    """
    count, slices = stack.shape[:2]
    if intrinsics is None:
        raise InputError("the model reads camera matrices: give predict(images, intrinsics=...), one for each slice.")
    check_numbers(intrinsics, "intrinsics")
    if intrinsics.shape not in ((slices, 3, 3), (count, slices, 3, 3)) or not np.isfinite(intrinsics).all():
        raise InputError(
            f"intrinsics must be finite and have shape ({slices}, 3, 3) or ({count}, {slices}, 3, 3), not "
            f"{intrinsics.shape}."
        )
    return torch.from_numpy(np.broadcast_to(intrinsics, (count, slices, 3, 3)).astype(np.float32))


def lens_beside(count: int, lens: ThinLens | None, focus: torch.Tensor | None = None) -> torch.Tensor:
    """Return focal length, f-number, focus distance and pixel pitch of each image, (n, 4) float32.

    `focus` are the distances, metres, at which it is focused in the slices of stacks.

    Raises
    ------
    InputError
        If there is none, or it cannot be focused there.
    """
    if lens is None:
        raise InputError("the model reads the lens: give predict(images, lens=...).")
    if focus is not None and (nearest := float(focus.min())) <= lens.focal_length:
        raise InputError(
            f"a lens of focal length {lens.focal_length:g} m focuses beyond that, not at {nearest:g} m: give focus "
            "distances in metres."
        )
    row = torch.tensor([lens.focal_length, lens.f_number, lens.focus_distance, lens.pixel_pitch])
    return row.expand(count, 4)
