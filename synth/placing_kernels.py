"""Compiled loops that put things into a scene and order them. n = things, t = tries.

Every thing stays within an upright prism: an oriented rectangle on the ground times an interval of heights. Prisms are
kept apart, so that a plane separates any two of them, and the one on the camera's side of it hides the other: an order
from far to near that is right at every pixel, whatever the things' shapes.

Ground coordinates are metres from the camera: a to the right, d down, c forward. Only + - * /, square roots and
comparisons: their results are the same on every processor.
"""

import numpy as np
import numpy.typing as npt

from .jit import jit

Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STAND, HANG, TOP, WALL, LIE, FREE, LIFT = range(7)

# Columns of a prism.
A, C, D0, D1, P, Q, COS, SIN, Z0, Z1, X0, X1, Y0, Y1, SCALE, MODE, BODY, FOOT, LEFT, RIGHT, HIGH, LOW = range(22)
COLUMNS = 22


@jit
def _span(prism: Float64, camera: Float64) -> None:
    """Fill in the range of depths of a prism, and what its body covers in the picture, pixels from the centre.

    The body is what is between the string that a thing may hang by and the support that it may stand on; `LEFT`,
    `RIGHT`, `HIGH` and `LOW` bound all of it.
    """
    focal, rx, ry = camera[0], camera[1], camera[2]
    ex, ey, ez, gx, gy, gz = camera[3], camera[4], camera[5], camera[6], camera[7], camera[8]
    prism[Z0], prism[Z1] = 1e30, -1e30
    prism[X0], prism[X1], prism[Y0], prism[Y1] = 1e30, -1e30, 1e30, -1e30
    prism[LEFT], prism[RIGHT], prism[HIGH], prism[LOW] = 1e30, -1e30, 1e30, -1e30
    for corner in range(16):
        p = prism[P] if corner & 1 else -prism[P]
        q = prism[Q] if corner & 2 else -prism[Q]
        level = corner >> 2
        d = prism[FOOT] if level == 0 else prism[BODY] if level == 1 else prism[D0] if level == 2 else prism[D1]
        a = prism[A] + (p * prism[COS] - q * prism[SIN])
        c = prism[C] + (p * prism[SIN] + q * prism[COS])
        z = d * ez + c * gz
        prism[Z0], prism[Z1] = min(prism[Z0], z), max(prism[Z1], z)
        scale = focal / max(z, 1e-9)
        x, y = ((a * rx + d * ex) + c * gx) * scale, ((a * ry + d * ey) + c * gy) * scale
        prism[LEFT], prism[RIGHT] = min(prism[LEFT], x), max(prism[RIGHT], x)
        prism[HIGH], prism[LOW] = min(prism[HIGH], y), max(prism[LOW], y)
        if level < 2:
            prism[X0], prism[X1] = min(prism[X0], x), max(prism[X1], x)
            prism[Y0], prism[Y1] = min(prism[Y0], y), max(prism[Y1], y)


@jit
def _inside(prism: Float64, walls: Float64, floor: float, ceiling: float, near: float, far: float) -> bool:
    """Tell whether a prism is within the range of depths and before all planes of the room."""
    slack = 1e-6 * far
    if prism[FOOT] > prism[D1] or prism[BODY] < prism[D0] or prism[D1] > floor + slack or prism[D0] < -ceiling - slack:
        return False
    if prism[Z0] < near or prism[Z1] > far:
        return False
    for i in range(walls.shape[0]):
        na, nc = walls[i, 0], walls[i, 1]
        reach = prism[P] * abs(na * prism[COS] + nc * prism[SIN]) + prism[Q] * abs(nc * prism[COS] - na * prism[SIN])
        if na * prism[A] + nc * prism[C] + reach > walls[i, 2] + slack:
            return False
    return True


@jit
def _seen(prism: Float64, width: float, height: float) -> bool:
    """Tell whether enough of a prism is in the picture, and it is not much larger than that."""
    wide, high = prism[X1] - prism[X0], prism[Y1] - prism[Y0]
    if wide > 1.3 * width or high > 1.6 * height:
        return False
    x = min(prism[X1], 0.5 * width) - max(prism[X0], -0.5 * width)
    y = min(prism[Y1], 0.5 * height) - max(prism[Y0], -0.5 * height)
    enough = min(0.35 * wide * high, 0.12 * width * height)
    return bool(min(x, y) >= 1.5 and x * y >= max(enough, 6.0))


