"""Kernels of `disks`: from composited surfaces to the picture.

H W = the frame. `near` (H, W, 4) is each pixel's nearest surface, `far` (H, W, 4) all behind it, both premultiplied;
`last` and `behind` (H, W) are the planes that the two reached.
"""

from typing import Any

import numpy as np

from .disk_kernels import FAINT, NOTHING, UNIT
from .jit import jit

STEEPEST = np.float32(8 / np.pi)
"""Difference between the two neighbours of a pixel across a blurred edge, times its CoC."""
SHARE = np.float32(1 / 64)
"""A sixteenth, and a half for each of two differences over two pixels."""
LITTLE = np.float32(0.01)
"""Where less than this was seen of what is behind, its slope means nothing."""
NEARLY_ONE = np.float32(1 - 1e-4)
"""More coverage than this hides what is behind."""


@jit
def _beside(near: Any, far: Any, last: Any, gap: int, y: int, x: int, v: int, u: int, out: Any) -> None:
    """Write to `out` (4) the colour behind the nearest surface of (y, x) at (v, u), and how far that covers it."""
    step = last[v, u] - last[y, x]
    if last[v, u] == NOTHING or step > gap or (far[v, u, 3] <= FAINT and step >= -gap):
        v, u, step = y, x, 0
    front, back = near[v, u], far[v, u]
    if step < -gap:
        seen = UNIT - front[3]
        scale = UNIT / max(front[3] + back[3] * seen, FAINT)
        for k in range(3):
            out[k] = (front[k] + back[k] * seen) * scale
        out[3] = 0
        return
    scale = UNIT / back[3]
    for k in range(3):
        out[k] = back[k] * scale
    out[3] = front[3]


@jit
def _add_slopes(sides: Any, front: Any, back: Any, weight: Any, mixed: Any) -> None:
    """Subtract from `mixed` (4) the product of slopes between two `sides` (2, 4), in one direction.

    `front` and `back` are the CoCs of the two surfaces. No blurred edge is steeper than at its middle, 4 / (pi c), and
    none turns light negative: that bounds the product where there is more than one edge.
    """
    limit = STEEPEST / max(abs(front), UNIT)
    slope = min(max(sides[1, 3] - sides[0, 3], -limit), limit) * front * back * weight
    for k in range(3):
        limit = STEEPEST / max(abs(back), UNIT) * max(sides[0, k], sides[1, k])
        mixed[k] = max(mixed[k] - slope * min(max(sides[1, k] - sides[0, k], -limit), limit), 0)


@jit
def resolve(near: Any, far: Any, last: Any, behind: Any, gap: int, plane_coc: Any, margin: int, out: Any) -> None:
    """Write to `out` (H', W', 3) the surfaces over what lies behind, without the margin.

    Whether a point of the lens sees past the nearest surface, and what it sees there, vary together over the aperture.
    Their means multiply to ``E[1 - a] E[b]``; the next term of ``E[(1 - a) b]`` is that of their slopes,
    ``-(c c' / 16) grad(E[a]) . grad(E[b])``, c and c' the CoCs (1/16 is a unit disk's second moment along an axis):
    `plane_coc` has that of each plane.

    Every pixel has been seen, be it only by itself. Divides by the coverage: where less than everything was seen,
    the seen stands for the rest.
    """
    height, width, _ = out.shape
    rows, columns = last.shape
    mixed, sides = np.empty(4, np.float32), np.empty((4, 4), np.float32)
    for i in range(height):
        line, y = out[i], i + margin
        for j in range(width):
            x = j + margin
            alpha, behind_it = near[y, x, 3], far[y, x, 3]
            for k in range(4):
                mixed[k] = near[y, x, k] + far[y, x, k] * (UNIT - alpha)
            if FAINT < alpha < NEARLY_ONE and behind_it > LITTLE:
                _beside(near, far, last, gap, y, x, y, max(x - 1, 0), sides[0])
                _beside(near, far, last, gap, y, x, y, min(x + 1, columns - 1), sides[1])
                _beside(near, far, last, gap, y, x, max(y - 1, 0), x, sides[2])
                _beside(near, far, last, gap, y, x, min(y + 1, rows - 1), x, sides[3])
                front, back = plane_coc[last[y, x]], plane_coc[behind[y, x]]
                _add_slopes(sides[:2], front, back, behind_it * SHARE, mixed)
                _add_slopes(sides[2:], front, back, behind_it * SHARE, mixed)
            scale = UNIT / max(mixed[3], FAINT)
            for k in range(3):
                line[j, k] = mixed[k] * scale
