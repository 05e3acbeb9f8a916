"""Kernels of `warp` and `motion`. Positions are x and y in pixels of the source; pixel centres are whole numbers."""

from typing import Any

import numpy as np

from .jit import jit

STEP = 0.02
"""Neighbouring depths that differ by more than this share of the nearer one belong to different surfaces."""


@jit
def _mirror(i: int, n: int) -> int:
    """Index into n pixels that are continued by reflection on both sides."""
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@jit
def _cubic(t: Any, weights: Any) -> None:
    """Write Catmull and Rom's weights of the four pixels around a position `t` past the second of them."""
    weights[0] = ((2.0 - t) * t - 1.0) * t / 2.0
    weights[1] = ((3.0 * t - 5.0) * t * t + 2.0) / 2.0
    weights[2] = ((4.0 - 3.0 * t) * t + 1.0) * t / 2.0
    weights[3] = (t - 1.0) * t * t / 2.0


@jit
def gather(image: Any, at: Any, mirrored: bool, out: Any) -> None:
    """Look up `image` (H, W, C) at positions `at` (h, w, 2): `out` (h, w, C), cubic, never below zero.

    Beyond the image is its mirror image, or nothing.
    """
    height, width, channels = image.shape
    across, down = np.empty(4), np.empty(4)
    total = np.empty(channels)
    for i in range(at.shape[0]):
        for j in range(at.shape[1]):
            x0, y0 = int(np.floor(at[i, j, 0])), int(np.floor(at[i, j, 1]))
            _cubic(at[i, j, 0] - x0, across)
            _cubic(at[i, j, 1] - y0, down)
            for c in range(channels):
                total[c] = 0
            for m in range(4):
                for n in range(4):
                    y, x = y0 - 1 + m, x0 - 1 + n
                    if mirrored:
                        y, x = _mirror(y, height), _mirror(x, width)
                    elif y < 0 or y >= height or x < 0 or x >= width:
                        continue
                    weight = down[m] * across[n]
                    for c in range(channels):
                        total[c] += weight * image[y, x, c]
            for c in range(channels):
                out[i, j, c] = max(total[c], 0.0)


@jit
def depth_at(depth: Any, x: Any, y: Any) -> Any:
    """Depth at a position: linear in the inverse depth within a surface, at an edge that of the nearest pixel.

    Beyond the map, that of its mirror image; NaN where the nearest pixel is unknown.
    """
    height, width = depth.shape
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    tx, ty = x - x0, y - y0
    nearest = depth[_mirror(y0 + (ty >= 0.5), height), _mirror(x0 + (tx >= 0.5), width)]
    least, most, total = np.inf, 0.0, 0.0
    for m in range(2):
        for n in range(2):
            z = depth[_mirror(y0 + m, height), _mirror(x0 + n, width)]
            if not z > 0:
                return nearest
            least, most = min(least, z), max(most, z)
            total += (ty if m else 1 - ty) * (tx if n else 1 - tx) / z
    if most > least * (1 + STEP):
        return nearest
    return 1 / total


@jit
def gather_depth(depth: Any, at: Any, out: Any) -> None:
    """Look up `depth` (H, W) at positions `at` (h, w, 2): `out` (h, w); see `depth_at`."""
    for i in range(at.shape[0]):
        for j in range(at.shape[1]):
            out[i, j] = depth_at(depth, at[i, j, 0], at[i, j, 1])


@jit
def look_back(optics: Any, pose: Any, x: Any, y: Any, z: Any) -> Any:
    """Find where the moved camera's ray through (x, y) meets the first camera's depth `z`.

    Returns x and y in the first camera's picture, and the depth for the moved camera. `optics` is fx, fy, cx, cy;
    `pose` (3, 4) rotation and translation of points from the first to the moved camera.
    """
    u, v = (x - optics[2]) / optics[0], (y - optics[3]) / optics[1]
    a, b, c = pose[0, 3], pose[1, 3], pose[2, 3]
    deep = pose[0, 2] * u + pose[1, 2] * v + pose[2, 2]
    along = (z + pose[0, 2] * a + pose[1, 2] * b + pose[2, 2] * c) / deep
    p, q, r = along * u - a, along * v - b, along - c
    across = pose[0, 0] * p + pose[1, 0] * q + pose[2, 0] * r
    down = pose[0, 1] * p + pose[1, 1] * q + pose[2, 1] * r
    return across / z * optics[0] + optics[2], down / z * optics[1] + optics[3], along