@jit
def _sides(one: Float64, other: Float64, na: float, nc: float) -> int:
    """Which of two prisms the camera is nearer to across an upright plane between them; 9 if there is none."""
    middle, opposite = na * one[A] + nc * one[C], na * other[A] + nc * other[C]
    reach = one[P] * abs(na * one[COS] + nc * one[SIN]) + one[Q] * abs(nc * one[COS] - na * one[SIN])
    reach_other = other[P] * abs(na * other[COS] + nc * other[SIN]) + other[Q] * abs(nc * other[COS] - na * other[SIN])
    slack = 1e-9 * (abs(middle) + abs(opposite))
    if abs(middle - opposite) < reach + reach_other - slack:
        return 9
    if middle > opposite:
        return -1 if opposite + reach_other >= 0.0 else (1 if middle - reach <= 0.0 else 0)
    return 1 if middle + reach >= 0.0 else (-1 if opposite - reach_other <= 0.0 else 0)


@jit
def _levels(one: Float64, other: Float64) -> int:
    """Do the same across a level plane."""
    slack = 1e-9 * (abs(one[D1]) + abs(other[D1]))
    if one[D1] <= other[D0] + slack:
        return 1 if other[D0] >= 0.0 else (-1 if one[D1] <= 0.0 else 0)
    if other[D1] <= one[D0] + slack:
        return -1 if one[D0] >= 0.0 else (1 if other[D1] <= 0.0 else 0)
    return 9


@jit
def relation(one: Float64, other: Float64) -> int:
    """Tell whether `one` may hide `other` (1), the other way round (-1), or neither (0); 9 if nothing parts them.

    Each plane between them tells that one of them, or both, cannot hide the other.
    """
    ahead, back, parted = True, True, False
    for k in range(6):
        if k == 0:
            found = 1 if one[Z1] <= other[Z0] else (-1 if other[Z1] <= one[Z0] else 9)
        elif k == 1:
            found = _levels(one, other)
        else:
            turned = one if k < 4 else other
            along = k % 2 == 0
            found = _sides(
                one, other, turned[COS] if along else -turned[SIN], turned[SIN] if along else turned[COS]
            )  # fmt: skip
        if found != 9:
            parted = True
            ahead, back = ahead and found == 1, back and found == -1
    return (1 if ahead else -1 if back else 0) if parted else 9


@jit
def _rescale(prism: Float64, thing: Float64, z: float) -> None:
    """Make a thing as large at another depth as it looks at its own."""
    grown = prism[SCALE] * z / thing[10]
    prism[SCALE], prism[P], prism[Q] = grown, thing[0] * grown, thing[1] * grown


@jit
def _on_top(prism: Float64, thing: Float64, draws: Float64, placed: Float64, tops: Ints, count: int) -> bool:
    """Propose a place on a thing that carries others; False if there is none."""
    if count == 0:
        return False
    base = placed[tops[min(int(draws[2] * count), count - 1)]]
    if thing[9] < 0.0:
        _rescale(prism, thing, 0.5 * (base[Z0] + base[Z1]))
    cos, sin = abs(thing[3] * base[COS] + thing[4] * base[SIN]), abs(thing[4] * base[COS] - thing[3] * base[SIN])
    free_p = base[P] - (prism[P] * cos + prism[Q] * sin)
    free_q = base[Q] - (prism[P] * sin + prism[Q] * cos)
    # The tops of things above the eye are not seen.
    if base[BODY] <= 0.0 or free_p < 0.0 or free_q < 0.0:
        return False
    p, q = (2.0 * draws[0] - 1.0) * free_p, (2.0 * draws[1] - 1.0) * free_q
    prism[A] = base[A] + (p * base[COS] - q * base[SIN])
    prism[C] = base[C] + (p * base[SIN] + q * base[COS])
    prism[D1] = base[BODY]
    prism[D0] = prism[BODY] = prism[D1] - thing[2] * prism[SCALE]
    return True


