"""Compiled loops that outline solids and cover their pixels. P = convex parts of a solid, h w = patch.

A solid has axes of its own: t across, s away, e down (metres), with the origin at the middle of its foot. Its parts are
boxes, roofs, frustums of cones about the e axis, and ellipsoids. Only + - * /, square roots and comparisons: their
results are the same on every processor.
"""

import math

import numpy as np
import numpy.typing as npt

from .jit import jit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

BOX, ROOF, ROUND, BALL = 0, 1, 2, 3
PART = 10
"""Columns of a part: kind; of a box or roof t0 s0 e0 t1 s1 e1, of a frustum t s e0 e1 r0 r1, of an ellipsoid t s e and
half axes; look; offset of the texture along u and v."""
_FAR, _LINES = 1e30, 8


@jit
def _hull(points: Float64, count: int, edges: Float64, at: int) -> int:
    """Write the edges of the convex hull of (n, 2) points from row `at` on, the way round that adds coverage."""
    for i in range(1, count):
        x, y = points[i, 0], points[i, 1]
        j = i - 1
        while j >= 0 and (points[j, 0] > x or (points[j, 0] == x and points[j, 1] > y)):
            points[j + 1, 0], points[j + 1, 1] = points[j, 0], points[j, 1]
            j -= 1
        points[j + 1, 0], points[j + 1, 1] = x, y
    chain = np.empty(2 * count + 2, np.int64)
    size = 0
    for turn in range(2):
        base = size
        for k in range(count):
            i = k if turn == 0 else count - 1 - k
            while size >= base + 2:
                a, b = chain[size - 2], chain[size - 1]
                cross = (points[b, 0] - points[a, 0]) * (points[i, 1] - points[a, 1]) - (
                    points[b, 1] - points[a, 1]
                ) * (points[i, 0] - points[a, 0])
                if cross > 0.0:
                    break
                size -= 1
            chain[size] = i
            size += 1
        size -= 1
    for k in range(size):
        a, b = chain[k], chain[(k + 1) % size]
        edges[at + k, 0], edges[at + k, 1] = points[a, 0], points[a, 1]
        edges[at + k, 2], edges[at + k, 3] = points[b, 0], points[b, 1]
    return at + size


@jit
def _project(axes: Float64, origin: Float64, focal: float, t: float, s: float, e: float, out: Float64) -> None:
    x = origin[0] + (t * axes[0, 0] + (s * axes[1, 0] + e * axes[2, 0]))
    y = origin[1] + (t * axes[0, 1] + (s * axes[1, 1] + e * axes[2, 1]))
    z = origin[2] + (t * axes[0, 2] + (s * axes[1, 2] + e * axes[2, 2]))
    scale = focal / z
    out[0], out[1] = x * scale, y * scale


@jit
def _rim(part: Float64, axes: Float64, origin: Float64, focal: float, circle: Float64, points: Float64) -> None:
    """Project what an ellipsoid turns between seen and hidden: a circle where it is the unit ball."""
    ux = -(axes[0, 0] * origin[0] + axes[0, 1] * origin[1] + axes[0, 2] * origin[2]) - part[1]
    uy = -(axes[1, 0] * origin[0] + axes[1, 1] * origin[1] + axes[1, 2] * origin[2]) - part[2]
    ue = -(axes[2, 0] * origin[0] + axes[2, 1] * origin[1] + axes[2, 2] * origin[2]) - part[3]
    ux, uy, ue = ux / part[4], uy / part[5], ue / part[6]
    square = max(ux * ux + uy * uy + ue * ue, 1.0001)
    # Two directions across the line of sight.
    if abs(ue) * abs(ue) < 0.5 * square:
        ax, ay, ae = uy, -ux, 0.0
    else:
        ax, ay, ae = 0.0, ue, -uy
    norm = math.sqrt(ax * ax + ay * ay + ae * ae)
    ax, ay, ae = ax / norm, ay / norm, ae / norm
    bx, by, be = uy * ae - ue * ay, ue * ax - ux * ae, ux * ay - uy * ax
    norm = math.sqrt(square)
    bx, by, be = bx / norm, by / norm, be / norm
    # A little more than the inscribed polygon, so that it has the circle's area.
    radius = math.sqrt(1.0 - 1.0 / square) * 1.0007
    for k in range(circle.shape[0]):
        p, q = radius * circle[k, 0], radius * circle[k, 1]
        _project(
            axes,
            origin,
            focal,
            part[1] + part[4] * (ux / square + (p * ax + q * bx)),
            part[2] + part[5] * (uy / square + (p * ay + q * by)),
            part[3] + part[6] * (ue / square + (p * ae + q * be)),
            points[k],
        )


