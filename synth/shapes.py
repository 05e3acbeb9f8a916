"""Outlines of procedural things: closed contours as edges, in units of about [-1, 1], y down.

An outline is (n, 4) float64, x0 y0 x1 y1 per edge. Contours run one way round and holes the other, so their
coverages add up. Shapes draw uniform numbers only: those are exact on every processor.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.float64]
Points = npt.NDArray[np.float64]
Rng = np.random.Generator


def rounded(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Round to float32 and back: the last bits of exp, sin and the like differ between processors."""
    return np.asarray(values, np.float64).astype(np.float32).astype(np.float64)


def pool_of(assets: str) -> int:
    """Return the number of a pool of assets by its name, such as a split's; 0 for the one without a name.

    A pool's number enters the keys of all draws of tiles, outlines and proportions. Each of those has at least one
    continuous parameter (a 53-bit uniform number), so that two pools share none of them, although they come from the
    same families: squares of other proportions, twigs with other branches.
    """
    return int.from_bytes(hashlib.sha256(assets.encode()).digest()[:4], "big") if assets else 0


def geometric(low: float, high: float, share: float) -> float:
    """Point at `share` (0 to 1) of the way from `low` to `high` on a logarithmic scale."""
    return float(np.float32(low * math.exp(share * math.log(high / low))))


def turn(angle: float) -> tuple[float, float]:
    """Cosine and sine of an angle in radians, rounded to float32."""
    return float(np.float32(math.cos(angle))), float(np.float32(math.sin(angle)))


def circle_points(angles: npt.ArrayLike) -> Points:
    """(..., 2) points of the unit circle at angles in radians, rounded to float32."""
    angle = np.asarray(angles, np.float64)
    return rounded(np.stack([np.cos(angle), np.sin(angle)], -1))


_STEPS, _ORDERS = 120, 32
_TAU = 2.0 * math.pi
_CIRCLE = circle_points(np.arange(_STEPS) * (_TAU / _STEPS))
_WAVES = circle_points(np.arange(2, _ORDERS + 2)[:, None] * np.arange(_STEPS) * (_TAU / _STEPS))
_DECAYS = rounded(np.arange(2, _ORDERS + 2, dtype=np.float64) ** -np.linspace(0.9, 2.2, 8)[:, None])
# Half the outline of a leaf: how far along its length, how wide.
_LEAF = np.array([[0, 0], [0.15, 0.13], [0.35, 0.22], [0.55, 0.2], [0.8, 0.1], [1, 0]])
_LEAF_POINTS = np.concatenate([_LEAF * [1, -1], _LEAF[-2:0:-1]])


def edges(points: Points) -> Outline:
    """Close points (n, 2), or (m, n, 2) for m contours at once, into edges."""
    points = points.reshape(-1, *points.shape[-2:])
    out = np.empty((*points.shape[:2], 4))
    out[..., :2] = points
    out[:, :-1, 2:] = points[:, 1:]
    out[:, -1, 2:] = points[:, 0]
    return out.reshape(-1, 4)


def contour(points: Points, hole: bool = False) -> Outline:
    """Close the points (n, 2) of one contour, given either way round, into edges that run the right way."""
    out = edges(points)
    twice = math.fsum((out[:, 0] * out[:, 3] - out[:, 1] * out[:, 2]).tolist())
    return out[:, [2, 3, 0, 1]] if (twice < 0) != hole else out


def strokes(starts: Points, ends: Points, widths: npt.ArrayLike) -> Outline:
    """Bars from (n, 2) to (n, 2), a little longer than that so that they join; widths (n,) or a number."""
    along = ends - starts
    x, y = along[:, 0], along[:, 1]
    along *= (np.asarray(widths, np.float64) * 0.5 / (np.sqrt(x * x + y * y) + 1e-9))[:, None]
    side = along[:, ::-1] * [-1.0, 1.0]
    along *= 0.6
    bars = np.empty((len(starts), 4, 2))
    a, b = starts - along, ends + along
    bars[:, 0], bars[:, 1], bars[:, 2], bars[:, 3] = a - side, b - side, b + side, a + side
    return edges(bars)


