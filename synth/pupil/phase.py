"""Phase over the pupil, written on the array API: numpy arrays for banks, torch tensors with gradients for training.

The pupil is the unit disk: x right, y down as the camera sees it, u the radius, phi = atan2(y, x) in (-pi, pi].
"""

import math
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from ... import InputError

Array = Any
"""A numpy array or a torch tensor."""
RING_GAIN = 100.0
"""What the RPSF paper multiplies the rings' coordinates by, for sharp edges of the zones."""


def zone_charge(zone: Any, lobes: Any) -> Any:
    """Topological charge of the zones 1, 2, ...: ``(l - 1) N + 1`` (RPSF paper Eq. 4; l for a single helix, Eq. 3)."""
    return (zone - 1) * lobes + 1


def zone_radius(zone: Any, zones: int, confinement: Any) -> Any:
    """Outer radius of a zone, 1 being the pupil's edge: ``(l / L)^epsilon`` (RPSF paper Eq. 4)."""
    return (zone / zones) ** confinement


def spiral_phase(u: Array, phi: Array, zones: int, lobes: Any, confinement: Any) -> Array:
    """Hard spiral zones (RPSF paper Eq. 4; Prasad 2013 for N = 1 and epsilon = 1/2).

    Parameters
    ----------
    u, phi
        Polar coordinates, any shape.
    zones
        L.
    lobes
        N, the number of peaks that rotate.
    confinement
        epsilon, in (0, 1).

    Returns
    -------
    Radians, not wrapped; same shape. Not differentiable with respect to N and epsilon at the zones' edges.
    """
    xp = array_namespace(u)
    zone = xp.clip(xp.floor(zones * u ** (1.0 / confinement)) + 1.0, 1.0, float(zones))
    return zone_charge(zone, lobes) * phi


def zone_rings(u: Array, zones: int, confinement: Any, gain: float = RING_GAIN) -> list[Array]:
    """Smooth indicator of each zone: half the difference of two tanh steps at its radii (RPSF paper Eq. 5).

    Returns
    -------
    `zones` arrays of the shape of `u`, which sum to 1 well within the pupil.
    """
    xp = array_namespace(u)
    radii = [zone_radius(zone, zones, confinement) for zone in range(zones + 1)]
    steps = [xp.tanh(gain * (u - radius)) for radius in radii]
    return [0.5 * (inner - outer) for inner, outer in pairwise(steps)]


def spiral_phase_rings(
    u: Array, phi: Array, zones: int, lobes: Any, confinement: Any, gain: float = RING_GAIN
) -> Array:
    """Differentiable spiral zones as the RPSF paper has them (Eq. 5): the sum of the zones' phases times their rings.

    Between two zones the phase passes through all values between theirs, so the PSF is 13-17 % (N = 1) or 37-42 %
    (N = 2) in relative L1 away from that of the hard zones at the paper's gain; see `spiral_phase_blend`.

    Returns
    -------
    Radians, not wrapped; differentiable with respect to N and epsilon.
    """
    # The sum of charges times rings, with each step taken once: charges grow by N from zone to zone.
    radii = [zone_radius(zone, zones, confinement) for zone in range(zones + 1)]
    inner, *between, outer = [array_namespace(u).tanh(gain * (u - radius)) for radius in radii]
    charge = zone_charge(1, lobes) * inner - zone_charge(zones, lobes) * outer
    if between:
        charge = charge + lobes * sum(between[1:], between[0])
    return 0.5 * charge * phi


def spiral_phase_blend(
    u: Array, phi: Array, zones: int, lobes: Any, confinement: Any, gain: float = RING_GAIN
) -> Array:
    """Differentiable spiral zones that blend phasors: the argument of ``sum_l ring_l exp(i q_l phi)``.

    Nearer to the hard zones than the paper's own form, because phases that differ by whole turns do not differ.

    Returns
    -------
    Radians, not wrapped; differentiable with respect to N and epsilon.
    """
    # Charges grow by N from zone to zone: the sum is exp(i phi) times a polynomial in exp(i N phi), taken by Horner's
    # rule, so that one sine and one cosine serve all zones.
    xp = array_namespace(u)
    *inner, outermost = zone_rings(u, zones, confinement, gain)
    angle = lobes * phi
    cosine, sine = xp.cos(angle), xp.sin(angle)
    real, imaginary = outermost, 0.0 * u
    for ring in reversed(inner):
        real, imaginary = real * cosine - imaginary * sine + ring, real * sine + imaginary * cosine
    return phi + xp.atan2(imaginary, real)


def height_of_phase(phase: Array, wavelength: float, index: float) -> Array:
    """Height, in metres, that delays light by `phase` radians modulo one turn (RPSF paper Eq. 6).

    ``h = wavelength / (2 pi (n - 1)) mod(arg exp(i phase), 2 pi)``: from 0 to ``wavelength / (n - 1)``.
    """
    # The argument of a phasor and the phase itself are equal modulo one turn.
    wrapped = array_namespace(phase).remainder(phase, 2 * math.pi)
    return wrapped * (wavelength / (2 * math.pi * (index - 1)))


