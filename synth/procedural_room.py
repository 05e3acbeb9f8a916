"""The frame of procedural scenes: camera, textured planes before it, and the room that closes the view."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .camera import Intrinsics
from .procedural_kernels import paint, shade_floor
from .scene import Patch
from .shapes import geometric, turn

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Vector = tuple[float, float, float]
Rng = np.random.Generator

NO_RELIEF = np.zeros(6)
_NO_DEPTH = np.zeros((0, 0), np.float32)


@dataclass(frozen=True)
class View:
    """The camera and the range of depths before it.

    Positions are pixels relative to the principal point, at the centre of the inner picture: the margin
    changes none of them.

    Parameters
    ----------
    height, width, margin
        Of the inner picture and around it, pixels.
    near, far
        Metres.
    focal
        Focal length, pixels.
    """

    height: int
    width: int
    margin: int
    near: float
    far: float
    focal: float

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width with the margin, pixels."""
        return self.height + 2 * self.margin, self.width + 2 * self.margin

    @property
    def corner(self) -> tuple[float, float]:
        """Position (y, x) of the frame's first pixel."""
        return -(self.height - 1) / 2 - self.margin, -(self.width - 1) / 2 - self.margin

    @property
    def intrinsics(self) -> Intrinsics:
        """Of the picture without its margin."""
        return Intrinsics(fx=self.focal, fy=self.focal, cx=(self.width - 1) / 2, cy=(self.height - 1) / 2)


class Skins(NamedTuple):
    """Looks of surfaces, one row each: tile, grain, palette; texels per pixel; grain contrasts; colours.

    `tiles` and `photos` are the texels of all looks of the scene, flattened as the painting kernels take them; a pixel
    of a photograph lies along `coarse` texels.
    """

    rows: npt.NDArray[np.int64]
    zooms: Float64
    grains: Float64
    palettes: Float32
    tiles: npt.NDArray[np.uint8]
    photos: npt.NDArray[np.uint16]
    coarse: list[float]


def _unit(v: Vector) -> Vector:
    norm = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return v[0] / norm, v[1] / norm, v[2] / norm


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def plane_row(
    view: View,
    inverse: Vector,
    skins: Skins,
    skin: int,
    at: float,
    offset: Vector,
    face: float = 1.0,
    about: Vector | None = None,
) -> list[float]:
    """Describe one plane to the painting kernel.

    Parameters
    ----------
    view
        The camera.
    inverse
        Coefficients of x/f, y/f and 1 of the inverse depth: the plane's normal over its distance.
    skins, skin
        Which look it has.
    at
        Depth, in metres, where a texel is as large as the look's zoom says.
    offset
        Texels along u and v by which the texture is shifted, and the texture's angle in radians.
    face
        Brightness.
    about
        Point that the texture is to be shifted relative to, metres; where the plane meets its normal if left out.
    """
    normal = _unit(inverse)
    # Textures run level: along the horizontal direction in the plane, then turned by the offset's angle.
    level = _unit((normal[2] + 1e-6, 0.0, -normal[0]))
    down = _cross(normal, level)
    cos, sin = turn(offset[2])
    density = float(skins.zooms[skin]) * view.focal / at
    row = [inverse[0] / view.focal, inverse[1] / view.focal, inverse[2]]
    w = tuple(row)
    for axis, (a, b) in enumerate(((cos, sin), (-sin, cos))):
        line = [density * (a * level[k] + b * down[k]) for k in range(3)]
        shift = offset[axis]
        if about is not None:
            shift -= line[0] * about[0] + (line[1] * about[1] + line[2] * about[2])
        row += [line[0] / view.focal, line[1] / view.focal, line[2]]
        for k in range(3):
            row[3 + 3 * axis + k] += shift * w[k]
    return [*row, face, float(skins.grains[skin, 0]), float(skins.grains[skin, 1])]


@dataclass(frozen=True)
class Axes:
    """Directions of the ground in the camera's axes (x right, y down, z forward), unit length: across, down, away."""

    across: Vector
    down: Vector
    away: Vector

    @property
    def row(self) -> list[float]:
        """Components as the placing kernel takes them, without the zero."""
        return [*self.across[:2], *self.down, *self.away]

    def turned(self, cos: float, sin: float) -> Float64:
        """(3, 3) rows: the axes of a thing turned about the upright."""
        (ax, ay, az), (gx, gy, gz) = self.across, self.away
        t = (cos * ax + sin * gx, cos * ay + sin * gy, cos * az + sin * gz)
        s = (cos * gx - sin * ax, cos * gy - sin * ay, cos * gz - sin * az)
        return np.array([t, s, self.down])

    def point(self, a: float, d: float, c: float) -> Vector:
        """Camera coordinates of a point given across, down and away."""
        (ax, ay, az), (ex, ey, ez), (gx, gy, gz) = self.across, self.down, self.away
        return a * ax + (d * ex + c * gx), a * ay + (d * ey + c * gy), a * az + (d * ez + c * gz)


