"""Kernel of `scene`. h w = patch, H W = picture."""

from typing import Any

import numpy as np

from .jit import jit

HALF = np.float32(0.5)


@jit
def over(rgba: Any, depth: Any, top: int, left: int, rgb: Any, nearest: Any) -> None:
    """Lay a premultiplied patch `rgba` (h, w, 4), `depth` (h, w), over `rgb` (H, W, 3) and `nearest` (H, W)."""
    height, width = nearest.shape
    for y in range(max(0, -top), min(rgba.shape[0], height - top)):
        for x in range(max(0, -left), min(rgba.shape[1], width - left)):
            alpha = rgba[y, x, 3]
            if alpha <= 0:
                continue
            if alpha >= HALF:
                nearest[top + y, left + x] = depth[y, x]
            behind = np.float32(1.0) - alpha
            if behind == 0:
                for k in range(3):
                    rgb[top + y, left + x, k] = rgba[y, x, k]
            else:
                for k in range(3):
                    rgb[top + y, left + x, k] = rgba[y, x, k] + rgb[top + y, left + x, k] * behind
