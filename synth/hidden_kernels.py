"""Kernels of `layers`: what goes on behind occluders, and in what colours.

H W = image. Arrays of `Surfaces` have what is seen at index 0 and what is hidden at index 1.
"""

from typing import Any

import numpy as np

from .jit import jit

OVER = np.float32(1.7)
"""Over-relaxation: the factor by which each step of `relax` is lengthened."""


@jit
def _reachable(steps: int, here: Any, candidate: Any, reach: Any) -> int:
    """Keep `steps` if the blur of the two surfaces, CoCs in pixels, can bring to light what lies so deep.

    `reach` (2) is how far that is, in pixels: for each pixel of their CoCs, and besides.
    """
    return steps if steps <= (abs(here) + abs(candidate)) * reach[0] + reach[1] else 0


@jit
def _find_along_row(plane: Any, coc: Any, gap: int, reach: Any, steps: Any) -> None:
    """Do `find_hidden` from left to right along one row (W)."""
    away = 0
    for x in range(1, len(plane)):
        if plane[x] - plane[x - 1] > gap:
            away = 1
        elif away > 0:
            away += 1
            if plane[x] - plane[x - away] <= gap:
                away = 0
        if away > 0:
            steps[x] = _reachable(away, coc[x], coc[x - away], reach)


@jit
def _find_along_columns(plane: Any, coc: Any, gap: int, reach: Any, steps: Any) -> None:
    """Do `find_hidden` from top to bottom along all columns (H, W), row by row."""
    height, width = plane.shape
    away = np.zeros(width, np.int32)
    for y in range(1, height):
        here, before = plane[y], plane[y - 1]
        for x in range(width):
            if here[x] - before[x] > gap:
                away[x] = 1
            elif away[x] > 0:
                away[x] += 1
                if here[x] - plane[y - away[x], x] <= gap:
                    away[x] = 0
            if away[x] > 0:
                steps[y, x] = _reachable(away[x], coc[y, x], coc[y - away[x], x], reach)


@jit
def find_hidden(plane: Any, coc: Any, gap: int, reach: Any, steps: Any) -> None:
    """Find which surfaces go on behind each pixel: those that end, farther away, at the edge of what hides them.

    `plane` (H, W) counts from far to near, `coc` (H, W) in pixels; a step of more than `gap` planes is an edge;
    `reach` (2) is that of `hidden_reach`.
    `steps` (4, H, W) receives how many pixels away, to the left, right, top and bottom, that surface was last seen;
    0 where there is none, or none within reach.
    """
    for y in range(len(plane)):
        _find_along_row(plane[y], coc[y], gap, reach, steps[0, y])
        _find_along_row(plane[y, ::-1], coc[y, ::-1], gap, reach, steps[1, y, ::-1])
    _find_along_columns(plane, coc, gap, reach, steps[2])
    _find_along_columns(plane[::-1], coc[::-1], gap, reach, steps[3, ::-1])


@jit
def paint_hidden(rgba: Any, plane: Any, coc: Any, slot: Any, gap: int, steps: Any) -> None:
    """Say which surface lies hidden behind each pixel, the one that ends nearest to it, and paint a first guess.

    Writes index 1 of each array: `plane` (H, W; -1 where nothing is hidden), `coc` and `slot` (H, W) of the nearest
    pixel that shows the surface, `rgba` (H, W, 4) the mean over the directions of `steps` (4, H, W) that find the same
    surface, weighted by inverse distance, of its last visible pixels.
    """
    height, width = plane.shape[1:]
    towards_y, towards_x = (0, 0, -1, 1), (-1, 1, 0, 0)
    for y in range(height):
        for x in range(width):
            nearest = -1
            for k in range(4):
                if steps[k, y, x] > 0 and (nearest < 0 or steps[k, y, x] < steps[nearest, y, x]):
                    nearest = k
            if nearest < 0:
                plane[1, y, x] = -1
                continue
            v = y + steps[nearest, y, x] * towards_y[nearest]
            u = x + steps[nearest, y, x] * towards_x[nearest]
            surface = plane[0, v, u]
            plane[1, y, x], coc[1, y, x], slot[1, y, x] = surface, coc[0, v, u], slot[0, v, u]
            total, red, green, blue = 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                s = steps[k, y, x]
                v, u = y + s * towards_y[k], x + s * towards_x[k]
                if s == 0 or abs(plane[0, v, u] - surface) > gap:
                    continue
                weight = 1.0 / s
                total += weight
                red += weight * rgba[0, v, u, 0]
                green += weight * rgba[0, v, u, 1]
                blue += weight * rgba[0, v, u, 2]
            rgba[1, y, x, 0] = red / total
            rgba[1, y, x, 1] = green / total
            rgba[1, y, x, 2] = blue / total
            rgba[1, y, x, 3] = 1.0


@jit
def list_hidden(rgba: Any, plane: Any, gap: int, at: Any) -> int:
    """List the hidden pixels with those that each is to be a mean of; return their number n.

    Pixels that show more of the hidden surface than of what is in front keep the colour that `soften` found there.

    `at` (n, 5) receives flat indices into the pixels of `rgba`'s seen and hidden images: the pixel, and to its left,
    right, top and bottom the same surface: seen there whole, hidden there, or else the pixel itself.
    """
    height, width = plane.shape[1:]
    towards_y, towards_x = (0, 0, -1, 1), (-1, 1, 0, 0)
    n = 0
    for y in range(height):
        for x in range(width):
            surface = plane[1, y, x]
            if surface < 0:
                continue
            if rgba[0, y, x, 3] <= 0.5:
                for k in range(3):
                    rgba[1, y, x, k] = rgba[2, y, x, k]
                continue
            here = (height + y) * width + x
            at[n, 0] = here
            for k in range(4):
                v, u = y + towards_y[k], x + towards_x[k]
                at[n, k + 1] = here
                if v < 0 or v >= height or u < 0 or u >= width:
                    continue
                if abs(plane[0, v, u] - surface) <= gap and rgba[0, v, u, 3] == 1:
                    at[n, k + 1] = v * width + u
                elif plane[1, v, u] >= 0 and abs(plane[1, v, u] - surface) <= gap:
                    at[n, k + 1] = (height + v) * width + u
            n += 1
    return n


@jit
def relax(pixels: Any, at: Any, sweeps: int) -> None:
    """Draw hidden `pixels` towards the mean of their neighbours: the smoothest continuation of what is seen.

    `pixels` (all, 4) and `at` (n, 5) are those of `list_hidden`. Every sweep goes through them in the other
    direction, by successive over-relaxation.
    """
    quarter, n = np.float32(0.25), len(at)
    for sweep in range(sweeps):
        for j in range(n):
            i = j if sweep % 2 == 0 else n - 1 - j
            here, left, right, up, down = at[i, 0], at[i, 1], at[i, 2], at[i, 3], at[i, 4]
            for k in range(4):
                mean = (pixels[left, k] + pixels[right, k] + pixels[up, k] + pixels[down, k]) * quarter
                pixels[here, k] += OVER * (mean - pixels[here, k])
