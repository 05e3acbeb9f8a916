"""Measures of point spread functions (PSFs): how they turn from plane to plane, and their transfer function.

Both are taken from the Fourier transform along rays through the origin, computed exactly at the wanted frequencies:
no pixel is interpolated. Angles are in array axes, atan2(y, x) with y down: positive is clockwise on the display.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError

Float64 = npt.NDArray[np.float64]
Complex128 = npt.NDArray[np.complex128]

LEAST_HARMONICS = 1e-3
"""A PSF turns visibly if the harmonics m != 0 have this share of the energy: pixels alone give disks up to 3e-4."""

_ANGLES = 256
_RADII = 32
_HARMONICS = 90.0  # highest that a ring of the transform may hold, well below half of _ANGLES
_FINEST = 0.25  # cycles per pixel; above it the square pixels show
_DIRECTIONS = 48


def _waves(length: int, origin: float, frequency: Float64) -> Complex128:
    """Return exp(-2 pi i f (p - origin)) for the pixels p of an axis: complex128 (length, frequencies)."""
    waves: Complex128 = np.exp(-2j * np.pi * (np.arange(length) - origin)[:, None] * frequency)
    return waves


def _transform(plane: Float64, rows: Complex128, columns: Complex128) -> Complex128:
    """Fourier transform of a real plane (h, w) at the points of `rows` (h, P) and `columns` (w, P): (P,)."""
    # Seen as pairs of real numbers, for a product of real matrices, which is twice as fast.
    along_x: Complex128 = (plane @ columns.view(np.float64)).view(np.complex128)
    points: Complex128 = np.einsum("hp,hp->p", along_x, rows)
    return points


def _stack(kernels: npt.NDArray[Any], what: str) -> Float64:
    """Check PSFs (..., h, w) and return them as float64."""
    values = np.asarray(kernels)
    if values.ndim < 2 or values.size == 0 or values.dtype.kind not in "fiu":
        raise InputError(f"{what} needs PSFs of real numbers (..., h, w), not {values.dtype} {values.shape}.")
    planes: Float64 = values.astype(np.float64)
    sums = planes.sum(axis=(-2, -1))
    if not (np.isfinite(planes).all() and (sums > 0).all()):
        raise InputError(f"{what} needs PSFs with finite values and a positive sum.")
    planes /= sums[..., None, None]
    return planes


def _distances(shape: tuple[int, ...], axis: tuple[float, float]) -> Float64:
    """Distance of each pixel (h, w) from the axis, pixels."""
    y, x = np.arange(shape[-2]) - axis[0], np.arange(shape[-1]) - axis[1]
    distance: Float64 = np.hypot(y[:, None], x)
    return distance


def _default_radius(planes: Float64, axis: tuple[float, float]) -> float:
    """Return twice the radius that holds half of the light, of the median plane, if a circle so large fits."""
    distance = _distances(planes.shape, axis).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(planes.reshape(len(planes), -1)[:, order], axis=1)
    half = float(np.median(distance[order][(held < 0.5 * held[:, -1:]).sum(axis=1)]))
    edge = float(min(axis[0], axis[1], planes.shape[1] - 1 - axis[0], planes.shape[2] - 1 - axis[1])) + 0.5
    return max(2.0, min(2.0 * half, edge))


def _harmonics(planes: Float64, axis: tuple[float, float], radius: float) -> Complex128:
    """Azimuthal harmonics of the transform of each plane, within a radius: complex128 (K, _ANGLES, _RADII).

    Each ring is weighted by the root of its frequency, so that products of two are weighted by the frequency, as an
    integral over the plane is. By Parseval's theorem, correlating these is correlating the planes themselves.
    """
    distance = _distances(planes.shape, axis)
    window = 0.5 - 0.5 * np.cos(np.pi * np.clip(2.5 - 2.0 * distance / radius, 0, 1))
    rows, columns = np.nonzero(window.any(axis=1))[0], np.nonzero(window.any(axis=0))[0]
    if rows.size == 0:
        raise InputError(f"no pixel of the PSFs lies within {radius:g} pixels of the axis {axis}.")
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    frequency = np.arange(1, _RADII + 1) / _RADII * min(_FINEST, _HARMONICS / (2 * np.pi * 1.25 * radius))
    angle = 2 * np.pi * np.arange(_ANGLES // 2) / _ANGLES
    wave_y = _waves(rows.size, axis[0] - rows[0], np.outer(np.sin(angle), frequency).ravel())
    wave_x = _waves(columns.size, axis[1] - columns[0], np.outer(np.cos(angle), frequency).ravel())
    found = np.empty((len(planes), _ANGLES, _RADII), np.complex128)
    for k, plane in enumerate(planes):
        half = _transform((plane * window)[part], wave_y, wave_x).reshape(_ANGLES // 2, _RADII)
        # The other half circle of a real plane is the conjugate of the first.
        found[k] = np.fft.fft(np.concatenate([half, half.conj()]), axis=0) * np.sqrt(frequency)
    return found


def _turn(before: Complex128, after: Complex128, most: float) -> float:
    """Angle within +-`most` radians that maximises the angular cross-correlation of two planes' harmonics."""
    order = np.fft.fftfreq(_ANGLES, 1 / _ANGLES)
    terms = (after.conj() * before).sum(axis=1)
    terms[[0, _ANGLES // 2]] = 0
    angles = 2 * np.pi * np.fft.fftfreq(_ANGLES)
    # A plane turned by t has the harmonics F_m exp(-i m t); the correlation is a trigonometric sum of those phases.
    correlation = np.fft.fft(terms).real
    correlation[np.abs(angles) > most * (1 + 1e-9)] = -np.inf
    best = float(angles[correlation.argmax()])
    # Newton's steps to the maximum of the sum itself, never farther than to the next sample.
    limit, at = 2 * np.pi / _ANGLES, best
    for _ in range(8):
        wave = terms * np.exp(-1j * order * at)
        slope, bend = float((order * wave).sum().imag), -float((order**2 * wave).sum().real)
        if bend >= 0:
            return best
        at = min(max(at - slope / bend, best - limit), best + limit)
    return at


def rotation_angles(
    kernels: npt.NDArray[Any],
    *,
    lobes: int = 1,
    reference: int | None = None,
    axis: tuple[float, float] | None = None,
    radius: float | None = None,
) -> Float64:
    """Measure by how much each PSF of a stack is turned about the axis, relative to one of them.

    The azimuthal harmonics m != 0 of neighbouring planes are cross-correlated over the angle, and the turns are added
    up from the reference outwards: neighbours look alike, distant planes need not. The centroid would not do: that of
    a rotating PSF moves on a straight line.

    Parameters
    ----------
    kernels
        Real (K, h, w), in order of defocus; each is scaled to unit sum.
    lobes
        N of a PSF that looks the same after 1/N of a turn: neighbours are then taken to differ by at most half of
        that, pi / N. With 1, neighbours may differ by up to half a turn.
    reference
        The plane with angle 0, from 0 to K - 1; K // 2 by default.
    axis
        Row and column of the optical axis in pixels, (h // 2, w // 2) by default.
    radius
        Pixels around the axis that count, with a soft edge from 3/4 to 5/4 of it. By default twice the radius that
        holds half of the light (median over the planes), at least 2 and at most the distance to the window's edge.

    Returns
    -------
    (K,) float64, radians, not wrapped; positive is clockwise on the display (y down). NaN where there is nothing to
    measure, because the harmonics m != 0 have less than `LEAST_HARMONICS` of the energy up to 0.25 cycles per pixel;
    all NaN if that is so of the reference.

    Raises
    ------
    InputError
        If the shape or a value cannot be used, or the reference, the axis or the radius lies outside.
    """
    planes = _stack(kernels, "a rotation")
    if planes.ndim != 3:
        raise InputError(f"a rotation is measured in a stack of PSFs (K, h, w), not {planes.shape}.")
    count, height, width = planes.shape
    origin = count // 2 if reference is None else reference
    if not (0 <= origin < count and lobes >= 1):
        raise InputError(f"a stack of {count} PSFs has no plane {origin} to turn by, or {lobes} lobes are not one.")
    centre = (float(height // 2), float(width // 2)) if axis is None else axis
    if not (0 <= centre[0] <= height - 1 and 0 <= centre[1] <= width - 1):
        raise InputError(f"the axis {centre} lies outside the PSFs of {height} x {width} pixels.")
    reach = _default_radius(planes, centre) if radius is None else radius
    if not 0 < reach < math.inf:
        raise InputError(f"the radius of a rotation is a positive number of pixels, not {reach:g}.")
    harmonics = _harmonics(planes, centre, reach)
    energy = (np.abs(harmonics) ** 2).sum(axis=2)
    turns = energy[:, 1:].sum(axis=1) > LEAST_HARMONICS * energy.sum(axis=1)
    angles = np.full(count, np.nan)
    if not turns[origin]:
        return angles
    angles[origin] = 0.0
    for outwards in (range(origin + 1, count), range(origin - 1, -1, -1)):
        last = origin
        for k in outwards:
            if turns[k]:
                angles[k] = angles[last] + _turn(harmonics[last], harmonics[k], math.pi / lobes)
                last = k
    return angles


def mtf(kernels: npt.NDArray[Any], samples: int = 64) -> tuple[Float64, Float64]:
    """Modulation transfer function of PSFs: the modulus of their Fourier transform, averaged over directions.

    Parameters
    ----------
    kernels
        Real (..., h, w); each is scaled to unit sum.
    samples
        Number of frequencies, at least 2.

    Returns
    -------
    The frequencies, float64 (F,), from 0 to 0.5 cycles per pixel, and the MTF, float64 (..., F), 1 at zero.

    Raises
    ------
    InputError
        If the shape or a value cannot be used, or there are too few samples.
    """
    planes = _stack(kernels, "an MTF")
    if samples < 2:
        raise InputError(f"an MTF needs at least 2 samples, not {samples}.")
    height, width = planes.shape[-2:]
    frequency = np.linspace(0, 0.5, samples)
    angle = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    wave_y = _waves(height, height // 2, np.outer(np.sin(angle), frequency).ravel())
    wave_x = _waves(width, width // 2, np.outer(np.cos(angle), frequency).ravel())
    found = [
        np.abs(_transform(plane, wave_y, wave_x)).reshape(_DIRECTIONS, samples).mean(axis=0)
        for plane in planes.reshape(-1, height, width)
    ]
    return frequency, np.array(found).reshape(*planes.shape[:-2], samples)
