"""Kernels of `exact`.

H W = the picture; N = cells of the lens, rows of `cells` (N, 5): centre x y and width x y, in half sides of the
aperture's square, and weight; K = layers, rows of `where` (K, 6): first value in `texels`, height, width, top, left
(in the picture), and first value in `relief`, -1 for a layer of one depth. `texels` holds a layer of one depth as
(h, 4, w), others as (h, w, 4); `relief` holds (h, w, 3): half the CoC, pixels, and how much it grows along x and y.

Seen from a point u of the lens, the ray of pixel x meets a surface of signed CoC c at x + c u / 2. Colours are looked
up there through the whole cell, a box c / 2 as wide as the cell: `filters` is `exact.cell_filters` (widths, fractions,
taps), flattened, with its widths and taps.
"""

from typing import Any

import numpy as np

from .jit import jit
from .simd import sum_pixels

FROM_NEAR = (2, 0, 1)
"""Sheets of a pixel from near to far: the fringe of a nearer surface, what is seen, what is hidden."""
UNIT = np.float32(1.0)
NONE = np.float32(0.0)
OPAQUE = np.float32(1e-5)
"""What lies behind less transmittance than this is not looked for. Interpolated coverage may exceed 1 a little."""
WIDTHS, FRACTIONS = 32, 128
"""Steps per pixel of the widths and the positions of `filters`."""
FACING = 0.25
"""Surfaces seen at a grazing angle are met as if they turned away no further than this; 1 is facing the lens."""
PASSES = 3
CORNER = 1e-9
"""Borders that a ray crosses within so little of half a CoC are crossed at once."""


@jit
def find_filter(at: float, width: float, filters: Any) -> tuple[int, int, int]:
    """Find the first pixel that a box of `width` around `at` takes light from, and how many do.

    Between them, returns where their shares begin in the first of `filters`.
    """
    _, widths, most = filters
    whole = int(np.floor(at))
    w, f = min(int(width * WIDTHS + 0.5), widths - 1), int((at - whole) * FRACTIONS + 0.5)
    first = whole + int(np.ceil(f * (1.0 / FRACTIONS) - 2.0 - w * (0.5 / WIDTHS)))
    return first, (w * (FRACTIONS + 1) + f) * most, 4 + (w + WIDTHS - 1) // WIDTHS


@jit
def _read_flat(
    texels: Any, layer: Any, half: float, cell: Any, filters: Any, y: int, x0: int, x1: int, blurred: Any, line: Any
) -> bool:
    """Write to `line` (4, W), from x0 to x1, what row `y` sees of a layer of one depth; false if nothing.

    Along y first, into `blurred` (4, W and the taps); then along x.
    """
    offset, height, width, left = layer[0], layer[1], layer[2], layer[4]
    first_row, row_taps, rows = find_filter(y - layer[3] + half * cell[1], abs(half) * cell[3], filters)
    begin, column_taps, columns = find_filter(x0 - left + half * cell[0], abs(half) * cell[2], filters)
    low, high = max(-first_row, 0), min(rows, height - first_row)
    if low >= high:
        return False
    shares, n, end = filters[0], x1 - x0, begin + x1 - x0 + columns - 1
    inside, until = max(begin, 0), min(end, width)
    for k in range(4):
        sums = blurred[k, : end - begin]
        sums[:] = NONE
        part = sums[inside - begin : max(until - begin, inside - begin)]
        for j in range(low, high):
            share, at = shares[row_taps + j], offset + ((first_row + j) * 4 + k) * width + inside
            values = texels[at : at + len(part)]
            for x in range(len(part)):
                part[x] += share * values[x]
        out = line[k, x0:x1]
        out[:] = NONE
        for i in range(columns):
            share, shifted = shares[column_taps + i], sums[i : i + n]
            for x in range(n):
                out[x] += share * shifted[x]
    return True


