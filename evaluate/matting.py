"""Spreads values known at some pixels over an image, by the closed-form matting Laplacian.

Levin, Lischinski and Weiss (2008), IEEE PAMI 30, 228: inside every 3 x 3 window the values are to be one affine
function of the colours. The Laplacian holds 25 numbers for each pixel, so the system is solved on a smaller image, and
what is carried to the full size is the affine function of the colours of each window, not the values (as in their
coarse-to-fine scheme).
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_matrix, diags
from scipy.sparse.linalg import splu

from .. import InputError

Float64 = npt.NDArray[np.float64]

EPSILON = 1e-7
"""Regularisation of a window's colour covariance, of Zhuo and Sim's published code."""
WEIGHT = 1e-3
"""Weight of the known values, from the same code."""


def matting_laplacian(image: Float64, epsilon: float = EPSILON) -> csc_matrix:
    """Return the matting Laplacian of a picture, (H W, H W), symmetric with rows that sum to 0.

    Parameters
    ----------
    image
        float64 (H, W, C), 0 to 1, at least 3 x 3.
    epsilon
        Added to the covariance of the colours of a window, divided by its 9 pixels.
    """
    height, width, channels = image.shape
    index = np.arange(height * width).reshape(height, width)
    windows = np.lib.stride_tricks.sliding_window_view(index, (3, 3)).reshape(-1, 9)
    colours = image.reshape(-1, channels)[windows]
    centred = colours - colours.mean(axis=1, keepdims=True)
    covariance = np.einsum("nic,nid->ncd", centred, centred) / 9 + epsilon / 9 * np.eye(channels)
    affinity = np.einsum("nic,ncd,njd->nij", centred, np.linalg.inv(covariance), centred, optimize=True)
    values = np.eye(9) - (1 + affinity) / 9
    rows, columns = np.repeat(windows, 9, axis=1).ravel(), np.tile(windows, 9).ravel()
    return csc_matrix((values.ravel(), (rows, columns)), shape=(index.size, index.size))


def propagate(
    image: npt.NDArray[Any],
    values: npt.NDArray[Any],
    *,
    weight: float = WEIGHT,
    epsilon: float = EPSILON,
    longest: int = 240,
) -> Float64:
    """Spread values known at some pixels over the picture.

    Minimises d^T L d + weight * (sum over known pixels of (d - value)^2) with the matting Laplacian L.

    Parameters
    ----------
    image
        Floating point (H, W, C), 0 to 1.
    values
        Floating point (H, W): what is known, NaN elsewhere; not all of it.
    weight, epsilon
        Of the known values, and of the regularisation of colours.
    longest
        Longer edge in pixels at which the system is solved; larger pictures are made smaller for it.

    Returns
    -------
    float64 (H, W).

    Raises
    ------
    InputError
        If nothing is known, or the picture is smaller than 3 x 3.
    """
    height, width = values.shape
    known = np.isfinite(values)
    if not known.any() or min(height, width) < 3:
        raise InputError("values can be spread over a picture of 3x3 pixels or more in which some are known.")
    scale = min(1.0, longest / max(height, width))
    rows, columns = max(3, round(scale * height)), max(3, round(scale * width))
    small, sums, counts = (
        np.asarray(cv2.resize(np.asarray(a, np.float64), (columns, rows), interpolation=cv2.INTER_AREA), np.float64)
        for a in (image, np.where(known, values, 0.0), known)
    )
    small = small.reshape(rows, columns, -1)
    held = counts.ravel() > 1e-9
    mean = np.where(held, sums.ravel() / np.where(held, counts.ravel(), 1), 0.0)
    system = matting_laplacian(small, epsilon) + diags(weight * held, format="csc")
    # Symmetric and positive definite: no pivots are needed, and the ordering for that fills in three times less.
    factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    solved = np.asarray(factors.solve(weight * mean), np.float64).reshape(rows, columns)
    if (rows, columns) == (height, width):
        return solved
    return _enlarged(small, solved, np.asarray(image, np.float64).reshape(height, width, -1))


def _enlarged(small: Float64, solved: Float64, image: Float64) -> Float64:
    """Carry values to a larger picture as affine functions of its colours, fitted in 3 x 3 windows."""

    def mean(a: Float64) -> Float64:
        return np.asarray(cv2.blur(a, (3, 3), borderType=cv2.BORDER_REFLECT), np.float64).reshape(a.shape)

    channels = small.shape[2]
    centre, level = mean(small), mean(solved)
    products = np.stack([mean(small[..., c, None] * small) for c in range(channels)], axis=2)
    # A coarser regularisation than the solve's: a slope that fits noise would be magnified by the new colours.
    spread = products - centre[..., :, None] * centre[..., None, :] + 1e-3 * np.eye(channels)
    along = mean(small * solved[..., None]) - centre * level[..., None]
    slope = np.linalg.solve(spread, along[..., None])[..., 0]
    offset = level - (slope * centre).sum(axis=2)
    size = image.shape[1], image.shape[0]
    planes = cv2.resize(np.dstack([slope, offset]), size, interpolation=cv2.INTER_LINEAR)
    found = (planes[..., :channels] * image).sum(axis=2) + planes[..., channels]
    return np.asarray(np.clip(found, solved.min(), solved.max()), np.float64)
