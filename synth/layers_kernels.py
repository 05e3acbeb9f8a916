"""Kernels of `layers`. H W = image; indices into the flattened image are `y * W + x`, -1 for none."""

from typing import Any

import numpy as np

from .jit import jit


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
    rgba: Any,
    plane: Any,
    coc: Any,
) -> None:
    """Write an image (h, w, 3) with its depth (h, w), continued by `border` pixels of reflection, sorted by depth.

    In one pass: `rgba` (H, W, 4) with coverage 1, `coc` (H, W) as `ThinLens.coc`, `plane` (H, W) as
    `PlaneGrid.number`. `optics` is CoC per dioptre and focus in dioptres; `planes_at` anchor in dioptres and planes per
    dioptre.
    """
    h, w = depth.shape
    per_dioptre, focus = optics[0], optics[1]
    anchor, per_plane, half, one = planes_at[0], planes_at[1], np.float32(0.5), np.float32(1.0)
    for y in range(h + 2 * border):
        v = _mirror(y - border, h)
        row, blur, number = depth[v], coc[y, border : border + w], plane[y, border : border + w]
        for x in range(w):
            inverse = one / row[x]
            blur[x] = per_dioptre * (inverse - focus)
            number[x] = max(int(np.floor((inverse - anchor) * per_plane + half)) - first, 0)
        for x in range(w):
            for k in range(3):
                rgba[y, border + x, k] = aif[v, x, k]
            rgba[y, border + x, 3] = one
        for i in range(border):
            for x, u in ((border - 1 - i, _mirror(-1 - i, w)), (border + w + i, _mirror(w + i, w))):
                u += border
                coc[y, x], plane[y, x] = coc[y, u], plane[y, u]
                for k in range(4):
                    rgba[y, x, k] = rgba[y, u, k]


@jit
def mean_coc(plane: Any, coc: Any, count: Any, mean: Any) -> None:
    """Write to `mean` (planes) the mean of the `coc` (H, W) of each `plane` (H, W); `count` (planes) is scratch."""
    height, width = plane.shape
    for y in range(height):
        for x in range(width):
            count[plane[y, x]] += 1
            mean[plane[y, x]] += coc[y, x]
    for i in range(len(mean)):
        mean[i] /= max(count[i], 1)


@jit
def find_slots(plane: Any, coc: Any, lens: Any, per_pixel: Any, lookup: Any, first_step: int, slot: Any) -> None:
    """Write the `slot` (n) of each `coc` (n), signed pixels, as `PsfBank.slots`; both may be one place in memory.

    Places whose `plane` (n) is -1 are left alone: arithmetic on whatever lies there may be very slow.

    `lens` (2) makes of a CoC that of another lens: a factor and what to add. `per_pixel` is steps per pixel of CoC,
    `lookup` (steps) and `first_step` are `PsfBank.lookup`.
    """
    last_step = len(lookup) - 1
    for i in range(len(coc)):
        if plane[i] < 0:
            continue
        here = coc[i] * lens[0] + lens[1]
        slot[i] = lookup[min(max(int(np.rint(here * per_pixel)) - first_step, 0), last_step)]
