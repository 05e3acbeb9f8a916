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
def _walk(here: int, before: int, candidate: int, steps: int, gap: int) -> int:
    """Steps to the pixel whose surface goes on behind the present one, 0 for none.

    `here`, `before` and `candidate` are the planes of this pixel, of the one before it and of the pixel `steps` back.
    """
    if here - before > gap:
        return 1
    if steps > 0 and here - candidate <= gap:
        return 0
    return steps


@jit
def _reachable(steps: int, here: Any, candidate: Any) -> int:
    """Keep `steps` if the blur of the two surfaces, CoCs in pixels, can bring to light what lies so deep."""
    return steps if steps <= (abs(here) + abs(candidate)) * np.float32(0.5) + np.float32(1.5) else 0


@jit
def find_hidden(plane: Any, coc: Any, gap: int, steps: Any) -> None:
    """Find which surfaces go on behind each pixel: those that end, farther away, at the edge of what hides them.

    `plane` (H, W) counts from far to near, `coc` (H, W) in pixels; a step of more than `gap` planes is an edge.
    `steps` (4, H, W) receives how many pixels away, to the left, right, top and bottom, that surface was last seen;
    0 where there is none, or none within reach.
    """
    height, width = plane.shape
    for y in range(height):
        left, right = 0, 0
        for x in range(1, width):
            back = left + 1 if left > 0 else 1
            left = _walk(plane[y, x], plane[y, x - 1], plane[y, x - back], back if left > 0 else 0, gap)
            if left > 0:
                steps[0, y, x] = _reachable(left, coc[y, x], coc[y, x - left])
            m = width - 1 - x
            back = right + 1 if right > 0 else 1
            right = _walk(plane[y, m], plane[y, m + 1], plane[y, m + back], back if right > 0 else 0, gap)
            if right > 0:
                steps[1, y, m] = _reachable(right, coc[y, m], coc[y, m + right])
    above, below = np.zeros(width, np.int64), np.zeros(width, np.int64)
    for y in range(1, height):
        m = height - 1 - y
        for x in range(width):
            back = above[x] + 1 if above[x] > 0 else 1
            up = _walk(plane[y, x], plane[y - 1, x], plane[y - back, x], back if above[x] > 0 else 0, gap)
            above[x] = up
            if up > 0:
                steps[2, y, x] = _reachable(up, coc[y, x], coc[y - up, x])
        for x in range(width):
            back = below[x] + 1 if below[x] > 0 else 1
            down = _walk(plane[m, x], plane[m + 1, x], plane[m + back, x], back if below[x] > 0 else 0, gap)
            below[x] = down
            if down > 0:
                steps[3, m, x] = _reachable(down, coc[m, x], coc[m + down, x])


@jit
def paint_hidden(
    image: Any, plane: Any, coc: Any, gap: int, steps: Any, hidden: Any, hidden_plane: Any, hidden_coc: Any
) -> None:
    """Paint what lies behind each pixel from the last visible pixels of the surface that ends nearest to it.

    Colour (H, W, 4), plane (H, W) and CoC (H, W) are means over the directions of `steps` that find that surface,
    weighted by inverse distance; plane -1 where nothing is hidden. Colours are those of the two last pixels before
    the edge: antialiasing often mixes the very last with what hides it.
    """
    height, width = plane.shape
    towards_y, towards_x = (0, 0, -1, 1), (-1, 1, 0, 0)
    for y in range(height):
        for x in range(width):
            hidden_plane[y, x] = -1
            nearest = -1
            for k in range(4):
                if steps[k, y, x] > 0 and (nearest < 0 or steps[k, y, x] < steps[nearest, y, x]):
                    nearest = k
            if nearest < 0:
                continue
            s = steps[nearest, y, x]
            surface = plane[y + s * towards_y[nearest], x + s * towards_x[nearest]]
            total, red, green, blue, at, blur = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for k in range(4):
                s = steps[k, y, x]
                v, u = y + s * towards_y[k], x + s * towards_x[k]
                if s == 0 or abs(plane[v, u] - surface) > gap:
                    continue
                v2, u2 = v + towards_y[k], u + towards_x[k]
                if v2 < 0 or v2 >= height or u2 < 0 or u2 >= width or abs(plane[v2, u2] - plane[v, u]) > gap:
                    v2, u2 = v, u
                weight = 1.0 / s
                total += weight
                red += weight * 0.5 * (image[v, u, 0] + image[v2, u2, 0])
                green += weight * 0.5 * (image[v, u, 1] + image[v2, u2, 1])
                blue += weight * 0.5 * (image[v, u, 2] + image[v2, u2, 2])
                at += weight * plane[v, u]
                blur += weight * coc[v, u]
            hidden[y, x, 0] = red / total
            hidden[y, x, 1] = green / total
            hidden[y, x, 2] = blue / total
            hidden[y, x, 3] = 1.0
            hidden_plane[y, x] = int(at / total + 0.5)
            hidden_coc[y, x] = blur / total
