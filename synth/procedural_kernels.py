"""Compiled loops of the procedural scenes: coverage of outlines, and textured planes in perspective.

Only + - * / and comparisons: their results are the same on every processor.
"""

import math

import numpy as np
import numpy.typing as npt

from .jit import jit

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Where each level (512, 256, ... 8 texels wide) starts in a tile's flattened pyramid.
LEVEL_START = (0, 262144, 327680, 344064, 348160, 349184, 349440)
TILE_TEXELS = 349504
# A multiple of every tile's side that makes texel positions positive, so that int() rounds them down.
_WRAPS = 1073741824.0


@jit
def _add_edge(area: Float64, edge: Float64) -> None:
    """Add one edge's signed area to the row-wise differences of the coverage."""
    x0, y0, x1, y1 = edge[0], edge[1], edge[2], edge[3]
    if y0 == y1:
        return
    sign = -1.0
    if y0 > y1:
        sign = 1.0
        x0, y0, x1, y1 = x1, y1, x0, y0
    slope = (x1 - x0) / (y1 - y0)
    for y in range(int(y0), min(math.ceil(y1), area.shape[0])):
        start, stop = max(float(y), y0), min(y + 1.0, y1)
        xa, xb = x0 + slope * (start - y0), x0 + slope * (stop - y0)
        left, right = min(xa, xb), max(xa, xb)
        height = sign * (stop - start)
        first, last = int(left), math.ceil(right)
        if last <= first + 1:
            part = height * (0.5 * (left + right) - first)
            area[y, first] += height - part
            area[y, first + 1] += part
            continue
        # The edge crosses several pixels of this row: each gets what newly lies to the edge's right in it.
        before = 0.0
        for x in range(first, last):
            run = max(0.0, min(x + 1.0, right) - left)
            past = max(0.0, x + 1.0 - right)
            lead = max(0.0, x - left)
            covered = (0.5 * (lead + run) * (run - lead) / (right - left)) + past
            area[y, x] += height * (covered - before)
            before = covered
        area[y, last] += height * (1.0 - before)


@jit
def cover(edges: Float64, height: int, width: int) -> Float32:
    """Cover pixels by closed outlines: the exact area of each pixel inside them.

    Parameters
    ----------
    edges
        (n, 4) float64, x0 y0 x1 y1 in pixels, pixel (0, 0) spanning 0 to 1; all within the image and at
        least one pixel away from its right end. Outlines that run the other way round cut holes.
    height, width
        Of the image, pixels.

    Returns
    -------
    (height, width) float32 in [0, 1], exactly 1 inside and exactly 0 outside.
    """
    area = np.zeros((height, width), np.float64)
    for i in range(edges.shape[0]):
        _add_edge(area, edges[i])
    alpha = np.empty((height, width), np.float32)
    for y in range(height):
        total = 0.0
        for x in range(width):
            total += area[y, x]
            # Slivers below 1/256 are no visible edge, and rounding leaves specks of them everywhere.
            if total < 0.00390625:
                alpha[y, x] = 0.0
            elif total > 0.99609375:
                alpha[y, x] = 1.0
            else:
                alpha[y, x] = total
    return alpha


@jit
def _nearest(tiles: npt.NDArray[np.uint8], tile: int, u: float, v: float) -> float:
    return float(tiles[tile + ((int(v + _WRAPS) & 511) << 9) + (int(u + _WRAPS) & 511)])


@jit
def _select(w: Float64, which: npt.NDArray[np.int32], planes: Float64, left: float, y: float, inside: bool) -> None:
    """Find the visible plane of a row's pixels, and its inverse depth."""
    sign = 1.0 if inside else -1.0
    for column in range(w.size):
        w[column] = planes[0, 0] * (left + column) + (planes[0, 1] * y + planes[0, 2])
        which[column] = 0
    for i in range(1, planes.shape[0]):
        slope, start = planes[i, 0], planes[i, 1] * y + planes[i, 2]
        for column in range(w.size):
            other = slope * (left + column) + start
            nearer = sign * other > sign * w[column]
            w[column] = other if nearer else w[column]
            which[column] = i if nearer else which[column]


