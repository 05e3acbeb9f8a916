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
