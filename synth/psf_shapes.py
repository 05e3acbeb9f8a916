"""Kernels of geometric optics, by the diameter of the circle of confusion in pixels.

Kernels are float64, odd-sized, centred, indexed [y, x], unit sum.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError

Float64 = npt.NDArray[np.float64]

GAUSSIAN_REACH = 3.5
"""Gaussian kernels end at this many standard deviations: 0.2 % of the energy lies beyond, and is given back."""
POWER_TAIL = 0.002
"""Power-exponential kernels end where this share of the energy lies beyond; it is given back."""


def quadrant_area(x: Float64, y: Float64, radius: float) -> Float64:
    """Signed area of the disk (centre 0) within the rectangle from the origin to (x, y); elementwise."""
    sign = np.sign(x) * np.sign(y)
    x, y = np.minimum(np.abs(x), radius), np.minimum(np.abs(y), radius)
    # The rectangle's top edge leaves the disk at x = corner; beyond it the circle itself is the upper bound.
    # Products throughout: a power may round otherwise, and at y = radius what is left of the difference would count.
    square = radius * radius
    corner = np.minimum(x, np.sqrt(np.maximum(square - y * y, 0.0)))

    def under_circle(u: Float64) -> Float64:
        return 0.5 * (u * np.sqrt(np.maximum(square - u * u, 0.0)) + square * np.arcsin(u / radius))

    return np.asarray(sign * (y * corner + under_circle(x) - under_circle(corner)))


def disk_kernel(diameter: float) -> Float64:
    """Area of each pixel that a disk covers, as a kernel of unit sum.

    Parameters
    ----------
    diameter
        Pixels, 0 or more, any real number. Up to one pixel the disk stays inside its pixel: no blur.

    Returns
    -------
    (n, n) float64, n odd. Continuous in `diameter`.
    """
    radius = diameter / 2
    if radius <= 0.5:
        return np.ones((1, 1))
    half = int(np.ceil(radius - 0.5))
    edges = np.arange(-half, half + 2, dtype=np.float64) - 0.5
    area = quadrant_area(edges[None, :], edges[:, None], radius)
    coverage = np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0.0)
    # Whole pixels cover exactly 1: what the subtraction leaves of rounding would cost the renderer its flat interior.
    coverage[np.abs(coverage - 1.0) < 1e-9] = 1.0
    coverage[coverage < 1e-9] = 0.0
    return np.asarray(coverage / coverage.sum())


def disk_light(edges: Float64) -> Float64:
    """Area of the unit disk in each cell of a grid, its edges along both axes ascending: (n + 1,) to (n, n) float64."""
    corners = quadrant_area(edges[None, :], edges[:, None], 1.0)
    return np.asarray(np.maximum(np.diff(np.diff(corners, axis=0), axis=1), 0.0))


def gaussian_kernel(sigma: float) -> Float64:
    """Gaussian of standard deviation `sigma` pixels, integrated over each pixel, cut at `GAUSSIAN_REACH`, unit sum.

    Returns
    -------
    (n, n) float64, n odd. A `sigma` of 0 gives the 1x1 kernel.
    """
    from scipy.special import erf

    if sigma < 1e-3:
        return np.ones((1, 1))
    half = max(1, int(np.ceil(GAUSSIAN_REACH * sigma)))
    edges = np.arange(-half, half + 2) - 0.5
    profile = np.diff(erf(edges / (np.sqrt(2.0) * sigma)))
    kernel = profile[:, None] * profile[None, :]
    offset = np.arange(-half, half + 1)
    reach = GAUSSIAN_REACH * sigma + 0.5
    kernel[offset[:, None] ** 2 + offset[None, :] ** 2 > reach**2] = 0.0
    return np.asarray(kernel / kernel.sum())


def power_exponential_reach(exponent: float) -> float:
    """Half-size of a power-exponential kernel per pixel of CoC diameter: where `POWER_TAIL` of its energy lies beyond.

    With u = 2 (r / c)^p, the energy beyond r is the regularised upper incomplete gamma function Q(2 / p, u).
    """
    from scipy.special import gammainccinv

    return float(0.5 * (gammainccinv(2.0 / exponent, POWER_TAIL) / 2.0) ** (1.0 / exponent))


def power_exponential_kernel(diameter: float, exponent: float) -> Float64:
    """``exp(-2 (r / c)^p)``, c = `diameter` / 2, integrated over each pixel, as a kernel of unit sum (FOSSA 2026).

    Pixels that the circle of `power_exponential_reach` does not touch are cut off. Each pixel is integrated by
    Gauss-Legendre quadrature, with more nodes the sharper the edge (its width is about c / p) and the tip: errors stay
    below 3e-5 of the kernel's peak (measured against four times the nodes, p 1 to 64, diameters 0.2 to 60).

    Parameters
    ----------
    diameter
        Of the circle of confusion, pixels, 0 or more. The shape's "radius" c is half of it.
    exponent
        p: 2 is a Gaussian with a standard deviation of c / 2; a large p approaches the disk.

    Returns
    -------
    (n, n) float64, n odd. Sharp shapes, with all but the cut inside one pixel, give the 1x1 kernel.
    """
    reach = power_exponential_reach(exponent) * diameter
    if reach <= 0.5:
        return np.ones((1, 1))
    half = int(np.ceil(reach - 0.5))
    scale = diameter / 2
    points, weights = np.polynomial.legendre.leggauss(4)
    # Cells of the quadrant x, y >= 0: the axes cut the pixels on them, so that the tip at r = 0 is a cell's corner.
    edges = np.concatenate([[0.0], np.arange(half + 1) + 0.5])
    parts = int(np.ceil(max(0.6 * exponent, 2.5) / scale))
    width = np.repeat(np.diff(edges), parts) / parts
    start = np.concatenate([[0.0], np.cumsum(width)[:-1]])
    x = (start[:, None] + width[:, None] * (points + 1) / 2).ravel()
    weight = (width[:, None] * weights / 2).ravel()
    squared = (x[:, None] ** 2 + x[None, :] ** 2) / scale**2
    light = np.exp(-2.0 * squared ** (exponent / 2)) * weight[:, None] * weight[None, :]
    n = parts * len(points)
    quadrant = light.reshape(half + 1, n, half + 1, n).sum(axis=(1, 3))
    nearest = edges[:-1]
    quadrant[nearest[:, None] ** 2 + nearest[None, :] ** 2 >= reach**2] = 0.0
    # The central row and column were integrated over half of their pixels only.
    quadrant[0] *= 2.0
    quadrant[:, 0] *= 2.0
    fold = np.abs(np.arange(-half, half + 1))
    kernel = quadrant[fold[:, None], fold[None, :]]
    return np.asarray(kernel / kernel.sum())


def overlaps(edges: npt.NDArray[np.floating[Any]], cells: npt.NDArray[np.floating[Any]]) -> Float64:
    """Length that each interval of `edges` shares with each interval of `cells`, both ascending: (m, n) float64."""
    low = np.maximum(edges[:-1, None], cells[None, :-1])
    return np.asarray(np.maximum(np.minimum(edges[1:, None], cells[None, 1:]) - low, 0.0))


def checked_pattern(transmission: npt.ArrayLike) -> Float64:
    """Return an aperture's transmission as (n, n) float64.

    Raises
    ------
    InputError
        If it is not square, not within 0 to 1, or wholly opaque.
    """
    given = np.asarray(transmission)
    pattern = given.astype(np.float64) if given.dtype.kind in "bfiu" else np.empty(0)
    square = pattern.ndim == 2 and pattern.shape[0] == pattern.shape[1] > 0
    if not (square and np.isfinite(pattern).all() and pattern.min() >= 0 and 0 < pattern.max() <= 1):
        raise InputError(
            "an aperture's transmission must be a square of numbers from 0 to 1 that lets some light through."
        )
    return pattern


def aperture_light(transmission: Float64, edges: Float64) -> Float64:
    """Light through each cell of a grid on the square of a pattern (m, m), from -1 to 1: (n + 1,) to (n, n) float64."""
    share = overlaps(edges, np.linspace(-1.0, 1.0, len(transmission) + 1))
    return np.asarray(share @ transmission @ share.T)


def aperture_kernel(transmission: Float64, diameter: float) -> Float64:
    """Geometric shadow of an aperture: the pattern scaled to the CoC and integrated exactly over each pixel.

    Parameters
    ----------
    transmission
        (n, n) float64, 0 or more, not all 0, constant within each of its cells, [y, x] with row 0 at the top.
    diameter
        Side of the pattern's square on the sensor, pixels, 0 or more. Up to one pixel there is no blur.

    Returns
    -------
    (m, m) float64, m odd, centred, upright, unit sum; no larger than the light in it needs. Continuous in `diameter`.
    """
    half = int(np.ceil(diameter / 2 - 0.5))
    if half < 1:
        return np.ones((1, 1))
    edges = np.arange(-half, half + 2) - 0.5
    cells = (np.arange(transmission.shape[0] + 1) / transmission.shape[0] - 0.5) * diameter
    # A separable sum over the shared lengths is the area integral of a pattern of rectangles.
    share = overlaps(edges, cells)
    kernel = share @ transmission @ share.T
    y, x = np.nonzero(kernel > 1e-12 * kernel.max())
    spare = half - max(np.abs(y - half).max(), np.abs(x - half).max())
    kernel = kernel[spare : 2 * half + 1 - spare, spare : 2 * half + 1 - spare]
    return np.asarray(kernel / kernel.sum())
