"""Kernels of `layers`. H W = image; indices into the flattened image are `y * W + x`, -1 for none."""

from typing import Any

import numpy as np

from .jit import jit


@jit
def fill_rows(depth: Any, filled: Any) -> bool:
    """Fill unknown runs (NaN) of each row with the farther of their two ends; true if whole rows stay unknown.

    Depth sensors lose what an object's edge hides from their second eye: background, hence the farther end.
    """
    height, width = depth.shape
    empty = False
    for y in range(height):
        x = 0
        while x < width:
            if not np.isnan(depth[y, x]):
                filled[y, x] = depth[y, x]
                x += 1
                continue
            end = x
            while end < width and np.isnan(depth[y, end]):
                end += 1
            if x == 0 and end == width:
                value = depth[y, 0]
                empty = True
            elif x == 0:
                value = depth[y, end]
            elif end == width:
                value = depth[y, x - 1]
            else:
                value = max(depth[y, x - 1], depth[y, end])
            for i in range(x, end):
                filled[y, i] = value
            x = end
    return empty


@jit
def fill_empty_rows(filled: Any) -> None:
    """Copy to each wholly unknown row the nearest known row; the upper one where two are as near."""
    height, _ = filled.shape
    known = np.empty(height, np.bool_)
    for y in range(height):
        known[y] = not np.isnan(filled[y, 0])
    for y in range(height):
        if known[y]:
            continue
        for d in range(1, height):
            if y >= d and known[y - d]:
                filled[y] = filled[y - d]
                break
            if y + d < height and known[y + d]:
                filled[y] = filled[y + d]
                break


@jit
def _mirror(i: int, n: int) -> int:
    """Index into n pixels that are continued by reflection on both sides."""
    i = i % (2 * n)
    return i if i < n else 2 * n - 1 - i


@jit
def sort_pixels(
    aif: Any,
    depth: Any,
    border: int,
    optics: Any,
    planes_at: Any,
    first: int,
    lookup: Any,
    first_step: int,
    rgba: Any,
    plane: Any,
    coc: Any,
    slot: Any,
) -> None:
    """Write an image (h, w, 3) with its depth (h, w), continued by `border` pixels of reflection, sorted by depth.

    In one pass: `rgba` (H, W, 4) with coverage 1, `coc` (H, W) as `ThinLens.coc`, `slot` (H, W) as `PsfBank.slots`,
    `plane` (H, W) as `PlaneGrid.number`. `optics` is CoC per dioptre, focus in dioptres, steps per pixel of CoC;
    `planes_at` anchor in dioptres, planes per dioptre; `lookup` (steps) and `first_step` are `PsfBank.lookup`.
    """
    height, width = plane.shape
    per_dioptre, focus, per_pixel = optics[0], optics[1], optics[2]
    last_step = len(lookup) - 1
    anchor, per_plane, half, one = planes_at[0], planes_at[1], np.float32(0.5), np.float32(1.0)
    for y in range(height):
        v = _mirror(y - border, height - 2 * border)
        for x in range(width):
            u = _mirror(x - border, width - 2 * border) if x < border or x >= width - border else x - border
            inverse = one / depth[v, u]
            c = per_dioptre * (inverse - focus)
            coc[y, x] = c
            slot[y, x] = lookup[min(max(int(np.rint(c * per_pixel)) - first_step, 0), last_step)]
            plane[y, x] = max(int(np.floor((inverse - anchor) * per_plane + half)) - first, 0)
            for k in range(3):
                rgba[y, x, k] = aif[v, u, k]
            rgba[y, x, 3] = one


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
    """Paint what lies behind each pixel from the last visible pixels of the surface that ends nearest to it.

    Reads index 0 of each array, what is seen, and writes index 1, what is hidden: `plane` (2, H, W; -1 where nothing
    is), `coc` and `slot` (2, H, W) of the nearest such pixel, `rgba` (2, H, W, 4) the mean over the directions of
    `steps` that find the same surface, weighted by inverse distance, of the two last pixels before the edge:
    antialiasing often mixes the very last with what hides it.
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
            plane[1, y, x], coc[1, y, x], slot[1, y, x] = surface, coc[0, v, u], slot[0, v, u]
            total, red, green, blue = 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                s = steps[k, y, x]
                v, u = y + s * towards_y[k], x + s * towards_x[k]
                if s == 0 or abs(plane[0, v, u] - surface) > gap:
                    continue
                v2, u2 = v + towards_y[k], u + towards_x[k]
                outside = v2 < 0 or v2 >= height or u2 < 0 or u2 >= width
                if outside or abs(plane[0, v2, u2] - plane[0, v, u]) > gap:
                    v2, u2 = v, u
                weight = 1.0 / s
                total += weight
                red += weight * 0.5 * (rgba[0, v, u, 0] + rgba[0, v2, u2, 0])
                green += weight * 0.5 * (rgba[0, v, u, 1] + rgba[0, v2, u2, 1])
                blue += weight * 0.5 * (rgba[0, v, u, 2] + rgba[0, v2, u2, 2])
            rgba[1, y, x, 0] = red / total
            rgba[1, y, x, 1] = green / total
            rgba[1, y, x, 2] = blue / total
            rgba[1, y, x, 3] = 1.0
