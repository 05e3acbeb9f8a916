"""Compiled loops that paint solids, whose parts and axes are those of `solid_kernels`: rays, textures, light.

Only + - * /, square roots and comparisons: their results are the same on every processor.
"""

import math

import numpy as np
import numpy.typing as npt

from .jit import jit
from .procedural_kernels import colour_run
from .solid_kernels import BALL, BOX, ROOF, ROUND

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_FAR = 1e30
_NEAR_QUARTER = (0.99997726, -0.33262347, 0.19354346, -0.11643287, 0.05265332, -0.01172120)


@jit
def angle(y: float, x: float) -> float:
    """Angle of (x, y) in radians, to about 1e-5, by a polynomial: as exactly as on any other processor."""
    ax, ay = abs(x), abs(y)
    most = max(ax, ay)
    if most == 0.0:
        return 0.0
    r = min(ax, ay) / most
    r2 = r * r
    value = _NEAR_QUARTER[5]
    for k in range(4, -1, -1):
        value = value * r2 + _NEAR_QUARTER[k]
    value *= r
    if ay > ax:
        value = 1.5707963267948966 - value
    if x < 0.0:
        value = 3.141592653589793 - value
    return -value if y < 0.0 else value


@jit
def _trace_box(
    part: Float64, i: int, eye: Float64, axes: Float64, focal: float, left: float, y: float, depth: Float64,
    which: npt.NDArray[np.int32],
) -> None:  # fmt: skip
    """Find where a row's rays enter a box, before anything else; `left` and `y` are pixels."""
    # Scalars and no branches: this loop runs on vectors.
    t0, s0, e0, t1, s1, e1 = part[1], part[2], part[3], part[4], part[5], part[6]
    ot, os, oe, scale = eye[0], eye[1], eye[2], 1.0 / focal
    tx, t_0 = axes[0, 0] * scale, y * scale * axes[0, 1] + axes[0, 2]
    sx, s_0 = axes[1, 0] * scale, y * scale * axes[1, 1] + axes[1, 2]
    ex, e_0 = axes[2, 0] * scale, y * scale * axes[2, 1] + axes[2, 2]
    t0, t1, s0, s1, e0, e1 = t0 - ot, t1 - ot, s0 - os, s1 - os, e0 - oe, e1 - oe
    for column in range(depth.size):
        x = left + column
        it, js, ke = 1.0 / (tx * x + t_0), 1.0 / (sx * x + s_0), 1.0 / (ex * x + e_0)
        a, b = t0 * it, t1 * it
        enter, leave = min(a, b), max(a, b)
        a, b = s0 * js, s1 * js
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        a, b = e0 * ke, e1 * ke
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
        nearest = depth[column]
        hit = (enter <= leave) & (enter > 0.0) & (enter < nearest)
        depth[column] = enter if hit else nearest
        which[column] = i if hit else which[column]


@jit
def _hit_roof(part: Float64, ot: float, os: float, oe: float, dt: float, js: float, de: float) -> float:
    """Two slopes that meet at the ridge, and the floor under them."""
    a, b = (part[2] - os) * js, (part[5] - os) * js
    enter, leave = min(a, b), max(a, b)
    half, rise = 0.5 * (part[4] - part[1]), part[6] - part[3]
    middle = 0.5 * (part[4] + part[1])
    for side in range(3):
        if side == 2:
            distance, speed = oe - part[6], de
        else:
            sign = 1.0 if side == 0 else -1.0
            distance, speed = sign * (ot - middle) * rise - half * (oe - part[3]), sign * dt * rise - half * de
        cut = -distance / (speed if abs(speed) > 1e-15 else 1e-15)
        if speed < 0.0:
            enter = max(enter, cut)
        else:
            leave = min(leave, cut)
    return enter if enter <= leave and enter > 0.0 else _FAR


