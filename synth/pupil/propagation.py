"""From the pupil to the PSF, written on the array API (numpy or torch; gradients pass).

Image coordinates are those of the upright picture, x right and y down, in units of ``wavelength * N_w`` (N_w the
working f-number) unless pixels are named: a point nearer than the focus plane shows the pupil turned by 180 degrees.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from ... import InputError
from .base import Mask
from .phase import Array, phasor

QUADRATURE_ERROR = 1e-6
"""Of the integral over a pixel's area, for the highest frequency that the pupil passes."""


def pupil_axis(samples: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Centres of `samples` cells across the pupil, whose edges are -1 and 1: float64."""
    return np.asarray((np.arange(samples) + 0.5) * (2.0 / samples) - 1.0)


def pupil_grid(samples: int, like: Array | None = None) -> tuple[Array, Array]:
    """Coordinates x, y (samples, samples) of the pupil's cells, in the namespace, dtype and on the device of `like`."""
    x, y = np.meshgrid(pupil_axis(samples), pupil_axis(samples))
    if like is None:
        return x, y
    xp = array_namespace(like)
    x, y = (xp.asarray(a, dtype=like.dtype, device=device(like)) for a in (x, y))
    return x, y


def mask_fields(
    mask: Mask, wavelengths: Sequence[float], samples: int, *, oversampling: int = 1, like: Array | None = None
) -> tuple[list[Array], Array]:
    """Complex fields behind a mask in light of several wavelengths.

    Parameters
    ----------
    mask
        What stands in the pupil.
    wavelengths
        Metres.
    samples
        Cells across the pupil.
    oversampling
        Points across each cell, whose mean is taken: how much of the cell each zone and the aperture hold. With one
        point the PSF of hard zones is off by 1 to 2 % (relative L1) at 256 samples, with four by 0.4 %.
    like
        Whose namespace, dtype and device the result takes; numpy float64 if None.

    Returns
    -------
    fields
        One (samples, samples) complex array for each wavelength.
    light
        Mean of the squared amplitude over the cells' points, a scalar of the namespace. Cells that hold several
        phases send part of their light beyond the image of the grid, so the fields' own squares sum to less.
    """
    x, y = pupil_grid(samples * oversampling, like)
    height, amplitude = mask.height(x, y), mask.amplitude(x, y)
    xp = array_namespace(amplitude)
    light = xp.mean(amplitude * amplitude)
    fields = [mask.field_of(height, amplitude, wavelength) for wavelength in wavelengths]
    if oversampling > 1:
        shape = (samples, oversampling, samples, oversampling)
        fields = [xp.mean(xp.mean(xp.reshape(field, shape), axis=3), axis=1) for field in fields]
    return fields, light


def defocused(field: Array, defocus: Array) -> Array:
    """Generalised pupil function: a field with defocus phases psi, in radians at the edge (RPSF paper Eq. 16).

    Parameters
    ----------
    field
        (M, M) complex.
    defocus
        (K,) real, of the same namespace.

    Returns
    -------
    (K, M, M) complex: ``field exp(i psi u^2)``.
    """
    xp = array_namespace(field)
    axis = xp.asarray(pupil_axis(field.shape[-1]), dtype=defocus.dtype, device=device(field))
    # The phase is a sum over the two axes: two exponentials of M instead of one of M^2.
    along = phasor(defocus[:, None] * (axis * axis)[None, :])
    return field[None, :, :] * along[:, :, None] * along[:, None, :]


def psf_by_fft(pupil: Array, padding: int = 2) -> Array:
    """PSF on the grid of a padded FFT.

    Parameters
    ----------
    pupil
        (..., M, M) complex.
    padding
        The FFT has ``padding * M`` points, which are ``1 / padding`` apart in units of wavelength N_w. 2 is critical
        for the intensity.

    Returns
    -------
    (..., n, n) real, n = padding M, the axis at n // 2; sums to 1.
    """
    xp = array_namespace(pupil)
    n = padding * pupil.shape[-1]
    field = xp.fft.fftshift(xp.fft.ifftn(pupil, s=(n, n), axes=(-2, -1)), axes=(-2, -1))
    intensity = xp.real(field) ** 2 + xp.imag(field) ** 2
    return intensity / xp.sum(intensity, axis=(-2, -1), keepdims=True)


def field_at(pupil: Array, y: Array, x: Array) -> Array:
    """Field at given image coordinates by a matrix Fourier transform (Soummer et al. 2007).

    Parameters
    ----------
    pupil
        (..., M, M) complex.
    y, x
        (h,), (w,) image coordinates, units of wavelength N_w.

    Returns
    -------
    (..., h, w) complex: ``sum P(u, v) exp(i pi (x u + y v)) (2 / M)^2 / 4``.
    """
    xp = array_namespace(pupil)
    axis = xp.asarray(pupil_axis(pupil.shape[-1]), dtype=y.dtype, device=device(pupil))
    down = phasor(math.pi * y[:, None] * axis[None, :])
    across = phasor(math.pi * axis[:, None] * x[None, :])
    return xp.matmul(xp.matmul(down, pupil), across) / pupil.shape[-1] ** 2


@lru_cache(maxsize=64)
def pixel_nodes(pixel: float, tolerance: float = QUADRATURE_ERROR) -> tuple[Any, Any]:
    """Gauss-Legendre nodes within a pixel (-1/2 to 1/2) and weights (sum 1) that integrate any PSF over it.

    A PSF holds no frequency above 1 cycle per wavelength N_w, so the error is bounded before the PSF is known.
    """
    reach, order = math.pi * pixel, 1
    while order < 200:
        log = (
            2 * order * math.log(reach) + (2 * order + 1) * math.log(2) + 4 * math.lgamma(order + 1)
            - math.log(2 * order + 1) - 3 * math.lgamma(2 * order + 1)
        )  # fmt: skip
        if log < math.log(tolerance):
            break
        order += 1
    nodes, weights = np.polynomial.legendre.leggauss(order)
    return nodes / 2, weights / 2


def psf_at_pixels(pupil: Array, pixel: float, size: int, light: Array | None = None) -> Array:
    """PSF integrated over the area of each pixel of a window.

    By matrix Fourier transform at the points of a quadrature within each pixel; for large windows by FFT, over the
    optical transfer function, which is the same to `QUADRATURE_ERROR`.

    Parameters
    ----------
    pupil
        (..., M, M) complex.
    pixel
        Pixel pitch, units of wavelength N_w.
    size
        Height and width of the window, pixels; the axis is the centre of pixel size // 2.
    light
        Mean of the pupil's squared amplitude, where the samples' own is not the whole; see `mask_fields`.

    Returns
    -------
    (..., size, size) real: share of the light behind the mask that falls on each pixel.
    """
    if light is None:
        light = _light(pupil)
    samples, points = pupil.shape[-1], size * len(pixel_nodes(pixel)[0])
    by_matrix = 8.0 * points * samples * (samples + points)
    by_fft = 200.0 * (2 * samples) ** 2 * math.log2(2 * samples) + 8.0 * size * samples * (2 * samples + size)
    route = _pixels_by_quadrature if by_matrix < by_fft else _pixels_by_transfer
    return route(pupil, pixel, size) / light


def _light(pupil: Array) -> Array:
    xp = array_namespace(pupil)
    return xp.mean(xp.real(pupil) ** 2 + xp.imag(pupil) ** 2, axis=(-2, -1), keepdims=True)


def _pixels_by_quadrature(pupil: Array, pixel: float, size: int) -> Array:
    xp = array_namespace(pupil)
    nodes, weights = pixel_nodes(pixel)
    order = len(nodes)
    points = ((np.arange(size) - size // 2)[:, None] + nodes[None, :]).reshape(-1) * pixel
    real = xp.real(pupil)
    at = xp.asarray(points, dtype=real.dtype, device=device(pupil))
    field = field_at(pupil, at, at)
    intensity = xp.real(field) ** 2 + xp.imag(field) ** 2
    w = xp.asarray(weights, dtype=real.dtype, device=device(pupil))
    cells = xp.reshape(intensity, (*intensity.shape[:-2], size, order, size, order))
    summed = xp.sum(xp.sum(cells * w, axis=-1) * w[:, None], axis=-2)
    return summed * pixel**2


def _pixels_by_transfer(pupil: Array, pixel: float, size: int) -> Array:
    xp = array_namespace(pupil)
    samples = pupil.shape[-1]
    n = 2 * samples
    field = xp.fft.ifftn(pupil, s=(n, n), axes=(-2, -1))
    intensity = xp.real(field) ** 2 + xp.imag(field) ** 2
    transfer = xp.fft.rfftn(intensity, axes=(-2, -1))
    # Frequencies are multiples of 1 / samples cycles per wavelength N_w; the pixel's own transfer function is a sinc.
    down, across = np.fft.fftfreq(n, 1.0 / n) / samples, np.fft.rfftfreq(n, 1.0 / n) / samples
    at = (np.arange(size) - size // 2) * pixel
    twice = np.where((across == 0) | (across == across[-1]), 1.0, 2.0)
    first = np.exp(2j * np.pi * at[:, None] * down[None, :]) * np.sinc(down * pixel)
    second = (np.exp(2j * np.pi * at[:, None] * across[None, :]) * np.sinc(across * pixel) * twice).T
    first, second = (xp.asarray(m, dtype=transfer.dtype, device=device(pupil)) for m in (first, second))
    # Of the transforms' own scales the inverse FFT's n^2 is squared in the intensity, and 4 is that of its spacing 1/2.
    return xp.real(xp.matmul(xp.matmul(first, transfer), second)) * (4 * pixel / samples) ** 2 / 4


def samples_needed(defocus: float, window: float, steepness: float = 0.0) -> int:
    """Samples across the pupil so that neither phase nor window alias.

    Parameters
    ----------
    defocus
        Largest |psi|, radians at the edge: its slope there is 2 psi per pupil radius.
    window
        Width of the PSF's window, units of wavelength N_w: the transform repeats every `samples` of them.
    steepness
        Largest slope of the mask's phase, radians per pupil radius.
    """
    return math.ceil(max((2 * abs(defocus) + steepness) * 2 / math.pi, window))


def check_samples(samples: int, defocus: float, window: float, steepness: float = 0.0) -> None:
    """Check the sampling of a pupil; see `samples_needed`.

    Raises
    ------
    InputError
        Giving the number of samples needed.
    """
    needed = samples_needed(defocus, window, steepness)
    if samples < needed:
        raise InputError(
            f"the pupil is undersampled: a defocus of {abs(defocus):.3g} rad and a window of {window:.3g} wavelengths "
            f"times f-number need {needed} samples across it, not {samples}: raise psf.samples, or narrow "
            "the depth range or the window."
        )


def mask_psfs(
    mask: Mask,
    defocus: Array,
    wavelength: float,
    *,
    pitch: float,
    f_number: float,
    size: int,
    samples: int,
    oversampling: int = 1,
) -> Array:
    """PSFs of a mask in light of one wavelength, on a sensor's pixels.

    Parameters
    ----------
    mask
        What stands in the pupil; its parameters may be tensors.
    defocus
        (K,) psi, radians at the pupil's edge at the mask's design wavelength. Its namespace and precision are the
        result's; with torch, gradients reach it and the mask's parameters.
    wavelength
        Metres.
    pitch
        Pixel pitch, metres.
    f_number
        Working f-number: sensor distance over aperture diameter.
    size
        Height and width of the window, pixels; the axis is the centre of pixel size // 2.
    samples
        Cells across the pupil.
    oversampling
        Points across each cell; see `mask_fields`.

    Returns
    -------
    (K, size, size) real: share of the light behind the mask that falls on each pixel, not normalised to the window.
    """
    (field,), light = mask_fields(mask, (wavelength,), samples, oversampling=oversampling, like=defocus)
    pupils = defocused(field, defocus * (mask.wavelength / wavelength))
    return psf_at_pixels(pupils, pitch / (wavelength * f_number), size, light)
