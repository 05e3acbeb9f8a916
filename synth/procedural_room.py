"""The frame of procedural scenes: camera, textured planes before it, and the room that closes the view."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .camera import Intrinsics
from .procedural_kernels import paint
from .scene import Patch
from .shapes import geometric, turn
from .textures import NOISES, atlas, palettes

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
    """Looks of surfaces, one row each: tile, grain, palette; texels per pixel; grain contrasts; colours."""

    tiles: npt.NDArray[np.int64]
    zooms: Float64
    grains: Float64
    palettes: Float32


def draw_skins(rng: Rng, count: int, tiles: int) -> Skins:
    """Draw the looks of `count` surfaces from an atlas of `tiles` tiles."""
    u = rng.random((count, 5))
    noisy = u[:, 0] < 0.4
    share = np.where(noisy, u[:, 0] / 0.4, (u[:, 0] - 0.4) / 0.6)
    base = np.where(noisy, share * NOISES, NOISES + share * (tiles - NOISES)).astype(np.int64)
    grain = (u[:, 1] * (NOISES - 3)).astype(np.int64)
    grains = np.stack([0.08 + 0.35 * u[:, 2] * u[:, 2], 0.0012 + 0.002 * u[:, 3]], -1)
    zooms = 0.7 + 1.3 * u[:, 4] * u[:, 4]
    return Skins(np.stack([base, grain, np.arange(count)], -1), zooms, grains, palettes(rng, count))


def _unit(v: Vector) -> Vector:
    norm = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    return v[0] / norm, v[1] / norm, v[2] / norm


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def plane_row(
    view: View, inverse: Vector, skins: Skins, skin: int, at: float, offset: Vector, face: float = 1.0
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
        row += [line[0] / view.focal, line[1] / view.focal, line[2]]
        for k in range(3):
            row[3 + 3 * axis + k] += offset[axis] * w[k]
    return [*row, face, float(skins.grains[skin, 0]), float(skins.grains[skin, 1])]


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
    inverses
        The planes' coefficients of inverse depth once more.
    """

    planes: Float64
    skins: list[int]
    light: Float64
    inverses: list[list[float]]

    def inverse_depth(self, x: float, y: float) -> float:
        """1/z, in 1/metres, of what stands at a position."""
        return max([a * x + b * y + c for a, b, c in self.inverses])


def _rotated(v: Vector, yaw: float, pitch: float, roll: float) -> Vector:
    (cy, sy), (cp, sp), (cr, sr) = turn(yaw), turn(pitch), turn(roll)
    x, y, z = cy * v[0] + sy * v[2], v[1], cy * v[2] - sy * v[0]
    y, z = cp * y - sp * z, sp * y + cp * z
    return cr * x - sr * y, sr * x + cr * y, z


def draw_room(rng: Rng, view: View, skins: Skins) -> Room:
    """Draw a room: floor, back wall, and side walls and ceiling or not, seen from a random direction.

    Returns
    -------
    Six planes at most; their looks are the first six.
    """
    u = rng.random(32).tolist()
    yaw, pitch, roll = 1.1 * (u[0] - 0.5), 0.4 * (u[1] - 0.4), 0.16 * (u[2] - 0.5)
    half_x, half_y = view.width / (2 * view.focal), view.height / (2 * view.focal)
    # Normal, where in the picture its distance is set, bounds of that distance between near (0) and far (1),
    # how often it is there.
    walls: tuple[tuple[Vector, tuple[float, float], tuple[float, float], float], ...] = (
        ((0, 1, 0), (0, half_y), (0.2, 0.6), 1.0),
        ((0, 0, 1), (0, 0), (0.65, 0.97), 0.85),
        ((-1, 0, 0), (-half_x, 0), (0.3, 0.9), 0.75),
        ((1, 0, 0), (half_x, 0), (0.3, 0.9), 0.75),
        ((0, -1, 0), (0, -half_y), (0.4, 0.95), 0.6),
    )
    texture = (512 * u[3], 512 * u[4], 0.5 * (u[5] - 0.5))
    used = [0]
    rows = [plane_row(view, (0.0, 0.0, 1.0 / view.far), skins, 0, view.far, texture)]
    for k, (axis, at, bounds, chance) in enumerate(walls, 1):
        lean, here, where, *texture_at = u[5 * k + 1 : 5 * k + 6]
        tilt = 0.12 * (lean - 0.5)
        normal = _rotated(axis, yaw + tilt, pitch + tilt, roll)
        facing = max(normal[0] * at[0] + normal[1] * at[1] + normal[2], 0.08)
        depth = geometric(view.near, view.far, bounds[0] + (bounds[1] - bounds[0]) * where)
        inverse = (normal[0] / (depth * facing), normal[1] / (depth * facing), normal[2] / (depth * facing))
        turned = 0.5 * math.pi * (texture_at[0] < 0.3) + (0.785 if texture_at[1] < 0.1 else 0.0)
        offset = (512 * texture_at[0], 512 * texture_at[1], turned)
        if here < chance:
            zoom_at = depth * (1.2 if k == 2 else 1.8)
            rows.append(plane_row(view, inverse, skins, k, zoom_at, offset, 0.65 + 0.5 * texture_at[1]))
            used.append(k)
    return Room(np.array(rows), used, _lamp(view, u[26:]), [row[:3] for row in rows])


def _lamp(view: View, u: list[float]) -> Float64:
    z = geometric(view.near, view.far, 0.3 + 0.6 * u[0])
    reach = z * (0.6 + 1.2 * u[1])
    x, y = (u[2] - 0.5) * z * view.width, (0.3 * u[3] - 0.5) * z * view.height
    closeness = 1.0 / (reach * reach)
    ambient, level = 0.4 + 0.4 * u[5], 0.8 + 0.9 * u[4]
    per_pixel = closeness / (view.focal * view.focal)
    return np.array([x, y, z, per_pixel, closeness, ambient, level, 1.0 / view.far, 1.0 / view.near])


def paint_room(view: View, room: Room, skins: Skins, seed: int) -> Patch:
    """Paint the room over the whole frame."""
    depth = np.empty(view.frame, np.float32)
    alpha = np.ones(view.frame, np.float32)
    rgba = paint_planes(view, alpha, view.corner, room, room.planes, room.skins, skins, seed, True, depth=depth)
    return Patch(rgba, depth)


def paint_planes(
    view: View,
    alpha: Float32,
    at: tuple[float, float],
    room: Room,
    planes: Float64,
    which: list[int],
    skins: Skins,
    seed: int,
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
        alpha,
        at[0],
        at[1],
        planes,
        skins.tiles[which],
        inside,
        relief,
        room.light,
        skins.palettes.ravel(),
        atlas(seed).ravel(),
        depth,
    )
