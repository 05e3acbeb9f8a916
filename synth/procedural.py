"""Procedural scenes: a textured room full of objects, each whole behind what hides it.

A scene depends on its arguments alone, bit by bit, on every processor: see `shapes` and `textures` for how.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from .procedural_kernels import cover
from .procedural_room import Room, Skins, View, draw_room, draw_skins, paint_planes, paint_room, plane_row
from .scene import LayeredScene, Patch
from .seeding import Purpose, generator
from .shapes import KINDS, Kind, Outline, Rng, turn
from .textures import atlas

Float64 = npt.NDArray[np.float64]

_ROOM_SKINS = 6
_TRIES = 5
_DRAWS = 18 + 2 * _TRIES
_CHANCES = np.add.accumulate(np.array([kind.weight for kind in KINDS]))
# How much of the picture's area the boxes around all objects take together, before the frame cuts them.
_CROWDING = (0.9, 1.8)


def procedural_scene(
    seed: int,
    sample: int,
    size: tuple[int, int],
    depth: tuple[float, float],
    objects: tuple[int, int] = (20, 60),
    margin: int = 0,
    fov: float = 1.0,
) -> LayeredScene:
    """Make a scene of a room with objects in it.

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

    Returns
    -------
    The room first, an opaque layer over the whole frame with a depth per pixel, then one patch per object,
    far to near: premultiplied linear radiance in [0, 1], depths within `depth` as float32.

    Raises
    ------
    InputError
        If an argument is out of its range.
    """
    _check(seed, sample, size, depth, objects, margin, fov)
    focal = float(np.float32(0.5 * size[1] / math.tan(0.5 * fov)))
    view = View(*size, margin, float(depth[0]), float(depth[1]), focal)
    rng = generator(seed, Purpose.SCENE, sample)
    count = int(rng.integers(objects[0], objects[1], endpoint=True))
    skins = draw_skins(rng, _ROOM_SKINS + count, len(atlas(seed)))
    room = draw_room(rng, view, skins)
    back = paint_room(view, room, skins, seed)
    things = _place(rng, view, room, count)
    patches = [_object(rng, view, room, skins, thing, seed, back) for thing in things]
    return LayeredScene.from_patches(
        view.frame,
        [back, *patches],
        view.intrinsics,
        f"procedural-{seed}-{sample:06d}",
        margin,
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


@dataclass(frozen=True)
class _Thing:
    """An object before it is painted: number, shape, depth, centre and half size in pixels, and draws."""

    number: int
    kind: Kind
    depth: float
    x: float
    y: float
    half: float
    stands: bool
    u: list[float]


def _place(rng: Rng, view: View, room: Room, count: int) -> list[_Thing]:
    u = rng.random((count, _DRAWS))
    kinds = np.searchsorted(_CHANCES, u[:, 0] * _CHANCES[-1], side="right").tolist()
    inverse = view.near / view.far + u[:, 1] * (1.0 - view.near / view.far)
    depths = np.where(u[:, 2] < 0.5, view.near / inverse, view.near + u[:, 1] * (view.far - view.near))
    halves = _half_sizes(rng, view, depths, u[:, 3])
    things = []
    for k in range(count):
        row = u[k].tolist()
        things.append(_thing(view, room, k, KINDS[kinds[k]], float(depths[k]), float(halves[k]), row))
    return sorted(things, key=lambda thing: -thing.depth)


def _half_sizes(rng: Rng, view: View, depths: Float64, u: Float64) -> Float64:
    short = min(view.height, view.width)
    # True perspective would leave far objects a few pixels wide, so its square root.
    sizes = (0.25 + u * u) / np.sqrt(depths / view.near + 0.5)
    area = math.fsum((4.0 * sizes * sizes).tolist())
    wanted = (_CROWDING[0] + (_CROWDING[1] - _CROWDING[0]) * rng.random()) * view.height * view.width
    scale = math.sqrt(wanted / area) if len(sizes) else 1.0
    return np.clip(sizes * scale, max(0.025 * short, 4.0), max(0.33 * short, 4.0))


def _thing(view: View, room: Room, k: int, kind: Kind, depth: float, half: float, u: list[float]) -> _Thing:
    floor = room.inverses[1]
    standing = u[4] < (0.65 if kind.upright else 0.35)
    best = None
    for i in range(_TRIES):
        x = (u[5 + 2 * i] - 0.5) * view.width
        y = (u[6 + 2 * i] - 0.5) * view.height
        stands = False
        if standing:
            bottom = (1.0 / depth - floor[0] * x - floor[2]) / floor[1] if floor[1] > 0 else math.inf
            stands = abs(bottom - half) < 0.5 * view.height + 0.5 * half
            y = bottom - half if stands else y
        # The room is convex: an object whose box has its corners before the walls is wholly before them.
        top = max(room.inverse_depth(x - half, y - half), room.inverse_depth(x + half, y - half))
        low = max(room.inverse_depth(x - half, y + half), room.inverse_depth(x + half, y + half))
        behind = max(top, 0.0 if stands else low)
        if best is None or behind < best[0]:
            best = behind, x, y, stands
        if behind < 1.0 / depth:
            break
    assert best is not None
    behind, x, y, stands = best
    depth = max(min(depth, 1.0 / (1.01 * behind)), view.near) if behind > 0 else depth
    return _Thing(k, kind, depth, x, y, half, stands, u[5 + 2 * _TRIES :])


def _within(centre: float, low: float, high: float, size: int) -> float:
    """Move what reaches from `low` to `high` about its centre until a third of it is in the picture."""
    third = (high - low) / 3.0
    return min(max(centre, third - high - 0.5 * size), 0.5 * size - third - low)


def _outline(rng: Rng, view: View, thing: _Thing) -> tuple[Outline, int, int]:
    """Edges in pixels of a patch, and the patch's first pixel in the inner picture."""
    edges = thing.kind.draw(rng, 1.0 / thing.half)
    cos, sin = turn(math.tau * thing.u[0] if not thing.kind.upright else 0.25 * (thing.u[0] - 0.5))
    cos, sin, flip = cos * thing.half, sin * thing.half, -1.0 if thing.u[1] < 0.5 else 1.0
    ex, ey = edges[:, ::2], edges[:, 1::2]
    out = np.empty_like(edges)
    # A mirrored outline runs the other way round: its edges swap their ends.
    ends = slice(None, None, 2) if flip > 0 else slice(2, None, -2)
    others = slice(1, None, 2) if flip > 0 else slice(3, None, -2)
    out[:, ends], out[:, others] = flip * (cos * ex - sin * ey), sin * ex + cos * ey
    low, high = out.min(0).tolist(), out.max(0).tolist()
    low_x, low_y, high_x, high_y = min(low[::2]), min(low[1::2]), max(high[::2]), max(high[1::2])
    x = _within(thing.x, low_x, high_x, view.width)
    y = _within(thing.y + thing.half - high_y if thing.stands else thing.y, low_y, high_y, view.height)
    dx, dy = x + 0.5 * view.width, y + 0.5 * view.height
    left, top = math.floor(low_x + dx) - 1, math.floor(low_y + dy) - 1
    out += [dx - left, dy - top, dx - left, dy - top]
    return out, top, left


