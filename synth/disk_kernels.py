"""Kernels of `disks` and `layered`.

S = source images, h w = their size, A B = size of the accumulator (the frame and a border of the largest reach),
H W = the frame, n = runs, k = channels (colour and coverage 4, coverage alone 1). A run is a row of neighbouring
pixels that share a group and a kernel. Blocks are `BLOCK` pixels of a row.
"""

from typing import Any

import numpy as np

from .jit import jit

BLOCK = 16
UNIT = np.float32(1.0)
FAINT = np.float32(1e-6)
"""Coverage up to this is what rounding leaves of a running sum."""
ONE, OWN, ONES, PLAIN = 0, 1, 2, 3
NOTHING = -(2**30)
"""What `last` holds where no surface has been seen: `near` and `far` are not set there."""


@jit
def find_runs(group: Any, slot: Any, groups: Any, runs: Any, counts: Any) -> int:
    """Write the `runs` (n, 5: source row, first x, end x, slot, frame row) of images in reading order; return n.

    `group` (S, h, w), -1 for nothing, and `slot` (S, h, w) are what the pixels of a run share; `groups` (n) receives
    the group of each run, and `counts` (groups) how many runs each group has.
    """
    images, height, width = group.shape
    n = 0
    for s in range(images):
        for y in range(height):
            row, kernels = group[s, y], slot[s, y]
            x = 0
            while x < width:
                g, kernel, first = row[x], kernels[x], x
                x += 1
                if g < 0:
                    continue
                while x < width and row[x] == g and kernels[x] == kernel:
                    x += 1
                groups[n] = g
                counts[g] += 1
                runs[n, 0], runs[n, 1], runs[n, 2], runs[n, 3], runs[n, 4] = s * height + y, first, x, kernel, y
                n += 1
    return n


@jit
def sort_runs(runs: Any, groups: Any, cursor: Any, out: Any) -> None:
    """Copy `runs` (n, 5) to `out` (n, 5) by group, keeping their order; `cursor` (groups) says where each begins."""
    for i in range(len(runs)):
        at = cursor[groups[i]]
        cursor[groups[i]] = at + 1
        for k in range(5):
            out[at, k] = runs[i, k]


@jit
def layer_runs(rgba: Any, slot: Any, runs: Any) -> int:
    """Write the `runs` (n, 5) of one layer (h, w, channels), which is where its last channel is positive; return n.

    `slot` is (h, w), or (1, 1) where one kernel serves the whole layer.
    """
    height, width, channels = rgba.shape
    varies = slot.size > 1
    n = 0
    for y in range(height):
        x = 0
        while x < width:
            if rgba[y, x, channels - 1] <= 0:
                x += 1
                continue
            first = x
            kernel = slot[y, x] if varies else slot[0, 0]
            x += 1
            while x < width and rgba[y, x, channels - 1] > 0 and (not varies or slot[y, x] == kernel):
                x += 1
            runs[n, 0], runs[n, 1], runs[n, 2], runs[n, 3], runs[n, 4] = y, first, x, kernel, y
            n += 1
    return n


@jit
def scatter(
    source: Any, runs: Any, starts: Any, dy: Any, dx: Any, weight: Any, radius: Any,
    top: int, left: int, channels: int, out: Any, touched: Any,
) -> None:  # fmt: skip
    """Spread every pixel of `runs` by its kernel's taps into `out` (A, B*k); mark `touched`.

    `touched` is (A, blocks + 1), the last for the row as a whole. `source` is (S*h, w*k); `top` and `left` are where
    its first pixel lies in `out`.
    """
    marked_y, marked_r, marked_first, marked_end = -1, 0, 0, 0
    for i in range(len(runs)):
        row, slot, y = runs[i, 0], runs[i, 3], top + runs[i, 4]
        begin, n = runs[i, 1] * channels, (runs[i, 2] - runs[i, 1]) * channels
        values = source[row, begin : begin + n]
        x = left + runs[i, 1]
        for t in range(starts[slot], starts[slot + 1]):
            first = (x + dx[t]) * channels
            target = out[y + dy[t], first : first + n]
            w = weight[t]
            for j in range(n):
                target[j] += w * values[j]
        r = radius[slot]
        first_block, end_block = (x - r) // BLOCK, (left + runs[i, 2] + r) // BLOCK + 1
        if y == marked_y and r <= marked_r and first_block >= marked_first and end_block <= marked_end:
            continue
        marked_y, marked_r, marked_first, marked_end = y, r, first_block, end_block
        for row_touched in range(y - r, y + r + 1):
            touched[row_touched, -1] = 1
            for b in range(first_block, end_block):
                touched[row_touched, b] = 1


@jit
def _sum_along(spread: Any, ones: Any, whole: int) -> None:
    """Replace `spread` (n, 4), and `ones` (n) if in use, by their running sums."""
    red, green, blue, alpha, one = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(len(spread)):
        red += spread[x, 0]
        green += spread[x, 1]
        blue += spread[x, 2]
        alpha += spread[x, 3]
        spread[x, 0] = red
        spread[x, 1] = green
        spread[x, 2] = blue
        spread[x, 3] = alpha
    if whole == ONES:
        for x in range(len(ones)):
            one += ones[x]
            ones[x] = one


