"""Textures of procedural scenes: periodic tiles with natural statistics, and colour palettes.

A seed has one atlas of tiles, made once per process. Nothing here depends on the processor: spectra are
scaled part by part (complex products are fused on some processors), sums run in a fixed order, and
transcendental functions are rounded to float32.
"""

from functools import lru_cache

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


_PATTERNS = (_stripes, _checks, _bricks, _dots, _stones, _dead_leaves, _writing)


def _pyramid(tile: Float64) -> Bytes:
    level = np.clip(tile * 256.0, 0.0, 255.0).astype(np.uint16)
    levels = []
    while level.shape[0] >= 8:
        levels.append(level.astype(np.uint8).ravel())
        level = (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2] + np.uint16(2)) >> np.uint16(
            2
        )
    return np.concatenate(levels)


@lru_cache(maxsize=2)
def atlas(seed: int) -> Bytes:
    """Make the tiles of a seed.

    Parameters
    ----------
    seed
        The recipe's.

    Returns
    -------
    (k, TILE_TEXELS) uint8: each tile's levels of SIDE, SIDE / 2, ... 8 texels, flattened one after the other.
    Read-only, for it is shared by all callers.
    """
    tiles = np.empty((NOISES + 2 * len(_PATTERNS), TILE_TEXELS), np.uint8)
    for k in range(len(tiles)):
        rng = generator(seed, Purpose.TEXTURE_ATLAS, k)
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


def palettes(rng: Rng, count: int) -> Float32:
    """Draw colour ramps: mostly muted, mid to dark, of related hues, and some bright or two-coloured.

    Returns
    -------
    (count, 256, 3) float32 linear reflectance in [0, 1].
    """
    u = rng.random((count, 5, 5))
    middle = 0.2 + 0.6 * u[:, :1, 0] * (0.45 + 0.55 * u[:, 1:2, 0])
    spread = 0.25 + 0.75 * u[:, 2:3, 0]
    light = np.clip(middle + spread * (u[..., 1] - 0.45), 0.06, 1.0)
    drift = np.where(u[:, 3:4, 0] < 0.75, 0.06, 0.45)
    hue = _hue(u[:, :1, 2]) + drift * (u[..., 3] - 0.5)
    saturation = u[:, 4:5, 0] * (0.3 + 0.6 * u[:, 1:2, 4] * u[:, 1:2, 4] * u[:, 1:2, 4]) + 0.12 * u[..., 4]
    wheel = np.abs((hue[..., None] * 6.0 + [0.0, 4.0, 2.0]) % 6.0 - 3.0) - 1.0
    keys = light[..., None] * (1.0 - saturation[..., None] * (1.0 - np.clip(wheel, 0.0, 1.0)))
    where = np.arange(256) * (4.0 / 255.001)
    below = where.astype(np.int64)
    part = (where - below)[:, None]
    ramp = keys[:, below] * (1.0 - part) + keys[:, below + 1] * part
    # Interpolated as the eye sees it (about a square root), then made linear.
    return np.ascontiguousarray(ramp * ramp, np.float32)
