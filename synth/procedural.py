"""Procedural scenes: a furnished room, a street or a table top, each thing whole behind what hides it.

A scene depends on its arguments alone, bit by bit, on every processor: see `shapes` and `textures` for how.
"""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .. import InputError
from .photos import SIDE as PHOTO_SIDE
from .photos import Photographs
from .placing_kernels import BODY, FOOT, HANG, LIFT, MODE, STAND, Z0, Z1, Q
from .procedural_kernels import cover
from .procedural_room import SETTINGS, Room, Skins, Vector, View, draw_room, paint_planes, paint_room, plane_row, shade
from .scene import LayeredScene, Patch
from .seeding import Purpose, generator
from .shapes import Outline, Rng, circle_points, geometric, pool_of, strokes, turn
from .solid_kernels import PART, ROUND, cover_parts, outline
from .solid_paint_kernels import paint_solid
from .textures import atlas, draw_looks
from .things import LIGHT, WORLDS, Thing, arrange, choose

Float64 = npt.NDArray[np.float64]

_CIRCLE = circle_points(np.arange(48) * (math.tau / 48))
# How much of the picture's area the boxes around all things take together, before the frame cuts them.
_CROWDING = (0.8, 1.5)
MOST_LIGHTS = 500
RADIANCE = (2.0, 300.0)
"""Of lamps, white being 1."""


def procedural_scene(
    seed: int,
    sample: int,
    size: tuple[int, int],
    depth: tuple[float, float],
    objects: tuple[int, int] = (20, 60),
    margin: int = 0,
    fov: float = 1.0,
    *,
    world: str = "indoor",
    lights: tuple[int, int] = (0, 0),
    textures: Photographs | str | Path | None = None,
    assets: str = "",
    share: tuple[float, float] = (0.0, 1.0),
) -> LayeredScene:
    """Make a scene of a room, a street or a table top with things in it.

    Parameters
    ----------
    seed
        The recipe's; chooses the textures all its scenes share.
    sample
        Which scene.
    size
        Height and width of the picture, pixels, at least 16.
    depth
        Nearest and farthest z, metres.
    objects
        Least and greatest number of objects; each number between is as likely.
    margin
        Pixels by which the frame is wider on each side. The picture inside stays exactly the same.
    fov
        Horizontal field of view of the picture without its margin, radians.
    world
        "indoor": a room with furniture. "outdoor": ground as far as the farthest depth, where the sky is; houses,
        trees, fences. "macro": small things on a table top, seen from above. Sizes follow the range of depths.
    lights
        Least and greatest number of small lamps, besides the objects: each of 2 to 300 times the radiance of white.
        Most scenes that have some are dark.
    textures
        Folder of photographs for many of the surfaces, or what `Photographs.of` makes of it.
    assets
        Name of the pool of tiles, outlines and proportions, for example that of a split: pools share none of them.
    share
        Part of the photographs, by the order of their names' digests, that this pool has.

    Returns
    -------
    The room first, an opaque layer over the whole frame with a depth per pixel, then one patch per object and lamp,
    far to near: premultiplied linear radiance, in [0, 1] but for lamps, and depths within `depth` as float32. No
    layer hides, at any pixel, one that comes after it.

    Raises
    ------
    InputError
        If an argument is out of its range, or a photograph cannot be read.
    """
    _check(seed, sample, size, depth, objects, margin, fov)
    _check_more(world, lights, share)
    focal = float(np.float32(0.5 * size[1] / math.tan(0.5 * fov)))
    view = View(*size, margin, float(depth[0]), float(depth[1]), focal)
    pool = pool_of(assets)
    rng = generator(seed, Purpose.SCENE, sample, pool)
    count = int(rng.integers(objects[0], objects[1], endpoint=True))
    lamps = int(rng.integers(lights[0], lights[1], endpoint=True))
    kinds = [*choose(rng, world, count), *[LIGHT] * lamps]
    far, floor, wall, ceiling = SETTINGS[world].roles
    roles, starts = [far, floor, wall, wall, wall, ceiling], []
    for kind in kinds:
        starts.append(len(roles))
        roles += kind.roles
    photos, coarse = _photos(rng, textures, share, assets)
    skins = Skins(*draw_looks(rng, roles, coarse), atlas(seed, pool).ravel(), photos.ravel(), coarse)
    room = draw_room(rng, view, skins, world)
    if lamps:
        dark = rng.random(2).tolist()
        room.light[6] *= geometric(0.15, 0.8, dark[1]) if dark[0] < 0.75 else 1.0
    back = paint_room(view, room, skins)
    patches = [back]
    for thing in arrange(rng, view, room, world, kinds, _CROWDING):
        paint = _solid if thing.kind.solid else _cut_out
        patch = paint(rng, view, room, skins, thing, starts[thing.number], back)
        patches.append(_glowing(rng, patch) if thing.kind is LIGHT else patch)
    source = f"procedural-{seed}-{sample:06d}"
    return LayeredScene.from_patches(view.frame, patches, view.intrinsics, source, margin)


