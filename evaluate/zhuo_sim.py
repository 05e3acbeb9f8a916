"""Depth from the blur of edges in one picture: the classical baseline of Zhuo and Sim.

Zhuo and Sim (2011), "Defocus map estimation from a single image", Pattern Recognition 44, 1852. A step edge that a
Gaussian of `sigma` has blurred is blurred once more, by s1 and by s2; the ratio of its gradients is

    R = |grad I_s1| / |grad I_s2| = sqrt((sigma^2 + s2^2) / (sigma^2 + s1^2)),

which gives sigma at edges. A joint bilateral filter along the edges removes outliers, and the matting Laplacian spreads
what is left over the picture. Parameters are those of the authors' code, but for two things:

- The ratio is taken at the edge's own place between pixels, from parabolas through the logarithms of three gradients
  across it, which are exact for a Gaussian. Taken at the nearest pixel, as they do, sigma 1 is read as 1.09.
- The largest sigma may be more than 3 px.

A lens blurs by disks, which is no Gaussian: `sigma_of_disk` says which sigma the ratio gives at an edge that a disk has
blurred, and `depth_from_defocus` goes back from it to the circle of confusion and to depth. One picture does not tell
on which side of the focus a blurred point lies: the caller says which side it is, and points of the other are wrong.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from .matting import propagate

Float64 = npt.NDArray[np.float64]

REBLUR = (1.0, 1.5)
"""s1 and s2 in px."""
_LEAST_RATIO = 1.01
_CANNY = (0.04, 0.1)  # of the greatest gradient: MATLAB's rule for a threshold of 0.1
_BILATERAL = (5.0, 0.1)  # px, and range of colours 0 to 1


@dataclass(frozen=True, eq=False, kw_only=True)
class DefocusMap:
    """What the blur of the edges of a picture says.

    Parameters
    ----------
    sparse
        float64 (H, W), px: sigma at edges after filtering, NaN elsewhere.
    sigma
        float64 (H, W), px: sigma everywhere; NaN if the picture has no edge whose blur can be measured.
    """

    sparse: Float64
    sigma: Float64


def _gradient(grey: Float64, sigma: float) -> tuple[Float64, Float64]:
    """Return x and y derivatives of a picture blurred by a Gaussian, in 1/px."""
    x = np.arange(-(2 * math.ceil(2 * sigma) + 1), 2 * math.ceil(2 * sigma) + 2, dtype=np.float64)
    smooth = np.exp(-(x**2) / (2 * sigma**2))
    smooth /= smooth.sum()
    slope = x * smooth / sigma**2
    edge = cv2.BORDER_REPLICATE
    dx = cv2.sepFilter2D(grey, cv2.CV_64F, slope, smooth, borderType=edge)
    dy = cv2.sepFilter2D(grey, cv2.CV_64F, smooth, slope, borderType=edge)
    return np.asarray(dx, np.float64), np.asarray(dy, np.float64)


def _edges(dx: Float64, dy: Float64) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Find edges by Canny's rule on given derivatives; the frame of three pixels is left out."""
    greatest = float(np.hypot(dx, dy).max(initial=0))
    # OpenCV takes whole numbers up to 2^15; their squares are summed in 32 bits.
    units = [np.rint(d * (16000 / greatest if greatest > 1e-9 else 0)).astype(np.int16) for d in (dx, dy)]
    found = cv2.Canny(units[0], units[1], _CANNY[0] * 16000, _CANNY[1] * 16000, L2gradient=True) > 0
    found[:3] = found[-3:] = found[:, :3] = found[:, -3:] = False
    if not greatest > 1e-9:
        found[:] = False
    y, x = np.nonzero(found)
    return y, x


def _peak(magnitude: Float64, y: npt.NDArray[np.intp], x: npt.NDArray[np.intp], step: npt.NDArray[np.intp]) -> Float64:
    """Return the height of a Gaussian through three magnitudes across an edge, NaN where they have no peak."""
    logs = [np.log(np.maximum(magnitude[y + k * step[0], x + k * step[1]], 1e-12)) for k in (-1, 0, 1)]
    bend = logs[0] - 2 * logs[1] + logs[2]
    slant = (logs[2] - logs[0]) / 2
    peaked = (bend < 0) & (np.abs(slant) <= -bend)
    found = np.full(bend.shape, np.nan)
    found[peaked] = np.exp(logs[1][peaked] - slant[peaked] ** 2 / (2 * bend[peaked]))
    return found


