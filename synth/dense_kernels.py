"""Kernels of `dense`.

A B = size of the accumulator (the frame and a border of the largest reach), H W = the picture, n = runs, C = channels
of the bank. Accumulators are planar, 3 + C: light in R, G, B, then the coverage of each channel, so that rows are
contiguous. Those of the picture hold the planes of a row together: whole planes apart, they would be a multiple of
a memory page apart, which a cache cannot hold. Runs, blocks and `touched` are those of `disk_kernels`.
"""

from typing import Any

import numpy as np

from .disk_kernels import BLOCK, ONE, ONES, PLAIN, next_touched
from .jit import jit
from .resolve_kernels import FAINT, UNIT
from .simd import LANES, STRIP, add_taps_of_one_pixel, add_taps_of_two_rows

NONE = np.float32(0.0)
SHORT = 6
"""Runs of fewer pixels are spread pixel by pixel: along the kernel's rows there is more to do at once."""
UNSEEN = np.float32(1e-4)
"""Coverage up to this is nothing seen."""


@jit
def _spread_long(
    v: Any, n: int, pad: int, weight: Any, begin: int, rows: int, size: int, y: int, x: int, out: Any
) -> None:
    """Spread a run of `n` pixels, `v` from `pad` on between zeros, by kernel rows into `out` (A, B) from (y, x) on.

    The rows, `size` taps each, follow each other in `weight` from `begin` on. An odd last one takes the row after it
    along: that is the kernel's zero row, or falls where nobody looks.
    """
    stride = _stride(size)
    for row in range(0, rows, 2):
        first = begin + row * stride
        for j in range(0, n + size - 1, STRIP):
            add_taps_of_two_rows(v, pad + j, weight, first, first + stride, size, out, y + row, x + j)


@jit
def _stride(size: int) -> int:
    """Distance of two kernel rows of `size` taps in a `DenseTable`."""
    return (size + LANES - 1) // LANES * LANES


@jit
def _spread_one(value: Any, weight: Any, begin: int, rows: int, size: int, y: int, x: int, out: Any) -> None:
    """Spread one pixel by kernel rows, as `_spread_long` does a run."""
    stride = _stride(size)
    for row in range(rows):
        add_taps_of_one_pixel(value, weight, begin + row * stride, stride, out, y + row, x)


@jit
def scatter_light(
    source: Any,
    runs: Any,
    starts: Any,
    radius: Any,
    weight: Any,
    top: int,
    left: int,
    edge: int,
    pad: int,
    values: Any,
    spread: Any,
) -> None:
    """Spread the light of `runs` by the kernels of their slots into `spread` (3 + C, A, B).

    `source` (rows, w, 4) is premultiplied; `top` and `left` are where its first pixel lies in `spread`. `weight` (C,
    weights), `starts` and `radius` are a `DenseTable`; `values` (B) holds nothing but zeros, and will: a
    run is laid there `pad` pixels from its beginning, the width of the widest kernel or more. Light that falls on the
    first or last `edge` rows is left out: nobody sees it.
    """
    end = spread.shape[1] - edge
    for i in range(len(runs)):
        row, first, slot, n = runs[i, 0], runs[i, 1], runs[i, 3], runs[i, 2] - runs[i, 1]
        r = radius[slot]
        size = 2 * r + 1
        y, x = top + runs[i, 4] - r, left + first - r
        y0, y1 = max(y, edge), min(y + size, end)
        begin, rows = starts[slot] + (y0 - y) * _stride(size), y1 - y0
        for k in range(3):
            taps = weight[k if len(weight) > 1 else 0]
            if n < SHORT:
                for j in range(n):
                    _spread_one(source[row, first + j, k], taps, begin, rows, size, y0, x + j, spread[k])
                continue
            for j in range(n):
                values[pad + j] = source[row, first + j, k]
            _spread_long(values, n, pad, taps, begin, rows, size, y0, x, spread[k])
            values[pad : pad + n] = 0


@jit
def scatter_cover(
    source: Any, runs: Any, starts: Any, radius: Any, weight: Any, top: int, left: int, edge: int, steps: Any
) -> None:
    """Spread the x-derivative of the coverage of `runs` into `steps` (C, A, B), whose sums along x are the coverage.

    It is not zero only where coverage changes: at the ends of a run, and along soft edges. `source` (rows, w, k) has
    the coverage last; the rest as `scatter_light`.
    """
    alpha, end = source.shape[2] - 1, steps.shape[1] - edge
    for i in range(len(runs)):
        row, first, slot, n = runs[i, 0], runs[i, 1], runs[i, 3], runs[i, 2] - runs[i, 1]
        r = radius[slot]
        size = 2 * r + 1
        y, x = top + runs[i, 4] - r, left + first - r
        y0, y1 = max(y, edge), min(y + size, end)
        begin, rows = starts[slot] + (y0 - y) * _stride(size), y1 - y0
        before = NONE
        for j in range(n + 1):
            now = source[row, first + j, alpha] if j < n else NONE
            step = now - before
            before = now
            if step == 0:
                continue
            for c in range(len(weight)):
                _spread_one(step, weight[c], begin, rows, size, y0, x + j, steps[c])