@jit
def outline(parts: Float64, axes: Float64, origin: Float64, focal: float, circle: Float64, boxes: Float64,
    starts: npt.NDArray[np.int64],
) -> Float64:  # fmt: skip
    """Outline a solid in the picture, pixels from its centre.

    Parameters
    ----------
    parts
        (P, PART).
    axes, origin
        (3, 3) rows t, s, e and (3,): the solid's own axes and foot in the camera's.
    focal
        Pixels.
    circle
        (m, 2) points of the unit circle.
    boxes
        (P, 4), written with the bounds x0 x1 y0 y1 of every part.
    starts
        (P + 1,), written with the first edge of every part, and their number.

    Returns
    -------
    (n, 4) edges, one closed contour for each part.
    """
    steps = circle.shape[0]
    points = np.empty((2 * steps, 2))
    edges = np.empty((2 * steps * parts.shape[0], 4))
    at = 0
    for i in range(parts.shape[0]):
        part = parts[i]
        kind = int(part[0])
        if kind in (BOX, ROOF):
            count = 8
            for k in range(8):
                t, s = part[4] if k & 1 else part[1], part[5] if k & 2 else part[2]
                if kind == ROOF and not k & 4:
                    t = 0.5 * (part[1] + part[4])
                _project(axes, origin, focal, t, s, part[6] if k & 4 else part[3], points[k])
        elif kind == ROUND:
            count = 2 * steps
            for k in range(steps):
                x, y = 1.0007 * circle[k, 0], 1.0007 * circle[k, 1]
                for j in range(2):
                    r = part[5 + j]
                    _project(axes, origin, focal, part[1] + r * x, part[2] + r * y, part[3 + j], points[k + j * steps])
        else:
            count = steps
            _rim(part, axes, origin, focal, circle, points)
        starts[i] = at
        at = _hull(points, count, edges, at)
        boxes[i, 0] = boxes[i, 2] = _FAR
        boxes[i, 1] = boxes[i, 3] = -_FAR
        for k in range(starts[i], at):
            boxes[i, 0], boxes[i, 1] = min(boxes[i, 0], edges[k, 0]), max(boxes[i, 1], edges[k, 0])
            boxes[i, 2], boxes[i, 3] = min(boxes[i, 2], edges[k, 1]), max(boxes[i, 3], edges[k, 1])
    starts[parts.shape[0]] = at
    return edges[:at]


@jit
def _step(row: Float64, x: float, weight: float) -> None:
    """Add to the differences of a row what begins at x."""
    column = int(x)
    part = (x - column) * weight
    row[column] += weight - part
    row[column + 1] += part


@jit
def _across(edges: Float64, y: float) -> tuple[float, float]:
    """From where to where a convex outline covers a line."""
    low, high = _FAR, -_FAR
    for k in range(edges.shape[0]):
        y0, y1 = edges[k, 1], edges[k, 3]
        if (y0 <= y) != (y1 <= y):
            x = edges[k, 0] + (edges[k, 2] - edges[k, 0]) * ((y - y0) / (y1 - y0))
            low, high = min(low, x), max(high, x)
    return low, high


@jit
def cover_parts(edges: Float64, starts: npt.NDArray[np.int64], height: int, width: int) -> Float32:
    """Cover pixels by convex outlines that may overlap or touch: what any of them covers.

    Exact along rows, on `_LINES` lines in each: areas that are added up, as those of single outlines may be, would
    count twice where two parts share an edge.

    Parameters
    ----------
    edges, starts
        As of `outline`, in pixels, within the image and at least one pixel away from its right end.
    height, width
        Of the image, pixels.

    Returns
    -------
    (height, width) float32 in [0, 1], exactly 1 inside and exactly 0 outside.
    """
    parts = starts.size - 1
    tops, feet = np.full(parts, _FAR), np.full(parts, -_FAR)
    for i in range(parts):
        for k in range(starts[i], starts[i + 1]):
            tops[i], feet[i] = min(tops[i], edges[k, 1]), max(feet[i], edges[k, 1])
    alpha, row = np.zeros((height, width), np.float32), np.zeros(width + 1)
    lows, highs = np.empty(parts), np.empty(parts)
    for at in range(height):
        row[:] = 0.0
        for line in range(_LINES):
            y = at + (line + 0.5) / _LINES
            count = 0
            for i in range(parts):
                if not tops[i] <= y < feet[i]:
                    continue
                low, high = _across(edges[starts[i] : starts[i + 1]], y)
                j = count
                while j > 0 and lows[j - 1] > low:
                    lows[j], highs[j] = lows[j - 1], highs[j - 1]
                    j -= 1
                lows[j], highs[j] = low, high
                count += 1
            i = 0
            while i < count:
                low, high = lows[i], highs[i]
                while i + 1 < count and lows[i + 1] <= high + 1e-6:
                    high = max(high, highs[i + 1])
                    i += 1
                _step(row, low, 1.0 / _LINES)
                _step(row, high, -1.0 / _LINES)
                i += 1
        total = 0.0
        for column in range(width):
            total += row[column]
            # Slivers are no visible edge, and rounding leaves specks of them.
            alpha[at, column] = 0.0 if total < 0.00390625 else 1.0 if total > 0.99609375 else total
    return alpha
