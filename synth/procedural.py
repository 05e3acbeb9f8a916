"""Procedural scenes: a furnished room, a street or a table top, each thing whole behind what hides it.

A scene depends on its arguments alone, bit by bit, on every processor: see `shapes` and `textures` for how.
"""

import math

import numpy as np
import numpy.typing as npt

from .. import InputError
from .placing_kernels import BODY, HANG, LIE, STAND, TOP
from .procedural_kernels import cover
from .procedural_room import Room, Skins, View, draw_room, paint_planes, paint_room, plane_row, shade
from .scene import LayeredScene, Patch
from .seeding import Purpose, generator
from .shapes import Outline, Rng, circle_points, strokes, turn
from .solid_kernels import PART, outline, paint_solid
from .textures import atlas, draw_looks
from .things import WORLDS, Thing, arrange, choose
from .procedural_room import SETTINGS

Float64 = npt.NDArray[np.float64]

_CIRCLE = circle_points(np.arange(48) * (math.tau / 48))
# How much of the picture's area the boxes around all things take together, before the frame cuts them.
_CROWDING = (0.9, 1.8)


def procedural_scene(
    seed: int,
    sample: int,
    size: tuple[int, int],
    depth: tuple[float, float],
    objects: tuple[int, int] = (20, 60),
    margin: int = 0,
    fov: float = 1.0,
    world: str = "indoor",
) -> LayeredScene:
    _check(seed, sample, size, depth, objects, margin, fov)
    focal = float(np.float32(0.5 * size[1] / math.tan(0.5 * fov)))
    view = View(*size, margin, float(depth[0]), float(depth[1]), focal)
    rng = generator(seed, Purpose.SCENE, sample)
    count = int(rng.integers(objects[0], objects[1], endpoint=True))
    kinds = choose(rng, world, depth, count)
    far, floor, wall, ceiling = SETTINGS[world].roles
    roles = [far, floor, wall, wall, wall, ceiling]
    starts = []
    for kind in kinds:
        starts.append(len(roles))
        roles += kind.roles
    skins = Skins(*draw_looks(rng, roles), atlas(seed).ravel(), np.zeros(0, np.uint16))
    room = draw_room(rng, view, skins, world)
    back = paint_room(view, room, skins)
    things, _ = arrange(rng, view, room, world, kinds, _CROWDING)
    patches = []
    for thing in things:
        if thing.kind.solid:
            patches.append(_solid(rng, view, room, skins, thing, starts[thing.number], back))
        else:
            patches.append(_cut_out(rng, view, room, skins, thing, starts[thing.number], back))
    return LayeredScene.from_patches(
        view.frame, [back, *patches], view.intrinsics, f"procedural-{seed}-{sample:06d}", margin
    )


def _check(
    seed: int,
    sample: int,
    size: tuple[int, int],
    depth: tuple[float, float],
    objects: tuple[int, int],
    margin: int,
    fov: float,
) -> None:
    if seed < 0 or sample < 0:
        raise InputError(f"seed and sample must be 0 or more, not {seed} and {sample}.")
    if min(size) < 16:
        raise InputError(f"a scene must be at least 16 pixels high and wide, not {size[0]}x{size[1]}.")
    if not (0 < depth[0] < depth[1] < math.inf):
        raise InputError(f"depth must go from a positive near to a greater far, not from {depth[0]} to {depth[1]} m.")
    if not 0 <= objects[0] <= objects[1]:
        raise InputError(f"objects must go from 0 or more to as many or more, not from {objects[0]} to {objects[1]}.")
    if margin < 0:
        raise InputError(f"margin must be 0 pixels or more, not {margin}.")
    if not 0.01 <= fov <= 2.8:
        raise InputError(f"fov must be between 0.01 and 2.8 radians, not {fov}.")


def _coverage(view: View, edges: Outline) -> tuple[npt.NDArray[np.float32], int, int]:
    """Cover the pixels of an outline in pixels from the principal point; where the first one within the frame lies."""
    points = edges.reshape(-1, 2)
    (low_x, low_y), (high_x, high_y) = points.min(0).tolist(), points.max(0).tolist()
    cx, cy = 0.5 * view.width, 0.5 * view.height
    left, top = math.floor(low_x + cx) - 1, math.floor(low_y + cy) - 1
    height, width = math.ceil(high_y + cy) - top + 1, math.floor(high_x + cx) - left + 2
    # Only the part within the frame.
    m = view.margin
    rows = slice(min(max(0, -m - top), height - 1), max(min(height, view.height + m - top), 1))
    columns = slice(min(max(0, -m - left), width - 1), max(min(width, view.width + m - left), 1))
    moved = edges + np.array([cx - left, cy - top, cx - left, cy - top])
    alpha = cover(moved, height, width)[rows, columns]
    return np.ascontiguousarray(alpha), top + rows.start, left + columns.start