def phase_of_height(height: Array, wavelength: float, index: float) -> Array:
    """Phase, in radians, by which a height in metres delays light: ``2 pi / wavelength (n - 1) h``."""
    return height * (2 * math.pi / wavelength * (index - 1))


def phasor(phase: Array) -> Array:
    """Return ``exp(i phase)`` of real phases: several times faster than the exponential of complex numbers."""
    xp = array_namespace(phase)
    return xp.cos(phase) + 1j * xp.sin(phase)


def noll(j: int) -> tuple[int, int]:
    """Radial order n and azimuthal order m of the Zernike polynomial with Noll's number j = 1, 2, ...

    Even j are cosines (m >= 0), odd j sines (m < 0) (Noll 1976, table I).

    Raises
    ------
    InputError
        If j is below 1.
    """
    if j < 1:
        raise InputError(f"Zernike polynomials are numbered from 1 (Noll), not {j}.")
    n = int((math.sqrt(8 * j - 7) - 1) / 2)
    rest = j - n * (n + 1) // 2 - 1
    m = 2 * ((rest + 1) // 2) if n % 2 == 0 else 2 * (rest // 2) + 1
    return n, m if j % 2 == 0 else -m


def zernike(j: int, u: Array, phi: Array) -> Array:
    """Zernike polynomial with Noll's number `j`, of unit variance over the unit disk.

    Parameters
    ----------
    j
        1 piston, 2 and 3 tilts, 4 defocus (``sqrt(3) (2 u^2 - 1)``), ...
    u, phi
        Polar coordinates, any shape.
    """
    n, m = noll(j)
    xp = array_namespace(u)
    radial = 0.0 * u
    for k in range((n - abs(m)) // 2 + 1):
        up, down = math.factorial(n - k), math.factorial((n + abs(m)) // 2 - k) * math.factorial((n - abs(m)) // 2 - k)
        radial = radial + (-1) ** k * up / (math.factorial(k) * down) * u ** (n - 2 * k)
    if m == 0:
        return math.sqrt(n + 1) * radial
    angular = xp.cos(m * phi) if m > 0 else xp.sin(-m * phi)
    return math.sqrt(2 * (n + 1)) * radial * angular


def zernike_on(coefficients: Any, x: Array, y: Array) -> Array:
    """Sum of Zernike polynomials over a grid, in a small part of the time that point by point takes.

    A polynomial in x and y of degree n is ``T(y)^T C T(x)``, T the n + 1 Chebyshev polynomials: C holds all
    coefficients, and no power is taken of any point.

    Parameters
    ----------
    coefficients
        (J,) of Noll's polynomials 1 to J; numbers, or a tensor that gradients reach.
    x, y
        (w,) columns and (h,) rows, from -1 to 1.

    Returns
    -------
    (h, w).
    """
    xp = array_namespace(x)
    if hasattr(coefficients, "requires_grad"):
        values = xp.astype(coefficients, x.dtype)
    elif any(hasattr(a, "requires_grad") for a in coefficients):
        values = xp.stack([xp.asarray(a, dtype=x.dtype, device=device(x)) for a in coefficients])
    else:
        values = xp.asarray(coefficients, dtype=x.dtype, device=device(x))
    products = xp.asarray(_zernike_products(values.shape[0]), dtype=x.dtype, device=device(x))
    size = products.shape[1]
    weights = xp.reshape(xp.matmul(values, xp.reshape(products, (-1, size * size))), (size, size))
    down, across = (_chebyshev(at, size) for at in (y, x))
    return xp.matmul(xp.matrix_transpose(down), xp.matmul(weights, across))


def _chebyshev(at: Array, count: int) -> Array:
    """Chebyshev polynomials 0 to count - 1 at (n,) points: (count, n)."""
    xp = array_namespace(at)
    found = [xp.ones_like(at), at]
    while len(found) < count:
        found.append(2.0 * at * found[-1] - found[-2])
    return xp.stack(found[:count])


@lru_cache(maxsize=8)
def _zernike_products(count: int) -> npt.NDArray[np.float64]:
    """Coefficients of Noll's polynomials 1 to `count` in products of Chebyshev polynomials: (count, y, x)."""
    size = noll(count)[0] + 1
    nodes = np.cos(np.pi * (np.arange(size) + 0.5) / size)
    x, y = np.meshgrid(nodes, nodes)
    values = np.stack([zernike(j, np.hypot(x, y), np.arctan2(y, x)) for j in range(1, count + 1)])
    into = _chebyshev(nodes, size) * np.where(np.arange(size) == 0, 1.0, 2.0)[:, None] / size
    return np.asarray(into @ values @ into.T)
