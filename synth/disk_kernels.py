"""Kernels of `disks`.

A strip is some rows of the picture. R B = rows and columns of the accumulator of a strip: those of the frame, and a
border of the largest reach on both sides; X = its blocks, of `BLOCK` pixels; n = runs, as in `run_kernels`.
A kernel comes as the taps of its left half (`psf.TapTable`).
"""

from typing import Any

import numpy as np

from .jit import jit
from .resolve_kernels import FAINT, NOTHING, UNIT, resolve
from .simd_disks import (
    PIXELS,
    add_falling_taps,
    add_falling_twice,
    add_rising_taps,
    add_rising_twice,
    add_taps_of_pixel,
    sum_row,
)

BLOCK = 16
NONE = np.float32(0.0)
ONE, OWN, ONES, PLAIN = 0, 1, 2, 3
SHORT = 16
"""Runs of fewer pixels are spread pixel by pixel."""
NEARBY = 2
"""What lies no more blocks apart is composited together: to begin anew costs as much as so many blocks."""


@jit
def _scatter_long(
    source: Any, at: int, n: int, starts: Any, dx: Any, weight: Any, kernel_row: int, first: int, end: int, r: int,
    y: int, x: int, values: Any, out: Any,
) -> None:  # fmt: skip
    """Spread `n` pixels of `source` from `at` on into `out` (R, 4 B) by the rows `first` to `end` of their kernel.

    The kernel has 2 `r` + 1 rows, whose taps begin at `starts[kernel_row]`; (y, x) is where the first pixel lies in
    `out`. `values` is room to work, zero up to its middle.
    """
    pitch, flat, widest, middle = out.shape[1], out.reshape(-1), 0, len(values) // 2
    for k in range(first, end):
        widest = max(widest, starts[kernel_row + k + 1] - starts[kernel_row + k])
    run, padded = source[4 * at : 4 * (at + n)], values[middle : middle + 4 * (n + widest + PIXELS)]
    for i in range(4 * n):
        padded[i] = run[i]
    for i in range(4 * n, len(padded)):
        padded[i] = NONE
    for falling in range(2):
        for k in range(first, end):
            # Rows as far above the middle as below it are alike.
            twin = 2 * r - k
            alone = twin < first or twin >= end or twin == k
            if twin < k and not alone:
                continue
            tap = starts[kernel_row + k]
            taps = starts[kernel_row + k + 1] - tap
            length = 4 * (n + taps - 1)
            column = 4 * (x + 2 - dx[tap] - taps) if falling else 4 * (x + dx[tap])
            to, to_twin = (y - r + k) * pitch + column, (y - r + twin) * pitch + column
            if falling:
                begin = middle - 4 * (taps - 1)
                if alone:
                    add_falling_taps(values, begin, length, weight, tap, taps, flat, to)
                else:
                    add_falling_twice(values, begin, length, weight, tap, taps, flat, to, to_twin)
            elif alone:
                add_rising_taps(values, middle, length, weight, tap, taps, flat, to)
            else:
                add_rising_twice(values, middle, length, weight, tap, taps, flat, to, to_twin)


