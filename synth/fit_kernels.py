"""Kernels of `fit`. Positions count pixels of the source; pixel centres have whole numbers."""

from typing import Any

import numpy as np

from .jit import jit


@jit
def weigh_rows(image: Any, first: Any, weights: Any, out: Any) -> None:
    """Make each row of `out` (n, W) of rows of `image` (H, W): from `first` (n) on, by `weights` (n, taps)."""
    last = len(image) - 1
    for i in range(len(first)):
        line = out[i]
        line[:] = 0
        for k in range(weights.shape[1]):
            weight = weights[i, k]
            if weight == 0:
                continue
            source = image[min(max(first[i] + k, 0), last)]
            for x in range(len(line)):
                line[x] += weight * source[x]


@jit
def weigh_columns(image: Any, first: Any, weights: Any, out: Any) -> None:
    """Make the columns of `out` (H, n, C) of those of `image` (H, W, C), as `weigh_rows`."""
    last = image.shape[1] - 1
    for y in range(out.shape[0]):
        for i in range(len(first)):
            for c in range(out.shape[2]):
                total = np.float32(0)
                for k in range(weights.shape[1]):
                    total += weights[i, k] * image[y, min(max(first[i] + k, 0), last), c]
                out[y, i, c] = total


@jit
def main_depth(depths: Any, areas: Any, count: int) -> Any:
    """Median of the first `count` depths, weighted by their areas; of two halves, the nearer. Sorts both in place."""
    total = 0.0
    for i in range(count):
        z, area = depths[i], areas[i]
        total += area
        k = i
        while k > 0 and depths[k - 1] > z:
            depths[k], areas[k] = depths[k - 1], areas[k - 1]
            k -= 1
        depths[k], areas[k] = z, area
    below = 0.0
    for i in range(count):
        below += areas[i]
        if below >= 0.5 * total * (1 - 1e-9):
            return depths[i]
    return depths[count - 1]


@jit
def alike(a: Any, b: Any, edge: float) -> bool:
    """Whether two depths belong to one surface; NaN never does."""
    return bool(a <= edge * b and b <= edge * a)


@jit
def _interpolated(depth: Any, y: float, x: float, main: float, edge: float) -> Any:
    """Depth at a position, linear in its inverse, if the four pixels around are one surface with `main`; or NaN."""
    height, width = depth.shape
    y0, x0 = min(max(int(np.floor(y)), 0), max(height - 2, 0)), min(max(int(np.floor(x)), 0), max(width - 2, 0))
    ty, tx = y - y0, x - x0
    inverse, least, most = 0.0, np.inf, 0.0
    for m in range(2):
        for n in range(2):
            z = depth[min(y0 + m, height - 1), min(x0 + n, width - 1)]
            if not alike(z, main, edge):
                return np.nan
            least, most = min(least, z), max(most, z)
            inverse += (ty if m else 1 - ty) * (tx if n else 1 - tx) / z
    if not alike(least, most, edge) or inverse < 0:
        return np.nan
    return 1 / inverse


@jit
def fit_depth(depth: Any, tops: Any, lefts: Any, size: float, edge: float, out: Any) -> None:
    """Write `out` (h, w), the depths of pixels `size` pixels of `depth` (H, W) wide that begin at `tops` and `lefts`.

    Each is that of the surface that fills most of it: there where its centre is, if that is on the surface, or else
    the nearest stored one. Surfaces are told apart by a ratio of `edge`. Half unknown is unknown.
    """
    height, width = depth.shape
    most = (int(size) + 2) ** 2
    depths, areas = np.empty(most), np.empty(most)
    for i in range(len(tops)):
        top, bottom = tops[i], tops[i] + size
        rows = max(int(np.floor(top + 0.5)), 0), min(int(np.ceil(bottom + 0.5)), height)
        for j in range(len(lefts)):
            left, right = lefts[j], lefts[j] + size
            columns = max(int(np.floor(left + 0.5)), 0), min(int(np.ceil(right + 0.5)), width)
            count, known, whole = 0, 0.0, 0.0
            for y in range(rows[0], rows[1]):
                tall = min(bottom, y + 0.5) - max(top, y - 0.5)
                for x in range(columns[0], columns[1]):
                    area = tall * (min(right, x + 0.5) - max(left, x - 0.5))
                    whole += area
                    if depth[y, x] > 0 and area > 0:
                        depths[count], areas[count] = depth[y, x], area
                        known += area
                        count += 1
            out[i, j] = np.nan
            if count == 0 or known <= 0.5 * whole * (1 + 1e-9):
                continue
            main = main_depth(depths, areas, count)
            at_y, at_x = (top + bottom) / 2, (left + right) / 2
            out[i, j] = _interpolated(depth, at_y, at_x, main, edge)
            if not np.isnan(out[i, j]):
                continue
            near = np.inf
            for y in range(rows[0], rows[1]):
                for x in range(columns[0], columns[1]):
                    distance = (y - at_y) ** 2 + (x - at_x) ** 2
                    if distance < near and alike(depth[y, x], main, edge):
                        out[i, j], near = depth[y, x], distance