@jit
def meet(relief: Any, layer: Any, y: float, x: float, uy: float, ux: float, half: float) -> float:
    """Half the CoC of the point where the ray of (y, x), counted from the layer's corner, meets the layer's surface.

    Newton's method, from `half` on: exact for planes, whose inverse depth is linear in pixels.
    """
    height, width, offset = layer[1], layer[2], layer[5]
    before = -1
    for _ in range(PASSES):
        row = min(max(int(np.floor(y + half * uy + 0.5)), 0), height - 1)
        column = min(max(int(np.floor(x + half * ux + 0.5)), 0), width - 1)
        at = offset + (row * width + column) * 3
        if at == before:
            break
        before, along_x, along_y = at, relief[at + 1], relief[at + 2]
        half = relief[at] + along_x * (x - column) + along_y * (y - row)
        half /= max(1.0 - along_x * ux - along_y * uy, FACING)
    return half


@jit
def _gather(
    pixels: Any, offset: int, height: int, width: int, y: float, x: float, half: float, cell: Any, filters: Any
) -> tuple[Any, Any, Any, Any]:
    """Colour and coverage of an image (height, width, 4) where a ray of (y, x) meets it; nothing is outside it."""
    row, row_taps, rows = find_filter(y + half * cell[1], abs(half) * cell[3], filters)
    column, column_taps, columns = find_filter(x + half * cell[0], abs(half) * cell[2], filters)
    top, left = max(-row, 0), max(-column, 0)
    at = offset // 4 + (row + top) * width + column + left
    seen: tuple[Any, Any, Any, Any] = sum_pixels(
        pixels, at, width, filters[0], row_taps + top, max(min(rows, height - row) - top, 0),
        column_taps + left, max(min(columns, width - column) - left, 0),
    )  # fmt: skip
    return seen


@jit
def _read_varied(
    texels: Any, relief: Any, layer: Any, cell: Any, filters: Any, y: int, x0: int, x1: int, clear: Any, line: Any
) -> None:
    """Write to `line` (4, W), from x0 to x1, what row `y` sees of a layer whose depth varies, where it is `clear`."""
    offset, height, width, top, left = layer[0], layer[1], layer[2], layer[3], layer[4]
    half = 0.0
    for x in range(x0, x1):
        if abs(clear[x]) < OPAQUE:
            line[:, x] = NONE
            continue
        # Neighbours meet neighbouring points.
        half = meet(relief, layer, y - top, x - left, cell[1], cell[0], half)
        line[0, x], line[1, x], line[2, x], line[3, x] = _gather(
            texels, offset, height, width, y - top, x - left, half, cell, filters
        )


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
    line, blurred = np.empty((4, width), np.float32), np.empty((4, width + filters[2]), np.float32)
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
                    _read_varied(texels, relief, layer, cell, filters, y, x0, x1, clear, line)
                elif not _read_flat(texels, layer, half[k], cell, filters, y, x0, x1, blurred, line):
                    continue
                _lay_behind(line, x0, x1, clear, light)
            weight = np.float32(cell[4])
            for k in range(3):
                total, seen = out[y, k], light[k]
                for x in range(width):
                    total[x] += weight * seen[x]


@jit
def _continues(surfaces: Any, gap: int, number: int, reached: float, v: int, u: int) -> bool:
    """Whether a surface of plane `number` is one that the ray, `reached` its half CoC, had before it at (v, u)."""
    half, plane = surfaces[2], surfaces[3]
    for s in range(3):
        if plane[s, v, u] >= 0 and abs(plane[s, v, u] - number) <= gap and half[s, v, u] < reached:
            return True
    return False


@jit
def _look_up(
    surfaces: Any, gap: int, s: int, v: int, u: int, y: float, x: float, half: float, cell: Any, filters: Any
) -> tuple[Any, Any, Any, Any]:
    """Do `_gather` for the surface that a ray met in pixel (s, v, u).

    Where the surface is not, there is nothing of it if what is seen lies behind it; else it is hidden there, and the
    pixel that was met stands for it.
    """
    rgba, plane, shares = surfaces[0], surfaces[3], filters[0]
    _, height, width, _ = rgba.shape
    row, row_taps, rows = find_filter(y + half * cell[1], abs(half) * cell[3], filters)
    column, column_taps, columns = find_filter(x + half * cell[0], abs(half) * cell[2], filters)
    red, green, blue, alpha, own = NONE, NONE, NONE, NONE, UNIT
    number = plane[s, v, u]
    for j in range(max(-row, 0), min(rows, height - row)):
        for i in range(max(-column, 0), min(columns, width - column)):
            share, sheet = shares[row_taps + j] * shares[column_taps + i], -1
            for k in range(3):
                other = plane[k, row + j, column + i]
                if other >= 0 and abs(other - number) <= gap:
                    sheet = k
                    break
            if sheet < 0:
                if number - plane[0, row + j, column + i] > gap:
                    own -= share
                continue
            pixel = rgba[sheet, row + j, column + i]
            red += share * pixel[0]
            green += share * pixel[1]
            blue += share * pixel[2]
            alpha += share * pixel[3]
            own -= share
    met = rgba[s, v, u]
    return red + own * met[0], green + own * met[1], blue + own * met[2], alpha + own * met[3]