def line(points: Points, width: npt.ArrayLike) -> Outline:
    """Draw a stroke along (n, 2) points."""
    return strokes(points[:-1], points[1:], width)


def _uniform(rng: Rng, low: float, high: float) -> float:
    return low + (high - low) * rng.random()


def _scatter(rng: Rng, count: int) -> Points:
    return 2.0 * rng.random((count, 2)) - 1.0


def leaves(at: Points, directions: Points, lengths: npt.NDArray[np.float64], fat: float) -> Outline:
    """Leaves that start at (n, 2), in unit directions (n, 2), of lengths (n,)."""
    along = _LEAF_POINTS[:, 0, None] * directions[:, None]
    side = np.stack([-directions[:, 1], directions[:, 0]], -1)
    across = fat * _LEAF_POINTS[:, 1, None] * side[:, None]
    return edges(at[:, None] + lengths[:, None, None] * (along + across))


def _wavy(rng: Rng, roughness: float) -> Points:
    phases = circle_points(rng.random(_ORDERS) * _TAU)
    weight = _DECAYS[rng.integers(8)] * (rng.random(_ORDERS) * roughness)
    even, odd = (weight * phases[:, 0])[:, None], (weight * phases[:, 1])[:, None]
    waves = even * _WAVES[..., 0] - odd * _WAVES[..., 1]
    radius: Points = np.maximum(1.0 + np.add.accumulate(waves, 0)[-1], 0.15)
    return np.multiply(_CIRCLE, radius[:, None])


def blob(rng: Rng, pixel: float) -> Outline:
    """Draw a stone or a puddle: a circle with random harmonics, smooth or rough."""
    return edges(_wavy(rng, _uniform(rng, 0.3, 1.0)) * [1.0, _uniform(rng, 0.4, 1.0)])


def polygon(rng: Rng, pixel: float) -> Outline:
    """Draw an irregular polygon or a star."""
    corners = int(rng.integers(3, 10))
    angles = (np.arange(corners) + 0.6 * rng.random(corners)) * (_TAU / corners)
    if rng.random() < 0.5:
        return contour(circle_points(angles) * (0.7 + 0.3 * rng.random((corners, 1))))
    inner = circle_points((np.arange(corners) + 0.5) * (_TAU / corners)) * _uniform(rng, 0.25, 0.7)
    outer = circle_points(np.arange(corners) * (_TAU / corners))
    return contour(np.stack([outer, inner], 1).reshape(-1, 2))


def ellipse(rng: Rng, pixel: float) -> Outline:
    """Draw a ball or an ellipse."""
    return edges(_CIRCLE * [1.0, _uniform(rng, 0.9, 1.0) if rng.random() < 0.5 else _uniform(rng, 0.3, 1.0)])


def wheel(rng: Rng, pixel: float) -> Outline:
    """Draw a ring, a gear or a disc with holes."""
    teeth = int(rng.integers(8, 25))
    points = _CIRCLE
    if rng.random() < 0.4:
        wave = circle_points(np.arange(_STEPS) * (_TAU * teeth / _STEPS))[:, :1]
        points = _CIRCLE * (1.0 + np.clip(3.0 * wave, -1.0, 1.0) * _uniform(rng, 0.04, 0.12))
    holes = int(rng.integers(0, 8))
    hub = _uniform(rng, 0.2, 0.8) if holes < 3 else _uniform(rng, 0.1, 0.25)
    parts = [edges(points), edges(_CIRCLE[::-1] * hub)]
    if holes >= 3:
        size = min(0.26, 1.4 / holes)
        centres = circle_points((np.arange(holes) + rng.random()) * (_TAU / holes)) * 0.58
        parts.append(edges(centres[:, None] + _CIRCLE[::-3] * size))
    return np.concatenate(parts)