@jit
def _survey(
    us: Float64,
    depths: Float64,
    vs: Float64,
    ratios: Float64,
    gains: Float64,
    left: float,
    y: float,
    plane: Float64,
    relief: Float64,
    light: Float64,
) -> None:
    """Turn a run's inverse depths, in `us`, into u, depth, v, squared texels per pixel and brightness."""
    wx, wy = plane[0], plane[1]
    u_x, u_y, u_0 = plane[3], plane[4], plane[4] * y + plane[5]
    v_x, v_y, v_0 = plane[6], plane[7], plane[7] * y + plane[8]
    lamp_x, lamp_y, lamp_z = light[0], light[1], light[2]
    reach_xy, reach_z, ambient, level, least, most = (
        light[3],
        light[4],
        light[5],
        light[6],
        light[7],
        light[8],
    )
    middle, narrow, slope, rim = relief[0], relief[2], relief[3], relief[5]
    ey = (y - relief[1]) * narrow
    across, level = 1.0 + relief[4] * ey - rim * ey * ey, level * plane[9]
    for i in range(us.size):
        x = left + i
        w = us[i]
        w = w if w > least else least
        z = 1.0 / (w if w < most else most)
        u, v = (u_x * x + u_0) * z, (v_x * x + v_0) * z
        ux, uy, vx, vy = u_x - u * wx, u_y - u * wy, v_x - v * wx, v_y - v * wy
        ex = (x - middle) * narrow
        dx, dy, dz = x * z - lamp_x, y * z - lamp_y, z - lamp_z
        falloff = 1.0 / (1.0 + (dx * dx + dy * dy) * reach_xy + dz * dz * reach_z)
        us[i], depths[i], vs[i] = u, z, v
        ratios[i] = 0.5 * (ux * ux + uy * uy + vx * vx + vy * vy) * z * z
        shape = across + slope * ex - rim * ex * ex
        gains[i] = level * (ambient + (1.0 - ambient) * falloff) * (shape if shape > 0.2 else 0.2)


@jit
def _photo_run(
    rgba: Float32,
    alpha: Float32,
    us: Float64,
    vs: Float64,
    ratios: Float64,
    gains: Float64,
    rough: float,
    grain: int,
    tiles: npt.NDArray[np.uint8],
    photo: int,
    photos: npt.NDArray[np.uint16],
) -> None:
    """Look up the colours of a surveyed run in a photograph, which is mirrored beyond its sides."""
    base = photo * TILE_TEXELS
    level, scale, unscale2, known = 0, 1.0, 1.0, 99
    start, side, shift = base, 512, 9
    for column in range(us.size):
        coverage = alpha[column]
        if coverage == 0:
            continue
        ratio = ratios[column] * unscale2
        while ratio >= 2.0 and level < 5:
            level, scale, unscale2, ratio = level + 1, scale * 0.5, unscale2 * 0.25, ratio * 0.25
        while ratio < 0.5 and level > 0:
            level, scale, unscale2, ratio = level - 1, scale * 2.0, unscale2 * 4.0, ratio * 4.0
        if level != known:
            known, start, shift, side = level, base + LEVEL_START[level], 9 - level, 512 >> level
        u, v = us[column] * scale + _WRAPS - 0.5, vs[column] * scale + _WRAPS - 0.5
        left, up = int(u), int(v)
        part, rest = u - left, v - up
        mask = 2 * side - 1
        x0, x1, y0, y1 = left & mask, (left + 1) & mask, up & mask, (up + 1) & mask
        x0, x1 = x0 if x0 < side else mask - x0, x1 if x1 < side else mask - x1
        y0, y1 = y0 if y0 < side else mask - y0, y1 if y1 < side else mask - y1
        a, b = (start + (y0 << shift) + x0) * 3, (start + (y0 << shift) + x1) * 3
        c, d = (start + (y1 << shift) + x0) * 3, (start + (y1 << shift) + x1) * 3
        # The grain is as fine as pixels, which photographs that are seen from near are not.
        fine = scale
        while ratio < 0.5:
            fine, ratio = fine * 2.0, ratio * 4.0
        noise = _nearest(tiles, grain, us[column] * fine, vs[column] * fine) - 127.5
        gain = gains[column] * max(1.0 + rough * noise, 0.1) * (1.0 / 65535.0)
        for k in range(3):
            upper = photos[a + k] + part * (float(photos[b + k]) - photos[a + k])
            lower = photos[c + k] + part * (float(photos[d + k]) - photos[c + k])
            value = np.float32((upper + rest * (lower - upper)) * gain)
            rgba[column, k] = min(value, np.float32(1.0)) * coverage
        rgba[column, 3] = coverage