@jit
def _hit_round(part: Float64, ot: float, os: float, oe: float, dt: float, ds: float, de: float) -> float:
    ot, os = ot - part[1], os - part[2]
    k = (part[6] - part[5]) / (part[4] - part[3])
    # Radius along the ray: r + k' z.
    r, rk = part[5] + k * (oe - part[3]), k * de
    best = _FAR
    a, b, c = dt * dt + ds * ds - rk * rk, ot * dt + os * ds - r * rk, ot * ot + os * os - r * r
    inside = b * b - a * c
    if inside >= 0.0 and abs(a) > 1e-15:
        root = math.sqrt(inside)
        for sign in (-1.0, 1.0):
            z = (-b + sign * root) / a
            e = oe + z * de
            if 0.0 < z < best and part[3] <= e <= part[4] and r + rk * z >= 0.0:
                best = z
    for j in range(2):
        z = (part[3 + j] - oe) / (de if abs(de) > 1e-15 else 1e-15)
        x, y = ot + z * dt, os + z * ds
        if 0.0 < z < best and x * x + y * y <= part[5 + j] * part[5 + j]:
            best = z
    return best


@jit
def _hit_ball(part: Float64, ot: float, os: float, oe: float, dt: float, ds: float, de: float) -> float:
    ot, os, oe = (ot - part[1]) / part[4], (os - part[2]) / part[5], (oe - part[3]) / part[6]
    dt, ds, de = dt / part[4], ds / part[5], de / part[6]
    a, b, c = dt * dt + ds * ds + de * de, ot * dt + os * ds + oe * de, ot * ot + os * os + oe * oe - 1.0
    inside = b * b - a * c
    if inside < 0.0:
        return _FAR
    z = (-b - math.sqrt(inside)) / a
    return z if z > 0.0 else _FAR


@jit
def _trace(
    alpha: Float32, top: float, left: float, parts: Float64, boxes: Float64, axes: Float64, eye: Float64, focal: float,
    depth: Float64, which: npt.NDArray[np.int32],
) -> None:  # fmt: skip
    """Find the nearest part at every covered pixel, -1 where a pixel's middle misses all."""
    height, width = alpha.shape
    ot, os, oe = eye[0], eye[1], eye[2]
    for i in range(parts.shape[0]):
        part, kind = parts[i], int(parts[i, 0])
        first, last = max(int(boxes[i, 0] - left - 1.0), 0), min(int(boxes[i, 1] - left + 2.0), width)
        if first >= last:
            continue
        for row in range(max(int(boxes[i, 2] - top - 1.0), 0), min(int(boxes[i, 3] - top + 2.0), height)):
            if kind == BOX:
                _trace_box(
                    part, i, eye, axes, focal, left + first, top + row, depth[row, first:last], which[row, first:last]
                )
                continue
            y = (top + row) / focal
            t_0, s_0, e_0 = y * axes[0, 1] + axes[0, 2], y * axes[1, 1] + axes[1, 2], y * axes[2, 1] + axes[2, 2]
            tx, sx, ex = axes[0, 0], axes[1, 0], axes[2, 0]
            for column in range(first, last):
                if alpha[row, column] == 0:
                    continue
                x = (left + column) / focal
                dt, ds, de = x * tx + t_0, x * sx + s_0, x * ex + e_0
                if kind == BALL:
                    z = _hit_ball(part, ot, os, oe, dt, ds, de)
                elif kind == ROUND:
                    z = _hit_round(part, ot, os, oe, dt, ds, de)
                else:
                    z = _hit_roof(part, ot, os, oe, dt, 1.0 / (ds if abs(ds) > 1e-15 else 1e-15), de)
                if z < depth[row, column]:
                    depth[row, column], which[row, column] = z, i
    for row in range(height):
        for column in range(width):
            which[row, column] = which[row, column] if alpha[row, column] > 0 else -1


