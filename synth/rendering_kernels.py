"""Kernels of `rendering`.

S = source images, h w = their size, A B = size of the accumulator (the frame and a border of the largest reach),
H W = the frame, n = runs, k = channels (colour and coverage 4, coverage alone 1). A run is a row of neighbouring
pixels that share a group and a kernel. Blocks are `BLOCK` pixels of a row.
"""

from typing import Any

import numpy as np

from .jit import jit

BLOCK = 16
FAINT = 1e-6
"""Coverage up to this is what rounding leaves of a running sum."""
ONE, OWN, ONES = 0, 1, 2


@jit
def count_runs(group: Any, slot: Any, counts: Any) -> None:
    """Add to `counts` (groups) the runs of each group; `group` (S, h, w), -1 for nothing, `slot` (S, h, w)."""
    images, height, width = group.shape
    for s in range(images):
        for y in range(height):
            x = 0
            while x < width:
                g, kernel = group[s, y, x], slot[s, y, x]
                x += 1
                while x < width and group[s, y, x] == g and slot[s, y, x] == kernel:
                    x += 1
                if g >= 0:
                    counts[g] += 1


@jit
def collect_runs(group: Any, slot: Any, cursor: Any, runs: Any) -> None:
    """Write `runs` (n, 5: source row, first x, end x, slot, frame row), sorted by group; `cursor` is consumed."""
    images, height, width = group.shape
    for s in range(images):
        for y in range(height):
            x = 0
            while x < width:
                g, kernel, first = group[s, y, x], slot[s, y, x], x
                x += 1
                while x < width and group[s, y, x] == g and slot[s, y, x] == kernel:
                    x += 1
                if g >= 0:
                    i = cursor[g]
                    runs[i, 0], runs[i, 1], runs[i, 2] = s * height + y, first, x
                    runs[i, 3], runs[i, 4] = kernel, y
                    cursor[g] = i + 1


@jit
def scatter(
    source: Any, runs: Any, starts: Any, dy: Any, dx: Any, weight: Any, radius: Any,
    top: int, left: int, channels: int, out: Any, touched: Any,
) -> None:  # fmt: skip
    """Spread every pixel of `runs` by its kernel's taps into `out` (A, B*k); mark `touched` (A, blocks).

    `source` is (S*h, w*k); `top` and `left` are where its first pixel lies in `out`.
    """
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
        for row_touched in range(y - r, y + r + 1):
            for b in range((x - r) // BLOCK, (left + runs[i, 2] + r) // BLOCK + 1):
                touched[row_touched, b] = 1


@jit
def _lay_over(
    red: Any,
    green: Any,
    blue: Any,
    alpha: Any,
    plane: int,
    gap: int,
    y: int,
    x: int,
    near: Any,
    far: Any,
    last: Any,
) -> None:
    """Add a group's light and coverage to a pixel; see `flush`."""
    if plane - last[y, x] > gap:
        seen = np.float32(1.0) - near[y, x, 3]
        for k in range(4):
            far[y, x, k] = near[y, x, k] + far[y, x, k] * seen
            near[y, x, k] = 0
    last[y, x] = plane
    # Parts of one surface stand side by side: they add up, until together they cover the pixel.
    kept = 1.0
    if near[y, x, 3] + alpha > 1.0:
        kept = (1.0 - alpha) / near[y, x, 3]
    near[y, x, 0] = red + near[y, x, 0] * kept
    near[y, x, 1] = green + near[y, x, 1] * kept
    near[y, x, 2] = blue + near[y, x, 2] * kept
    near[y, x, 3] = alpha + near[y, x, 3] * kept


@jit
def _flush_span(
    spread: Any, ones: Any, integrate: bool, whole: int, x0: int, x1: int, border: int, y: int,
    plane: int, gap: int, near: Any, far: Any, last: Any,
) -> None:  # fmt: skip
    """Composite columns `x0` to `x1` of one row of accumulators, `spread` (B*4) and `ones` (B), onto frame row `y`."""
    height, width = last.shape
    red, green, blue, alpha, one = 0.0, 0.0, 0.0, 0.0, 0.0
    for x in range(x0, x1):
        if not integrate:
            red, green, blue, alpha, one = 0.0, 0.0, 0.0, 0.0, 0.0
        red += spread[4 * x]
        green += spread[4 * x + 1]
        blue += spread[4 * x + 2]
        alpha += spread[4 * x + 3]
        for k in range(4):
            spread[4 * x + k] = 0
        if whole == ONES:
            one += ones[x]
            ones[x] = 0
        fx = x - border
        if y < 0 or y >= height or fx < 0 or fx >= width or alpha <= FAINT:
            continue
        total = max(alpha, 1.0)
        if whole == OWN:
            total = alpha
        elif whole == ONES:
            total = max(one, alpha)
        scale = 1.0 / total
        _lay_over(
            red * scale, green * scale, blue * scale, alpha * scale, plane, gap, y, fx, near, far, last
        )  # fmt: skip


@jit
def flush(
    spread: Any, ones: Any, touched: Any, integrate: bool, whole: int, border: int,
    plane: int, gap: int, near: Any, far: Any, last: Any,
) -> None:  # fmt: skip
    """Composite one blurred group over what lies behind it, and clear the accumulators.

    `spread` (A, B*4) and `ones` (A, B) hold the group, running sums along x still to be taken where `integrate`.
    `whole` says what an opaque interior sums to: one (`ONE`), its own coverage (`OWN`), what `ones` says (`ONES`).
    `near` (H, W, 4) holds the surface under construction at each pixel, `far` (H, W, 4) all behind it, `last` (H, W)
    the plane that `near` reached. A plane more than `gap` before that starts a new surface; else the two share one.
    """
    rows, blocks = touched.shape
    for y in range(rows):
        b = 0
        while b < blocks:
            if touched[y, b] == 0:
                b += 1
                continue
            first = b
            while b < blocks and touched[y, b] != 0:
                touched[y, b] = 0
                b += 1
            _flush_span(
                spread[y], ones[y if whole == ONES else 0], integrate, whole, first * BLOCK, b * BLOCK, border,
                y - border, plane, gap, near, far, last,
            )  # fmt: skip


@jit
def resolve(near: Any, far: Any, margin: int, fill: bool, out: Any) -> None:
    """Write to `out` (H', W', 3) the surfaces over what lies behind, without the margin.

    `fill` divides by the coverage: where less than everything was seen, the seen stands for the rest.
    """
    height, width, _ = out.shape
    for y in range(height):
        for x in range(width):
            a = near[y + margin, x + margin]
            z = far[y + margin, x + margin]
            seen = np.float32(1.0) - a[3]
            total = a[3] + z[3] * seen
            scale = np.float32(1.0) / total if fill and total > np.float32(FAINT) else np.float32(1.0)
            for k in range(3):
                out[y, x, k] = (a[k] + z[k] * seen) * scale