def _photos(
    rng: Rng, textures: Photographs | str | Path | None, share: tuple[float, float], assets: str
) -> tuple[npt.NDArray[np.uint16], list[float]]:
    if textures is None:
        return np.zeros((0, 1, 3), np.uint16), []
    found = textures if isinstance(textures, Photographs) else Photographs.of(textures)
    if share != (0.0, 1.0):
        found = found.part(*share, f"the split {assets!r}")
    return found.draw(rng)


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


def _check_more(world: str, lights: tuple[int, int], share: tuple[float, float]) -> None:
    if world not in WORLDS:
        raise InputError(f"world must be one of {', '.join(WORLDS)}, not {world!r}.")
    if not 0 <= lights[0] <= lights[1] <= MOST_LIGHTS:
        raise InputError(
            f"lights must go from 0 or more to as many or more, at most {MOST_LIGHTS}, not from {lights[0]} to "
            f"{lights[1]}."
        )
    if not 0 <= share[0] < share[1] <= 1:
        raise InputError(f"share must go from 0 or more to at most 1, not from {share[0]} to {share[1]}.")


def _coverage(
    view: View, edges: Outline, ring: int = 0, starts: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.float32], int, int]:
    """Cover the pixels of an outline in pixels from the principal point; where the first one within the frame lies.

    There are `ring` pixels more than the frame has, as far as the outline reaches so far. The edges of parts that may
    overlap begin at `starts`.
    """
    points = edges.reshape(-1, 2)
    (low_x, low_y), (high_x, high_y) = points.min(0).tolist(), points.max(0).tolist()
    cx, cy = 0.5 * view.width, 0.5 * view.height
    left, top = math.floor(low_x + cx) - 1, math.floor(low_y + cy) - 1
    height, width = math.ceil(high_y + cy) - top + 1, math.floor(high_x + cx) - left + 2
    moved = edges + np.array([cx - left, cy - top, cx - left, cy - top])
    alpha = cover(moved, height, width) if starts is None else cover_parts(moved, starts, height, width)
    # Only the part within the frame.
    m = view.margin + ring
    rows = slice(min(max(0, -m - top), height - 1), max(min(height, view.height + m - top), 1))
    columns = slice(min(max(0, -m - left), width - 1), max(min(width, view.width + m - left), 1))
    if top >= view.height + m or left >= view.width + m or top + height <= -m or left + width <= -m:
        return np.zeros((1, 1), np.float32), 0, 0
    return np.ascontiguousarray(alpha[rows, columns]), top + rows.start, left + columns.start