def _solid(rng: Rng, view: View, room: Room, skins: Skins, thing: Thing, first: int, back: Patch) -> Patch:
    prism = thing.prism.tolist()
    a, c, _, d1, _, _, cos, sin = prism[:8]
    p, q, high = thing.half
    assert thing.kind.solid
    built = thing.kind.solid(rng, p, q, high)
    if prism[15] == HANG:
        # By a string, from the middle of its top.
        thin = max(0.006 * p, 0.7 * prism[8] / view.focal)
        built.append([2, 0.0, 0.0, prism[2] - d1, -0.98 * high, thin, thin, len(thing.kind.roles) - 1])
    parts = np.zeros((len(built), PART))
    for row, part in zip(parts, built, strict=True):
        row[:8] = part
        row[8:] = 512.0 * thing.u[10], 512.0 * thing.u[11]
    parts[:, 8] += 37.0 * np.arange(len(built))
    axes, origin = room.axes.turned(cos, sin), np.array(room.axes.point(a, d1, c))
    boxes = np.empty((len(built), 4))
    edges = outline(parts, axes, origin, view.focal, _CIRCLE, boxes)
    alpha, top, left = _coverage(view, edges)
    if prism[15] == STAND:
        shade(view, room, back, axes, tuple(origin.tolist()), (p, q), high, 0.5)
    which = slice(first, first + len(thing.kind.roles))
    middle = 0.5 * (prism[8] + prism[9])
    looks = np.empty((len(thing.kind.roles), 4))
    looks[:, 0] = skins.zooms[which] * view.focal / middle
    looks[:, 1] = 0.8 + 0.4 * thing.u[12]
    looks[:, 2:] = skins.grains[which]
    m = view.margin
    at = top - (view.height - 1) / 2, left - (view.width - 1) / 2
    depth = np.empty(alpha.shape, np.float32)
    rgba = paint_solid(
        alpha, at[0], at[1], parts, boxes, axes, origin, view.focal, looks, skins.rows[which], room.light,
        skins.palettes.ravel(), skins.tiles, skins.photos, depth,
    )  # fmt: skip
    return Patch(rgba, depth, top + m, left + m)


def _cut_out(rng: Rng, view: View, room: Room, skins: Skins, thing: Thing, first: int, back: Patch) -> Patch:
    prism = thing.prism.tolist()
    a, c, _, d1, p, _, cos, sin = prism[:8]
    mode, body, flat = prism[15], prism[BODY], prism[8] == prism[9]
    axes = room.axes.turned(cos, sin)
    up, tilt = thing.lean
    high = 0.5 * (d1 - body) / up if up > 0.1 else p * thing.kind.high[1]
    assert thing.kind.draw
    middle_d = 0.5 * (d1 + body)
    middle = room.axes.point(a, middle_d, c)
    pixels = view.focal * max(p, high) / middle[2]
    edges = _fitted(thing.kind.draw(rng, 1.0 / pixels), thing, p, high, mode)
    if mode == HANG:
        edges = np.concatenate([edges, _string(edges, (prism[2] - middle_d) / up, 1.3 * middle[2] / view.focal)])
    across = axes[0]
    down = up * axes[2] - tilt * axes[1]
    points = edges.reshape(-1, 2)
    x = middle[0] + (points[:, 0] * across[0] + points[:, 1] * down[0])
    y = middle[1] + (points[:, 0] * across[1] + points[:, 1] * down[1])
    z = middle[2] + (points[:, 0] * across[2] + points[:, 1] * down[2])
    if flat:
        z = np.full_like(z, middle[2])
    seen = np.stack([x, y], -1) * (view.focal / z)[:, None]
    alpha, top, left = _coverage(view, _facing(seen.reshape(-1, 4)))
    if mode == STAND:
        foot = room.axes.point(a, d1, c)
        shade(view, room, back, axes, foot, (0.8 * p, 0.02 * p), 2.0 * high, 0.35)
    normal = [across[(k + 1) % 3] * down[(k + 2) % 3] - across[(k + 2) % 3] * down[(k + 1) % 3] for k in range(3)]
    distance = normal[0] * middle[0] + (normal[1] * middle[1] + normal[2] * middle[2])
    inverse = (0.0, 0.0, 1.0 / middle[2]) if flat else tuple(float(v / distance) for v in normal)
    u = thing.u
    offset = (512 * u[10], 512 * u[11], 0.5 * math.pi * int(4 * u[13]) if u[13] < 0.2 else 0.0)
    plane = np.array([plane_row(view, inverse, skins, first, middle[2], offset, 0.75 + 0.5 * u[12])])
    relief = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    at = top - (view.height - 1) / 2, left - (view.width - 1) / 2
    depth = np.empty((0, 0) if flat else alpha.shape, np.float32)
    rgba = paint_planes(view, alpha, at, room, plane, [first], skins, relief=relief, depth=depth)
    nearest, farthest = np.float32(view.near), np.float32(view.far)
    one = float(min(max(np.float32(middle[2]), nearest), farthest))
    m = view.margin
    return Patch(rgba, one if flat else depth, top + m, left + m)


def _fitted(edges: Outline, thing: Thing, p: float, high: float, mode: float) -> Outline:
    """Turn an outline, and make it fill its room: metres from the middle."""
    free = thing.kind.tilts
    cos, sin = turn(math.tau * thing.u[0] if free else 0.08 * (thing.u[0] - 0.5) * (mode != STAND))
    points = edges.reshape(-1, 2)
    out = np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], -1)
    low, top = out.min(0), out.max(0)
    half = 0.5 * (top - low)
    scale = min(p / max(float(half[0]), 1e-9), high / max(float(half[1]), 1e-9))
    out = (out - 0.5 * (low + top)) * scale
    if mode in (STAND, TOP):
        out[:, 1] += high - float(half[1]) * scale
    elif mode == HANG:
        out[:, 1] -= high - float(half[1]) * scale
    return out.reshape(-1, 4)


def _string(edges: Outline, top: float, width: float) -> Outline:
    """Draw a string from the highest point of an outline up to `top`."""
    points = edges.reshape(-1, 2)
    x, y = points[int(np.argmin(points[:, 1]))].tolist()
    return strokes(np.array([[x, top]]), np.array([[x, y + 0.5 * width]]), width)


def _facing(edges: Outline) -> Outline:
    """Turn edges round that are seen from behind: coverage adds up one way only."""
    twice = math.fsum((edges[:, 0] * edges[:, 3] - edges[:, 1] * edges[:, 2]).tolist())
    return edges[:, [2, 3, 0, 1]] if twice < 0 else edges
