"""One picture that is sharp everywhere, of a focal stack.

`fuse_by_depth` takes of each pixel the slices where depth from focus says that it is sharp; `fuse_by_pyramid` takes the
strongest detail of each size, wherever it comes from, and needs no depth.
"""

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from .focus_measures import box_mean, scaled

Float32 = npt.NDArray[np.float32]


def fuse_by_depth(stack: npt.ArrayLike, index: npt.ArrayLike) -> Float32:
    """Take each pixel from the two slices next to its place along the stack, blended by how near they are.

    Parameters
    ----------
    stack
        (S, H, W, 3), uint8, uint16, or floating point with white 1; in the order that `index` counts in:
        ``stack[found.slices]`` of a `StackDepth`.
    index
        (H, W), from 0 to S - 1 with fractions.

    Returns
    -------
    float32 (H, W, 3).

    Raises
    ------
    InputError
        If the shapes do not fit, or a place is outside the stack or unknown.
    """
    slices, place = np.asarray(stack), np.asarray(index, np.float64)
    _check(slices)
    if place.shape != slices.shape[1:3] or not ((place >= 0) & (place <= len(slices) - 1)).all():
        raise InputError(
            f"places in a stack of shape {slices.shape} are {slices.shape[1:3]} numbers from 0 to {len(slices) - 1}."
        )
    below = np.minimum(np.floor(place).astype(np.intp), max(len(slices) - 2, 0))
    share = (place - below).astype(np.float32)[..., None]
    y, x = np.ogrid[: place.shape[0], : place.shape[1]]
    above = np.minimum(below + 1, len(slices) - 1)
    return np.asarray((1 - share) * scaled(slices[below, y, x]) + share * scaled(slices[above, y, x]), np.float32)


def fuse_by_pyramid(stack: npt.ArrayLike, *, radius: int = 1, least: int = 16) -> Float32:
    """Fuse Laplacian pyramids: at every size and place the detail of the slice in which it is strongest.

    Burt and Kolczynski (1993), "Enhanced image capture through fusion", ICCV: strength is the energy in a small window,
    here of all colours together, so that they come from one slice. What is coarser than all levels, which focus hardly
    changes, is the mean of the slices.

    Parameters
    ----------
    stack
        (S, H, W, 3), uint8, uint16, or floating point with white 1; in any order.
    radius
        Windows have 2 radius + 1 pixels on a side.
    least
        The coarsest level is the last whose shorter edge has so many pixels.

    Returns
    -------
    float32 (H, W, 3), within the range of the stack.

    Raises
    ------
    InputError
        If it is no stack, or has unknown pixels.
    """
    slices = np.asarray(stack)
    _check(slices)
    pictures = scaled(slices)
    height, width = pictures.shape[1:3]
    levels = max(1, int(math.log2(max(1, min(height, width) / least))))
    fused: list[Float32] = []
    strength: list[Float32] = []
    base = np.zeros((1, 1, 3), np.float32)
    # One slice after another: memory holds one pyramid beside the fused one, whatever the number of slices.
    for k, picture in enumerate(pictures):
        bands, rest = _pyramid(picture, levels)
        energies = [np.asarray(box_mean(np.square(band).sum(axis=2), radius)) for band in bands]
        if k == 0:
            fused, strength, base = bands, energies, rest
            continue
        base = base + rest
        for level, (band, energy) in enumerate(zip(bands, energies, strict=True)):
            stronger = energy > strength[level]
            fused[level] = np.where(stronger[..., None], band, fused[level])
            strength[level] = np.where(stronger, energy, strength[level])
    found = base / np.float32(len(pictures))
    for band in reversed(fused):
        found = band + _larger(found, band.shape[:2])
    return np.asarray(np.clip(found, pictures.min(), pictures.max()), np.float32)


def _check(slices: npt.NDArray[Any]) -> None:
    if slices.ndim != 4 or slices.shape[3] != 3 or slices.size == 0:
        raise InputError(f"a stack to fuse has shape (S, H, W, 3) and is not empty, not {slices.shape}.")
    if slices.dtype.kind == "f" and not np.isfinite(slices.astype(np.float32)).all():
        raise InputError("a stack to fuse has no NaN and no infinite values.")


def _larger(picture: Float32, size: tuple[int, ...]) -> Float32:
    return np.asarray(cv2.pyrUp(picture, dstsize=(size[1], size[0])), np.float32)


def _pyramid(picture: Float32, levels: int) -> tuple[list[Float32], Float32]:
    """Return the bands of a Laplacian pyramid, finest first, and what is coarser: Burt and Adelson (1983)."""
    bands, rest = [], picture
    for _ in range(levels):
        coarse = np.asarray(cv2.pyrDown(rest), np.float32)
        bands.append(rest - _larger(coarse, rest.shape[:2]))
        rest = coarse
    return bands, rest