@jit
def _beside(alpha: Float32, which: npt.NDArray[np.int32], row: int, column: int) -> tuple[int, int]:
    """Row and column of the traced pixel beside another that is covered most; -1 if there is none."""
    most, y, x = np.float32(0), -1, -1
    for i in range(max(row - 1, 0), min(row + 2, alpha.shape[0])):
        for j in range(max(column - 1, 0), min(column + 2, alpha.shape[1])):
            if which[i, j] >= 0 and alpha[i, j] > most:
                most, y, x = alpha[i, j], i, j
    return y, x


@jit
def _thin_part(boxes: Float64, middles: Float64, x: float, y: float) -> int:
    """Nearest of the parts that may be at a position."""
    found = 0
    best = _FAR
    for i in range(boxes.shape[0]):
        across = boxes[i, 0] - 1.0 <= x <= boxes[i, 1] + 1.0
        if across and boxes[i, 2] - 1.0 <= y <= boxes[i, 3] + 1.0 and middles[i] < best:
            best, found = middles[i], i
    return found


@jit
def _mend(
    alpha: Float32, top: float, left: float, boxes: Float64, middles: Float64, depth: Float64,
    which: npt.NDArray[np.int32],
) -> None:  # fmt: skip
    """Give covered pixels whose middle misses the solid the surface beside them, or that of a thin part there."""
    height, width = alpha.shape
    for row in range(height):
        for column in range(width):
            if alpha[row, column] == 0 or which[row, column] >= 0:
                continue
            y, x = _beside(alpha, which, row, column)
            found = which[y, x] if y >= 0 else _thin_part(boxes, middles, left + column, top + row)
            depth[row, column] = depth[y, x] if y >= 0 else middles[found]
            # Kept apart from the traced ones until all are mended: the order of pixels must not matter.
            which[row, column] = -2 - found
    for row in range(height):
        for column in range(width):
            if which[row, column] < -1:
                which[row, column] = -2 - which[row, column]


Point = tuple[float, float, float, float, float, float]


@jit
def _on_flat(part: Float64, t: float, s: float, e: float) -> Point:
    """Outward normal, u and v in metres, and how much u is stretched, of a point on a box or a roof."""
    half_t, half_s, half_e = 0.5 * (part[4] - part[1]), 0.5 * (part[5] - part[2]), 0.5 * (part[6] - part[3])
    x, y, z = t - (part[1] + half_t), s - (part[2] + half_s), e - (part[3] + half_e)
    # Metres from the faces; the smallest is the face that the point is on.
    at_t, at_s, at_e = abs(half_t - abs(x)), abs(half_s - abs(y)), abs(half_e - abs(z))
    across, up = 1.0 if x > 0.0 else -1.0, 0.0
    if part[0] == ROOF:
        norm = 1.0 / math.sqrt(4.0 * half_e * half_e + half_t * half_t)
        at_e, at_t = abs(half_e - z), abs(2.0 * half_e * abs(x) - half_t * (z + half_e)) * norm
        across, up = across * 2.0 * half_e * norm, -half_t * norm
    if at_t <= at_s and at_t <= at_e:
        return across, 0.0, up, s, e, 1.0
    if at_s <= at_e:
        return 0.0, 1.0 if y > 0.0 else -1.0, 0.0, t, e, 1.0
    return 0.0, 0.0, 1.0 if z > 0.0 else -1.0, t, s, 1.0


@jit
def _on_round(part: Float64, t: float, s: float, e: float) -> Point:
    """Do the same for a frustum."""
    x, y = t - part[1], s - part[2]
    k = (part[6] - part[5]) / (part[4] - part[3])
    across = math.sqrt(x * x + y * y)
    side, top, foot = abs(across - (part[5] + k * (e - part[3]))), abs(e - part[3]), abs(e - part[4])
    if side <= min(top, foot) and across > 0.0:
        level, mean = 1.0 / math.sqrt(1.0 + k * k), 0.5 * (part[5] + part[6])
        inverse = 1.0 / across
        # Towards the tip of a cone the texture narrows.
        narrow = min(mean * inverse, 8.0)
        return x * inverse * level, y * inverse * level, -k * level, angle(x, -y) * mean, e, narrow
    return 0.0, 0.0, -1.0 if top < foot else 1.0, x, y, 1.0


