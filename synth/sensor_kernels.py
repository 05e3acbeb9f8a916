"""Kernels of the sensor: counts of photons, and Malvar-He-Cutler demosaicing. n = pixels, (h, w) = a mosaic."""

import math
from typing import Any

import numpy as np

from .jit import jit

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = np.uint64(11), np.uint64(27), np.uint64(30), np.uint64(31)
# Where Hoermann's rejection, which needs a mean of at least 10, takes over from inversion.
_LARGE = 10.0


@jit
def _mix(state: Any) -> Any:
    """Scramble 64 bits: the output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    state = (state ^ (state >> _S30)) * _MIX_1
    state = (state ^ (state >> _S27)) * _MIX_2
    return state ^ (state >> _S31)


@jit
def _uniform(stream: Any, number: int) -> Any:
    """Return the uniform variate of that number in a pixel's stream: 53 bits, strictly between 0 and 1."""
    return (float(_mix(stream + np.uint64(number) * _GOLDEN) >> _S11) + 0.5) * 2.0**-53


@jit
def _by_inversion(mean: Any, u: Any) -> Any:
    """Return the Poisson count whose cumulative probability first reaches u."""
    probability = math.exp(-mean)
    count = 0.0
    # Past the last count of any weight, what rounding has left of u must not be looked for.
    while u > probability and probability > 1e-17:
        u -= probability
        count += 1.0
        probability *= mean / count
    return count


@jit
def _by_rejection(mean: Any, stream: Any) -> Any:
    """Return a Poisson count by transformed rejection: PTRS of Hoermann 1993, for means of 10 and more."""
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    squeeze = 0.9277 - 3.6624 / (b - 2.0)
    number = 0
    while True:
        u = _uniform(stream, number) - 0.5
        v = _uniform(stream, number + 1)
        number += 2
        edge = 0.5 - abs(u)
        count = np.floor((2.0 * a / edge + b) * u + mean + 0.43)
        if edge >= 0.07 and v <= squeeze:
            return count
        if count < 0 or (edge < 0.013 and v > edge):
            continue
        height = v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (edge * edge) + b)
        if math.log(height) <= count * math.log(mean) - mean - math.lgamma(count + 1.0):
            return count


@jit
def poisson(mean: Any, key: Any, out: Any) -> None:
    """Write to `out` (n) a Poisson count of each `mean` (n, float64), from streams of `key` (uint64) and the index."""
    for i in range(len(mean)):
        stream = _mix(key + np.uint64(i) * _GOLDEN)
        if mean[i] < _LARGE:
            out[i] = _by_inversion(mean[i], _uniform(stream, 0))
        else:
            out[i] = _by_rejection(mean[i], stream)


@jit
def malvar(padded: Any, red_y: int, red_x: int, out: Any) -> None:
    """Demosaic by the four 5x5 filters of Malvar, He and Cutler 2004.

    `padded` (h + 4, w + 4) float32 has two pixels of its mirror image around it; `red_y` and `red_x` (0 or 1) say where
    the mosaic's first red pixel is; `out` is (h, w, 3) float32. Sums are grouped so that on flat colour they cancel.
    """
    half, quarter, eighth = np.float32(0.5), np.float32(0.25), np.float32(0.125)
    four, three_quarters = np.float32(4.0), np.float32(0.75)
    for y in range(out.shape[0]):
        red_row = (y & 1) == red_y
        along, across = (0, 2) if red_row else (2, 0)
        first = red_x if red_row else 1 - red_x
        up2, up, row, down, down2 = padded[y], padded[y + 1], padded[y + 2], padded[y + 3], padded[y + 4]
        for x in range(out.shape[1]):
            own = row[x + 2]
            diagonal = (up[x + 1] + up[x + 3]) + (down[x + 1] + down[x + 3])
            vertical, horizontal = up[x + 2] + down[x + 2], row[x + 1] + row[x + 3]
            vertical2, horizontal2 = up2[x + 2] + down2[x + 2], row[x] + row[x + 4]
            if (x & 1) == first:
                same = own - quarter * (vertical2 + horizontal2)
                out[y, x, along] = own
                out[y, x, 1] = quarter * (vertical + horizontal) + half * same
                out[y, x, across] = quarter * diagonal + three_quarters * same
            else:
                # Red and blue lie on either side along one axis: the green curvature along it counts fully.
                level = four * own - diagonal
                out[y, x, 1] = own
                out[y, x, along] = half * horizontal + eighth * (level + (own + half * vertical2 - horizontal2))
                out[y, x, across] = half * vertical + eighth * (level + (own + half * horizontal2 - vertical2))
