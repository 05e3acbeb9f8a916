"""Kernels of `layers`: what goes on behind occluders, and in what colours.

H W = image. Arrays of `Surfaces` have what is seen at index 0 and what is hidden at index 1.
"""

from typing import Any

import numpy as np

from .jit import jit

RADIUS = 0.97
"""Share of an error that a plain sweep of `relax` leaves where it leaves most."""


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
def paint_hidden(rgba: Any, plane: Any, coc: Any, gap: int, steps: Any, deep: Any) -> None:
    """Say which surface lies hidden behind each pixel, the one that ends nearest to it, and paint a first guess.

    Writes index 1 of each array: `plane` (H, W; -1 where nothing is hidden), `coc` (H, W) of the nearest
    pixel that shows the surface, `rgba` (H, W, 4) the mean over the directions of `steps` (4, H, W) that find the same
    surface, weighted by inverse distance, of its last visible pixels. `deep` (H, W) receives how many pixels away the
    surface was last seen, where one is hidden.
    """
    height, width = plane.shape[1:]
    towards_y, towards_x = (0, 0, -1, 1), (-1, 1, 0, 0)
    for y in range(height):
        for x in range(width):
            least, v, u = 0, 0, 0
            for k in range(4):
                s = steps[k, y, x]
                v2, u2 = y + s * towards_y[k], x + s * towards_x[k]
                # The farther of two that are as near, so that a scene turned or mirrored stays the same scene.
                if s > 0 and (least == 0 or s < least or (s == least and coc[0, v2, u2] < coc[0, v, u])):
                    least, v, u = s, v2, u2
            if least == 0:
                plane[1, y, x] = -1
                continue
            surface = plane[0, v, u]
            plane[1, y, x], coc[1, y, x], deep[y, x] = surface, coc[0, v, u], least
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
def keep_reachable(plane: Any, coc: Any, deep: Any, lens: Any, reach: Any, kept: Any) -> None:
    """Write to `kept` (H, W) the hidden ones of `plane` (2, H, W) that blur brings to light, and -1 for the others.

    `coc` (2, H, W) and `deep` (H, W) are those that `paint_hidden` wrote; `lens` (2) makes of a CoC that of the lens
    in question: a factor and what to add. `reach` (2) is that of `hidden_reach`.
    """
    height, width = kept.shape
    for y in range(height):
        for x in range(width):
            kept[y, x] = plane[1, y, x]
            if plane[1, y, x] >= 0:
                here, there = coc[0, y, x] * lens[0] + lens[1], coc[1, y, x] * lens[0] + lens[1]
                if _reachable(deep[y, x], here, there, reach) == 0:
                    kept[y, x] = -1


@jit
def list_hidden(rgba: Any, plane: Any, number: Any, at: Any) -> int:
    """List the hidden pixels that are to be smoothed; return how many they are, n.

    `number` (H, W) receives the place of each in the list, else -1, and `at` (n, 5) first its flat index in the image.
    Pixels that show more of the hidden surface than of what is in front keep the colour that `soften` found there.
    """
    _, height, width = plane.shape
    n = 0
    for y in range(height):
        for x in range(width):
            number[y, x] = -1
            if plane[1, y, x] < 0:
                continue
            if rgba[0, y, x, 3] > 0.5:
                number[y, x], at[n, 0] = n, y * width + x
                n += 1
                continue
            for k in range(3):
                rgba[1, y, x, k] = rgba[2, y, x, k]
    return n


@jit
def find_neighbours(rgba: Any, plane: Any, gap: int, number: Any, at: Any, fixed: Any) -> None:
    """Find what each of the n hidden pixels of `list_hidden` is to be a mean of.

    `at` (n, 5) receives after each pixel's index the places in the list of its four neighbours, n for one that stays as
    it is: those, of the same surface and wholly seen, or hidden and known, are added up in `fixed` (n, 4). Where the
    surface does not go on, the pixel is its own neighbour.
    """
    _, height, width = plane.shape
    towards_y, towards_x = (0, 0, -1, 1), (-1, 1, 0, 0)
    for i in range(len(at)):
        y, x = at[i, 0] // width, at[i, 0] % width
        surface = plane[1, y, x]
        for k in range(4):
            fixed[i, k] = 0
        for d in range(4):
            v, u = y + towards_y[d], x + towards_x[d]
            at[i, d + 1] = i
            if v < 0 or v >= height or u < 0 or u >= width:
                continue
            seen = abs(plane[0, v, u] - surface) <= gap and rgba[0, v, u, 3] == 1
            if not seen and (plane[1, v, u] < 0 or abs(plane[1, v, u] - surface) > gap):
                continue
            if not seen and number[v, u] >= 0:
                at[i, d + 1] = number[v, u]
                continue
            at[i, d + 1] = len(at)
            for k in range(4):
                fixed[i, k] += rgba[0 if seen else 1, v, u, k]


@jit
def relax(hidden: Any, at: Any, fixed: Any, sweeps: int, before: Any, now: Any) -> None:
    """Draw hidden pixels towards the mean of their neighbours: the smoothest continuation of what is seen.

    `hidden` (H*W, 4) is replaced; `at` (n, 5) and `fixed` (n, 4) are those of `find_neighbours`; `before` and `now`
    (n + 1, 4) are scratch. Every sweep takes all means at once, so that mirrored pictures stay mirrored, and goes
    beyond them by the factors of Chebyshev's acceleration (Golub and Varga 1961).
    """
    n, quarter = len(at), np.float32(0.25)
    for i in range(n):
        for k in range(4):
            before[i, k] = now[i, k] = hidden[at[i, 0], k]
    for k in range(4):
        before[n, k] = now[n, k] = 0
    beyond = np.float32(1.0)
    for sweep in range(sweeps):
        for i in range(n):
            left, right, up, down = at[i, 1], at[i, 2], at[i, 3], at[i, 4]
            for k in range(4):
                mean = (fixed[i, k] + now[left, k] + now[right, k] + now[up, k] + now[down, k]) * quarter
                before[i, k] += beyond * (mean - before[i, k])
        before, now = now, before
        beyond = np.float32(2.0 / (2.0 - RADIUS**2) if sweep == 0 else 4.0 / (4.0 - RADIUS**2 * beyond))
    for i in range(n):
        for k in range(4):
            hidden[at[i, 0], k] = now[i, k]