def edge_sigma(grey: npt.ArrayLike, *, subpixel: bool = True, max_sigma: float = 5.0) -> Float64:
    """Measure the Gaussian blur of the edges of a picture.

    Parameters
    ----------
    grey
        Floating point (H, W), in the light in which it was blurred.
    subpixel
        Take the ratio at the edge's place between pixels; otherwise at the nearest pixel, as the authors' code does.
    max_sigma
        Larger blur is set to it, px.

    Returns
    -------
    float64 (H, W), px: sigma at edges, NaN elsewhere and where the ratio is not between 1.01 and s2/s1.
    """
    values = np.asarray(grey, np.float64)
    (s1, s2), found = REBLUR, np.full(values.shape, np.nan)
    first, second = _gradient(values, s1), _gradient(values, s2)
    y, x = _edges(*first)
    if subpixel:
        # Along a row or a column through a straight edge the profile is a Gaussian too, wider but as high.
        flat = np.abs(first[0][y, x]) >= np.abs(first[1][y, x])
        step = np.stack([~flat, flat]).astype(np.intp)
        heights = [_peak(np.hypot(*pair), y, x, step) for pair in (first, second)]
    else:
        heights = [np.hypot(*pair)[y, x] for pair in (first, second)]
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.square(heights[0] / heights[1])
        kept = (squared > _LEAST_RATIO**2) & (squared <= (s2 / s1) ** 2)
        sigma = np.sqrt((squared * s1**2 - s2**2) / (1 - squared))
    found[y[kept], x[kept]] = np.minimum(sigma[kept], max_sigma)
    return found


def _filtered(sparse: Float64, image: Float64) -> Float64:
    """Average sigma along edges of like colour: the joint bilateral filter, over measured pixels alone."""
    space, colour = _BILATERAL
    reach = math.ceil(2 * space)
    padded = np.pad(sparse, reach, constant_values=np.nan)
    places = np.flatnonzero(np.isfinite(padded))
    rank = np.full(padded.size, -1)
    rank[places] = np.arange(places.size)
    values, colours = padded.ravel()[places], image[np.isfinite(sparse)]
    total, weights = values.copy(), np.ones(places.size)
    for dy in range(reach + 1):
        for dx in range(-reach if dy else 1, reach + 1):
            # Every pair of pixels is met once, and counts for both.
            other = rank[places + dy * padded.shape[1] + dx]
            one = np.flatnonzero(other >= 0)
            two = other[one]
            unlike = np.square(colours[one] - colours[two]).sum(axis=1)
            weight = np.exp(-(dy * dy + dx * dx) / (2 * space**2) - unlike / (2 * colour**2))
            for k, j in ((one, two), (two, one)):
                total[k] += weight * values[j]
                weights[k] += weight
    found = np.full(sparse.shape, np.nan)
    found[np.isfinite(sparse)] = total / weights
    return found


def defocus_map(
    image: npt.ArrayLike, *, subpixel: bool = True, max_sigma: float = 5.0, longest: int = 240
) -> DefocusMap:
    """Estimate how strongly every pixel of a picture is blurred.

    Parameters
    ----------
    image
        Floating point (H, W) or (H, W, 3), white 1, in the light in which it was blurred: linear for captures of this
        package, encoded for data whose makers blurred encoded values.
    subpixel, max_sigma
        As for `edge_sigma`.
    longest
        Longer edge in px at which sigma is spread over the picture; the edges themselves are measured at full size.

    Raises
    ------
    InputError
        If the picture is not one, is smaller than 16 x 16, or has unknown pixels.
    """
    colours = np.asarray(image, np.float64)
    colours = colours[..., None] if colours.ndim == 2 else colours
    if colours.ndim != 3 or colours.shape[2] not in (1, 3) or min(colours.shape[:2]) < 16:
        raise InputError(f"a picture to measure is (H, W) or (H, W, 3), 16x16 or more, not {np.shape(image)}.")
    if not np.isfinite(colours).all():
        raise InputError("a picture to measure has no NaN and no infinite values.")
    if not max_sigma > 0:
        raise InputError(f"the largest sigma is above 0 px, not {max_sigma:g}.")
    grey = colours @ np.array([0.299, 0.587, 0.114]) if colours.shape[2] == 3 else colours[..., 0]
    measured = edge_sigma(grey, subpixel=subpixel, max_sigma=max_sigma)
    if not np.isfinite(measured).any():
        return DefocusMap(sparse=measured, sigma=measured)
    sparse = _filtered(measured, colours)
    full = propagate(colours, sparse, longest=longest)
    return DefocusMap(sparse=sparse, sigma=np.clip(full, 0, max_sigma))