@jit
def _on_wall(
    prism: Float64, thing: Float64, draws: Float64, walls: Float64, camera: Float64, picture: Float64
) -> bool:  # fmt: skip
    """Propose a place on a wall; False if there is none."""
    if walls.shape[0] == 0:
        return False
    focal, rx, ry = camera[0], camera[1], camera[2]
    ex, ey, ez, gx, gy, gz = camera[3], camera[4], camera[5], camera[6], camera[7], camera[8]
    x, y = (draws[0] - 0.5) * picture[1] / focal, (draws[1] - 0.5) * picture[0] / focal
    wall = walls[min(int(draws[2] * walls.shape[0]), walls.shape[0] - 1)]
    facing = (wall[0] * rx + wall[1] * gx) * x + (wall[0] * ry + wall[1] * gy) * y + wall[1] * gz
    z = wall[2] / facing if facing > 1e-3 else 0.0
    if not picture[2] < z < picture[3]:
        return False
    if thing[9] < 0.0:
        _rescale(prism, thing, z)
    px, py = x * z, y * z
    prism[COS], prism[SIN], prism[Q] = wall[1], -wall[0], thing[5] * prism[SCALE]
    back = 1.001 * prism[Q]
    prism[A] = px * rx + py * ry - back * wall[0]
    prism[C] = (px * gx + py * gy) + z * gz - back * wall[1]
    middle = (px * ex + py * ey) + z * ez
    high = thing[2] * prism[SCALE]
    prism[D0], prism[D1] = middle - 0.5 * high, middle + 0.5 * high
    prism[BODY] = prism[D0]
    return True


@jit
def _propose(
    prism: Float64, thing: Float64, draws: Float64, mode: int, placed: Float64, tops: Ints, count: int,
    walls: Float64, floor: float, ceiling: float, camera: Float64, picture: Float64,
) -> bool:  # fmt: skip
    """Propose a place for a thing, by its mode and uniform numbers; False if there is none of this kind."""
    focal, rx, ry = camera[0], camera[1], camera[2]
    ex, ey, ez, gx, gy, gz = camera[3], camera[4], camera[5], camera[6], camera[7], camera[8]
    scale = prism[SCALE]
    prism[P], prism[Q], prism[COS], prism[SIN] = thing[0] * scale, thing[1] * scale, thing[3], thing[4]
    prism[MODE] = mode
    if mode == TOP:
        if not _on_top(prism, thing, draws, placed, tops, count):
            return False
    elif mode == WALL:
        if not _on_wall(prism, thing, draws, walls, camera, picture):
            return False
    else:
        z = thing[6]
        if thing[9] < 0.0:
            _rescale(prism, thing, z)
        high = thing[2] * prism[SCALE]
        px, py = (draws[0] - 0.5) * picture[1] * z / focal, (draws[1] - 0.5) * picture[0] * z / focal
        if mode == LIFT:
            # What holds it comes in from below.
            py = (0.05 + 0.4 * draws[1]) * picture[0] * z / focal
        if mode in (STAND, LIE):
            prism[D1] = floor
            prism[D0] = prism[BODY] = floor - high
            prism[C] = (z - floor * ez) / gz
            prism[A] = ((px - floor * ex) - prism[C] * gx) / rx
        else:
            prism[A], prism[C] = px * rx + py * ry, (px * gx + py * gy) + z * gz
            middle = (px * ex + py * ey) + z * ez
            prism[D1], prism[BODY] = middle + 0.5 * high, middle - 0.5 * high
            prism[D0] = -ceiling if mode == HANG else prism[BODY]
    prism[FOOT] = prism[D1]
    if mode == LIFT:
        prism[D1] = floor
    _span(prism, camera)
    if thing[7] > 0.0 and mode != WALL:
        # Flat and facing the camera: one depth.
        prism[Z0] = prism[Z1] = (0.5 * (prism[D1] + prism[BODY])) * ez + prism[C] * gz
    return True


@jit
def _free(prism: Float64, placed: Float64, count: int) -> bool:
    """Tell whether a plane parts a prism from each of the first `count`."""
    j = 0
    while j < count and relation(prism, placed[j]) != 9:
        j += 1
    return j == count


@jit
def _anywhere(
    prism: Float64, thing: Float64, draws: Float64, placed: Float64, tops: Ints, walls: Float64, floor: float,
    ceiling: float, camera: Float64, picture: Float64,
) -> None:  # fmt: skip
    """Put a thing before the room, nearer and smaller until it fits, whatever else is there."""
    near, far = picture[2], picture[3]
    for step in range(40):
        share = 1.0 - step / 40.0
        thing[6] = near * (1.0 + 1e-4) + (thing[6] - near) * share
        small = 0.3 * share * share + 0.01
        prism[SCALE] = small if thing[9] < 0.0 else small * thing[6] / thing[10]
        middle = 0.2 + 0.6 * draws[step % draws.shape[0]]
        _propose(prism, thing, middle, FREE, placed, tops, 0, walls, floor, ceiling, camera, picture)
        if _inside(prism, walls, floor, ceiling, near, far):
            return


