"""Kernels of `disks`: from composited surfaces to the picture.

R B = rows and columns of a strip, which has a row more on each side than it finishes. `near` (R, 4, B) is each pixel's
nearest surface, `far` (R, 4, B) all behind it, both premultiplied; `last` and `behind` (R, B) are the planes that the
two reached.
"""

from typing import Any

import numpy as np

from .jit import jit

UNIT = np.float32(1.0)
FAINT = np.float32(1e-6)
"""Coverage up to this is what rounding leaves of a running sum."""
NOTHING = np.float32(-(2.0**30))
"""What `last` holds where no surface has been seen."""
STEEPEST = np.float32(8 / np.pi)
"""Difference between the two neighbours of a pixel across a blurred edge, times its CoC."""
SHARE = np.float32(1 / 64)
"""A sixteenth, and a half for each of two differences over two pixels."""
LITTLE = np.float32(0.1)
"""Where less than this was seen of what is behind, its slope means nothing."""
LEAST = 1.0
"""Square pixels: of CoCs with a smaller product one is in focus, and nothing varies together."""
NEARLY_ONE = np.float32(1 - 1e-4)
"""More coverage than this hides what is behind."""


@jit
def _beside(near: Any, far: Any, last: Any, gap: int, y: int, x: int, v: int, u: int, out: Any) -> None:
    """Write to `out` (4) the colour behind the nearest surface of (y, x) at (v, u), and how far that covers it.

    Where (v, u) does not tell, it is taken to be as (y, x).
    """
    if last[v, u] != NOTHING and last[y, x] - last[v, u] > gap:
        seen = UNIT - near[v, 3, u]
        total = near[v, 3, u] + far[v, 3, u] * seen
        if total > LITTLE:
            for k in range(3):
                out[k] = (near[v, k, u] + far[v, k, u] * seen) / total
            out[3] = 0
            return
    elif last[v, u] != NOTHING and last[v, u] - last[y, x] <= gap and far[v, 3, u] > LITTLE:
        for k in range(3):
            out[k] = far[v, k, u] / far[v, 3, u]
        out[3] = near[v, 3, u]
        return
    for k in range(3):
        out[k] = far[y, k, x] / far[y, 3, x]
    out[3] = near[y, 3, x]


@jit
def _add_slopes(sides: Any, front: Any, back: Any, weight: Any, total: Any) -> None:
    """Add to `total` (3) the product of slopes between two `sides` (2, 4), in one direction.

    `front` and `back` are the CoCs of the two surfaces. No blurred edge is steeper than at its middle, 4 / (pi c):
    that bounds the product where there is more than one edge.
    """
    limit = STEEPEST / max(abs(front), UNIT)
    slope = min(max(sides[1, 3] - sides[0, 3], -limit), limit) * front * back * weight
    for k in range(3):
        limit = STEEPEST / max(abs(back), UNIT) * max(sides[0, k], sides[1, k])
        total[k] += slope * min(max(sides[1, k] - sides[0, k], -limit), limit)


@jit
def _take_slopes(
    near: Any, far: Any, last: Any, behind: Any, gap: int, plane_coc: Any, y: int, left: int, scale: Any, line: Any
) -> None:
    """Subtract from a row of the picture, `line` (W, 3), how far its mixing surfaces vary together; see `resolve`."""
    sides, together = np.empty((4, 4), np.float32), np.empty(3, np.float32)
    alpha, below = near[y, 3, left:], far[y, 3, left:]
    for i in range(len(line)):
        if not (FAINT < alpha[i] < NEARLY_ONE and below[i] > LITTLE):
            continue
        x = left + i
        front, back = plane_coc[int(last[y, x])], plane_coc[int(behind[y, x])]
        if abs(front * back) < LEAST:
            continue
        _beside(near, far, last, gap, y, x, y, x - 1, sides[0])
        _beside(near, far, last, gap, y, x, y, x + 1, sides[1])
        _beside(near, far, last, gap, y, x, y - 1, x, sides[2])
        _beside(near, far, last, gap, y, x, y + 1, x, sides[3])
        together[:] = 0
        _add_slopes(sides[:2], front, back, below[i] * SHARE, together)
        _add_slopes(sides[2:], front, back, below[i] * SHARE, together)
        for k in range(3):
            line[i, k] = max(line[i, k] - together[k] * scale[i], 0)


@jit
def resolve(
    near: Any, far: Any, last: Any, behind: Any, gap: int, plane_coc: Any, left: int, parts: Any, out: Any
) -> None:
    """Write to `out` (n, W, 3) the surfaces over what lies behind, from row 1 and column `left` of the strip on.

    Whether a point of the lens sees past the nearest surface, and what it sees there, vary together over the aperture.
    Their means multiply to ``E[1 - a] E[b]``; the next term of ``E[(1 - a) b]`` is that of their slopes,
    ``-(c c' / 16) grad(E[a]) . grad(E[b])``, c and c' the CoCs (1/16 is a unit disk's second moment along an axis):
    `plane_coc` has that of each plane.

    Every pixel has been seen, be it only by itself. Divides by the coverage: where less than everything was seen,
    the seen stands for the rest. `parts` (8, B) is room to work.
    """
    height, width, _ = out.shape
    seen, scale = parts[3, :width], parts[4, :width]
    for i in range(height):
        y = i + 1
        front, back = near[y, 3, left : left + width], far[y, 3, left : left + width]
        for x in range(width):
            seen[x] = UNIT - front[x]
            scale[x] = UNIT / max(front[x] + back[x] * seen[x], FAINT)
        for k in range(3):
            light, front, back = parts[k, :width], near[y, k, left : left + width], far[y, k, left : left + width]
            for x in range(width):
                light[x] = (front[x] + back[x] * seen[x]) * scale[x]
        for x in range(width):
            for k in range(3):
                out[i, x, k] = parts[k, x]
        _take_slopes(near, far, last, behind, gap, plane_coc, y, left, scale, out[i])