@jit
def colour_run(
    rgba: Float32,
    alpha: Float32,
    us: Float64,
    vs: Float64,
    ratios: Float64,
    gains: Float64,
    jitter: float,
    rough: float,
    skin: npt.NDArray[np.int64],
    palettes: Float32,
    tiles: npt.NDArray[np.uint8],
    photos: npt.NDArray[np.uint16],
) -> None:
    """Look up the colours of a surveyed run of pixels, where it is covered.

    Parameters
    ----------
    rgba, alpha
        (n, 4), written, and (n,).
    us, vs, ratios, gains
        (n,): position in texels, squared texels per pixel, and brightness.
    jitter, rough
        How much the fine grain moves the palette index and the brightness.
    skin, palettes, tiles, photos
        As for `paint`; the skin is one row.
    """
    if skin[0] < 0:
        _photo_run(rgba, alpha, us, vs, ratios, gains, rough, skin[1] * TILE_TEXELS, tiles, -1 - skin[0], photos)
        return
    base, grain, colours = skin[0] * TILE_TEXELS, skin[1] * TILE_TEXELS, skin[2] * 256
    level, scale, unscale2, known = 0, 1.0, 1.0, 99
    start, mask, shift, shrink = base, 511, 9, 1.0
    for column in range(us.size):
        coverage = alpha[column]
        if coverage == 0:
            continue
        u, v = us[column], vs[column]
        # Squared texels per pixel choose the level: patterns keep their size, the grain stays as fine as
        # pixels. The level found does not depend on where the search starts.
        ratio = ratios[column] * unscale2
        while ratio >= 4.0 and level < 5:
            level, scale, unscale2, ratio = level + 1, scale * 0.5, unscale2 * 0.25, ratio * 0.25
        while ratio < 1.0 and level > -4:
            level, scale, unscale2, ratio = level - 1, scale * 2.0, unscale2 * 4.0, ratio * 4.0
        if level != known:
            known, deep = level, max(level, 0)
            start, shift, mask = base + LEVEL_START[deep], 9 - deep, (512 >> deep) - 1
            shrink = 1.0 / (1 << deep)
        if ratio < 2.0:
            noise = _nearest(tiles, grain, u * scale, v * scale) - 127.5
        else:
            noise = _nearest(tiles, grain, u * scale * 0.5, v * scale * 0.5) - 127.5
            if ratio < 3.0:
                fine = _nearest(tiles, grain, u * scale, v * scale) - 127.5
                noise = fine + (ratio - 2.0) * (noise - fine)
        u, v = u * shrink + _WRAPS, v * shrink + _WRAPS
        left, up = int(u), int(v)
        right, part = (left + 1) & mask, u - left
        upper, lower = start + ((up & mask) << shift), start + (((up + 1) & mask) << shift)
        a, b = float(tiles[upper + (left & mask)]), float(tiles[lower + (left & mask)])
        a += part * (tiles[upper + right] - a)
        b += part * (tiles[lower + right] - b)
        value = a + (v - up) * (b - a) + jitter * noise
        colour = (colours + min(max(int(value), 0), 255)) * 3
        gain = np.float32(gains[column] * max(1.0 + rough * noise, 0.1))
        for c in range(3):
            rgba[column, c] = min(palettes[colour + c] * gain, np.float32(1.0)) * coverage
        rgba[column, 3] = coverage


