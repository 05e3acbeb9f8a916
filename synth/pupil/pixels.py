"""Integrals over all pixels of a window from few points of a PSF, which neighbouring pixels share."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

FILTER_ERROR = 2e-7
"""Of the integral over a pixel's width, at any frequency that the pupil passes."""
LARGEST_GAIN = 1.5
"""Root sum of squares of a filter's taps: how much it amplifies rounding."""
LONGEST = 64
"""Taps to either side."""


@lru_cache(maxsize=64)
def shared_nodes(pixel: float, size: int) -> tuple[Float64, Float64]:
    """Points along an axis, and weights by which their intensities make the integrals over pixels.

    A PSF holds no frequency above 1 cycle per wavelength N_w. On points that are dense enough for that, the integral
    over a pixel is a short filter, whatever the PSF: least squares over those frequencies, because what the filter
    does to others does not matter. It needs about half the points of a quadrature in every pixel for itself.

    Parameters
    ----------
    pixel
        Pixel pitch, units of wavelength N_w.
    size
        Pixels of the window; the axis is the centre of pixel size // 2.

    Returns
    -------
    points
        (n,) units of wavelength N_w.
    weights
        (size, n): the mean over each pixel.
    """
    choices = []
    for steps in range(max(1, math.ceil(2.1 * pixel)), math.ceil(5 * pixel) + 2):
        taps = next((half for half in range(1, LONGEST) if _usable(pixel, steps, half)), None)
        if taps is not None:
            choices.append((steps * (size - 1) + 2 * taps + 1, steps, taps))
    count, steps, taps = min(choices)
    spacing = pixel / steps
    points: Float64 = (np.arange(count) - taps - (size // 2) * steps) * np.float64(spacing)
    weights: Float64 = np.zeros((size, count))
    filtered, _ = _filter(pixel, steps, taps)
    for row in range(size):
        weights[row, row * steps : row * steps + 2 * taps + 1] = filtered
    return points, weights


def _usable(pixel: float, steps: int, taps: int) -> bool:
    filtered, error = _filter(pixel, steps, taps)
    return error < FILTER_ERROR and float(np.sqrt((filtered**2).sum())) < LARGEST_GAIN


@lru_cache(maxsize=4096)
def _filter(pixel: float, steps: int, taps: int) -> tuple[Float64, float]:
    """Symmetric filter whose response is that of a pixel's width, and its largest error."""
    frequency = 0.5 - 0.5 * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    wave = np.cos(2 * np.pi * frequency[:, None] * np.arange(taps + 1) * (pixel / steps))
    wave[:, 1:] *= 2
    wanted = np.sinc(pixel * frequency)
    half = np.linalg.lstsq(wave, wanted, rcond=1e-13)[0]
    return np.asarray(np.concatenate([half[:0:-1], half]), np.float64), float(np.abs(wave @ half - wanted).max())
