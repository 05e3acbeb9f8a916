"""Kernels of `layers`: how much of a pixel at a silhouette the nearer surface covers, and the colours of both.

An image is antialiased and a depth map is not: pixels at an edge show both surfaces, and their depth is that of one.
H W = image. Arrays of `Surfaces` have what is seen at index 0, what is hidden at 1, and at 2 the fringes: what spills
of nearer surfaces into pixels whose depth is that of a farther one.
"""

from typing import Any

import numpy as np

from .jit import jit

FRONT, BEHIND = 1, 2
REACH = 3
"""Pixels around an edge whose colours tell those of the two surfaces."""
SPREAD = 0.1
"""Standard deviation of a pixel's true coverage from what the shape of the silhouette says."""
TEXTURE = 1e-3
"""Variance of radiance within a surface that is always allowed for."""
FAINT = 0.03
"""Less coverage than this is none."""


@jit
def _mark_step(plane: Any, gap: int, mark: Any, y: int, x: int, v: int, u: int) -> None:
    """Mark two pixels if there is an edge between them."""
    step = plane[v, u] - plane[y, x]
    if abs(step) > gap:
        mark[y, x] |= BEHIND if step > 0 else FRONT
        mark[v, u] |= FRONT if step > 0 else BEHIND


@jit
def mark_edges(plane: Any, gap: int, mark: Any) -> None:
    """Mark in `mark` (H, W) the pixels that have a pixel of another surface among their eight neighbours.

    `FRONT` means that they are in front of it, `BEHIND` behind. `plane` (H, W) counts from far to near; steps of more
    than `gap` are edges.
    """
    height, width = plane.shape
    for y in range(height):
        for x in range(width - 1):
            _mark_step(plane, gap, mark, y, x, y, x + 1)
    for y in range(height - 1):
        for x in range(width):
            _mark_step(plane, gap, mark, y, x, y + 1, x)
        for x in range(width - 1):
            _mark_step(plane, gap, mark, y, x, y + 1, x + 1)
            _mark_step(plane, gap, mark, y, x + 1, y + 1, x)


@jit
def _other_surface(plane: Any, gap: int, y: int, x: int, behind: bool) -> tuple[int, int]:
    """Find the nearest of the eight neighbours in front of a pixel that is `behind` them, or else behind it: y, x."""
    height, width = plane.shape
    best, largest, v, u = 3, 0, -1, -1
    for i in range(max(y - 1, 0), min(y + 2, height)):
        for j in range(max(x - 1, 0), min(x + 2, width)):
            step = plane[i, j] - plane[y, x] if behind else plane[y, x] - plane[i, j]
            distance = abs(i - y) + abs(j - x)
            if step > gap and (distance < best or (distance == best and step > largest)):
                best, largest, v, u = distance, step, i, j
    return v, u


@jit
def _colours(rgb: Any, plane: Any, mark: Any, gap: int, near: int, far: int, y: int, x: int, out: Any) -> bool:
    """Write to `out` (2, 5) the colours of the surfaces near a pixel and their variances; false if one is not seen.

    A colour is the mean, weighted by inverse squared distance, of the pixels that are wholly of that surface. The last
    of the five is the sum of weights.
    """
    height, width = plane.shape
    for k in range(5):
        out[0, k] = out[1, k] = 0
    for v in range(max(y - REACH, 0), min(y + REACH + 1, height)):
        for u in range(max(x - REACH, 0), min(x + REACH + 1, width)):
            if mark[v, u] != 0:
                continue
            weight = 1.0 / ((v - y) ** 2 + (u - x) ** 2)
            for surface in range(2):
                if abs(plane[v, u] - (far if surface else near)) > gap:
                    continue
                for k in range(3):
                    light = weight * rgb[v, u, k]
                    out[surface, k] += light
                    out[surface, 3] += light * rgb[v, u, k]
                out[surface, 4] += weight
    for surface in range(2):
        total = out[surface, 4]
        if total == 0:
            return False
        square = 0.0
        for k in range(3):
            out[surface, k] /= total
            square += out[surface, k] ** 2
        out[surface, 3] = max(out[surface, 3] / total - square, 0.0) / 3.0
    return True


