"""Textures of procedural scenes: periodic tiles with natural statistics, and colour palettes.

A seed has one atlas of tiles for each pool of assets, made once per process. Nothing here depends on the processor:
spectra are scaled part by part (complex products are fused on some processors), sums run in a fixed order, and
transcendental functions are rounded to float32.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

from .procedural_kernels import TILE_TEXELS, cover
from .seeding import Purpose, generator
from .shapes import glyph, rounded, strokes

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Bytes = npt.NDArray[np.uint8]
Rng = np.random.Generator
Colour = tuple[float, float, float]

SIDE = 512
NOISES = 10
"""The first tiles are 1/f noise; they serve as fine grain too."""

_AXIS = np.arange(SIDE, dtype=np.float64)


def noise(rng: Rng, slope: float, stretch: float = 1.0) -> Float64:
    """Make periodic noise whose amplitude spectrum falls as frequency to the power of `slope`.

    Parameters
    ----------
    rng
        Its uniform numbers are the white noise to filter.
    slope
        About -1 for natural images.
    stretch
        How much longer features are along x than along y: wood grain, brushed metal.

    Returns
    -------
    (SIDE, SIDE) float64 in [0, 1], a rounded hill in distribution: most values are near the middle.
    """
    spectrum = scipy.fft.rfft2(rng.random((SIDE, SIDE)) - 0.5)
    fy, fx = scipy.fft.fftfreq(SIDE)[:, None], scipy.fft.rfftfreq(SIDE)[None]
    radius = np.sqrt(fy * fy + (fx * stretch) * (fx * stretch))
    radius[0, 0] = 1.0
    amplitude = rounded(radius**slope)
    amplitude[0, 0] = 0.0
    spectrum.real *= amplitude
    spectrum.imag *= amplitude
    field = scipy.fft.irfft2(spectrum, (SIDE, SIDE)).ravel()
    # By quantiles: a known distribution without sums over the tile.
    quantiles = np.sort(field)[:: SIDE * SIDE // 256]
    even = np.linspace(-1.0, 1.0, len(quantiles))
    values = np.interp(field, quantiles, 0.5 + even * (0.25 + 0.25 * even * even))
    return np.asarray(values.reshape(SIDE, SIDE), np.float64)


def _bands(rng: Rng, count: int) -> Float64:
    edges = np.sort(rng.integers(0, SIDE, count))
    values = rng.random(count + 1)
    values[-1] = values[0]
    return values[np.searchsorted(edges, np.arange(SIDE), side="right")]


def _stripes(rng: Rng) -> Float64:
    tile = np.broadcast_to(_bands(rng, int(rng.integers(16, 60))), (SIDE, SIDE))
    return 0.6 * tile + 0.4 * tile.T if rng.random() < 0.5 else tile.copy()


def _checks(rng: Rng) -> Float64:
    cells = int(2 ** rng.integers(3, 6))
    at = np.arange(SIDE) * cells // SIDE
    board = (at[:, None] + at) % 2
    return 0.15 + 0.5 * board + 0.2 * rng.random((cells, cells))[at[:, None], at]


def _bricks(rng: Rng) -> Float64:
    rows = int(2 ** rng.integers(4, 6))
    high, wide = SIDE // rows, SIDE // (rows // 2)
    row = np.arange(SIDE) // high
    x = (np.arange(SIDE)[None] + (row % 2)[:, None] * (wide // 2)) % SIDE
    tone = 0.35 + 0.65 * rng.random((rows, rows // 2))[row[:, None], x // wide]
    joint = (np.arange(SIDE)[:, None] % high < 2) | (x % wide < 2)
    return np.where(joint, 0.05, tone)


def _dots(rng: Rng) -> Float64:
    cells = int(2 ** rng.integers(3, 6))
    pitch = SIDE // cells
    local = np.arange(SIDE) % pitch - (pitch - 1) / 2
    radius = (0.2 + 0.25 * rng.random((cells, cells))) * pitch
    at = np.arange(SIDE) // pitch
    distance = np.sqrt(local[:, None] ** 2 + local**2)
    disc = np.clip(radius[at[:, None], at] - distance + 0.5, 0.0, 1.0)
    return 0.2 + disc * (0.3 + 0.5 * rng.random((cells, cells)))[at[:, None], at]


def _stones(rng: Rng) -> Float64:
    count = int(rng.integers(100, 180))
    seeds, tones = rng.random((count, 2)) * SIDE, rng.random(count)
    first = np.full((SIDE, SIDE), 1e9)
    second, tone = first.copy(), np.zeros((SIDE, SIDE))
    for (sy, sx), value in zip(seeds, tones, strict=True):
        # Beyond this reach some other stone is nearer, almost surely.
        reach = 90
        ys = np.arange(int(sy) - reach, int(sy) + reach)
        xs = np.arange(int(sx) - reach, int(sx) + reach)
        window = np.ix_(ys % SIDE, xs % SIDE)
        distance = (ys - sy)[:, None] ** 2 + (xs - sx) ** 2
        nearest, runner = first[window], second[window]
        second[window] = np.minimum(np.maximum(distance, nearest), runner)
        tone[window] = np.where(distance < nearest, value, tone[window])
        first[window] = np.minimum(distance, nearest)
    gap: Float64 = np.sqrt(second) - np.sqrt(first)
    stones: Float64 = (0.3 + 0.7 * tone) * np.clip(0.25 + gap * 0.12, 0.0, 1.0)
    return stones


def _dead_leaves(rng: Rng) -> Float64:
    # Discs of all sizes that hide one another: the occlusions that give pictures their edges.
    tile = noise(rng, -1.2)
    sizes = rng.random(900)
    for x, y, size, tone in zip(*(rng.random((3, 900)) * [[SIDE], [SIDE], [1.0]]), sizes, strict=True):
        radius = 3.0 / np.sqrt(size + 0.003)
        reach = int(radius) + 2
        ys, xs = np.arange(int(y) - reach, int(y) + reach + 1), np.arange(int(x) - reach, int(x) + reach + 1)
        distance = np.sqrt((ys - y)[:, None] ** 2 + (xs - x) ** 2)
        window = np.ix_(ys % SIDE, xs % SIDE)
        tile[window] += np.clip(radius - distance + 0.5, 0.0, 1.0) * (tone - tile[window])
    return tile


def _writing(rng: Rng) -> Float64:
    lines = int(rng.integers(10, 25))
    pitch = SIDE / lines
    marks = []
    for row in range(lines):
        x = 0.55 * pitch
        while x < SIDE - 0.6 * pitch:
            if rng.random() < 0.83:
                marks.append(glyph(rng) * [0.22 * pitch, 0.34 * pitch] + [x, (row + 0.5) * pitch])
            x += 0.6 * pitch
    strokes_at = np.concatenate(marks)
    ink = cover(strokes(strokes_at[:, 0], strokes_at[:, 1], 0.09 * pitch), SIDE, SIDE)
    return 0.85 - 0.75 * ink.astype(np.float64)


def _facade(rng: Rng) -> Float64:
    rows, columns = int(2 ** rng.integers(2, 5)), int(2 ** rng.integers(2, 5))
    y, x = np.arange(SIDE) * rows / SIDE % 1.0, np.arange(SIDE) * columns / SIDE % 1.0
    wide, high = 0.15 + 0.2 * rng.random(), 0.15 + 0.2 * rng.random()
    across, down = np.abs(x - 0.5), np.abs(y - 0.5)
    frame = (across < wide + 0.04)[None] & (down < high + 0.04)[:, None]
    pane = (across < wide)[None] & (down < high)[:, None] & (across > 0.02)[None]
    tone = 0.05 + 0.35 * rng.random((rows, columns))
    at = np.arange(SIDE)
    dark = tone[(at * rows // SIDE)[:, None], at * columns // SIDE]
    return np.where(pane, dark, np.where(frame, 0.95, 0.7))


def _cloud(rng: Rng) -> Float64:
    return noise(rng, -1.7 - 0.4 * rng.random(), 1.5 + 2.0 * rng.random())


_PATTERNS = (_stripes, _checks, _bricks, _dots, _stones, _dead_leaves, _writing, _facade, _cloud)


def _pyramid(tile: Float64) -> Bytes:
    level = np.clip(tile * 256.0, 0.0, 255.0).astype(np.uint16)
    levels = []
    while level.shape[0] >= 8:
        levels.append(level.astype(np.uint8).ravel())
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2] + np.uint16(2)) >> np.uint16(
            2
        )
    return np.concatenate(levels)


@lru_cache(maxsize=4)
def atlas(seed: int, pool: int = 0) -> Bytes:
    """Make the tiles of a seed.

    Parameters
    ----------
    seed
        The recipe's.
    pool
        Which pool of assets: each has tiles of its own. See `shapes.pool_of`.

    Returns
    -------
    (k, TILE_TEXELS) uint8: each tile's levels of SIDE, SIDE / 2, ... 8 texels, flattened one after the other.
    Read-only, for it is shared by all callers.
    """
    tiles = np.empty((NOISES + 2 * len(_PATTERNS), TILE_TEXELS), np.uint8)
    for k in range(len(tiles)):
        rng = generator(seed, Purpose.TEXTURE_ATLAS, pool, k)
        slope = -0.8 - 0.5 * rng.random()
        if k < NOISES:
            tiles[k] = _pyramid(noise(rng, slope, 1.0 if k < 7 else 4.0 + 12.0 * rng.random()))
            continue
        pattern = _PATTERNS[(k - NOISES) % len(_PATTERNS)](rng)
        tiles[k] = _pyramid(0.8 * pattern + 0.2 * noise(rng, slope))
    tiles.setflags(write=False)
    return tiles


def _hue(u: Float64) -> Float64:
    # Earth, wood and skin first, then leaves and skies; purple and cyan are rare.
    hues = [0.02, 0.06, 0.11, 0.16, 0.33, 0.52, 0.63, 0.95]
    return np.interp(u, [0.0, 0.15, 0.5, 0.62, 0.76, 0.82, 0.95, 1.0], hues)


class Role(NamedTuple):
    """What a surface is: how often it has which family of tiles, and the ends of colour ramps it may have.

    Colours are red, green, blue as the eye sees them, about the square root of linear; none means any colour.
    """

    families: tuple[tuple[str, float], ...]
    ramps: tuple[tuple[Colour, Colour], ...] = ()
    contrast: float = 1.0
    """Of the fine grain."""
    spread: float = 1.0
    """How much of the way from the darkest to the lightest colour is used."""
    zoom: float = 1.0
    """Of the texture: below 1 its features are larger."""
    photos: float = 0.6
    """How often it has a photograph, where there are any."""


_FAMILIES: dict[str, Sequence[int]] = {
    "noise": range(7),
    "fibre": range(7, NOISES),
    **{
        name.__name__.removeprefix("_").removeprefix("dead_"): (NOISES + k, NOISES + k + len(_PATTERNS))
        for k, name in enumerate(_PATTERNS)
    },
}
_WOOD = (((0.30, 0.19, 0.12), (0.66, 0.47, 0.30)), ((0.48, 0.36, 0.24), (0.82, 0.68, 0.50)))
_PLAIN = (
    ((0.62, 0.60, 0.56), (0.90, 0.88, 0.84)),
    ((0.50, 0.54, 0.57), (0.78, 0.81, 0.83)),
    ((0.66, 0.57, 0.46), (0.90, 0.83, 0.72)),
    ((0.46, 0.52, 0.44), (0.74, 0.79, 0.70)),
    ((0.56, 0.44, 0.40), (0.82, 0.72, 0.66)),
    ((0.34, 0.38, 0.46), (0.60, 0.65, 0.72)),
)
_STONE = (((0.28, 0.27, 0.26), (0.68, 0.66, 0.62)), ((0.38, 0.33, 0.28), (0.75, 0.69, 0.60)))
_BRICK = (((0.34, 0.19, 0.14), (0.68, 0.47, 0.38)), ((0.50, 0.42, 0.34), (0.80, 0.73, 0.64)), *_STONE)
_LEAF = (
    ((0.10, 0.16, 0.06), (0.46, 0.56, 0.26)),
    ((0.14, 0.18, 0.10), (0.52, 0.57, 0.38)),
    ((0.12, 0.13, 0.05), (0.60, 0.58, 0.22)),
    ((0.34, 0.15, 0.06), (0.76, 0.50, 0.20)),
)
_BARK = (((0.16, 0.13, 0.10), (0.48, 0.41, 0.33)),)
_METAL = (((0.26, 0.27, 0.29), (0.78, 0.79, 0.81)), ((0.10, 0.10, 0.11), (0.40, 0.40, 0.42)))
_SKY = (
    ((0.40, 0.58, 0.80), (0.94, 0.96, 0.98)),
    ((0.30, 0.48, 0.74), (0.80, 0.88, 0.95)),
    ((0.62, 0.65, 0.69), (0.92, 0.93, 0.94)),
    ((0.56, 0.54, 0.60), (0.96, 0.88, 0.78)),
)
ROLES = {
    "floor": Role((("fibre", 3), ("checks", 2), ("bricks", 1), ("stones", 1), ("noise", 2), ("stripes", 1)),
                  (*_WOOD, *_WOOD, *_STONE, *_PLAIN)),
    "wall": Role((("noise", 5), ("stripes", 2), ("bricks", 2), ("dots", 1), ("fibre", 1)),
                 (*_PLAIN, *_PLAIN, *_BRICK), spread=0.75),
    "ceiling": Role((("noise", 4), ("fibre", 1)), _PLAIN[:3], spread=0.6),
    "far": Role((("noise", 1),), _PLAIN, spread=0.6),
    "sky": Role((("cloud", 1),), _SKY, 0.3, zoom=0.4, photos=0.0),
    "ground": Role((("noise", 5), ("stones", 1), ("bricks", 1), ("leaves", 1)),
                   (*_LEAF[:3], *_STONE, *_BARK, ((0.48, 0.42, 0.32), (0.80, 0.73, 0.60)))),
    "table": Role((("fibre", 4), ("noise", 2), ("stones", 1), ("checks", 1)), (*_WOOD, *_WOOD, *_STONE, *_PLAIN)),
    "wood": Role((("fibre", 4), ("noise", 1)), (*_WOOD, _PLAIN[0], *_METAL)),
    "cloth": Role((("noise", 3), ("stripes", 2), ("checks", 1), ("dots", 1), ("leaves", 1))),
    "thing": Role((("noise", 3), ("fibre", 1), ("stripes", 1), ("checks", 1), ("dots", 1), ("leaves", 1),
                   ("writing", 2), ("stones", 1))),
    "print": Role((("writing", 3), ("leaves", 2), ("noise", 2), ("stripes", 1), ("facade", 1)), photos=0.95),
    "leaf": Role((("noise", 3), ("leaves", 1)), _LEAF, photos=0.1),
    "bark": Role((("fibre", 1), ("noise", 1)), _BARK, photos=0.1),
    "metal": Role((("fibre", 1), ("noise", 1)), _METAL),
    "stone": Role((("noise", 3), ("stones", 1)), _STONE),
    "building": Role((("facade", 5), ("bricks", 2), ("noise", 1)), (*_BRICK, *_PLAIN)),
}  # fmt: skip
_NO_RAMP = np.full((2, 3), np.nan)


def draw_looks(
    rng: Rng, roles: list[str], photos: Sequence[float] = ()
) -> tuple[npt.NDArray[np.int64], Float64, Float64, Float32]:
    """Draw the looks of surfaces by their roles.

    Parameters
    ----------
    rng, roles
        Draws them; names of `ROLES`.
    photos
        Photographs that many of them are to have: along how many texels a pixel of each lies. Coarse ones are
        repeated more often, because a blurred texture would look out of focus.

    Returns
    -------
    (n, 3) int64: tile, or -1 - k for the photograph k; tile of the grain; palette; (n,) texels per pixel; (n, 2)
    contrasts of the grain; and (n, 256, 3) float32 colours, linear.
    """
    u = rng.random((len(roles), 10))
    tiles, ramps, contrast, zoom = [], [], np.empty(len(roles)), np.empty(len(roles))
    coarse = np.zeros(len(roles))
    for k, (role_name, row) in enumerate(zip(roles, u.tolist(), strict=True)):
        role = ROLES[role_name]
        at = row[0] * math.fsum(weight for _, weight in role.families)
        family = role.families[-1][0]
        for name, weight in role.families:
            at -= weight
            if at < 0:
                family = name
                break
        choice = _FAMILIES[family]
        pictured = len(photos) > 0 and row[8] < role.photos
        tiles.append(-1 - int(row[9] * len(photos)) if pictured else choice[int(row[1] * len(choice))])
        ramp = np.array(role.ramps[int(row[6] * len(role.ramps))]) if role.ramps else _NO_RAMP
        begin = (1.0 - role.spread) * row[7]
        ramps.append(ramp[:1] + (ramp[1:] - ramp[:1]) * np.array([[begin], [begin + role.spread]]))
        if pictured:
            coarse[k] = (1.2 + 1.3 * row[0]) * photos[int(row[9] * len(photos))]
        contrast[k], zoom[k] = role.contrast, role.zoom
    grain = (u[:, 2] * (NOISES - 3)).astype(np.int64)
    fine = u[:, 3] * u[:, 3]
    grains = np.stack([contrast * (0.08 + 0.2 * fine), contrast * (0.0012 + 0.0016 * u[:, 4])], -1)
    zooms = np.where(coarse > 0, coarse, zoom * (0.7 + 1.3 * u[:, 5] * u[:, 5]))
    skins = np.stack([np.array(tiles, np.int64), grain, np.arange(len(roles))], -1)
    return skins, zooms, grains, palettes(rng, np.array(ramps).reshape(-1, 2, 3))


def palettes(rng: Rng, ramps: Float64) -> Float32:
    """Draw colour ramps.

    Parameters
    ----------
    rng
        Draws them.
    ramps
        (n, 2, 3): the darkest and the lightest colour as the eye sees them; NaN for any. Those are mostly muted, from
        dark to light, of related hues; a few are bright or two-coloured.

    Returns
    -------
    (n, 256, 3) float32 linear reflectance in [0, 1].
    """
    count = len(ramps)
    u = rng.random((count, 5, 5))
    middle = 0.24 + 0.5 * u[:, :1, 0] * (0.45 + 0.55 * u[:, 1:2, 0])
    spread = 0.15 + 0.5 * u[:, 2:3, 0]
    step = np.where(u[:, 3:4, 1] < 0.75, np.arange(5) * 0.25, u[..., 1])
    light = np.clip(middle + spread * (0.7 * step + 0.3 * u[..., 1] - 0.45), 0.08, 0.92)
    drift = np.where(u[:, 3:4, 0] < 0.85, 0.05, 0.3)
    hue = _hue(u[:, :1, 2]) + drift * (u[..., 3] - 0.5)
    vivid = u[:, 1:2, 4] * u[:, 1:2, 4] * u[:, 1:2, 4]
    saturation = u[:, 4:5, 0] * (0.25 + 0.45 * vivid) + 0.08 * u[..., 4]
    wheel = np.abs((hue[..., None] * 6.0 + [0.0, 4.0, 2.0]) % 6.0 - 3.0) - 1.0
    keys = light[..., None] * (1.0 - saturation[..., None] * (1.0 - np.clip(wheel, 0.0, 1.0)))
    where = 0.25 * np.arange(5) + 0.25 * (u[..., 1] - 0.5)
    tint = 0.95 + 0.1 * u[:, :1, 2:5]
    named = (ramps[:, :1] + (ramps[:, 1:] - ramps[:, :1]) * where[..., None]) * tint
    ends = np.clip(np.where(np.isnan(named), keys, named), 0.04, 0.98)
    at = np.arange(256) * (4.0 / 255.001)
    below = at.astype(np.int64)
    part = (at - below)[:, None]
    ramp = ends[:, below] * (1.0 - part) + ends[:, below + 1] * part
    # Interpolated as the eye sees it (about a square root), then made linear.
    return np.ascontiguousarray(ramp * ramp, np.float32)