@dataclass(frozen=True)
class Room:
    """Planes seen from inside, far plane first and floor second, and the lamp that lights them.

    Parameters
    ----------
    planes
        (P, 12) float64, as the painting kernel takes them.
    skins
        (P,) which look each plane has.
    light
        (9,) float64, as the painting kernel takes it.
    axes
        Directions of the ground.
    floor, ceiling
        Metres below and above the camera; a sky is far above.
    walls
        (w, 3) outward normals across and away, and distance in metres.
    """

    planes: Float64
    skins: list[int]
    light: Float64
    axes: Axes
    floor: float
    ceiling: float
    walls: Float64


class Setting(NamedTuple):
    """What a world's rooms are like.

    Ranges are of uniform draws: the pitch in radians, positive down; where on the way from the nearest to the farthest
    depth (0 to 1, logarithmic) the floor is seen at the lower end of the picture.
    """

    pitch: tuple[float, float]
    floor: tuple[float, float]
    walls: tuple[tuple[tuple[float, float], float], ...]
    """Of back, left and right wall and ceiling: where on that way, and how often."""
    roles: tuple[str, str, str, str]
    """Of far plane, floor, walls, ceiling."""
    eye: float
    """Height of the camera in a life-size world, metres."""


SETTINGS = {
    "indoor": Setting(
        (-0.05, 0.35), (0.25, 0.6),
        (((0.7, 0.97), 0.85), ((0.35, 0.9), 0.75), ((0.35, 0.9), 0.75), ((0.45, 0.95), 0.6)),
        ("far", "floor", "wall", "ceiling"), 1.35,
    ),
    "outdoor": Setting(
        (-0.04, 0.16), (0.25, 0.5), (((0.9, 0.97), 0.0), ((0.5, 0.9), 0.12), ((0.5, 0.9), 0.12), ((1.0, 1.0), 0.0)),
        ("sky", "ground", "building", "sky"), 1.6,
    ),
    "macro": Setting(
        (0.2, 0.75), (0.2, 0.5), (((0.85, 0.98), 0.5), ((0.8, 0.95), 0.1), ((0.8, 0.95), 0.1), ((1.0, 1.0), 0.0)),
        ("far", "table", "wall", "ceiling"), 0.3,
    ),
}  # fmt: skip
_OPEN = 1e4
"""Height of what has no ceiling, in farthest depths."""


def _axes(pitch: float, roll: float) -> Axes:
    (cp, sp), (cr, sr) = turn(pitch), turn(roll)
    # Float32 cosine and sine are of unit length to 1e-7 only.
    down = _unit((-sr * cp, cr * cp, sp))
    away = _unit((-down[2] * down[0], -down[2] * down[1], 1.0 - down[2] * down[2]))
    return Axes(_cross(down, away), down, away)


def draw_room(rng: Rng, view: View, skins: Skins, world: str) -> Room:
    """Draw a room: floor, back wall, and side walls and ceiling or not, seen from a random direction.

    Returns
    -------
    Six planes at most; their looks are the first six.
    """
    setting = SETTINGS[world]
    u = rng.random(40).tolist()
    low, high = setting.pitch
    axes = _axes(low + (high - low) * u[1], 0.12 * (u[2] - 0.5))
    cos, sin = turn(1.2 * (u[0] - 0.5))
    half_x, half_y = view.width / (2 * view.focal), view.height / (2 * view.focal)
    # Outward normal across, down, away; where in the picture its distance is set, and how far; how often it is there.
    walls = (
        ((0.0, 1.0, 0.0), (0.0, half_y), setting.floor, 1.0),
        ((-sin, 0.0, cos), (0.0, 0.0), *setting.walls[0]),
        ((-cos, 0.0, -sin), (-half_x, 0.0), *setting.walls[1]),
        ((cos, 0.0, sin), (half_x, 0.0), *setting.walls[2]),
        ((0.0, -1.0, 0.0), (0.0, -half_y), *setting.walls[3]),
    )
    texture = (512 * u[3], 512 * u[4], 0.0)
    used, upright, floor, ceiling = [0], [], 0.0, _OPEN * view.far
    rows = [plane_row(view, (0.0, 0.0, 1.0 / view.far), skins, 0, view.far, texture)]
    for k, (direction, at, bounds, chance) in enumerate(walls, 1):
        where, *texture_at, there = u[5 * k + 1 : 5 * k + 6]
        normal = axes.point(*direction)
        facing = max(normal[0] * at[0] + normal[1] * at[1] + normal[2], 0.08)
        depth = geometric(view.near, view.far, bounds[0] + (bounds[1] - bounds[0]) * where)
        distance = depth * facing
        if there >= chance:
            continue
        inverse = (normal[0] / distance, normal[1] / distance, normal[2] / distance)
        turned = 0.5 * math.pi * (texture_at[0] < 0.3) + (0.785 if texture_at[1] < 0.1 and k == 1 else 0.0)
        offset = (512 * texture_at[0], 512 * texture_at[1], turned if k == 1 else 0.0)
        zoom_at = depth * (1.2 if k == 2 else 1.8)
        rows.append(plane_row(view, inverse, skins, k, zoom_at, offset, 0.75 + 0.4 * texture_at[1]))
        used.append(k)
        if k == 1:
            floor = distance
        elif k == 5:
            ceiling = distance
        else:
            upright.append([direction[0], direction[2], distance])
    light = _sun(view, axes, u[31:]) if world == "outdoor" else _lamp(view, axes, floor, ceiling, u[31:])
    return Room(np.array(rows), used, light, axes, floor, ceiling, np.array(upright).reshape(-1, 3))


