"""Optics designed by published criteria, and the criteria, so that a design can be checked; on the array API."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from .base import DESIGN_WAVELENGTH, Mask
from .masks import ZernikeMask
from .phase import Array
from .propagation import defocused, mask_fields, psf_at_pixels, pupil_grid

FISHER_COEFFICIENTS = (
    *(0.0,) * 5, 1.2603,  # 6, astigmatism
    *(0.0,) * 5, -0.8612,  # 12, secondary astigmatism
    *(0.0,) * 11, 0.2342,  # 24, tertiary astigmatism
    *(0.0,) * 3, 0.0492,  # 28, hexafoil
)  # fmt: skip
"""Zernike coefficients (Noll's 1 to 28, radians rms) of least localisation error over a defocus of -10 to 10 rad.

The criterion is Shechtman et al.'s ("Optimal point spread function design for 3D imaging", PRL 113, 133902, 2014), with
which PhaseCam3D's Fisher mask was made too: the sum of the three standard deviations of `localisation_bounds`, in its
units and with its default settings, averaged over 21 planes from psi = -10 to 10. It is our own optimum, not either
paper's mask. Adam on the polynomials 5 to 36 (a coarser pupil, 48 samples) came from four seeded astigmatisms, and on 5
to 28 from five of six random starts, to this mask within 0.3 %, turned by some angle, which only the pixel grid minds
(by 0.3 %). These four polynomials were left; for them L-BFGS gave the digits. Order 8 would gain 0.14 %.

It reaches 0.0940: 0.0164 in x and y, 0.0612 in psi, between 0.082 and 0.114 in all planes. The best pure astigmatism
reaches 0.122; the clear pupil 0.124 over the planes but psi = 0, where it tells nothing of psi, and it never tells the
sign.
"""


def fisher_mask(
    *, wavelength: float = DESIGN_WAVELENGTH, glass: str = "NOA61", obstruction: float = 0.0, wrapped: bool = False
) -> ZernikeMask:
    """Return the mask of least localisation error over a defocus of -10 to 10 rad; see `FISHER_COEFFICIENTS`.

    Parameters
    ----------
    wavelength, glass, obstruction, wrapped
        As of `ZernikeMask`. The design is for light of that wavelength and a pupil without obstruction.
    """
    return ZernikeMask(FISHER_COEFFICIENTS, wrapped, wavelength=wavelength, glass=glass, obstruction=obstruction)


def localisation_bounds(
    mask: Mask,
    defocus: Array,
    *,
    photons: float = 3000.0,
    background: float = 5.0,
    pixel: float = 0.5,
    size: int = 64,
    samples: int = 64,
) -> Array:
    """Least standard deviations with which a point can be located in three dimensions from its image.

    The square root of the diagonal of the inverse Fisher information (Cramer-Rao bound) of pixels with Poisson noise,
    ``I_ij = sum (dm/di) (dm/dj) / m`` over the mean counts m, in light of the mask's design wavelength (Shechtman et
    al. 2014). It is a local measure: of PSFs that are alike in distant planes it knows nothing.

    Parameters
    ----------
    mask
        What stands in the pupil; its parameters may be tensors, which gradients reach.
    defocus
        (K,) psi of each plane, radians at the pupil's edge.
    photons
        Behind the mask, on the whole sensor plane; what falls outside the window is lost.
    background
        Photons on each pixel.
    pixel
        Pitch, in units of wavelength times f-number.
    size
        Height and width of the window, pixels; the point is in the middle of pixel size // 2.
    samples
        Cells across the pupil; see `propagation.samples_needed`.

    Returns
    -------
    (K, 3): of x and y in units of wavelength times f-number, of psi in radians. What the image tells nothing of gets
    a bound of thousands.
    """
    xp = array_namespace(defocus)
    (field,), light = mask_fields(mask, (mask.wavelength,), samples, like=defocus)
    pupils = defocused(field, defocus)
    counts = xp.reshape(photons * psf_at_pixels(pupils, pixel, size, light) + background, (defocus.shape[0], 1, -1))
    x, y = pupil_grid(samples, defocus)
    slopes = []
    for phase in (-math.pi * x, -math.pi * y, x * x + y * y):
        # Intensity is quadratic in the field, so this difference is the derivative itself, whatever the step.
        step = 1j * phase * pupils
        more, less = (psf_at_pixels(moved, pixel, size, light) for moved in (pupils + step, pupils - step))
        slopes.append(xp.reshape((more - less) * (photons / 2), (defocus.shape[0], -1)))
    slope = xp.stack(slopes, axis=1)
    information = xp.matmul(slope / counts, xp.matrix_transpose(slope))
    # Keeps the inverse finite where there is no information.
    least = 1e-12 * photons * xp.eye(3, dtype=defocus.dtype, device=device(defocus))
    bounds = xp.linalg.inv(information + least)
    return xp.sqrt(xp.stack([bounds[:, i, i] for i in range(3)], axis=1))


def blur_divergences(pattern: Array, diameters: Sequence[float], *, noise: float = 0.05, size: int = 64) -> Array:
    """How well neighbouring sizes of an aperture's blur can be told apart: Levin et al.'s criterion (2007, section 3).

    Images are taken as Gaussian, with a power spectrum of 1 over that of the derivatives (about 1 / f^2), blurred by
    the aperture's shadow and seen with white noise, so that blur k has the spectrum S_k = |K_k|^2 / (|Gx|^2 + |Gy|^2) +
    noise^2. The Kullback-Leibler divergence of two is ``sum (r - log r - 1) / 2``, r = S_1 / S_2. A coded aperture for
    depth has a large least divergence.

    Parameters
    ----------
    pattern
        (n, n), 0 to 1, over the square around the pupil. Its blur is scaled to a sum of 1: lost light is not charged.
    diameters
        (K,) of the blurs, pixels: the side of the pattern's square.
    noise
        Standard deviation, over that of the image's derivatives (root of the sum of squares of both).
    size
        Frequencies along each axis.

    Returns
    -------
    (K - 1,) nats per pixel, of each diameter and the next, the lesser of the two directions.
    """
    xp = array_namespace(pattern)
    frequency = np.asarray(np.fft.fftfreq(size), np.float64)
    derivatives = 4 * (np.sin(np.pi * frequency[:, None]) ** 2 + np.sin(np.pi * frequency[None, :]) ** 2)
    derivatives[0, 0] = 1.0  # there all blurs are 1 and no two differ
    gradient = xp.asarray(derivatives, dtype=pattern.dtype, device=device(pattern))
    spectra = []
    for diameter in diameters:
        transfer = _shadow_transfer(pattern, diameter, frequency)
        spectra.append((xp.real(transfer) ** 2 + xp.imag(transfer) ** 2) / gradient + noise**2)
    divergences = []
    for one, other in pairwise(spectra):
        ratio, log = one / other, xp.log(one / other)
        pair = [xp.mean(r - 1 - s) / 2 for r, s in ((ratio, log), (1 / ratio, -log))]
        divergences.append(xp.minimum(*pair))
    return xp.stack(divergences)


def _shadow_transfer(pattern: Array, diameter: float, frequency: npt.NDArray[np.float64]) -> Array:
    """Transfer function of a shadow `diameter` pixels wide, of square cells, integrated over pixels."""
    xp = array_namespace(pattern)
    n = pattern.shape[0]
    cell = diameter / n
    middle = np.arange(n) - (n - 1) / 2
    wave = np.exp(-2j * np.pi * cell * frequency[:, None] * middle[None, :])
    wave *= (np.sinc(frequency * cell) * np.sinc(frequency))[:, None]
    kind: Any = xp.complex64 if pattern.dtype == xp.float32 else xp.complex128
    waves = xp.asarray(wave, dtype=kind, device=device(pattern))
    return xp.matmul(xp.matmul(waves, xp.astype(pattern, kind)), xp.matrix_transpose(waves)) / xp.sum(pattern)