def twig(rng: Rng, pixel: float) -> Outline:
    """Draw a stem with branches and side branches, bare or with leaves at the ends."""
    count = int(rng.integers(7, 12))
    sway = np.add.accumulate(_scatter(rng, count)[:, 0]) * _uniform(rng, 0.02, 0.12)
    stem = np.stack([sway, np.linspace(1.0, -0.7, count)], -1)
    thick = max(pixel * _uniform(rng, 1.5, 7.0), 0.02)
    parts = [strokes(stem[:-1], stem[1:], np.linspace(thick, 0.4 * thick, count - 1))]
    starts, length = np.repeat(stem[1:], 2, 0), _uniform(rng, 0.35, 0.8)
    directions = circle_points((rng.random(len(starts)) - 0.5) * 2.4 - 0.5 * math.pi)
    directions[:, 0] *= np.tile([1.6, -1.6], count - 1)
    for share in (0.45, 0.25):
        reach = length * (0.5 + 0.5 * rng.random(len(starts)))[:, None]
        tips = starts + directions * reach
        parts.append(strokes(starts, tips, max(share * thick, 1.1 * pixel)))
        starts = np.concatenate([starts + 0.55 * (tips - starts), tips])
        bend = circle_points((rng.random(len(starts)) - 0.5) * 2.0)
        old = np.concatenate([directions, directions])
        directions = np.stack(
            [
                old[:, 0] * bend[:, 0] - old[:, 1] * bend[:, 1],
                old[:, 0] * bend[:, 1] + old[:, 1] * bend[:, 0],
            ],
            -1,
        )
        length *= 0.5
    if rng.random() < 0.6:
        size = _uniform(rng, 0.12, 0.3) * (0.6 + 0.4 * rng.random(len(starts)))
        parts.append(leaves(starts, directions, size, _uniform(rng, 0.8, 1.8)))
    return np.concatenate(parts)


def bush(rng: Rng, pixel: float) -> Outline:
    """Draw a heap of leaves, on a trunk or not."""
    count = int(rng.integers(25, 90))
    radius, angle = np.sqrt(rng.random(count)), rng.random(count) * _TAU
    at = circle_points(angle) * radius[:, None] * [0.8, 0.6] - [0.0, 0.25]
    size = _uniform(rng, 0.2, 0.5) * (0.5 + 0.5 * rng.random(count))
    crown = leaves(at, circle_points(rng.random(count) * _TAU), size, _uniform(rng, 0.7, 2.0))
    if rng.random() < 0.5:
        return crown
    trunk = np.array([[0.0, -0.3], [_uniform(rng, -0.1, 0.1), 0.3], [0.0, 1.0]])
    return np.concatenate([crown, line(trunk, _uniform(rng, 0.04, 0.15))])


def lattice(rng: Rng, pixel: float) -> Outline:
    """Draw a grid, a net or a grille of thin bars."""
    across, down = int(rng.integers(3, 10)), int(rng.integers(1, 8))
    width = pixel * _uniform(rng, 1.5, 6.0)
    x, y = np.linspace(-0.95, 0.95, across), np.linspace(-0.7, 0.7, down + 2)
    lean = _uniform(rng, -0.5, 0.5) if rng.random() < 0.4 else 0.0
    top = np.stack([x, np.full(across, -0.7)], -1)
    bars = strokes(top, top * [1.0, -1.0] + [lean, 0.0], width)
    left = np.stack([np.full(down + 2, -0.95), y], -1)
    drift = (lean * (y + 0.7) / 1.4)[:, None] * [1.0, 0.0]
    return np.concatenate([bars, strokes(left + drift, left * [-1.0, 1.0] + drift, width)])


def fence(rng: Rng, pixel: float) -> Outline:
    """Draw pickets with pointed or flat tops on two rails."""
    count = int(rng.integers(4, 12))
    half, tip = _uniform(rng, 0.2, 0.42) * 2.0 / count, _uniform(rng, 0.0, 0.25)
    picket = np.array([[-half, 0.7], [-half, tip - 0.7], [0.0, -0.7], [half, tip - 0.7], [half, 0.7]])
    x = (np.arange(count) + 0.5) * (2.0 / count) - 1.0
    lift = 0.12 * rng.random((count, 1, 1)) * [0.0, 1.0]
    rails = np.array([[-1.0, -0.3], [-1.0, 0.35]])
    bars = strokes(rails, rails * [-1.0, 1.0], _uniform(rng, 0.05, 0.12))
    pickets = picket + x[:, None, None] * [1.0, 0.0] + lift * (picket[:, 1:] < 0.7)
    return np.concatenate([edges(pickets), bars])