def _light(view: View, at: Vector, reach: float, ambient: float, level: float) -> Float64:
    closeness = 1.0 / (reach * reach)
    per_pixel = closeness / (view.focal * view.focal)
    x, y, z = at[0] * view.focal, at[1] * view.focal, at[2]
    return np.array([x, y, z, per_pixel, closeness, ambient, level, 1.0 / view.far, 1.0 / view.near])


def _lamp(view: View, axes: Axes, floor: float, ceiling: float, u: list[float]) -> Float64:
    z = geometric(view.near, view.far, 0.3 + 0.6 * u[0])
    up = min(ceiling, (0.6 + 0.8 * u[3]) * floor)
    at = axes.point((u[2] - 0.5) * z * view.width / view.focal, -0.95 * up, z)
    return _light(view, at, z * (0.6 + 1.2 * u[1]), 0.4 + 0.4 * u[5], 0.85 + 0.7 * u[4])


def _sun(view: View, axes: Axes, u: list[float]) -> Float64:
    away = 1e3 * view.far
    at = axes.point((2.0 * u[0] - 1.0) * away, -(0.4 + 0.8 * u[1]) * away, (1.0 - 1.6 * u[2]) * away)
    return _light(view, at, 1e3 * away, 0.35 + 0.4 * u[5], 0.7 + 0.3 * u[4])


def paint_room(view: View, room: Room, skins: Skins) -> Patch:
    """Paint the room over the whole frame."""
    depth = np.empty(view.frame, np.float32)
    alpha = np.ones(view.frame, np.float32)
    rgba = paint_planes(view, alpha, view.corner, room, room.planes, room.skins, skins, True, depth=depth)
    return Patch(rgba, depth)


def shade(view: View, room: Room, back: Patch, axes: Float64, foot: Vector, half: tuple[float, float], high: float,
          dark: float) -> None:  # fmt: skip
    """Darken the floor of a painted room around the foot of a thing.

    Parameters
    ----------
    view, room, back
        The painted room, changed.
    axes, foot
        The thing's own axes and the middle of its foot, in the camera's.
    half, high
        Half sizes of its foot and its height, metres.
    dark
        How much of the light is lost right beside it.
    """
    reach = 0.5 * min(high, 2.0 * max(half)) + 0.2 * min(half)
    wide, deep = half[0] + reach, half[1] + reach
    t, s = axes[0].tolist(), axes[1].tolist()
    corners = []
    for p, q in ((-wide, -deep), (wide, -deep), (wide, deep), (-wide, deep)):
        z = max(foot[2] + p * t[2] + q * s[2], 0.2 * view.near)
        corners.append([view.focal * (foot[k] + p * t[k] + q * s[k]) / z for k in range(2)])
    top, left = view.corner
    height, width = view.frame
    xs, ys = [x - left for x, _ in corners], [y - top for _, y in corners]
    columns = max(math.floor(min(xs)), 0), min(math.ceil(max(xs)) + 1, width)
    rows = max(math.floor(min(ys)), 0), min(math.ceil(max(ys)) + 1, height)
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return
    f = view.focal
    across, away = (
        np.array([v[0] / f, v[1] / f, v[2], -(v[0] * foot[0] + (v[1] * foot[1] + v[2] * foot[2]))]) for v in (t, s)
    )
    size = np.array([half[0], half[1], reach, dark])
    floor = room.planes[1, :3].copy()
    shade_floor(back.rgba, np.asarray(back.depth), top, left, rows, columns, floor, across, away, size)


def paint_planes(
    view: View,
    alpha: Float32,
    at: tuple[float, float],
    room: Room,
    planes: Float64,
    which: list[int],
    skins: Skins,
    inside: bool = False,
    relief: Float64 = NO_RELIEF,
    depth: Float32 = _NO_DEPTH,
) -> Float32:
    """Paint planes under the room's light where `alpha` (h, w) covers, from position (y, x) `at` on.

    Returns
    -------
    (h, w, 4) float32; the depth goes to `depth`, within [near, far] after rounding.
    """
    return paint(
        alpha, at[0], at[1], planes, skins.rows[which], inside, relief, room.light, skins.palettes.ravel(),
        skins.tiles, skins.photos, depth,
    )  # fmt: skip
