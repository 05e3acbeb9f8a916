"""Focus measures: how sharp a picture is around each of its pixels.

Pertuz, Puig and Garcia (2013), "Analysis of focus measure operators for shape-from-focus", Pattern Recognition 46,
1415, compare 36 of them. These are three that are used most: two that answer to second differences, and one that
trades nearness for robustness to noise. All are 0 where a picture is flat; borders are continued by their last pixel.
Colours are measured each on its own.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError

Float32 = npt.NDArray[np.float32]

_EDGE = cv2.BORDER_REPLICATE


def as_picture(picture: npt.ArrayLike) -> Float32:
    """Return a picture as (H, W) or (H, W, 3) float32, white 1.

    Raises
    ------
    InputError
        If it is not uint8, uint16 or floating point of that shape.
    """
    values = np.asarray(picture)
    if values.ndim not in (2, 3) or values.size == 0 or (values.ndim == 3 and values.shape[2] != 3):
        raise InputError(f"a picture to measure is (H, W) or (H, W, 3) and not empty, not {values.shape}.")
    return scaled(values)


def scaled(values: npt.NDArray[Any]) -> Float32:
    """Return codes of 8 or 16 bits as float32 from 0 to 1, and floating point as float32.

    Raises
    ------
    InputError
        If the values have another type.
    """
    if values.dtype in (np.uint8, np.uint16):
        return np.asarray(values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max))
    if values.dtype.kind != "f":
        raise InputError(f"pictures to measure are uint8, uint16 or of floating point, not {values.dtype}.")
    return values.astype(np.float32, copy=False)


def modified_laplacian(picture: npt.ArrayLike, *, step: int = 1) -> Float32:
    """Return |2 I(x, y) - I(x - s, y) - I(x + s, y)| + |2 I(x, y) - I(x, y - s) - I(x, y + s)|.

    Nayar and Nakagawa (1994), "Shape from focus", IEEE PAMI 16, 824: second differences along x and y are not let
    cancel each other, as they do in the Laplacian.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3); uint8, uint16, or floating point with white 1.
    step
        s in pixels, 1 or more: larger for coarser texture.

    Returns
    -------
    float32 (H, W); of colours the mean.

    Raises
    ------
    InputError
        If the picture is none, or the step is below 1.
    """
    values = as_picture(picture)
    if step < 1:
        raise InputError(f"the step of the modified Laplacian is 1 pixel or more, not {step}.")
    taps = np.zeros(2 * step + 1, np.float32)
    taps[[0, step, -1]] = -1, 2, -1
    one = np.ones(1, np.float32)
    across = cv2.sepFilter2D(values, cv2.CV_32F, taps, one, borderType=_EDGE)
    down = cv2.sepFilter2D(values, cv2.CV_32F, one, taps, borderType=_EDGE)
    return _grey(np.abs(across) + np.abs(down))


def sum_modified_laplacian(
    picture: npt.ArrayLike, *, radius: int = 1, step: int = 1, threshold: float = 0.0
) -> Float32:
    """Return the sum-modified Laplacian of Nayar and Nakagawa (1994).

    Parameters
    ----------
    picture, step
        As for `modified_laplacian`.
    radius
        N: the window has 2 N + 1 pixels on a side. Here its mean is taken, not its sum, so that N does not change the
        scale.
    threshold
        T1: modified Laplacians below it count as 0, where white is 1; the authors' 7 of 255 keeps noise out.

    Returns
    -------
    float32 (H, W).

    Raises
    ------
    InputError
        If the picture is none, or a parameter is out of range.
    """
    laplacian = modified_laplacian(picture, step=step)
    kept = np.where(laplacian >= threshold, laplacian, np.float32(0)) if threshold > 0 else laplacian
    return box_mean(kept, radius)


def ring_kernel(inner: float = 0.5, gap: float = 2.5, outer: float = 4.5) -> Float32:
    """Return the ring difference filter: 1 over a disk, -1 over a ring around it, each divided by its pixels.

    Parameters
    ----------
    inner, gap, outer
        Pixels whose centres are up to `inner` from the middle are the disk, those from `gap` up to `outer` the ring. By
        default the kernel of the authors' code: one pixel and a ring of 48 around it.

    Returns
    -------
    float32 (2 n + 1, 2 n + 1), n the whole pixels in `outer`; its sum is 0.

    Raises
    ------
    InputError
        If 0 < inner <= gap < outer does not hold, or no pixel is on the ring.
    """
    if not 0 < inner <= gap < outer <= 64:
        raise InputError(f"the radii of a ring difference filter ascend, up to 64, not {inner:g}, {gap:g}, {outer:g}.")
    reach = int(outer)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(x, y)
    disk, ring = distance <= inner, (distance > gap) & (distance <= outer)
    if not ring.any():
        raise InputError(f"no pixel is farther than {gap:g} and not farther than {outer:g}: widen the ring.")
    return np.asarray(disk / disk.sum() - ring / ring.sum(), np.float32)


def ring_difference(picture: npt.ArrayLike, *, inner: float = 0.5, gap: float = 2.5, outer: float = 4.5) -> Float32:
    """Return the magnitude of the ring difference filter.

    Surh, Jeon, Park, Im, Ha and Kweon (2017), "Noise robust depth from focus using a ring difference filter", CVPR.
    The gap between disk and ring passes over neighbours that even a blurred picture has alike, and the many pixels of
    the ring average noise away.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3); uint8, uint16, or floating point with white 1.
    inner, gap, outer
        Radii in pixels, see `ring_kernel`.

    Returns
    -------
    float32 (H, W); of colours the root of the mean square.

    Raises
    ------
    InputError
        If the picture is none, or the radii are not in order.
    """
    found = cv2.filter2D(as_picture(picture), cv2.CV_32F, ring_kernel(inner, gap, outer), borderType=_EDGE)
    if found.ndim == 2:
        return np.asarray(np.abs(found), np.float32)
    return np.asarray(np.sqrt(np.square(found).mean(axis=2)), np.float32)


def variance_of_laplacian(picture: npt.ArrayLike, *, radius: int = 2) -> Float32:
    """Return the variance of the Laplacian in a window around each pixel.

    Pech-Pacheco, Cristobal, Chamorro-Martinez and Fernandez-Valdivia (2000), "Diatom autofocusing in brightfield
    microscopy", ICPR; LAPV of Pertuz and others (2013). The Laplacian is that of four neighbours.

    Parameters
    ----------
    picture
        (H, W) or (H, W, 3); uint8, uint16, or floating point with white 1.
    radius
        The window has 2 radius + 1 pixels on a side.

    Returns
    -------
    float32 (H, W), not negative; of colours the mean.

    Raises
    ------
    InputError
        If the picture is none, or the radius is below 0.
    """
    cross = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32)
    # The mean's square is subtracted from the mean square: in float32 noise of 1e-7 would be left where all is flat.
    laplacian = cv2.filter2D(as_picture(picture), cv2.CV_32F, cross, borderType=_EDGE).astype(np.float64)
    spread = box_mean(np.square(laplacian), radius) - np.square(box_mean(laplacian, radius))
    return _grey(np.maximum(spread, 0))


def box_mean(values: npt.NDArray[Any], radius: int) -> npt.NDArray[Any]:
    """Return the mean over windows of 2 radius + 1 pixels on a side, of the type of `values`, floating point.

    Raises
    ------
    InputError
        If the radius is below 0.
    """
    if radius < 0:
        raise InputError(f"the radius of a window is 0 pixels or more, not {radius}.")
    side = 2 * radius + 1
    return np.asarray(cv2.blur(values, (side, side), borderType=_EDGE), values.dtype) if radius else values


def _grey(values: npt.NDArray[Any]) -> Float32:
    return np.asarray(values if values.ndim == 2 else values.mean(axis=2), np.float32)


MEASURES: dict[str, Callable[[npt.ArrayLike], Float32]] = {
    "sml": partial(sum_modified_laplacian, radius=0),
    "rdf": ring_difference,
    "variance": partial(variance_of_laplacian, radius=1),
    "windowed-ls": partial(ring_difference, gap=1.5, outer=2.5),
}
"""By the names that `depth_from_stack` takes, each before its windows are averaged."""