@jit
def _shape_says(plane: Any, gap: int, near: int, y: int, x: int, behind: bool) -> float:
    """Coverage by the surface `near` that one expects of a pixel from which of its neighbours are in front."""
    height, width = plane.shape
    inside, total = 0.0, 0.0
    for v in range(max(y - 1, 0), min(y + 2, height)):
        for u in range(max(x - 1, 0), min(x + 2, width)):
            weight = (2 - abs(v - y)) * (2 - abs(u - x))
            total += weight
            if plane[v, u] >= near - gap:
                inside += weight
    other = inside / total if behind else 1.0 - inside / total
    expected = max(0.9 * other - 0.1, 0.0)
    return expected if behind else 1.0 - expected


@jit
def _coverage(colour: Any, front: Any, back: Any, vary_front: float, vary_back: float, expected: float) -> float:
    """Most probable a of ``colour = a front + (1 - a) back`` (3 each), given variances and what the shape says."""
    contrast, along = 0.0, 0.0
    for k in range(3):
        contrast += (front[k] - back[k]) ** 2
        along += (colour[k] - back[k]) * (front[k] - back[k])
    a, trust = expected, 1.0 / SPREAD**2
    for _ in range(2):
        variance = a * a * vary_front + (1.0 - a) ** 2 * vary_back
        a = (expected * trust + along / variance) / (trust + contrast / variance)
        a = min(max(a, 0.0), 1.0)
    return a


@jit
def soften(rgba: Any, plane: Any, coc: Any, gap: int, mark: Any) -> None:
    """Divide each pixel of `mark` (H, W) between the two surfaces that meet there.

    Of a pixel behind an edge the fringe goes to index 2 of the arrays: `rgba` (H, W, 4) premultiplied, `plane` and
    `coc` (H, W) those of the nearer surface; index 0 keeps the farther surface's colour. Of a pixel in front,
    index 0 keeps the premultiplied part of the nearer surface, and `rgba` at index 2 the colour of the farther one,
    with -1 as its `plane`: see `settle`. Either way the two make up the colour that was given.
    """
    height, width = plane.shape[1:]
    found = np.empty((2, 5))
    for y in range(height):
        for x in range(width):
            if mark[y, x] == 0:
                continue
            behind = (mark[y, x] & BEHIND) != 0
            v, u = _other_surface(plane[0], gap, y, x, behind)
            near, far = plane[0, y, x], plane[0, v, u]
            if behind:
                near, far = far, near
            if not _colours(rgba[0], plane[0], mark, gap, near, far, y, x, found):
                continue
            front, back = found[0], found[1]
            vary_front, vary_back = front[3] + TEXTURE, back[3] + TEXTURE
            expected = _shape_says(plane[0], gap, near, y, x, behind)
            a = _coverage(rgba[0, y, x], front, back, vary_front, vary_back, expected)
            if (a if behind else 1.0 - a) < FAINT:
                continue
            # What the two guesses leave over goes to each as its variance has it.
            share = a * a * vary_front / (a * a * vary_front + (1.0 - a) ** 2 * vary_back)
            for k in range(3):
                given = rgba[0, y, x, k]
                part = a * front[k] + share * (given - a * front[k] - (1.0 - a) * back[k])
                part = min(max(part, 0.0), given)
                # Too little shows of the farther surface to tell its colour.
                rest = (given - part) / (1.0 - a) if 1.0 - a > FAINT else back[k]
                rgba[0, y, x, k] = rest if behind else part
                rgba[2, y, x, k] = part if behind else rest
            if behind:
                rgba[2, y, x, 3] = a
                plane[2, y, x], coc[2, y, x] = near, coc[0, v, u]
            else:
                rgba[0, y, x, 3] = a


@jit
def settle(rgba: Any, plane: Any, mark: Any) -> None:
    """Take from the pixels in front of an edge what shines through them of the hidden surface, once that is painted.

    Ends what `soften` began. Where nothing is hidden the pixel is whole again.
    """
    height, width = plane.shape[1:]
    for y in range(height):
        for x in range(width):
            a = rgba[0, y, x, 3]
            if mark[y, x] == 0 or a == 1:
                continue
            through = 1 - a
            for k in range(3):
                given = rgba[0, y, x, k] + through * rgba[2, y, x, k]
                behind = through * rgba[1, y, x, k] if plane[1, y, x] >= 0 else 0.0
                rgba[0, y, x, k] = max(given - behind, 0.0)
            if plane[1, y, x] < 0:
                rgba[0, y, x, 3] = 1.0