@jit
def _on_ball(part: Float64, t: float, s: float, e: float) -> Point:
    """Do the same for an ellipsoid."""
    x, y, z = (t - part[1]) / part[4], (s - part[2]) / part[5], (e - part[3]) / part[6]
    nx, ny, nz = x / part[4], y / part[5], z / part[6]
    inverse = 1.0 / max(math.sqrt(nx * nx + ny * ny + nz * nz), 1e-30)
    across = math.sqrt(x * x + y * y)
    u = angle(x, -y) * 0.5 * (part[4] + part[5])
    return nx * inverse, ny * inverse, nz * inverse, u, angle(z, across) * part[6], min(1.0 / max(across, 1e-9), 8.0)


@jit
def _light(
    part: Float64, look: Float64, axes: Float64, eye: Float64, focal: float, left: float, row: float, light: Float64,
    metres: Float64, us: Float64, vs: Float64, ratios: Float64, gains: Float64,
) -> None:  # fmt: skip
    """Survey a run of a part's pixels at known depths: u, v, squared texels per pixel, and brightness."""
    # Scalars: stores below might otherwise be thought to change what is read in the loop.
    tx, ty, tz = axes[0, 0], axes[0, 1], axes[0, 2]
    sx, sy, sz = axes[1, 0], axes[1, 1], axes[1, 2]
    ex, ey, ez = axes[2, 0], axes[2, 1], axes[2, 2]
    ot, os, oe, y, inverse = eye[0], eye[1], eye[2], row / focal, 1.0 / focal
    t_0, s_0, e_0 = y * ty + tz, y * sy + sz, y * ey + ez
    density, kind = look[0], int(part[0])
    u_0, v_0, per_pixel = part[8], part[9], look[0] / focal
    lamp_x, lamp_y, lamp_z = light[0] / focal, light[1] / focal, light[2]
    reach, ambient, level = light[4], light[5], light[6] * look[1]
    for k in range(metres.size):
        x, z = (left + k) * inverse, metres[k]
        t, s, e = ot + z * (x * tx + t_0), os + z * (x * sx + s_0), oe + z * (x * ex + e_0)
        if kind == ROUND:
            nt, ns, ne, u, v, narrow = _on_round(part, t, s, e)
        elif kind == BALL:
            nt, ns, ne, u, v, narrow = _on_ball(part, t, s, e)
        else:
            nt, ns, ne, u, v, narrow = _on_flat(part, t, s, e)
        nx, ny, nz = nt * tx + (ns * sx + ne * ex), nt * ty + (ns * sy + ne * ey), nt * tz + (ns * sz + ne * ez)
        us[k], vs[k] = u * density + u_0, v * density + v_0
        # How much longer a pixel is on the surface than across the line of sight.
        facing = max(-(nx * x + ny * y + nz), 0.12)
        step = per_pixel * z
        ratios[k] = 0.5 * (narrow * narrow + 1.0 / (facing * facing)) * step * step
        dx, dy, dz = lamp_x - x * z, lamp_y - y * z, lamp_z - z
        square = dx * dx + dy * dy + dz * dz + 1e-12
        along = (nx * dx + ny * dy + nz * dz) / math.sqrt(square)
        # Light comes from above, from the lamp, and from all sides: none is quite dark.
        sky, lamp = ambient * (0.8 - 0.2 * ne), (1.0 - ambient) / (1.0 + square * reach)
        gains[k] = level * (sky + lamp) * (0.845 + 0.405 * along)