@jit
def mark_runs(runs: Any, radius: Any, top: int, left: int, touched: Any) -> None:
    """Mark in `touched` (A, blocks + 1) the blocks that `runs` reach, as `disk_kernels.scatter` does."""
    marked_y, marked_r, marked_first, marked_end = -1, 0, 0, 0
    for i in range(len(runs)):
        y, r = top + runs[i, 4], radius[runs[i, 3]]
        first, end = (left + runs[i, 1] - r) // BLOCK, (left + runs[i, 2] + r) // BLOCK + 1
        if y == marked_y and r <= marked_r and first >= marked_first and end <= marked_end:
            continue
        marked_y, marked_r, marked_first, marked_end = y, r, first, end
        for row in range(y - r, y + r + 1):
            touched[row, -1] = 1
            for b in range(first, end):
                touched[row, b] = 1


@jit
def slot_boxes(runs: Any, boxes: Any) -> None:
    """Write for each slot of `runs` how many pixels have it, and within which rows and columns: `boxes` (slots, 5)."""
    boxes[:] = 0
    for i in range(len(runs)):
        box, first, end, y = boxes[runs[i, 3]], runs[i, 1], runs[i, 2], runs[i, 4]
        if box[0] == 0:
            box[1], box[2], box[3], box[4] = y, y + 1, first, end
        box[0] += end - first
        box[1], box[2], box[3], box[4] = min(box[1], y), max(box[2], y + 1), min(box[3], first), max(box[4], end)


@jit
def gather(source: Any, runs: Any, slot: int, y0: int, x0: int, image: Any) -> None:
    """Add those pixels of `runs`, `source` (rows, w, k), that have the slot to `image` (k, h, w), placed at y0, x0."""
    for i in range(len(runs)):
        if runs[i, 3] != slot:
            continue
        row, y = runs[i, 0], runs[i, 4] - y0
        for x in range(runs[i, 1], runs[i, 2]):
            for k in range(len(image)):
                image[k, y, x - x0] += source[row, x, k]


@jit
def _sum_along(steps: Any, y: int, x0: int, x1: int) -> None:
    """Replace part of a row of `steps` (C, A, B) by its running sums."""
    if len(steps) == 1:
        total, line = 0.0, steps[0, y, x0:x1]
        for x in range(x1 - x0):
            total += line[x]
            line[x] = total
        return
    # Three sums at once take as long as one: each waits for its own last addition.
    a, b, c = steps[0, y, x0:x1], steps[1, y, x0:x1], steps[2, y, x0:x1]
    red, green, blue = 0.0, 0.0, 0.0
    for x in range(x1 - x0):
        red += a[x]
        green += b[x]
        blue += c[x]
        a[x], b[x], c[x] = red, green, blue


@jit
def _is_of(k: int, c: int, channels: int) -> bool:
    """Whether plane `k` of an accumulator belongs to channel `c`: as its coverage, or as one of its colours."""
    return k == 3 + c or (k < 3 and (channels == 1 or k == c))