@jit
def _mark(touched: Any, y0: int, y1: int, x0: int, x1: int) -> None:
    """Mark in `touched` (R, X + 1) the blocks of columns `x0` to `x1`; the last stands for the row as a whole."""
    for y in range(y0, y1):
        touched[y, -1] = 1
        for b in range(x0 // BLOCK, (x1 - 1) // BLOCK + 1):
            touched[y, b] = 1


@jit
def scatter(
    source: Any, width: int, runs: Any, rows: Any, starts: Any, dx: Any, rises: Any, falls: Any, weight: Any,
    radius: Any, top: int, left: int, values: Any, out: Any, touched: Any,
) -> None:  # fmt: skip
    """Spread every pixel of `runs` by its kernel into `out` (R, 4 B), differences along x; mark `touched` (R, X + 1).

    `source` is flat, rows of `width` pixels; `top` and `left` are where its first pixel lies in `out`. What falls
    outside the rows of `out` is left out.
    """
    marked_y, marked_r, marked_first, marked_end = -1, -1, 0, 0
    flat = out.reshape(-1)
    for i in range(len(runs)):
        slot, y = runs[i, 3], top + runs[i, 4]
        r = radius[slot]
        first, end = max(r - y, 0), min(len(out) - y + r, 2 * r + 1)
        if first >= end:
            continue
        at, n, x, kernel_row = runs[i, 0] * width + runs[i, 1], runs[i, 2] - runs[i, 1], left + runs[i, 1], rows[slot]
        if n < SHORT:
            for j in range(n):
                add_taps_of_pixel(
                    source, 4 * (at + j), weight, rises, falls, starts[kernel_row + first], starts[kernel_row + end],
                    flat, y * out.shape[1] + 4 * (x + j),
                )  # fmt: skip
        else:
            _scatter_long(source, at, n, starts, dx, weight, kernel_row, first, end, r, y, x, values, out)
        if y != marked_y or r > marked_r or x - r < marked_first or x + n + r + 1 > marked_end:
            marked_y, marked_r = y, r
            marked_first, marked_end = (x - r) // BLOCK * BLOCK, (x + n + r) // BLOCK * BLOCK + BLOCK
            _mark(touched, y - r + first, y - r + end, marked_first, marked_end)


@jit
def scatter_ones(
    runs: Any, rows: Any, starts: Any, dy: Any, dx: Any, weight: Any, radius: Any, top: int, left: int, out: Any,
    touched: Any,
) -> None:  # fmt: skip
    """Spread ones, where `runs` are, by their kernels into `out` (R, B), differences along x; see `scatter`."""
    for i in range(len(runs)):
        slot, y, x0, x1 = runs[i, 3], top + runs[i, 4], left + runs[i, 1], left + runs[i, 2]
        r = radius[slot]
        first, end = max(y - r, 0), min(y + r + 1, len(out))
        if first >= end:
            continue
        kernel_row = rows[slot] + first - (y - r)
        for t in range(starts[kernel_row], starts[kernel_row + end - first]):
            for x in range(x0, x1):
                out[y + dy[t], x + dx[t]] += weight[t]
                out[y + dy[t], x + 1 - dx[t]] -= weight[t]
        _mark(touched, first, end, x0 - r, x1 + r + 1)


@jit
def next_touched(touched: Any, b: int) -> tuple[int, int]:
    """Find the next marked blocks of a row (X + 1), from `b` on: first and end, the same for none; unmark them."""
    blocks = len(touched) - 1
    while b < blocks and touched[b] == 0:
        b += 1
    first = b
    while b < blocks and touched[b] != 0:
        touched[b] = 0
        b += 1
    return first, b


@jit
def _join_surface(
    parts: Any, x0: int, x1: int, plane: Any, gap: Any, near: Any, far: Any, last: Any, behind: Any
) -> None:
    """Add columns `x0` to `x1` of a blurred group, `parts` (8, B), to the surfaces under construction; see `flush`.

    `near` and `far` are (4, B), `last` and `behind` (B). The last four rows of `parts` receive what multiplies the
    group and the surface so far, and, where the group begins a new surface, the old one and all behind it, which become
    what lies behind: pixels need no branch then.
    """
    alpha, surface, reached, below = parts[3, x0:x1], near[3, x0:x1], last[x0:x1], behind[x0:x1]
    gain, kept, moved, seen = parts[4, x0:x1], parts[5, x0:x1], parts[6, x0:x1], parts[7, x0:x1]
    anew = False
    for x in range(len(alpha)):
        there = alpha[x] > FAINT
        begins = there & (plane - reached[x] > gap)
        some, new = np.float32(there), np.float32(begins)
        before = surface[x] * (UNIT - new)
        # Parts of one surface stand side by side: they add up, until together they cover the pixel.
        room = UNIT - min(alpha[x] * some, UNIT)
        gain[x] = some / max(alpha[x], UNIT)
        kept[x] = min(room / max(before, FAINT), UNIT) * (UNIT - new)
        moved[x] = new
        seen[x] = UNIT - surface[x] * new
        below[x] = reached[x] if begins else below[x]
        reached[x] = plane if there else reached[x]
        anew |= begins
    for k in range(4):
        light, front, back = parts[k, x0:x1], near[k, x0:x1], far[k, x0:x1]
        if anew:
            for x in range(len(light)):
                back[x] = front[x] * moved[x] + back[x] * seen[x]
        for x in range(len(light)):
            front[x] = light[x] * gain[x] + front[x] * kept[x]


@jit
def _lay_layer(parts: Any, x0: int, x1: int, ones: Any, whole: int, far: Any) -> None:
    """Lay columns `x0` to `x1` of a layer of its own, `parts` (8, B), over `far` (4, B); see `flush`."""
    alpha, one, gain, seen = parts[3, x0:x1], ones[x0:x1], parts[4, x0:x1], parts[5, x0:x1]
    for x in range(len(alpha)):
        total = alpha[x]
        if whole == ONE:
            total = max(total, UNIT)
        elif whole == ONES:
            total = max(total, one[x])
        gain[x] = UNIT / total if total > FAINT and whole != PLAIN else UNIT
        seen[x] = UNIT - alpha[x] * gain[x]
    for k in range(4):
        light, back = parts[k, x0:x1], far[k, x0:x1]
        for x in range(len(alpha)):
            back[x] = light[x] * gain[x] + back[x] * seen[x]


@jit
def _sum_ones(ones: Any) -> None:
    """Replace `ones` (n) by their running sums."""
    total = 0.0
    for x in range(len(ones)):
        total += ones[x]
        ones[x] = total


@jit
def flush(
    spread: Any, ones: Any, touched: Any, whole: int, plane: int, gap: int, near: Any, far: Any, last: Any,
    behind: Any, parts: Any,
) -> None:  # fmt: skip
    """Composite one blurred group over what lies behind it, and clear the accumulators.

    `spread` (R, 4 B) and `ones` (R, B) hold the group, running sums along x still to be taken. `whole` says what an
    opaque interior sums to: one (`ONE`), its own coverage (`OWN`), what `ones` says (`ONES`); or that it is to be left
    as it is (`PLAIN`).
    `near` (R, 4, B) holds the surface under construction at each pixel, `far` (R, 4, B) all behind it, `last` (R, B)
    the plane that `near` reached, `behind` (R, B) what the surface behind it had reached. A plane more than `gap`
    before `last` starts a new surface; else the two share one.
    With a `gap` of 0 every group is a surface of its own, and only `far` is used. `parts` (8, B) is room to work.
    """
    flat, blocks = spread.reshape(-1), touched.shape[1] - 1
    for y in range(len(spread)):
        if touched[y, blocks] == 0:
            continue
        touched[y, blocks] = 0
        first, end = next_touched(touched[y], 0)
        while first < end:
            following, last_end = next_touched(touched[y], end)
            if following < last_end and following - end <= NEARBY:
                end = last_end
                continue
            x0, x1 = first * BLOCK, end * BLOCK
            sum_row(flat, y * spread.shape[1] + 4 * x0, x1 - x0, parts, x0)
            if gap > 0:
                _join_surface(parts, x0, x1, np.float32(plane), np.float32(gap), near[y], far[y], last[y], behind[y])
            else:
                one = ones[y if whole == ONES else 0]
                _sum_ones(one[x0:x1])
                _lay_layer(parts, x0, x1, one, whole, far[y])
                one[x0:x1] = NONE
            first, end = following, last_end


@jit
def composite_planes(
    source: Any, width: int, runs: Any, bounds: Any, cursor: Any, rows: Any, starts: Any, dx: Any, rises: Any,
    falls: Any, weight: Any, radius: Any, edge: int, border: int, gap: int, plane_coc: Any, values: Any, spread: Any,
    touched: Any, near: Any, far: Any, last: Any, behind: Any, parts: Any, ones: Any, out: Any,
) -> None:  # fmt: skip
    """Blur and composite an image that is sorted into planes, strip by strip, each plane from far to near.

    `bounds` (planes + 1) says where the runs of each plane begin, `cursor` (planes) too; they go from above to below.
    `out` (H, W, 3), the picture, lies `edge` pixels within the frame. A strip has a row above and one below those that
    it finishes.
    """
    strip = len(spread) - 2
    for y0 in range(0, len(out), strip):
        n, top = min(strip, len(out) - y0) + 2, edge + y0 - 1
        near[:], far[:], last[:] = NONE, NONE, NOTHING
        for plane in range(len(cursor)):
            end = bounds[plane + 1]
            while cursor[plane] < end and runs[cursor[plane], 4] < top - border:
                cursor[plane] += 1
            first = cursor[plane]
            beyond = first
            while beyond < end and runs[beyond, 4] < top + n + border:
                beyond += 1
            if first < beyond:
                scatter(
                    source, width, runs[first:beyond], rows, starts, dx, rises, falls, weight, radius, -top, border,
                    values, spread[:n], touched,
                )  # fmt: skip
                flush(spread[:n], ones, touched, ONE, plane, gap, near, far, last, behind, parts)
        resolve(near, far, last, behind, gap, plane_coc, edge + border, parts, out[y0 : y0 + n - 2])