@jit
def _borders(at: float, pixel: int, u: float) -> tuple[float, float, int]:
    """How much half the CoC falls until a ray at `at` leaves its pixel, then from border to border, and which way."""
    if u == 0:
        return np.inf, np.inf, 0
    way = -1 if u > 0 else 1
    return (at - pixel - 0.5 * way) / u, abs(1.0 / u), way


@jit
def _trace(surfaces: Any, gap: int, y: int, x: int, cell: Any, filters: Any, light: Any) -> None:
    """Add to `light` (4) what one cell of the lens sees of surfaces through pixel (y, x).

    The ray goes from near to far, half the CoC falling, from pixel to pixel. Within a pixel a surface is flat, and met
    if the ray passes its depth there. If it lies before the ray already, the ray has passed behind its edge, unless it
    continues the surface that the ray had before it until then.
    """
    _, pixels, half, plane, whole, highest, lowest = surfaces
    _, height, width = plane.shape
    reached, low, weight, clear = highest[y, x], lowest[y, x], np.float32(cell[4]), UNIT
    high = reached
    v, u = int(np.floor(y + high * cell[1] + 0.5)), int(np.floor(x + high * cell[0] + 0.5))
    next_y, each_y, way_y = _borders(y + high * cell[1], v, cell[1])
    next_x, each_x, way_x = _borders(x + high * cell[0], u, cell[0])
    before_v, before_u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
    while reached >= low:
        until = high - min(next_y, next_x)
        at_v, at_u = min(max(v, 0), height - 1), min(max(u, 0), width - 1)
        for s in FROM_NEAR:
            number, there = plane[s, at_v, at_u], half[s, at_v, at_u]
            if number < 0 or there < until:
                continue
            if there > reached and not _continues(surfaces, gap, number, reached, before_v, before_u):
                continue
            if s == 0 and whole[at_v, at_u]:
                seen = _gather(pixels, 0, height, width, y, x, there, cell, filters)
            else:
                seen = _look_up(surfaces, gap, s, at_v, at_u, y, x, there, cell, filters)
            for k in range(4):
                light[k] += weight * clear * seen[k]
            clear *= UNIT - seen[3]
            if abs(clear) < OPAQUE:
                return
        before_v, before_u, reached = at_v, at_u, until
        # Rays of cells on a diagonal go through corners.
        first = min(next_y, next_x) + CORNER
        if next_y < first:
            next_y, v = next_y + each_y, v + way_y
        if next_x < first:
            next_x, u = next_x + each_x, u + way_x


@jit
def render_surfaces(surfaces: Any, gap: int, cells: Any, filters: Any, edge: int, out: Any) -> None:
    """Write to `out` (H, W, 3) what all cells of the lens see of surfaces and what they hide; A B = H W and the edge.

    `surfaces` are `rgba` (3, A, B, 4) of `layers.Surfaces`, the same flattened, half the CoC (3, A, B), `plane`
    (3, A, B), where all pixels that a look-up takes are of one surface that is seen (A, B), and the greatest and the
    least half CoC around each pixel, (A, B) both. What was seen stands for what was not.
    """
    light, rgba = np.empty(4, np.float32), surfaces[0]
    for y in range(edge, edge + out.shape[0]):
        for x in range(edge, edge + out.shape[1]):
            light[:] = NONE
            for n in range(len(cells)):
                _trace(surfaces, gap, y, x, cells[n], filters, light)
            for k in range(3):
                sharp = rgba[0, y, x, k] / max(rgba[0, y, x, 3], OPAQUE)
                out[y - edge, x - edge, k] = light[k] / light[3] if light[3] > OPAQUE else sharp
