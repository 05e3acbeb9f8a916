"""Kernels of `resample`."""

from typing import Any

import numpy as np

from .jit import jit


@jit
def resample_rows(image: Any, numbers: Any, weights: Any, out: Any) -> None:
    """Make each row of `out` (n, W) of the rows `numbers` (n, 6) of `image` (H, W), by `weights` (n, 6)."""
    for y in range(len(numbers)):
        line, n, w = out[y], numbers[y], weights[y]
        a, b, c, d, e, f = image[n[0]], image[n[1]], image[n[2]], image[n[3]], image[n[4]], image[n[5]]
        for x in range(len(line)):
            line[x] = w[0] * a[x] + w[1] * b[x] + w[2] * c[x] + w[3] * d[x] + w[4] * e[x] + w[5] * f[x]


@jit
def resample_columns(image: Any, numbers: Any, weights: Any, out: Any) -> None:
    """Make the columns of `out` (H, n, 3) of the columns `numbers` (n, 6) of `image` (H, W, 3); never below zero."""
    zero = np.float32(0)
    for y in range(out.shape[0]):
        source, line = image[y], out[y]
        for x in range(out.shape[1]):
            red = green = blue = zero
            for k in range(numbers.shape[1]):
                at, weight = numbers[x, k], weights[x, k]
                red += weight * source[at, 0]
                green += weight * source[at, 1]
                blue += weight * source[at, 2]
            line[x, 0], line[x, 1], line[x, 2] = max(red, zero), max(green, zero), max(blue, zero)
