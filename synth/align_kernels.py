"""Kernels of `align`."""

from typing import Any

import numpy as np

from .fit_kernels import alike, main_depth
from .jit import jit


@jit
def vote(depth: Any, codes: Any, doubtful: Any, reach: int, weights: Any, edge: float, out: Any) -> None:
    """Write to `out` (H, W) the depth of each `doubtful` (H, W) pixel that its neighbours' colours speak for.

    `codes` (H, W, 3) uint8; `weights` is that of a neighbour by the sum of differences of its codes. Pixels whose own
    `depth` (H, W) agrees, by a ratio of `edge`, are left alone.
    """
    height, width = depth.shape
    depths, shares = np.empty((2 * reach + 1) ** 2), np.empty((2 * reach + 1) ** 2)
    for y in range(height):
        for x in range(width):
            if not doubtful[y, x] or np.isnan(depth[y, x]):
                continue
            count = 0
            for v in range(max(y - reach, 0), min(y + reach + 1, height)):
                for u in range(max(x - reach, 0), min(x + reach + 1, width)):
                    if np.isnan(depth[v, u]):
                        continue
                    change = 0
                    for k in range(3):
                        # Unsigned numbers would wrap.
                        change += int(abs(np.int32(codes[y, x, k]) - np.int32(codes[v, u, k])))
                    depths[count], shares[count] = depth[v, u], weights[change]
                    count += 1
            main = main_depth(depths, shares, count)
            if alike(depth[y, x], main, edge):
                continue
            near = (2 * reach + 1) ** 2
            for v in range(max(y - reach, 0), min(y + reach + 1, height)):
                for u in range(max(x - reach, 0), min(x + reach + 1, width)):
                    distance = (v - y) ** 2 + (u - x) ** 2
                    if distance < near and alike(depth[v, u], main, edge):
                        near, out[y, x] = distance, depth[v, u]
