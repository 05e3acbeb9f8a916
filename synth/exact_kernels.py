"""Kernels of `exact`.

H W = the picture; N = cells of the lens, rows of `cells` (N, 5): centre x y and width x y, in half sides of the
aperture's square, and weight; K = layers, rows of `where` (K, 6): first value in `texels`, height, width, top, left
(in the picture), and first value in `relief`, -1 for a layer of one depth. `texels` holds a layer of one depth as
(h, 4, w), others as (h, w, 4); `relief` holds (h, w, 3): half the CoC, pixels, and how much it grows along x and y.

Seen from a point u of the lens, the ray of pixel x meets a surface of signed CoC c at x + c u / 2. Colours are looked
up there through the whole cell, a box c / 2 as wide as the cell: `filters` (widths, fractions, taps), see
`exact.cell_filters`.
"""

from typing import Any

import numpy as np

from .jit import jit

UNIT = np.float32(1.0)
NONE = np.float32(0.0)
OPAQUE = np.float32(1e-4)
"""What lies behind less transmittance than this is not looked for."""
WIDTHS, FRACTIONS = 32, 128
"""Steps per pixel of the widths and the positions of `filters`."""
FACING = 0.25
"""Surfaces seen at a grazing angle are met as if they turned away no further than this; 1 is facing the lens."""
PASSES = 3


@jit
def find_filter(at: float, width: float, filters: Any) -> tuple[int, Any]:
    """Find the first pixel that a box of `width` around `at` takes light from, and the share of each from there on."""
    whole = int(np.floor(at))
    w, f = min(int(np.rint(width * WIDTHS)), len(filters) - 1), int(np.rint((at - whole) * FRACTIONS))
    reach, taps = 2.0 + 0.5 * w / WIDTHS, 4 + (w + WIDTHS - 1) // WIDTHS
    return whole + int(np.ceil(f / FRACTIONS - reach)), filters[w, f, :taps]


@jit
def _read_flat(
    texels: Any, layer: Any, half: float, cell: Any, filters: Any, y: int, x0: int, x1: int, blurred: Any, line: Any
) -> bool:
    """Write to `line` (4, W), from x0 to x1, what row `y` sees of a layer of one depth; false if nothing.

    Along y first, into `blurred` (4, W and the taps); then along x.
    """
    offset, height, width, left = layer[0], layer[1], layer[2], layer[4]
    first_row, rows = find_filter(y - layer[3] + half * cell[1], abs(half) * cell[3], filters)
    begin, columns = find_filter(x0 - left + half * cell[0], abs(half) * cell[2], filters)
    low, high = max(-first_row, 0), min(len(rows), height - first_row)
    if low >= high:
        return False
    n, end = x1 - x0, begin + x1 - x0 + len(columns) - 1
    inside, until = max(begin, 0), min(end, width)
    for k in range(4):
        sums = blurred[k, : end - begin]
        sums[:] = NONE
        part = sums[inside - begin : max(until - begin, inside - begin)]
        for j in range(low, high):
            share, at = rows[j], offset + ((first_row + j) * 4 + k) * width + inside
            values = texels[at : at + len(part)]
            for x in range(len(part)):
                part[x] += share * values[x]
        out = line[k, x0:x1]
        out[:] = NONE
        for i in range(len(columns)):
            share, shifted = columns[i], sums[i : i + n]
            for x in range(n):
                out[x] += share * shifted[x]
    return True


@jit
def meet(relief: Any, layer: Any, y: float, x: float, uy: float, ux: float) -> float:
    """Half the CoC of the point where the ray of (y, x), counted from the layer's corner, meets the layer's surface.

    Newton's method: exact for planes, whose inverse depth is linear in pixels.
    """
    height, width, offset = layer[1], layer[2], layer[5]
    v, u, half, before = y, x, 0.0, -1
    for _ in range(PASSES):
        row, column = min(max(int(np.rint(v)), 0), height - 1), min(max(int(np.rint(u)), 0), width - 1)
        at = offset + (row * width + column) * 3
        if at == before:
            break
        before, along_x, along_y = at, relief[at + 1], relief[at + 2]
        half = relief[at] + along_x * (x - column) + along_y * (y - row)
        half /= max(1.0 - along_x * ux - along_y * uy, FACING)
        v, u = y + half * uy, x + half * ux
    return half