def _solid(rng: Rng, view: View, room: Room, skins: Skins, thing: Thing, first: int, back: Patch) -> Patch:
    prism = thing.prism.tolist()
    a, c, d0, d1, _, _, cos, sin = prism[:8]
    (p, q, high), foot = thing.half, prism[FOOT]
    assert thing.kind.solid
    built = thing.kind.solid(rng, p, q, high)
    if prism[MODE] == HANG:
        # By a string, from the middle of its top.
        thin = max(0.006 * p, 0.7 * prism[Z0] / view.focal)
        top = max(d0 - foot, -high - _longest(view, prism))
        built.append([ROUND, 0.0, 0.0, top, -0.98 * high, thin, thin, len(thing.kind.roles) - 1])
    elif prism[MODE] == LIFT:
        # On a pillar, which stands on the floor.
        thin = (0.3 + 0.6 * thing.u[9]) * min(p, q)
        down = min(d1 - foot, _longest(view, prism))
        built.append([ROUND, 0.0, 0.0, -0.01 * high, down, thin, thin, len(thing.kind.roles) - 1])
    parts = np.zeros((len(built), PART))
    for row, part in zip(parts, built, strict=True):
        row[:8] = part
        row[8:] = 512.0 * thing.u[10], 512.0 * thing.u[11]
    parts[:, 8] += 37.0 * np.arange(len(built))
    axes, origin = room.axes.turned(cos, sin), np.array(room.axes.point(a, foot, c))
    boxes = np.empty((len(built), 4))
    starts = np.empty(len(built) + 1, np.int64)
    edges = outline(parts, axes, origin, view.focal, _CIRCLE, boxes, starts)
    alpha, top, left = _coverage(view, edges, 1, starts)
    if prism[MODE] == STAND:
        shade(view, room, back, axes, tuple(origin.tolist()), (p, q), high, 0.5)
    which = slice(first, first + len(thing.kind.roles))
    middle = 0.5 * (prism[Z0] + prism[Z1])
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
    # What mends a pixel is beside it, maybe outside of the frame.
    y, x = max(-m - top, 0), max(-m - left, 0)
    bottom, right = max(view.height + m - top, y + 1), max(view.width + m - left, x + 1)
    if y or x or bottom < alpha.shape[0] or right < alpha.shape[1]:
        rgba, depth = rgba[y:bottom, x:right], depth[y:bottom, x:right]
    return Patch(rgba, depth, top + y + m, left + x + m)


def _cut_out(rng: Rng, view: View, room: Room, skins: Skins, thing: Thing, first: int, back: Patch) -> Patch:
    prism = thing.prism.tolist()
    a, c, d0, d1, p, _, cos, sin = prism[:8]
    foot = prism[FOOT]
    mode, body, flat = prism[MODE], prism[BODY], prism[Z0] == prism[Z1]
    axes = room.axes.turned(cos, sin)
    across = axes[0].tolist()
    up, tilt = thing.lean
    high = 0.5 * (foot - body) / up if up > 0.1 else prism[Q] - 0.004 * p
    assert thing.kind.draw
    middle_d = 0.5 * (foot + body)
    middle = room.axes.point(a, middle_d, c)
    pixels = view.focal * max(p, high) / middle[2]
    edges = _fitted(thing.kind.draw(rng, 1.0 / pixels), thing, p, high, mode)
    if mode == HANG and thing.kind is not LIGHT:
        edges = np.concatenate(
            [edges, _string(edges, max(d0 - middle_d, -high - _longest(view, prism)), 1.3 * middle[2] / view.focal)]
        )
    elif mode == LIFT:
        thin = max(0.04 * p, 1.5 * middle[2] / view.focal)
        down = min(d1 - middle_d, high + _longest(view, prism))
        edges = np.concatenate([edges, strokes(np.array([[0.0, 0.9 * high]]), np.array([[0.0, down]]), thin)])
    down = (up * axes[2] - tilt * axes[1]).tolist()
    points = edges.reshape(-1, 2)
    x = middle[0] + (points[:, 0] * across[0] + points[:, 1] * down[0])
    y = middle[1] + (points[:, 0] * across[1] + points[:, 1] * down[1])
    z = middle[2] + (points[:, 0] * across[2] + points[:, 1] * down[2])
    if flat:
        z = np.full_like(z, middle[2])
    seen = np.stack([x, y], -1) * (view.focal / z)[:, None]
    alpha, top, left = _coverage(view, _facing(seen.reshape(-1, 4)))
    if mode == STAND:
        shade(view, room, back, axes, room.axes.point(a, d1, c), (0.8 * p, 0.02 * p), 2.0 * high, 0.35)
    normal = [across[(k + 1) % 3] * down[(k + 2) % 3] - across[(k + 2) % 3] * down[(k + 1) % 3] for k in range(3)]
    distance = normal[0] * middle[0] + (normal[1] * middle[1] + normal[2] * middle[2])
    inverse: Vector = (0.0, 0.0, 1.0 / middle[2])
    if not flat:
        inverse = normal[0] / distance, normal[1] / distance, normal[2] / distance
    u = thing.u
    face = 0.75 + 0.5 * u[12]
    photo = int(-1 - skins.rows[first, 0])
    if photo >= 0 and u[13] > 0.5 and 2.0 * view.focal * max(p, high) * skins.coarse[photo] < PHOTO_SIDE * middle[2]:
        # The whole photograph, as a picture on a wall or a page has it.
        at_depth = float(skins.zooms[first]) * view.focal * 2.0 * min(p, high) / PHOTO_SIDE
        row = plane_row(view, inverse, skins, first, at_depth, (0.5 * PHOTO_SIDE, 0.5 * PHOTO_SIDE, 0.0), face, middle)
    else:
        offset = (512 * u[10], 512 * u[11], 0.5 * math.pi * int(20 * u[13]) if u[13] < 0.2 else 0.0)
        row = plane_row(view, inverse, skins, first, middle[2], offset, face)
    at = top - (view.height - 1) / 2, left - (view.width - 1) / 2
    depth = np.empty((0, 0) if flat else alpha.shape, np.float32)
    # Brighter on one side and darker towards the rim, as what is not quite flat.
    x, y = view.focal * middle[0] / middle[2], view.focal * middle[1] / middle[2]
    relief = np.array([x, y, 1 / pixels, u[3] - 0.5, 0.5 * u[4] - 0.6 * u[6], 0.5 * u[6] * thing.kind.tilts])
    rgba = paint_planes(view, alpha, at, room, np.array([row]), [first], skins, relief=relief, depth=depth)
    nearest, farthest = np.float32(view.near), np.float32(view.far)
    one = float(min(max(np.float32(middle[2]), nearest), farthest))
    m = view.margin
    return Patch(rgba, one if flat else depth, top + m, left + m)