@jit
def follow(depth: Any, optics: Any, pose: Any, top: int, left: int, steps: int, at: Any, out: Any) -> None:
    """Find what the moved camera sees of a continuous surface with a depth map (H, W).

    Writes to `at` (h, w, 2) the positions in the map of pixels from (`top`, `left`) on, relative to the map's first
    pixel, and to `out` (h, w) their depths. `optics` counts from the map's first pixel.
    """
    for i in range(at.shape[0]):
        for j in range(at.shape[1]):
            x, y = float(left + j), float(top + i)
            u, v, seen = x, y, 0.0
            for _ in range(steps):
                u, v, seen = look_back(optics, pose, x, y, depth_at(depth, u, v))
            at[i, j, 0], at[i, j, 1], out[i, j] = u, v, seen


@jit
def splat(depth: Any, optics: Any, pose: Any, border: int, source: Any, moved: Any) -> None:
    """Bring each pixel of a depth map (H, W) to where the moved camera sees it; the nearest wins.

    So do `border` more pixels of its mirror image on each side. `moved` (H, W) receives depths, `inf` where nothing
    lands, and `source` (H, W, 2) the pixel, x and y, that landed.
    """
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            moved[y, x] = np.inf
    for y in range(-border, height + border):
        for x in range(-border, width + border):
            z = depth[_mirror(y, height), _mirror(x, width)]
            p, q = (x - optics[2]) / optics[0] * z, (y - optics[3]) / optics[1] * z
            far = pose[2, 0] * p + pose[2, 1] * q + pose[2, 2] * z + pose[2, 3]
            if not (far > 0 and far < np.inf):
                continue
            u = (pose[0, 0] * p + pose[0, 1] * q + pose[0, 2] * z + pose[0, 3]) / far * optics[0] + optics[2]
            v = (pose[1, 0] * p + pose[1, 1] * q + pose[1, 2] * z + pose[1, 3]) / far * optics[1] + optics[3]
            i, j = int(np.floor(v + 0.5)), int(np.floor(u + 0.5))
            if i < 0 or i >= height or j < 0 or j >= width or far >= moved[i, j]:
                continue
            moved[i, j], source[i, j, 0], source[i, j, 1] = far, x, y


@jit
def fill_gaps(source: Any, moved: Any) -> None:
    """Fill the pixels of `moved` (H, W) where nothing landed from the farther end of their gap in the row.

    `source` (H, W, 2) goes with it, so that the farther surface's last colour is continued.
    """
    height, width = moved.shape
    for y in range(height):
        x = 0
        while x < width:
            if moved[y, x] < np.inf:
                x += 1
                continue
            end = x
            while end < width and not moved[y, end] < np.inf:
                end += 1
            if x == 0 and end == width:
                break
            take_left = end == width or (x > 0 and moved[y, x - 1] >= moved[y, end])
            other = x - 1 if take_left else end
            for i in range(x, end):
                moved[y, i], source[y, i, 0], source[y, i, 1] = (
                    moved[y, other],
                    source[y, other, 0],
                    source[y, other, 1],
                )
            x = end


@jit
def sharpen(depth: Any, optics: Any, pose: Any, steps: int, source: Any, moved: Any) -> None:
    """Follow the surface that landed in each pixel, by `splat`, to where exactly the pixel's ray meets it."""
    height, width = moved.shape
    for y in range(height):
        for x in range(width):
            u, v, seen = source[y, x, 0], source[y, x, 1], moved[y, x]
            begun = depth_at(depth, u, v)
            for _ in range(steps):
                z = depth_at(depth, u, v)
                if not abs(z - begun) <= STEP * begun:
                    break
                u, v, seen = look_back(optics, pose, float(x), float(y), z)
            # A pixel that was filled, or at an edge, keeps what landed: its ray meets another surface.
            if abs(u - source[y, x, 0]) <= 1 and abs(v - source[y, x, 1]) <= 1:
                source[y, x, 0], source[y, x, 1], moved[y, x] = u, v, seen