@jit
def _join_surface(
    spread: Any, y: int, x: int, n: int, edge: int, plane: Any, gap: Any, near: Any, far: Any, last: Any, weights: Any
) -> None:
    """Add the `n` pixels of a blurred group from (y, x) on to the surfaces under construction; see `flush`.

    As in `disk_kernels`, for each channel by itself, and without a branch in a pixel. `weights` (4, B) receives
    what multiplies the group and the surface so far, and, where the group begins a new surface, the old one and all
    behind it, which become what lies behind.
    """
    gain, kept, moved, seen = weights[0], weights[1], weights[2], weights[3]
    v, u, channels = y - edge, x - edge, last.shape[1]
    for c in range(channels):
        alpha, surface, reached = spread[3 + c, y, x : x + n], near[v, 3 + c, u : u + n], last[v, c, u : u + n]
        anew = False
        for i in range(n):
            there = alpha[i] > FAINT
            begins = there & (plane - reached[i] > gap)
            share = min(alpha[i], UNIT)
            before = NONE if begins else surface[i]
            # Parts of one surface stand side by side: they add up, until together they cover the pixel.
            room = (UNIT - share) / max(before, FAINT)
            keep = room if before + share > UNIT else UNIT
            gain[i] = UNIT / max(alpha[i], UNIT) if there else NONE
            kept[i] = NONE if begins else (keep if there else UNIT)
            moved[i] = UNIT if begins else NONE
            seen[i] = UNIT - surface[i] if begins else UNIT
            reached[i] = plane if there else reached[i]
            anew |= begins
        for k in range(3):
            if not _is_of(k, c, channels):
                continue
            part, front, back = spread[k, y, x : x + n], near[v, k, u : u + n], far[v, k, u : u + n]
            for i in range(n):
                if anew:
                    back[i] = front[i] * moved[i] + back[i] * seen[i]
                front[i] = part[i] * gain[i] + front[i] * kept[i]
        part, back = alpha, far[v, 3 + c, u : u + n]
        for i in range(n):
            if anew:
                back[i] = surface[i] * moved[i] + back[i] * seen[i]
            surface[i] = part[i] * gain[i] + surface[i] * kept[i]


@jit
def _lay_layer(spread: Any, ones: Any, y: int, x: int, n: int, edge: int, whole: int, far: Any, weights: Any) -> None:
    """Lay the `n` pixels of a layer of its own from (y, x) on over `far`; see `flush`."""
    gain, seen = weights[0], weights[1]
    v, u = y - edge, x - edge
    for c in range(len(ones)):
        alpha = spread[3 + c, y, x : x + n]
        one = ones[c, y, x : x + n] if whole == ONES else alpha
        for i in range(n):
            total = max(alpha[i], UNIT) if whole == ONE else max(alpha[i], one[i])
            gain[i] = UNIT / total if total > UNSEEN and whole != PLAIN else UNIT
            seen[i] = UNIT - alpha[i] * gain[i]
        for k in range(len(spread)):
            if not _is_of(k, c, len(ones)):
                continue
            part, back = spread[k, y, x : x + n], far[v, k, u : u + n]
            for i in range(n):
                back[i] = part[i] * gain[i] + back[i] * seen[i]


@jit
def flush(
    spread: Any, ones: Any, touched: Any, whole: int, edge: int, plane: int, gap: int, near: Any, far: Any, last: Any,
    weights: Any,
) -> None:  # fmt: skip
    """Composite one blurred group over what lies behind it, and clear the accumulators.

    As `disk_kernels.flush`, for each channel by itself: `spread` (3 + C, A, B) and `ones` (C, A, B) hold the
    group, running sums of their coverage along x still to be taken; `near`, `far` (H, 3 + C, W), `last` (H, C, W) are
    the picture, which lies `edge` pixels within them.
    `weights` (4, B) is room to work.
    """
    height, _, width = far.shape
    blocks = touched.shape[1] - 1
    for y in range(touched.shape[0]):
        if touched[y, blocks] == 0:
            continue
        touched[y, blocks] = 0
        b = 0
        while True:
            first, b = next_touched(touched[y], b)
            if first == b:
                break
            x0, x1 = first * BLOCK, b * BLOCK
            _sum_along(spread[3:], y, x0, x1)
            if whole == ONES:
                _sum_along(ones, y, x0, x1)
            left, right = max(x0, edge), min(x1, width + edge)
            if edge <= y < height + edge and left < right:
                n = right - left
                if gap == 0:
                    _lay_layer(spread, ones, y, left, n, edge, whole, far, weights)
                else:
                    _join_surface(
                        spread, y, left, n, edge, np.int32(plane), np.int32(gap), near, far, last, weights
                    )  # fmt: skip
            for k in range(len(spread)):
                spread[k, y, x0:x1] = 0
            if whole == ONES:
                for c in range(len(ones)):
                    ones[c, y, x0:x1] = 0


@jit
def resolve(near: Any, far: Any, sharp: Any, out: Any) -> None:
    """Write to `out` (H, W, 3) the surfaces over what lies behind; see `disk_kernels`.

    A kernel may be dark at its centre: a pixel that nothing reached, not even its own light, stays `sharp` (H, W, 4).
    """
    height, width, _ = out.shape
    for k in range(3):
        a = 3 + k if near.shape[1] > 4 else 3
        for y in range(height):
            for x in range(width):
                behind = UNIT - near[y, a, x]
                total = near[y, a, x] + far[y, a, x] * behind
                light = (near[y, k, x] + far[y, k, x] * behind) / max(total, UNSEEN)
                out[y, x, k] = light if total > UNSEEN else sharp[y, x, k] / max(sharp[y, x, 3], UNSEEN)