def sigma_of_disk(diameter: npt.ArrayLike) -> Float64:
    """Return the sigma that is read at a step edge that a disk has blurred.

    The edge's profile under a disk of radius r is the integral of 2 sqrt(r^2 - x^2) / (pi r^2); its gradient after a
    Gaussian of s is that function's mean under the Gaussian, and R follows from it.

    Parameters
    ----------
    diameter
        Diameters of the disk in px, 0 or more, any shape.

    Returns
    -------
    float64 of that shape, px.
    """
    radius = np.abs(np.asarray(diameter, np.float64))[..., None] / 2
    # x = r sin(t): the density under the disk is 2 cos(t)^2 / pi, which the midpoint rule integrates to rounding.
    t = (np.arange(256) + 0.5) * math.pi / 256 - math.pi / 2
    share = 2 * np.cos(t) ** 2 / 256
    heights = [(share * np.exp(-np.square(radius * np.sin(t)) / (2 * s * s))).sum(axis=-1) / s for s in REBLUR]
    squared = np.square(heights[0] / heights[1])
    s1, s2 = REBLUR
    return np.asarray(np.sqrt(np.maximum(0, (s2**2 - squared * s1**2) / (squared - 1))), np.float64)


def depth_from_defocus(
    sigma: npt.ArrayLike,
    coc: Callable[[Float64], npt.NDArray[Any]],
    *,
    near: float,
    far: float,
    side: Literal["near", "far"] = "far",
    psf: Literal["disk", "gaussian"] = "disk",
) -> Float64:
    """Turn blur into depth, on one side of the focus.

    Parameters
    ----------
    sigma
        Floating point, px; NaN stays NaN.
    coc
        The lens: gives for depths in m the signed diameters of their circles of confusion in px, positive nearer than
        the focus; it falls with depth.
    near, far
        Depths in m that the scene can have; deeper blur than theirs gives the end.
    side
        Which side of the focus every point is taken to lie on; one picture does not tell. Take the one where most of
        the scene is.
    psf
        What blurred the picture: "disk" (see `sigma_of_disk`), or "gaussian" of a quarter of the diameter.

    Returns
    -------
    float64 of the shape of `sigma`, m.

    Raises
    ------
    InputError
        If the range is not in order, nothing of it lies on the side, or side or PSF are unknown.
    """
    if not 0 < near < far < math.inf:
        raise InputError(f"a scene lies between two depths in order, above 0 m, not {near:g} to {far:g}.")
    if side not in ("near", "far") or psf not in ("disk", "gaussian"):
        raise InputError(f"side is 'near' or 'far' and psf 'disk' or 'gaussian', not {side!r} and {psf!r}.")
    z = 1 / np.linspace(1 / near, 1 / far, 4096)
    circle = np.asarray(coc(z), np.float64)
    on_side = circle >= 0 if side == "near" else circle <= 0
    if not on_side.any():
        raise InputError(f"no depth from {near:g} to {far:g} m is on the {side} side of the focus.")
    z, circle = z[on_side], np.abs(circle[on_side])
    blur = sigma_of_disk(circle) if psf == "disk" else circle / 4
    order = np.argsort(blur, kind="stable")
    wanted = np.asarray(sigma, np.float64)
    return np.asarray(np.where(np.isnan(wanted), np.nan, np.interp(wanted, blur[order], z[order])), np.float64)