@jit
def _make_whole(spread: Any, ones: Any, whole: int) -> None:
    """Divide light and coverage `spread` (n, 4) by what an opaque interior sums to."""
    if whole == PLAIN:
        return
    for x in range(len(spread)):
        total = spread[x, 3]
        if whole == ONE:
            total = max(total, UNIT)
        elif whole == ONES:
            total = max(total, ones[x])
        if total > FAINT and total != UNIT:
            scale = UNIT / total
            for k in range(4):
                spread[x, k] *= scale


@jit
def _lay_alone(spread: Any, far: Any) -> None:
    """Lay `spread` (n, 4), a surface of its own, over `far` (n, 4)."""
    for x in range(len(spread)):
        seen = UNIT - spread[x, 3]
        for k in range(4):
            far[x, k] = spread[x, k] + far[x, k] * seen


@jit
def _lay_surface(spread: Any, plane: int, gap: int, near: Any, far: Any, last: Any, behind: Any) -> None:
    """Add `spread` (n, 4), whole at a coverage of one, to `near`, `far` (n, 4) and `last` (n); see `flush`."""
    for x in range(len(spread)):
        alpha = spread[x, 3]
        if alpha <= FAINT:
            continue
        scale = UNIT
        if alpha > UNIT:
            scale, alpha = UNIT / alpha, UNIT
        if last[x] == NOTHING:
            for k in range(4):
                far[x, k] = 0
                near[x, k] = 0
        elif plane - last[x] > gap:
            seen = UNIT - near[x, 3]
            for k in range(4):
                far[x, k] = near[x, k] + far[x, k] * seen
                near[x, k] = 0
            behind[x] = last[x]
        last[x] = plane
        # Parts of one surface stand side by side: they add up, until together they cover the pixel.
        kept = UNIT
        if near[x, 3] + alpha > UNIT:
            kept = (UNIT - alpha) / near[x, 3]
        for k in range(4):
            near[x, k] = spread[x, k] * scale + near[x, k] * kept


@jit
def next_touched(touched: Any, b: int) -> tuple[int, int]:
    """Find the next marked blocks of a row (blocks + 1), from `b` on: first and end, the same for none; unmark them."""
    blocks = len(touched) - 1
    while b < blocks and touched[b] == 0:
        b += 1
    first = b
    while b < blocks and touched[b] != 0:
        touched[b] = 0
        b += 1
    return first, b


@jit
def flush(
    spread: Any, ones: Any, touched: Any, whole: int, border: int,
    plane: int, gap: int, near: Any, far: Any, last: Any, behind: Any,
) -> None:  # fmt: skip
    """Composite one blurred group over what lies behind it, and clear the accumulators.

    `spread` (A, B, 4) and `ones` (A, B) hold the group, running sums along x still to be taken. `whole` says what an
    opaque interior sums to: one (`ONE`), its own coverage (`OWN`), what `ones` says (`ONES`); or that it is to be left
    as it is (`PLAIN`).
    `near` (H, W, 4) holds the surface under construction at each pixel, `far` (H, W, 4) all behind it, `last` (H, W)
    the plane that `near` reached. A plane more than `gap` before that starts a new surface; else the two share one.
    With a `gap` of 0 every group is a surface of its own, and only `far` is used.
    """
    height, width, _ = far.shape
    rows, blocks = touched.shape[0], touched.shape[1] - 1
    for y in range(rows):
        if touched[y, blocks] == 0:
            continue
        touched[y, blocks] = 0
        b = 0
        while True:
            first, b = next_touched(touched[y], b)
            if first == b:
                break
            x0, x1 = first * BLOCK, b * BLOCK
            one = ones[y if whole == ONES else 0]
            _sum_along(spread[y, x0:x1], one[x0:x1], whole)
            fy, left, right = y - border, max(x0, border), min(x1, width + border)
            if 0 <= fy < height and left < right:
                row, part = spread[y, left:right], slice(left - border, right - border)
                if gap == 0:
                    _make_whole(row, one[left:right], whole)
                    _lay_alone(row, far[fy, part])
                else:
                    _lay_surface(row, plane, gap, near[fy, part], far[fy, part], last[fy, part], behind[fy, part])
            spread[y, x0:x1] = 0
            if whole == ONES:
                one[x0:x1] = 0


@jit
def composite_planes(
    source: Any, runs: Any, bounds: Any, starts: Any, dy: Any, dx: Any, weight: Any, radius: Any,
    border: int, gap: int, spread: Any, flat: Any, ones: Any, touched: Any, near: Any, far: Any, last: Any, behind: Any,
) -> None:  # fmt: skip
    """Scatter and flush every plane, from far to near; `bounds` (planes + 1) says where the runs of each begin.

    `flat` (A, B*4) is `spread` (A, B, 4).
    """
    for plane in range(len(bounds) - 1):
        first, end = bounds[plane], bounds[plane + 1]
        if first < end:
            scatter(
                source, runs[first:end], starts, dy, dx, weight, radius, border, border, 4, flat, touched
            )  # fmt: skip
            flush(spread, ones, touched, ONE, border, plane, gap, near, far, last, behind)