@jit
def paint(
    alpha: Float32,
    top: float,
    left: float,
    planes: Float64,
    skins: npt.NDArray[np.int64],
    inside: bool,
    relief: Float64,
    light: Float64,
    palettes: Float32,
    tiles: npt.NDArray[np.uint8],
    photos: npt.NDArray[np.uint16],
    depth: Float32,
) -> Float32:
    """Paint textured planes, seen in perspective, where there is coverage.

    Parameters
    ----------
    alpha
        (h, w) float32 coverage.
    top, left
        Position of pixel (0, 0) relative to the principal point, pixels.
    planes
        (P, 12) float64. Coefficients of x, y and 1 of inverse depth w, of w u and of w v (u and v in
        texels), then brightness, and how much the fine grain moves the palette index and the brightness.
    skins
        (P, 3) int64: tile, or -1 - k for the photograph k; tile of the grain; palette.
    inside
        Whether the nearest plane is the visible one (a room from inside), rather than the farthest (a box).
    relief
        (6,) float64: centre x y, inverse radius, brightness slopes x y, darkening towards the rim.
    light
        (9,) float64: x y z of the lamp in metres (x and y times the focal length in pixels), the inverse
        square of its reach over the squared focal length, that without the focal length, ambient share,
        level, least and largest inverse depth allowed.
    palettes
        (n * 256 * 3,) float32 linear radiance, flattened.
    tiles
        (k * TILE_TEXELS,) uint8, flattened.
    photos
        (k * TILE_TEXELS * 3,) uint16, linear colours, white 65535, flattened.
    depth
        (h, w) float32, written with z in metres; (0, 0) if nobody wants it.

    Returns
    -------
    (h, w, 4) float32, premultiplied linear radiance and coverage.
    """
    height, width = alpha.shape
    rgba = np.zeros((height, width, 4), np.float32)
    w, z, v = np.empty(width), np.empty(width), np.empty(width)
    ratio, gain = np.empty(width), np.empty(width)
    # Rounded, so that depths keep to the range as float32 too.
    nearest, farthest = np.float32(1.0 / light[8]), np.float32(1.0 / light[7])
    which = np.zeros(width, np.int32)
    for row in range(height):
        y = top + row
        first, end = 0, width
        if depth.size == 0:
            while first < end and alpha[row, first] == 0:
                first += 1
            while end > first and alpha[row, end - 1] == 0:
                end -= 1
        _select(w[first:end], which[first:end], planes, left + first, y, inside)
        while first < end:
            p, last = which[first], first + 1
            while last < end and which[last] == p:
                last += 1
            us, vs, ratios, gains = w[first:last], v[first:last], ratio[first:last], gain[first:last]
            _survey(us, z[first:last], vs, ratios, gains, left + first, y, planes[p], relief, light)
            colour_run(
                rgba[row, first:last], alpha[row, first:last], us, vs, ratios, gains, planes[p, 10], planes[p, 11],
                skins[p], palettes, tiles, photos,
            )  # fmt: skip
            first = last
        if depth.size > 0:
            for column in range(width):
                metres = np.float32(z[column])
                metres = metres if metres > nearest else nearest
                depth[row, column] = metres if metres < farthest else farthest
    return rgba


@jit
def shade_floor(
    rgba: Float32,
    depth: Float32,
    top: float,
    left: float,
    rows: tuple[int, int],
    columns: tuple[int, int],
    floor: Float64,
    across: Float64,
    away: Float64,
    foot: Float64,
) -> None:
    """Darken the floor around the foot of a thing that stands on it, softly, as a cloudy sky would.

    Parameters
    ----------
    rgba, depth
        (h, w, 4), changed, and (h, w) of what lies behind all things.
    top, left
        Position of pixel (0, 0) relative to the principal point, pixels.
    rows, columns
        First and last to look at.
    floor
        (3,): coefficients of x, y (pixels) and 1 of the floor's inverse depth.
    across, away
        (4,) each: coefficients of x z, y z and z, and a constant, of positions on the floor relative to the foot.
    foot
        (4,): half sizes of the foot, how far its shade reaches, how dark it is.
    """
    for row in range(rows[0], rows[1]):
        y = top + row
        for column in range(columns[0], columns[1]):
            x = left + column
            w = floor[0] * x + (floor[1] * y + floor[2])
            z = 1.0 / w if w > 0 else 0.0
            # Only where the floor is what is seen.
            if abs(depth[row, column] - z) > 1e-3 * z or z <= 0:
                continue
            t = z * (across[0] * x + (across[1] * y + across[2])) + across[3]
            s = z * (away[0] * x + (away[1] * y + away[2])) + away[3]
            t, s = max(abs(t) - foot[0], 0.0), max(abs(s) - foot[1], 0.0)
            left_over = 1.0 - (t * t + s * s) / (foot[2] * foot[2])
            if left_over > 0:
                light = np.float32(1.0 - foot[3] * left_over * left_over)
                for k in range(3):
                    rgba[row, column, k] *= light