@jit
def _read_varied(
    texels: Any, relief: Any, layer: Any, cell: Any, filters: Any, y: int, x0: int, x1: int, line: Any
) -> None:
    """Write to `line` (4, W), from x0 to x1, what row `y` sees of a layer whose depth varies."""
    offset, height, width, top, left = layer[0], layer[1], layer[2], layer[3], layer[4]
    for x in range(x0, x1):
        half = meet(relief, layer, y - top, x - left, cell[1], cell[0])
        row, rows = find_filter(y - top + half * cell[1], abs(half) * cell[3], filters)
        column, columns = find_filter(x - left + half * cell[0], abs(half) * cell[2], filters)
        red, green, blue, alpha = NONE, NONE, NONE, NONE
        for j in range(max(-row, 0), min(len(rows), height - row)):
            for i in range(max(-column, 0), min(len(columns), width - column)):
                share, at = rows[j] * columns[i], offset + ((row + j) * width + column + i) * 4
                red += share * texels[at]
                green += share * texels[at + 1]
                blue += share * texels[at + 2]
                alpha += share * texels[at + 3]
        line[0, x], line[1, x], line[2, x], line[3, x] = red, green, blue, alpha


@jit
def _lay_behind(line: Any, x0: int, x1: int, clear: Any, light: Any) -> None:
    """Add what is seen of `line` (4, W) through all before it: transmittance `clear` (W), `light` (3, W) so far."""
    through, alpha = clear[x0:x1], line[3, x0:x1]
    for k in range(3):
        seen, part = light[k, x0:x1], line[k, x0:x1]
        for x in range(x1 - x0):
            seen[x] += through[x] * part[x]
    for x in range(x1 - x0):
        through[x] *= UNIT - alpha[x]


@jit
def render_layers(
    texels: Any, relief: Any, where: Any, half: Any, reach: Any, cells: Any, filters: Any, out: Any
) -> None:
    """Write to `out` (H, 3, W) what all cells of the lens see of layers, far to near.

    `half` (K) is half the CoC of each layer of one depth, signed pixels; `reach` (K) how far a layer's light may lie
    from where it is.
    """
    height, _, width = out.shape
    clear, light = np.empty(width, np.float32), np.empty((3, width), np.float32)
    line, blurred = np.empty((4, width), np.float32), np.empty((4, width + filters.shape[2]), np.float32)
    for y in range(height):
        out[y] = NONE
        for n in range(len(cells)):
            cell = cells[n]
            clear[:], light[:] = UNIT, NONE
            for k in range(len(where) - 1, -1, -1):
                layer, far = where[k], reach[k]
                x0, x1 = max(layer[4] - far, 0), min(layer[4] + layer[2] + far, width)
                if y + far < layer[3] or y - far >= layer[3] + layer[1] or x0 >= x1:
                    continue
                if layer[5] >= 0:
                    _read_varied(texels, relief, layer, cell, filters, y, x0, x1, line)
                elif not _read_flat(texels, layer, half[k], cell, filters, y, x0, x1, blurred, line):
                    continue
                _lay_behind(line, x0, x1, clear, light)
            weight = np.float32(cell[4])
            for k in range(3):
                sums, seen = out[y, k], light[k]
                for x in range(width):
                    sums[x] += weight * seen[x]


@jit
def _continues(half: Any, plane: Any, gap: int, number: int, reached: float, v: int, u: int) -> bool:
    """Whether the surface of plane `number` is that which the ray, now `reached` half a CoC, had before it at (v, u)."""
    for s in range(2):
        if plane[s, v, u] >= 0 and abs(plane[s, v, u] - number) <= gap and half[s, v, u] < reached:
            return True
    return False


