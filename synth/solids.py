"""Solids of procedural scenes: furniture, houses, bottles, balls, as convex parts; see `solid_kernels`.

Builders take uniform draws and the room that there is: half width, half depth and height in metres. A part that hangs
or stands on something has its foot at e = 0 and its top at e = -height.
"""

from collections.abc import Callable

from .shapes import Rng
from .solid_kernels import BALL, BOX, ROOF, ROUND

Part = list[float]
Builder = Callable[[Rng, float, float, float], list[Part]]


def _box(t0: float, t1: float, s0: float, s1: float, e0: float, e1: float, look: int = 0) -> Part:
    """Return a box from heights e0 (top) to e1 above the foot, both negative numbers or 0."""
    return [BOX, t0, s0, e0, t1, s1, e1, look]


def _round(e0: float, e1: float, r0: float, r1: float, look: int = 0, t: float = 0.0, s: float = 0.0) -> Part:
    return [ROUND, t, s, e0, e1, r0, r1, look]


def _legs(p: float, q: float, high: float, width: float, look: int) -> list[Part]:
    out = []
    for t in (-p, p - width):
        for s in (-q, q - width):
            out.append(_box(t, t + width, s, s + width, -high, 0.0, look))
    return out


def block(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a carton, a brick or a book."""
    return [_box(-p, p, -q, q, -high, 0.0)]


def cabinet(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a cabinet on a plinth, with a top that stands out and doors or drawers."""
    u = rng.random(4).tolist()
    lip, plinth = 0.04 * p, 0.04 * high + 0.05 * high * u[0]
    parts = [
        _box(-p, p, -q, q, -high, -0.965 * high, 1),
        _box(-p + lip, p - lip, -q + 2 * lip, q, -0.97 * high, -plinth),
        _box(-0.95 * p, 0.95 * p, -0.85 * q, q, -1.2 * plinth, 0.0, 1),
    ]
    columns, rows = 1 + int(3 * u[1]), 1 + int(3.5 * u[2])
    wide, tall = 2 * (p - lip) / columns, (0.97 * high - plinth) / rows
    if u[3] < 0.7:
        for i in range(columns):
            for j in range(rows):
                t, e = -p + lip + i * wide, -plinth - (j + 1) * tall
                parts.append(
                    _box(t + 0.05 * wide, t + 0.95 * wide, -q + lip, -q + 3 * lip, e + 0.05 * tall, e + 0.95 * tall)
                )
    return parts


def table(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a table: a slab on legs."""
    u = rng.random(3).tolist()
    slab = (0.05 + 0.06 * u[0]) * high
    width = (0.08 + 0.1 * u[1]) * min(p, q)
    inset = 1.0 - 0.15 * u[2]
    return [_box(-p, p, -q, q, -high, slab - high), *_legs(inset * p, inset * q, high - 0.5 * slab, width, 1)]


def chair(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a chair, with a back of slats or of one board."""
    u = rng.random(3).tolist()
    seat, slab, width = (0.42 + 0.08 * u[0]) * high, 0.04 * high, (0.12 + 0.08 * u[1]) * p
    parts = [_box(-p, p, -q, q, -seat, slab - seat), *_legs(p, q, seat - 0.5 * slab, width, 1)]
    if u[2] < 0.5:
        return [*parts, _box(-p, p, q - 0.5 * width, q, -high, -0.5 * slab - seat)]
    for t in (-p, p - width):
        parts.append(_box(t, t + width, q - width, q, -high, -0.5 * seat, 1))
    slats = 2 + int(2.9 * u[1])
    for k in range(slats):
        e = -high + (high - seat) * k / (slats + 0.5)
        parts.append(_box(-p, p, q - 0.6 * width, q - 0.2 * width, e, e + 0.45 * (high - seat) / slats))
    return parts


def shelf(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a shelf, with or without a back, some of its boards full of boxes or books."""
    u = rng.random(3).tolist()
    thick = 0.06 * p + 0.01 * high
    parts = [_box(-p, thick - p, -q, q, -high, 0.0), _box(p - thick, p, -q, q, -high, 0.0)]
    if u[0] < 0.6:
        parts.append(_box(-p, p, q - 0.5 * thick, q, -high, 0.0))
    boards = 3 + int(3 * u[1])
    for k in range(boards):
        e = -high + (high - thick) * k / (boards - 1)
        parts.append(_box(-p, p, -q, q, e, e + thick))
        row = rng.random(5).tolist()
        if k and row[0] < 0.6:
            left, room = -p + thick, 2 * (p - thick)
            tall = (high - thick) / (boards - 1) - thick
            begin, end = left + 0.4 * row[1] * room, left + (0.5 + 0.5 * row[2]) * room
            parts.append(_box(begin, end, -0.6 * q, 0.8 * q, e - (0.4 + 0.5 * row[3]) * tall, e, 2))
    return parts


def sofa(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a sofa or an armchair."""
    u = rng.random(3).tolist()
    seat, arm = (0.4 + 0.1 * u[0]) * high, (0.55 + 0.15 * u[1]) * high
    side = min(0.3 * p, 0.35 * q) * (0.7 + 0.3 * u[2])
    return [
        _box(-p, p, -q, q, -seat, 0.0),
        _box(-p, p, q - 1.2 * side, q, -high, 0.0),
        _box(-p, side - p, -q, q, -arm, 0.0),
        _box(p - side, p, -q, q, -arm, 0.0),
        _box(-0.9 * p + side, -0.02 * p, 0.2 * q, q - 1.1 * side, -0.85 * high, -seat, 1),
    ]


def stool(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a stool or a small round table."""
    thick, width = 0.1 * high, 0.1 * p
    parts = [_round(-high, thick - high, p, p)]
    if rng.random() < 0.5:
        return [
            *parts,
            _round(0.5 * thick - high, -0.05 * high, 0.12 * p, 0.12 * p, 1),
            _round(-0.05 * high, 0.0, 0.5 * p, 0.6 * p, 1),
        ]
    return [*parts, *_legs(0.65 * p, 0.65 * p, high - 0.5 * thick, width, 1)]


def drum(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build an upright cylinder, or one that narrows: a bin, a tin, a pot, a column."""
    top = 0.7 + 0.3 * rng.random()
    return [_round(-high, 0.0, p, top * p) if rng.random() < 0.5 else _round(-high, 0.0, top * p, p)]


def cone(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a cone, pointed or cut."""
    return [_round(-high, 0.0, (0.02 + 0.4 * rng.random() * rng.random()) * p, p)]


def ball(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a ball or an ellipsoid."""
    half = 0.5 * high
    return [[BALL, 0.0, 0.0, -half, p, q, half, 0]]


def bottle(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a bottle, a vase or a cup: a random profile about an upright axis."""
    rings = 5
    widths = (0.25 + 0.75 * rng.random(rings + 1)).tolist()
    if rng.random() < 0.5:
        # A body, and a neck above it.
        body, neck = max(widths), 0.15 + 0.3 * rng.random()
        widths = [neck, neck * 1.05, neck, body * 0.97, body, body]
    most = max(widths)
    parts = []
    for k in range(rings):
        r0, r1 = widths[k] * p / most, widths[k + 1] * p / most
        # Two frustums to a ring: smoother than one.
        middle = 0.5 * (r0 + r1) * (1.0 + (0.06 if k % 2 else -0.04))
        e0, e1 = -high * (1 - k / rings), -high * (1 - (k + 1) / rings)
        parts += [
            _round(e0, 0.5 * (e0 + e1), r0, min(middle, p)),
            _round(0.5 * (e0 + e1), min(e1, 0.0), min(middle, p), r1),
        ]
    return parts


def lamp(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a standing lamp."""
    u = rng.random(2).tolist()
    shade = (0.15 + 0.12 * u[0]) * high
    return [
        _round(-high, shade - high, (0.45 + 0.5 * u[1]) * p, p),
        _round(0.8 * shade - high, -0.01 * high, 0.06 * p, 0.06 * p, 1),
        _round(-0.025 * high, 0.0, 0.55 * p, 0.6 * p, 1),
    ]


def steps(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build steps, or a stack of boxes."""
    count = 2 + int(3 * rng.random())
    return [_box(-p, p, -q + 2 * q * k / count, q, -high * (k + 1) / count, -high * k / count) for k in range(count)]


def post(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a pole with a lamp, a sign or a knob on it."""
    u = rng.random(2).tolist()
    thin = (0.12 + 0.15 * u[0]) * p
    head = [
        [BALL, 0.0, 0.0, -high + p, p, p, p, 1],
        _box(-p, p, -thin, thin, -high, 0.6 * p - high, 1),
        _round(-high, 1.2 * p - high, 0.5 * p, p, 1),
    ][int(3 * u[1])]
    return [_round(-high + 0.3 * p, 0.0, thin, thin), head]


def house(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a house with a roof and a chimney, or a block of flats."""
    u = rng.random(4).tolist()
    if u[0] < 0.45:
        parts = [
            _box(-p, p, -q, q, -0.97 * high, 0.0),
            _box(-0.9 * p, 0.9 * p, -0.9 * q, 0.9 * q, -high, -0.9 * high, 1),
        ]
        if u[1] < 0.5:
            parts[1] = _box(0.1 * p, 0.7 * p, -0.3 * q, 0.5 * q, -high, -0.9 * high, 1)
        return parts
    eaves = (0.5 + 0.25 * u[1]) * high
    parts = [
        _box(-0.9 * p, 0.9 * p, -0.93 * q, 0.93 * q, -eaves, 0.0),
        [ROOF, -p, -q, -0.97 * high, p, q, -eaves, 1],
    ]
    t = (u[2] - 0.5) * p
    if u[3] < 0.6:
        parts.append(_box(t, t + 0.15 * p, 0.1 * q, 0.3 * q, -high, -eaves, 0))
    return parts


def conifer(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a fir: cones on a trunk."""
    u = rng.random(2).tolist()
    tiers = 2 + int(3 * u[0])
    bare = (0.08 + 0.15 * u[1]) * high
    parts = [_round(-1.2 * bare, 0.0, 0.1 * p, 0.12 * p, 1)]
    step = (high - bare) / (tiers + 0.4)
    for k in range(tiers):
        wide = p * (1.0 - 0.75 * k / tiers)
        e = -bare - k * step
        parts.append(_round(max(e - 1.4 * step, -high), e, 0.03 * p, wide))
    return parts


def tree(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a leafy tree or a shrub: a few ellipsoids on a trunk."""
    u = rng.random(3).tolist()
    bare = (0.15 + 0.3 * u[0]) * high
    crown = high - bare
    parts = [_round(-bare - 0.4 * crown, 0.0, 0.07 * p, 0.1 * p, 1)]
    lumps = rng.random((3 + int(4 * u[1]), 4)).tolist()
    for a, b, c, d in lumps:
        r = 0.45 + 0.2 * d
        t, s = (2 * a - 1) * (1 - r) * p, (2 * b - 1) * (1 - r) * p
        tall = 0.5 * crown * (0.55 + 0.2 * d)
        e = -bare - tall - c * (crown - 2 * tall)
        parts.append([BALL, t, s, e, r * p, r * p, tall, 0])
    return parts


def boulder(rng: Rng, p: float, q: float, high: float) -> list[Part]:
    """Build a rock, half in the ground."""
    u = rng.random(3).tolist()
    small = 0.4 + 0.2 * u[0]
    return [
        [BALL, 0.0, 0.0, -0.5 * high, 0.9 * p, 0.9 * q, 0.5 * high, 0],
        [BALL, (1 - small) * p, (2 * u[1] - 1) * (1 - small) * q, -0.3 * high, small * p, small * q, 0.3 * high, 0],
    ]