def _glowing(rng: Rng, patch: Patch) -> Patch:
    """Turn a patch into a lamp: most of them warm or white, from 2 to 300 times as bright as white."""
    u = rng.random(4)
    colour = np.array([1.0, 0.6 + 0.3 * u[2], 0.25 + 0.5 * u[2]])
    if u[1] < 0.2:
        colour = np.array([0.75 + 0.2 * u[2], 0.9, 1.0])
    elif u[1] < 0.45:
        colour = np.roll([1.0, 0.05 + 0.5 * u[2], 0.05], int(3 * u[3]))
    light = (geometric(*RADIANCE, float(u[0])) * colour).astype(np.float32)
    alpha = patch.rgba[..., 3:]
    return Patch(np.concatenate([light * alpha, alpha], -1), patch.depth, patch.top, patch.left)


def _fitted(edges: Outline, thing: Thing, p: float, high: float, mode: float) -> Outline:
    """Turn an outline, and make it fill its room: metres from the middle."""
    free = thing.kind.tilts
    cos, sin = turn(math.tau * thing.u[0] if free else 0.08 * (thing.u[0] - 0.5) * (mode != STAND))
    points = edges.reshape(-1, 2)
    out = np.stack([cos * points[:, 0] - sin * points[:, 1], sin * points[:, 0] + cos * points[:, 1]], -1)
    low, top = out.min(0), out.max(0)
    half = 0.5 * (top - low)
    out = (out - 0.5 * (low + top)) * (np.array([p, high]) / np.maximum(half, 1e-9))
    return np.asarray(out.reshape(-1, 4), np.float64)


def _longest(view: View, prism: list[float]) -> float:
    """Metres of string or pillar that are sure to leave the picture: no more need be drawn."""
    return 1.5 * view.height * prism[Z1] / view.focal


def _string(edges: Outline, top: float, width: float) -> Outline:
    """Draw a string from the highest point of an outline up to `top`."""
    points = edges.reshape(-1, 2)
    x, y = points[int(np.argmin(points[:, 1]))].tolist()
    return strokes(np.array([[x, top]]), np.array([[x, y + 0.5 * width]]), width)


def _facing(edges: Outline) -> Outline:
    """Turn edges round that are seen from behind: coverage adds up one way only."""
    twice = math.fsum((edges[:, 0] * edges[:, 3] - edges[:, 1] * edges[:, 2]).tolist())
    return edges[:, [2, 3, 0, 1]] if twice < 0 else edges
