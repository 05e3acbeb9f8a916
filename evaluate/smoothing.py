"""Smoothing along the edges of a picture: what is known well at some pixels is spread to those that look alike.

Min, Choi, Lu, Ham, Sohn and Do (2014), "Fast global image smoothing based on weighted least squares", IEEE TIP 23,
5638. The values u nearest to what is known, v with weights c, that change little where the picture does not,

    sum c (u - v)^2 + strength * sum over neighbours p, q of exp(-|I_p - I_q| / contrast) (u_p - u_q)^2,

are approximated by solving rows and columns in turn. As there for sparse values, c v and c are smoothed alike
and divided. He, Sun and Tang (2013), "Guided image filtering", IEEE PAMI 35, 1397, is local: a window's values are an
affine function of the picture's grey levels.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from .focus_measures import box_mean

Float64 = npt.NDArray[np.float64]
_ROUNDS = 3


def guided_filter(values: npt.NDArray[Any], guide: npt.NDArray[Any], radius: int, epsilon: float = 1e-3) -> Float64:
    """Smooth values, each window an affine function of a grey guide.

    Parameters
    ----------
    values
        Floating point (H, W).
    guide
        Floating point (H, W), white 1.
    radius
        Windows have 2 radius + 1 pixels on a side.
    epsilon
        Variance of the guide in a window, white 1, below which it is taken for flat and the values are averaged.

    Returns
    -------
    float64 (H, W).
    """
    grey, wanted = np.asarray(guide, np.float64), np.asarray(values, np.float64)
    centre, level = box_mean(grey, radius), box_mean(wanted, radius)
    spread = box_mean(grey * grey, radius) - centre * centre
    slope = (box_mean(grey * wanted, radius) - centre * level) / (spread + epsilon)
    offset = level - slope * centre
    return np.asarray(box_mean(slope, radius) * grey + box_mean(offset, radius), np.float64)


def smooth_along_edges(
    values: npt.NDArray[Any],
    weights: npt.NDArray[Any],
    picture: npt.NDArray[Any],
    *,
    strength: float,
    contrast: float,
) -> Float64:
    """Smooth values by how well they are known, not across edges of a picture.

    Parameters
    ----------
    values
        Floating point (H, W); NaN is unknown.
    weights
        Floating point (H, W), 0 or more: how well a value is known.
    picture
        Floating point (H, W) or (H, W, 3), white 1.
    strength
        Of smoothness against values, 0 or more: the square root is about how far it reaches in pixels.
    contrast
        Difference of the picture, white 1, that smoothness falls by e at.

    Returns
    -------
    float64 (H, W): NaN everywhere if nothing is known.

    Raises
    ------
    InputError
        If the shapes differ, or strength or contrast are out of range.
    """
    if values.shape != weights.shape or values.shape != picture.shape[:2]:
        raise InputError(f"values, weights and picture are of one size, not {values.shape}, {picture.shape[:2]}.")
    if not (strength >= 0 and contrast > 0):
        raise InputError(f"strength is 0 or more and contrast above 0, not {strength:g} and {contrast:g}.")
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return np.full(values.shape, np.nan)
    # A weight that rounds to nothing far from all that is known would divide 0 by 0.
    trust = np.where(known, weights, 0.0) + 1e-12 * float(weights[known].max())
    level = float(np.average(values[known], weights=weights[known]))
    fields = np.stack([trust * (np.where(known, values, level) - level), trust], axis=-1)
    colours = np.asarray(picture, np.float64).reshape(*values.shape, -1)
    alike = [np.exp(-np.abs(np.diff(colours, axis=axis)).max(axis=-1) / contrast) for axis in (0, 1)]
    for turn in range(_ROUNDS):
        share = 1.5 * 4.0 ** (_ROUNDS - 1 - turn) / (4.0**_ROUNDS - 1) * strength
        fields = _along(fields.swapaxes(0, 1), share * alike[1].T).swapaxes(0, 1)
        fields = _along(fields, share * alike[0])
    return np.asarray(fields[..., 0] / fields[..., 1] + level, np.float64)


def _along(fields: Float64, links: Float64) -> Float64:
    """Solve (1 + sum of links) u - links * neighbours = fields down every column: Thomas's algorithm for all at once.

    Parameters
    ----------
    fields
        (N, M, 2): N along the line.
    links
        (N - 1, M).
    """
    count = len(fields)
    diagonal = np.ones(fields.shape[:2])
    diagonal[:-1] += links
    diagonal[1:] += links
    carried, found = np.empty_like(links), np.empty_like(fields)
    found[0] = fields[0] / diagonal[0][:, None]
    for k in range(1, count):
        carried[k - 1] = links[k - 1] / diagonal[k - 1]
        diagonal[k] -= links[k - 1] * carried[k - 1]
        found[k] = (fields[k] + links[k - 1][:, None] * found[k - 1]) / diagonal[k][:, None]
    for k in range(count - 2, -1, -1):
        found[k] += carried[k][:, None] * found[k + 1]
    return found


def reduced(values: npt.NDArray[Any], longest: int) -> npt.NDArray[Any]:
    """Return a picture whose longer edge has at most so many pixels: means of pixels, of the same type."""
    scale = min(1.0, longest / max(values.shape[:2]))
    if scale == 1.0:
        return values
    size = max(1, round(scale * values.shape[1])), max(1, round(scale * values.shape[0]))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), values.dtype)