@jit
def paint_solid(
    alpha: Float32,
    top: float,
    left: float,
    parts: Float64,
    boxes: Float64,
    axes: Float64,
    origin: Float64,
    focal: float,
    looks: Float64,
    skins: npt.NDArray[np.int64],
    light: Float64,
    palettes: Float32,
    tiles: npt.NDArray[np.uint8],
    photos: npt.NDArray[np.uint16],
    depth: Float32,
) -> Float32:
    """Paint a solid where there is coverage.

    Parameters
    ----------
    alpha
        (h, w) float32 coverage.
    top, left
        Position of pixel (0, 0) relative to the principal point, pixels.
    parts, boxes, axes, origin, focal
        As for `outline`.
    looks
        (k, 4): texels per metre, brightness, how much the grain moves the palette index and the brightness.
    skins
        (k, 3), light, palettes, tiles, photos: as for `procedural_kernels.paint`.
    depth
        (h, w) float32, written with z in metres everywhere.

    Returns
    -------
    (h, w, 4) float32, premultiplied linear radiance and coverage.
    """
    height, width = alpha.shape
    eye, middles = np.empty(3), np.empty(parts.shape[0])
    for k in range(3):
        eye[k] = -(axes[k, 0] * origin[0] + (axes[k, 1] * origin[1] + axes[k, 2] * origin[2]))
    for i in range(parts.shape[0]):
        part = parts[i]
        kind = int(part[0])
        t, s, e = part[1], part[2], part[3]
        if kind in (BOX, ROOF):
            t, s, e = 0.5 * (t + part[4]), 0.5 * (s + part[5]), 0.5 * (e + part[6])
        elif kind == ROUND:
            e = 0.5 * (e + part[4])
        middles[i] = origin[2] + (t * axes[0, 2] + (s * axes[1, 2] + e * axes[2, 2]))
    metres, which = np.full((height, width), _FAR), np.full((height, width), -1, np.int32)
    _trace(alpha, top, left, parts, boxes, axes, eye, focal, metres, which)
    _mend(alpha, top, left, boxes, middles, metres, which)
    rgba = np.zeros((height, width, 4), np.float32)
    us, vs, ratios, gains = np.empty(width), np.empty(width), np.empty(width), np.empty(width)
    for row in range(height):
        first = 0
        while first < width:
            i = which[row, first]
            if i < 0:
                first += 1
                continue
            last = first + 1
            while last < width and which[row, last] == i:
                last += 1
            part, look = parts[i], looks[int(parts[i, 7])]
            _light(
                part, look, axes, eye, focal, left + first, top + row, light, metres[row, first:last],
                us[first:last], vs[first:last], ratios[first:last], gains[first:last],
            )  # fmt: skip
            colour_run(
                rgba[row, first:last], alpha[row, first:last], us[first:last], vs[first:last], ratios[first:last],
                gains[first:last], look[2], look[3], skins[int(part[7])], palettes, tiles, photos,
            )  # fmt: skip
            first = last
    _fill(metres, which, depth, light)
    return rgba


@jit
def _fill_row(row: Float32, known: npt.NDArray[np.bool_]) -> bool:
    """Give what is not known in a row the nearest of what is; False if nothing is."""
    width, last = row.size, -1
    for column in range(width):
        if not known[column]:
            continue
        middle = 0 if last < 0 else (last + column + 1) // 2
        for k in range(last + 1, column):
            row[k] = row[last] if k < middle else row[column]
        last = column
    for k in range(last + 1, width if last >= 0 else 0):
        row[k] = row[last]
    return last >= 0


@jit
def _fill(metres: Float64, which: npt.NDArray[np.int32], depth: Float32, light: Float64) -> None:
    """Write depths within the range; where there is nothing, the nearest of the row's, or of rows above."""
    height, width = metres.shape
    nearest, farthest = np.float32(1.0 / light[8]), np.float32(1.0 / light[7])
    first = -1
    for row in range(height):
        for column in range(width):
            z = np.float32(metres[row, column])
            z = z if z > nearest else nearest
            depth[row, column] = z if z < farthest else farthest
        known = _fill_row(depth[row], which[row] >= 0)
        first = row if known and first < 0 else first
        if not known and first >= 0:
            for column in range(width):
                depth[row, column] = depth[row - 1, column]
    for row in range(first):
        for column in range(width):
            depth[row, column] = depth[first, column]