def _object(rng: Rng, view: View, room: Room, skins: Skins, thing: _Thing, seed: int, back: Patch) -> Patch:
    edges, top, left = _outline(rng, view, thing)
    high = edges.max(0).tolist()
    height, width = math.ceil(max(high[1], high[3])) + 1, math.floor(max(high[0], high[2])) + 2
    # Only the part within the frame.
    m = view.margin
    rows = slice(max(0, -m - top), min(height, view.height + m - top))
    columns = slice(max(0, -m - left), min(width, view.width + m - left))
    alpha = np.ascontiguousarray(cover(edges, height, width)[rows, columns])
    top, left = top + rows.start, left + columns.start
    u = thing.u
    inverse = _slant(view, room, thing, width, height)
    skin = _ROOM_SKINS + thing.number
    offset = (512 * u[2], 512 * u[3], math.tau * u[4] if u[4] < 0.3 else 0.0)
    plane = np.array([plane_row(view, inverse, skins, skin, thing.depth, offset, 0.6 + 0.8 * u[5])])
    relief = np.array([thing.x, thing.y, 1 / thing.half, u[6] - 0.5, 0.5 * u[7] - 0.6 * u[8], 0.6 * u[9]])
    at = top - (view.height - 1) / 2, left - (view.width - 1) / 2
    flat = inverse[0] == 0 and inverse[1] == 0
    depth = np.empty((0, 0) if flat else alpha.shape, np.float32)
    rgba = paint_planes(view, alpha, at, room, plane, [skin], skins, seed, relief=relief, depth=depth)
    return Patch(rgba, thing.depth if flat else depth, top + m, left + m)


def _slant(view: View, room: Room, thing: _Thing, width: int, height: int) -> tuple[float, float, float]:
    """Coefficients of x/f, y/f and 1 of the object's inverse depth: most objects face the camera."""
    w = 1.0 / thing.depth
    if thing.u[10] > (0.6 if thing.kind.draw.__name__ == "card" else 0.25):
        return 0.0, 0.0, w
    cos, sin = turn(math.tau * thing.u[11])
    room_left = min(w - 1.0 / view.far, 1.0 / view.near - w, 0.3 * w)
    reach = room_left * (0.3 + 0.7 * thing.u[12]) / (0.7 * (width + height))
    a, b = reach * cos * view.focal, reach * sin * view.focal
    return a, b, w - (a * thing.x + b * thing.y) / view.focal