@jit
def _vary(thing: Float64, draws: Float64, share: float, mode: int, floor: float, camera: Float64, picture: Float64
) -> None:  # fmt: skip
    """Choose another depth for a thing: late, one where the floor is seen, as long as any of it is."""
    near, far = picture[2], picture[3]
    if share >= 0.5 and mode in (STAND, LIE):
        x, y = (draws[0] - 0.5) * picture[1], (draws[1] - 0.5) * picture[0]
        down = (x * camera[3] + y * camera[4]) / camera[0] + camera[5]
        if down > 0.0 and near < floor / down < far:
            thing[6] = floor / down
    else:
        thing[6] = near / (near / far + draws[3] * (1.0 - near / far))


@jit
def place(
    things: Float64,
    draws: Float64,
    walls: Float64,
    floor: float,
    ceiling: float,
    camera: Float64,
    picture: Float64,
) -> Float64:
    """Find room for things, one after another.

    Parameters
    ----------
    things
        (n, 11): half width, half depth and height in metres, cosine and sine of the turn, half depth on a wall, depth,
        whether it is flat and faces the camera, mode, whether others may stand on it (-1: it looks as large wherever it
        is), and the depth that its size was chosen for.
    draws
        (n, t, 5) uniform: position x y, choice, a new depth, and a spare.
    walls
        (w, 3): a and c of the outward normal, distance.
    floor, ceiling
        Metres below and above the camera.
    camera
        (9,): focal length in pixels, x and y of the right direction, x y z of down, x y z of forward.
    picture
        (4,): height and width in pixels, least and largest depth.

    Returns
    -------
    (n, COLUMNS) prisms.
    """
    n, tries = things.shape[0], draws.shape[1]
    height, width, near, far = picture[0], picture[1], picture[2], picture[3]
    placed = np.zeros((n, COLUMNS))
    tops, count = np.zeros(n, np.int64), 0
    for k in range(n):
        thing, prism = things[k], placed[k]
        done = False
        for i in range(tries):
            mode, share = int(thing[8]), i / tries
            prism[SCALE] = 1.0 if share < 0.5 else 1.25 - share
            if share >= 0.5 and (mode in (TOP, WALL) or (mode in (HANG, LIFT) and i % 2 == 1)):
                mode = STAND
            if share >= 0.5 or (i > 2 and i % 3 == 0):
                _vary(thing, draws[k, i], share, mode, floor, camera, picture)
            done = (
                _propose(prism, thing, draws[k, i], mode, placed, tops, count, walls, floor, ceiling, camera, picture)
                and _inside(prism, walls, floor, ceiling, near, far)
                and _seen(prism, width, height)
                and _free(prism, placed, k)
            )
            if done:
                break
        if not done:
            _anywhere(prism, thing, draws[k], placed, tops, walls, floor, ceiling, camera, picture)
        if thing[9] > 0.0 and (prism[MODE] == STAND or prism[MODE] == TOP or prism[MODE] == LIFT):
            tops[count] = k
            count += 1
    return placed


@jit
def _in_front(one: Float64, other: Float64) -> int:
    """Tell whether `one` has to come after `other` (1), before it (-1), or it does not matter (0)."""
    found = relation(one, other)
    if found == 9:
        return 1 if one[Z0] + one[Z1] < other[Z0] + other[Z1] else -1
    if one[Z0] == one[Z1] and other[Z0] == other[Z1] and one[Z0] != other[Z0]:
        return 1 if one[Z0] < other[Z0] else -1
    # Side by side in the picture, antialiased edges included.
    beside = one[RIGHT] < other[LEFT] - 2.0 or other[RIGHT] < one[LEFT] - 2.0
    return 0 if beside or one[LOW] < other[HIGH] - 2.0 or other[LOW] < one[HIGH] - 2.0 else found


@jit
def order(prisms: Float64) -> Ints:
    """Order prisms so that none is hidden by one that comes before it: far to near."""
    n = prisms.shape[0]
    hides = np.zeros((n, n), np.bool_)
    behind = np.zeros(n, np.int64)
    for i in range(n):
        for j in range(i):
            found = _in_front(prisms[i], prisms[j])
            if found != 0:
                near, far = (i, j) if found == 1 else (j, i)
                hides[far, near] = True
                behind[near] += 1
    out, left = np.zeros(n, np.int64), np.ones(n, np.bool_)
    middles = prisms[:, Z0] + prisms[:, Z1]
    for k in range(n):
        best = -1
        for i in range(n):
            # The farthest of those with nothing left behind them; of all, should three hide one another in a ring.
            if left[i] and (
                best < 0 or behind[i] < behind[best] or (behind[i] == behind[best] and middles[i] > middles[best])
            ):
                best = i
        out[k], left[best] = best, False
        for i in range(n):
            if hides[best, i]:
                behind[i] -= 1
    return out
