"""What stands, hangs and lies about in procedural scenes: kinds of things, and their sizes in each world.

Sizes are those of a life-size world and scale with the height of the camera: a recipe from 0.1 to 1 m with the world
"indoor" shows a room as a doll's house has it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from . import shapes, solids
from .placing_kernels import BODY, COLUMNS, FOOT, FREE, HANG, LIE, LIFT, MODE, STAND, TOP, WALL, order, place
from .procedural_room import SETTINGS, Room, View
from .shapes import Outline, Rng, geometric, turn
from .solids import Part

Float64 = npt.NDArray[np.float64]
Modes = tuple[tuple[int, float], ...]

WORLDS = ("indoor", "outdoor", "macro")
TRIES = 22
_SCALES = {"indoor": 1.0, "outdoor": 2.0, "macro": 0.11}
_FLOOR: Modes = ((STAND, 1.0),)
_SMALL: Modes = ((STAND, 0.45), (TOP, 0.55))
_FLAT: Modes = ((STAND, 0.35), (TOP, 0.2), (WALL, 0.25), (LIE, 0.2))
_UPRIGHT: Modes = ((STAND, 0.6), (TOP, 0.3), (HANG, 0.1))
_HUNG: Modes = ((HANG, 0.5), (WALL, 0.3), (STAND, 0.2))


class Kind(NamedTuple):
    """A family of things.

    Attributes
    ----------
    name
        For tests and curious readers.
    solid, draw
        How its parts are built, or its outline drawn; one of them.
    chances
        How often it is chosen, by world.
    size
        Least and greatest half width, metres, before the world's scale.
    deep, high
        Least and greatest ratio of depth and height to width.
    modes
        Where it is put, and how often.
    roles
        Of its looks.
    carries
        Whether things may stand on it.
    tilts
        Whether its outline may be turned by any angle.
    """

    name: str
    solid: Callable[[Rng, float, float, float], list[Part]] | None
    draw: Callable[[Rng, float], Outline] | None
    chances: tuple[float, float, float]
    size: tuple[float, float]
    deep: tuple[float, float]
    high: tuple[float, float]
    modes: Modes
    roles: tuple[str, ...]
    carries: bool = False
    tilts: bool = False


def _of(name: str, chances: tuple[float, float, float], size: tuple[float, float], deep: tuple[float, float],
        high: tuple[float, float], modes: Modes, *roles: str, carries: bool = False) -> Kind:  # fmt: skip
    return Kind(name, getattr(solids, name), None, chances, size, deep, high, modes, roles, carries)


def _cut(name: str, chances: tuple[float, float, float], size: tuple[float, float], high: tuple[float, float],
         modes: Modes, role: str, tilts: bool = False) -> Kind:  # fmt: skip
    return Kind(name, None, getattr(shapes, name), chances, size, (1.0, 1.0), high, modes, (role,), tilts=tilts)


_ROUND_FOOT = (1.0, 1.0)
KINDS = (
    _of("block", (9, 3, 14), (0.07, 0.4), (0.4, 1.0), (0.3, 1.6), _SMALL, "thing", carries=True),
    _of("cabinet", (7, 0, 0), (0.3, 0.7), (0.5, 0.8), (0.7, 2.2), _FLOOR, "wood", "wood", carries=True),
    _of("table", (7, 0, 0), (0.45, 0.9), (0.5, 0.9), (0.35, 0.6), _FLOOR, "wood", "wood", carries=True),
    _of("chair", (5, 0, 0), (0.2, 0.28), (1.0, 1.0), (1.7, 2.3), _FLOOR, "cloth", "wood"),
    _of("shelf", (5, 0, 0), (0.35, 0.7), (0.35, 0.5), (0.9, 2.0), _FLOOR, "wood", "wood", "thing", carries=True),
    _of("sofa", (3, 0, 0), (0.5, 1.1), (0.45, 0.6), (0.35, 0.55), _FLOOR, "cloth", "cloth"),
    _of("stool", (3, 0, 2), (0.15, 0.35), _ROUND_FOOT, (0.7, 1.4), _FLOOR, "wood", "metal", carries=True),
    _of("drum", (4, 2, 8), (0.06, 0.25), _ROUND_FOOT, (0.6, 2.2), _SMALL, "thing", carries=True),
    _of("cone", (2, 1, 3), (0.08, 0.25), _ROUND_FOOT, (0.9, 1.8), _SMALL, "thing"),
    _of("ball", (6, 2, 10), (0.05, 0.28), _ROUND_FOOT, (0.9, 1.0), ((STAND, 0.45), (TOP, 0.4), (HANG, 0.15)), "thing"),
    _of("bottle", (7, 0, 12), (0.04, 0.16), _ROUND_FOOT, (1.3, 3.2), ((STAND, 0.3), (TOP, 0.7)), "thing"),
    _of("lamp", (4, 0, 0), (0.14, 0.28), _ROUND_FOOT, (2.4, 4.2), _SMALL, "cloth", "metal"),
    _of("steps", (2, 1, 3), (0.15, 0.5), (0.7, 1.3), (0.6, 1.3), _FLOOR, "wood"),
    _of("post", (0, 6, 0), (0.08, 0.18), _ROUND_FOOT, (7.0, 14.0), _FLOOR, "metal", "thing"),
    _of("house", (0, 9, 0), (1.6, 5.0), (0.5, 1.2), (0.6, 1.6), _FLOOR, "building", "stone"),
    _of("conifer", (0, 6, 0), (0.6, 1.6), _ROUND_FOOT, (1.6, 2.6), _FLOOR, "leaf", "bark"),
    _of("tree", (0, 8, 0), (0.7, 2.0), _ROUND_FOOT, (0.9, 1.6), _FLOOR, "leaf", "bark"),
    _of("boulder", (0, 7, 4), (0.15, 0.7), (0.7, 1.1), (0.5, 0.9), _FLOOR, "stone"),
    _cut("blob", (4, 2, 5), (0.06, 0.3), (0.6, 1.0), ((HANG, 0.3), (LIE, 0.7)), "thing", True),
    _cut("polygon", (3, 1, 4), (0.08, 0.3), (1.0, 1.0), _HUNG, "thing", True),
    _cut("ellipse", (3, 1, 4), (0.08, 0.3), (0.6, 1.0), ((WALL, 0.5), (LIE, 0.5)), "thing", True),
    _cut("wheel", (3, 2, 5), (0.1, 0.35), (1.0, 1.0), ((WALL, 0.3), (STAND, 0.4), (LIE, 0.3)), "metal", True),
    _cut("twig", (7, 8, 8), (0.15, 0.5), (1.0, 1.5), _UPRIGHT, "bark"),
    _cut("bush", (7, 10, 7), (0.15, 0.5), (0.8, 1.2), _UPRIGHT, "leaf"),
    _cut("lattice", (4, 4, 4), (0.2, 0.6), (0.7, 0.8), ((STAND, 0.5), (WALL, 0.3), (HANG, 0.2)), "metal"),
    _cut("fence", (2, 8, 2), (0.4, 1.0), (0.5, 0.8), _FLOOR, "wood"),
    _cut("wire", (5, 3, 5), (0.2, 0.7), (0.5, 1.0), ((HANG, 0.6), (LIE, 0.4)), "metal", True),
    _cut("word", (3, 3, 3), (0.1, 0.5), (0.3, 0.6), ((WALL, 0.4), (STAND, 0.2), (TOP, 0.3), (HANG, 0.1)), "thing"),
    _cut("vase", (3, 3, 3), (0.12, 0.3), (1.0, 2.0), ((STAND, 0.6), (TOP, 0.4)), "thing"),
    _cut("card", (12, 6, 10), (0.1, 0.6), (0.6, 1.4), _FLAT, "print"),
)  # fmt: skip


LIGHT = _cut("bulb", (0, 0, 0), (1.0, 1.0), (1.0, 1.0), ((WALL, 0.4), (HANG, 0.2), (TOP, 0.1), (FREE, 0.3)), "metal")
"""A lamp: as small as `LIGHT_PIXELS` of a picture 480 pixels high say."""
LIGHT_PIXELS = (1.6, 5.0)


class Thing(NamedTuple):
    """A thing before it is painted: its kind, number, turn and lean, prism, and uniform draws."""

    kind: Kind
    number: int
    lean: tuple[float, float]
    prism: Float64
    u: list[float]

    @property
    def half(self) -> tuple[float, float, float]:
        """Half width, half depth and height of its room, metres."""
        p, q = self.prism[4:6].tolist()
        return p, q, float(self.prism[FOOT] - self.prism[BODY])


def choose(rng: Rng, world: str, count: int) -> list[Kind]:
    """Draw kinds of things."""
    chances = np.add.accumulate(np.array([kind.chances[WORLDS.index(world)] for kind in KINDS]))
    return [KINDS[k] for k in np.searchsorted(chances, rng.random(count) * chances[-1], side="right").tolist()]


def arrange(
    rng: Rng, view: View, room: Room, world: str, kinds: list[Kind], crowding: tuple[float, float]
) -> list[Thing]:
    """Find room for things of some kinds.

    Parameters
    ----------
    rng, view, room, world, kinds
        The scene so far.
    crowding
        Least and greatest share of the picture that the boxes around all things take together, before the frame cuts
        them.

    Returns
    -------
    The things, far to near, so that none hides one that comes after it.
    """
    count = len(kinds)
    u = rng.random((count, 14))
    draws = rng.random((count, TRIES, 5))
    wanted = (crowding[0] + (crowding[1] - crowding[0]) * rng.random()) * view.height * view.width
    if not count:
        return []
    unit = room.floor / SETTINGS[world].eye * _SCALES[world]
    short = min(view.height, view.width)
    near, far = view.near, view.far
    inverse = near / far + u[:, 1] * (1.0 - near / far)
    depths = np.where(u[:, 2] < 0.4, near / inverse, near + u[:, 1] * (far - near))
    depths = np.where(u[:, 2] > 0.75, [geometric(near, far, share) for share in u[:, 1].tolist()], depths)
    sizes = np.array([geometric(*kind.size, share) for kind, share in zip(kinds, u[:, 3].tolist(), strict=True)]) * unit
    ratios = np.array(
        [
            kind.high[0] + (kind.high[1] - kind.high[0]) * share
            for kind, share in zip(kinds, u[:, 4].tolist(), strict=True)
        ]
    )
    aspect = np.maximum(ratios, 1.0)
    pixels = np.clip(sizes * aspect * view.focal / depths, max(0.025 * short, 4.0), max(0.42 * short, 4.0))
    area = math.fsum((4.0 * pixels * pixels * ratios / (aspect * aspect)).tolist())
    pixels *= min(max(math.sqrt(wanted / max(area, 1e-9)), 0.6), 1.9)
    pixels = np.clip(pixels, max(0.025 * short, 4.0), max(0.45 * short, 4.0))
    glowing = np.array([kind is LIGHT for kind in kinds])
    small = [max(geometric(*LIGHT_PIXELS, share) * short / 480, 1.6) for share in u[:, 3].tolist()]
    pixels = np.where(glowing, small, pixels)
    halves = pixels / aspect * depths / view.focal
    rows, leans = np.empty((count, 11)), []
    down = room.axes.down[2]
    level = math.sqrt(max(1.0 - down * down, 0.0))
    for k, (kind, half, ratio, depth, share) in enumerate(
        zip(kinds, halves.tolist(), ratios.tolist(), depths.tolist(), u.tolist(), strict=True)
    ):
        mode = _mode(kind.modes, share[5], len(room.walls) > 0, room.ceiling < far)
        if mode in (STAND, TOP) and kind.modes is not _FLOOR and kind is not LIGHT and _below(view, room, depth):
            mode = HANG if room.ceiling < far and share[10] < 0.2 else LIFT
        deep = kind.deep[0] + (kind.deep[1] - kind.deep[0]) * share[6]
        high = 2.0 * half * ratio
        flat = False
        if kind.solid is not None:
            facing = math.tau * share[7] if share[8] < 0.35 else 0.9 * (share[7] - 0.5)
            turned, lean = turn(facing), (1.0, 0.0)
            # No deeper than the range of depths lets it be.
            size = (far - near) / (2.0 * (half * (1.0 + deep) + high * abs(down)))
            if size < 2.5:
                half, high = half * min(0.3 * size, 1.0), high * min(0.3 * size, 1.0)
        elif mode == LIE:
            turned, lean = turn(math.tau * share[7]), (0.0, 1.0)
        else:
            standing = mode in (STAND, TOP) and share[8] < 0.75
            flat = mode != WALL and (kind is LIGHT or standing or 4.0 * half > far - near)
            lean = (level, -down) if flat else turn(0.9 * (share[9] - 0.5) if share[9] < 0.6 else 0.0)
            turned = (1.0, 0.0) if flat else turn(1.6 * (share[7] - 0.5))
            if mode in (HANG, LIFT) and not flat:
                lean = (1.0, 0.0)
        thin = 0.5 * high * abs(lean[1]) + 0.004 * half
        rows[k] = [
            half, half * deep if kind.solid else thin, high if kind.solid else max(high * lean[0], 0.002 * half),
            *turned, 0.01 * half, depth, flat, mode,
            -1.0 if kind is LIGHT else float(kind.carries), depth,
        ]  # fmt: skip
        leans.append(lean)
    # What carries others first, then from large to small.
    first = np.lexsort((np.arange(count), -rows[:, 0] * rows[:, 2], -rows[:, 9]))
    camera = np.array([view.focal, *room.axes.row])
    picture = np.array([view.height, view.width, near, far], np.float64)
    prisms = np.empty((count, COLUMNS))
    prisms[first] = place(rows[first], draws, room.walls, room.floor, room.ceiling, camera, picture)
    things = []
    for k in order(prisms).tolist():
        on_wall = int(prisms[k, MODE]) == WALL
        things.append(Thing(kinds[k], k, (1.0, 0.0) if on_wall else leans[k], prisms[k], u[k].tolist()))
    return things


def _below(view: View, room: Room, depth: float) -> bool:
    """Tell whether the floor at a depth is below the picture."""
    _, ey, ez = room.axes.down
    _, gy, gz = room.axes.away
    away = (depth - room.floor * ez) / gz
    return view.focal * (room.floor * ey + away * gy) > 0.55 * view.height * depth


def _mode(modes: Modes, share: float, walls: bool, ceiling: bool) -> int:
    """Choose where to put a thing, among what the room has."""
    there = [(mode, weight) for mode, weight in modes if (mode != WALL or walls) and (mode != HANG or ceiling)]
    there = there or [(STAND, 1.0)]
    at = share * math.fsum(weight for _, weight in there)
    for mode, weight in there:
        at -= weight
        if at < 0:
            return mode
    return there[-1][0]