@jit
def _look_up(
    rgba: Any, plane: Any, gap: int, s: int, v: int, u: int, row: int, rows: Any, column: int, columns: Any, seen: Any
) -> None:
    """Write to `seen` (4) the filtered colour of the surface that a ray met in pixel (s, v, u).

    Only pixels of that surface count; the one that was met stands for the others.
    """
    _, height, width, _ = rgba.shape
    red, green, blue, alpha, own = NONE, NONE, NONE, NONE, UNIT
    number = plane[s, v, u]
    for j in range(max(-row, 0), min(len(rows), height - row)):
        for i in range(max(-column, 0), min(len(columns), width - column)):
            y, x, share = row + j, column + i, rows[j] * columns[i]
            sheet = 0 if abs(plane[0, y, x] - number) <= gap else 1
            if sheet == 1 and (plane[1, y, x] < 0 or abs(plane[1, y, x] - number) > gap):
                continue
            red += share * rgba[sheet, y, x, 0]
            green += share * rgba[sheet, y, x, 1]
            blue += share * rgba[sheet, y, x, 2]
            alpha += share * rgba[sheet, y, x, 3]
            own -= share
    seen[0], seen[1] = red + own * rgba[s, v, u, 0], green + own * rgba[s, v, u, 1]
    seen[2], seen[3] = blue + own * rgba[s, v, u, 2], alpha + own * rgba[s, v, u, 3]


@jit
def _borders(at: float, pixel: int, u: float) -> tuple[float, float, int]:
    """How much half the CoC falls until a ray at `at` leaves its pixel, then from border to border, and which way."""
    if u == 0:
        return np.inf, np.inf, 0
    way = -1 if u > 0 else 1
    return (at - pixel - 0.5 * way) / u, abs(1.0 / u), way


@jit
def _trace(
    rgba: Any, half: Any, plane: Any, gap: int, high: float, low: float, y: int, x: int, cell: Any, filters: Any,
    seen: Any, light: Any,
) -> None:  # fmt: skip
    """Add to `light` (4) what one cell of the lens sees of surfaces through pixel (y, x).

    The ray goes from near to far, half the CoC falling from `high` to `low`, from pixel to pixel. Within a pixel a
    surface is flat, and met if the ray passes its depth there. If it lies before the ray already, the ray has passed
    behind its edge, unless it is the continuation of the surface that the ray had before it until then.
    """
    _, height, width, _ = rgba.shape
    weight, clear, reached = np.float32(cell[4]), UNIT, high
    v, u = int(np.floor(y + high * cell[1] + 0.5)), int(np.floor(x + high * cell[0] + 0.5))
    next_y, each_y, way_y = _borders(y + high * cell[1], v, cell[1])
    next_x, each_x, way_x = _borders(x + high * cell[0], u, cell[0])
    before_v, before_u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
    while reached >= low:
        until = high - min(next_y, next_x)
        at_v, at_u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
        for s in range(2):
            number, there = plane[s, at_v, at_u], half[s, at_v, at_u]
            if number < 0 or there < until:
                continue
            if there > reached and not _continues(half, plane, gap, number, reached, before_v, before_u):
                continue
            row, rows = find_filter(y + there * cell[1], abs(there) * cell[3], filters)
            column, columns = find_filter(x + there * cell[0], abs(there) * cell[2], filters)
            _look_up(rgba, plane, gap, s, at_v, at_u, row, rows, column, columns, seen)
            for k in range(4):
                light[k] += weight * clear * seen[k]
            clear *= UNIT - seen[3]
            if clear < OPAQUE:
                return
        before_v, before_u, reached = at_v, at_u, until
        if next_y < next_x:
            next_y, v = next_y + each_y, v + way_y
        else:
            next_x, u = next_x + each_x, u + way_x


@jit
def render_surfaces(
    rgba: Any, half: Any, plane: Any, gap: int, high: Any, low: Any, cells: Any, filters: Any, edge: int, out: Any
) -> None:
    """Write to `out` (H - 2 edge, W - 2 edge, 3) what all cells of the lens see of surfaces and what they hide.

    `rgba` (2, H, W, 4) and `plane` (2, H, W) are those of `layers.Surfaces`, `half` (2, H, W) half their CoC;
    `high`, `low` (H, W) are its greatest and least value around each pixel. What was seen stands for what was not.
    """
    light, seen = np.empty(4, np.float32), np.empty(4, np.float32)
    for y in range(edge, edge + len(out)):
        for x in range(edge, edge + out.shape[1]):
            light[:] = NONE
            for n in range(len(cells)):
                _trace(rgba, half, plane, gap, high[y, x], low[y, x], y, x, cells[n], filters, seen, light)
            for k in range(3):
                sharp = rgba[0, y, x, k]
                out[y - edge, x - edge, k] = light[k] / light[3] if light[3] > OPAQUE else sharp