def wire(rng: Rng, pixel: float) -> Outline:
    """Draw one to four wires, waving side by side or tangled."""
    parts = []
    step = np.linspace(0.0, 1.0, 40)
    for _ in range(int(rng.integers(1, 5))):
        waves = circle_points(step[:, None] * (_TAU * (0.3 + 2.5 * rng.random(3))) + _TAU * rng.random(3))
        weight = 0.45 * rng.random((3, 2))
        bends = waves * weight
        points = bends[:, 0] + bends[:, 1] + bends[:, 2]
        points[:, 0] = 0.7 * points[:, 0] + 2.0 * step - 1.0
        parts.append(line(points, pixel * _uniform(rng, 1.2, 5.0)))
    return np.concatenate(parts)


def glyph(rng: Rng) -> Points:
    """Draw the strokes of one letter-like mark between the points of a grid of three by four, in [-1, 1]^2.

    Returns
    -------
    (n, 2, 2) float64: start and end, x and y.
    """
    columns, rows = np.array([-0.7, 0.0, 0.7]), np.array([-0.85, -0.28, 0.28, 0.85])
    count = int(rng.integers(2, 6))
    at = np.stack([columns[rng.integers(0, 3, count + 1)], rows[rng.integers(0, 4, count + 1)]], -1)
    ends = at[1:] + (at[1:] == at[:-1]).all(1)[:, None] * [0.5, 0.57]
    stem = -0.7 if rng.random() < 0.7 else 0.7
    parts = [np.stack([at[:-1], ends], 1), np.array([[[stem, -0.85], [stem, 0.85]]])]
    if rng.random() < 0.35:
        bowl = _CIRCLE[::6] * 0.55 + [0.1, 0.3]
        parts.append(np.stack([bowl, np.roll(bowl, 1, 0)], 1))
    return np.concatenate(parts)


def word(rng: Rng, pixel: float) -> Outline:
    """Draw a letter or a short word of letter-like marks."""
    count = int(rng.integers(1, 6))
    weight = max(_uniform(rng, 0.15, 0.55) / count, 2.0 * pixel)
    marks = np.concatenate([glyph(rng) / count + [(2.0 * i + 1.0) / count - 1.0, 0.0] for i in range(count)])
    return strokes(marks[:, 0], marks[:, 1], weight)


def vase(rng: Rng, pixel: float) -> Outline:
    """Draw a bottle, vase, lamp or post: a random profile about an upright axis."""
    widths = _uniform(rng, 0.15, 0.5) * (0.3 + 0.7 * rng.random(6))
    where = np.linspace(0.0, 4.999, 40)
    below, part = where.astype(np.int64), where - np.floor(where)
    ease = part * part * (3.0 - 2.0 * part)
    half = widths[below] * (1.0 - ease) + widths[below + 1] * ease
    right = np.stack([half, np.linspace(-1.0, 1.0, 40)], -1)
    return contour(np.concatenate([right, right[::-1] * [-1.0, 1.0]]))


def bulb(rng: Rng, pixel: float) -> Outline:
    """Draw a small round lamp."""
    return edges(_CIRCLE * [1.0, _uniform(rng, 0.85, 1.0)])


def card(rng: Rng, pixel: float) -> Outline:
    """Draw a sheet, a book, a picture frame or a window with bars."""
    wide, high = (1.0, _uniform(rng, 0.35, 1.0)) if rng.random() < 0.5 else (_uniform(rng, 0.35, 1.0), 1.0)
    sheet = np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]])
    if rng.random() < 0.6:
        return contour(sheet)
    rim = min(max(_uniform(rng, 0.08, 0.3), 4.0 * pixel), 0.8 * min(wide, high))
    gap = contour(sheet * [1.0 - rim / wide * 0.6, 1.0 - rim / high * 0.6], hole=True)
    bars = strokes(np.array([[0.0, -high]]), np.array([[0.0, high]]), max(0.25 * rim, 1.5 * pixel))
    # Only within the gap: where a bar meets the frame both would count, and coverage stops at one anyway.
    return np.concatenate([contour(sheet), gap] + ([bars] if rng.random() < 0.6 else []))
