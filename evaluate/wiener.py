"""Restoration by the Wiener filter, where the blur is known: of one kernel, or of one for each layer of depth.

Wiener's filter in the frequency domain is ``conj(H) G / (|H|^2 + NSR)``, H the transform of the kernel and NSR the
ratio of the power of noise to that of the image, one number for all frequencies (as MATLAB's `deconvwnr`). It takes the
picture to be one period of a periodic one: `edgetaper` makes it so, as MATLAB's function of this name does.

Where blur depends on depth, the RPSF paper (section 5.2) filters the whole picture with the kernel of each layer, cuts
out of each result the layer's own pixels, and adds them up (its Eq. 7 backwards). What a layer's neighbours bring into
it is not undone: that is why it rings at edges of depth.

Kernels are [y, x], of unit sum, their axis at (height // 2, width // 2).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from .. import InputError

Float64 = npt.NDArray[np.float64]


def transfer(kernel: npt.ArrayLike, size: tuple[int, int]) -> npt.NDArray[np.complex128]:
    """Return the transform of a kernel (n, m) on a picture of a size, (H, W // 2 + 1): MATLAB's `psf2otf`.

    Raises
    ------
    InputError
        If the picture is smaller than the kernel.
    """
    taps = np.asarray(kernel, np.float64)
    if taps.ndim != 2 or taps.shape[0] > size[0] or taps.shape[1] > size[1]:
        raise InputError(f"a kernel of shape {taps.shape} does not fit into a picture of {size[0]} x {size[1]} pixels.")
    padded = np.zeros(size)
    padded[: taps.shape[0], : taps.shape[1]] = taps
    return np.asarray(fft.rfft2(np.roll(padded, (-(taps.shape[0] // 2), -(taps.shape[1] // 2)), (0, 1))))


def taper_weights(kernel: npt.ArrayLike, size: tuple[int, int]) -> Float64:
    """Return how much of the picture itself `edgetaper` keeps, (H, W): 1 inside, 0 in the corners.

    Along each axis it is one less the autocorrelation of the kernel's projection, over the period of the picture less
    one pixel, whose first value is repeated at the end.
    """
    taps = np.asarray(kernel, np.float64)
    kept = []
    for axis in (0, 1):
        spectrum = fft.rfft(taps.sum(axis=1 - axis), size[axis] - 1)
        correlation = fft.irfft(np.abs(spectrum) ** 2, size[axis] - 1)
        around = np.append(correlation, correlation[0])
        kept.append(1 - around / around.max())
    return np.asarray(kept[0][:, None] * kept[1][None, :])


def edgetaper(image: npt.ArrayLike, kernel: npt.ArrayLike) -> Float64:
    """Blur a picture towards its borders, so that it goes on smoothly from one border to the opposite one.

    Parameters
    ----------
    image
        (H, W).
    kernel
        (n, m), not wider than half of the picture.

    Returns
    -------
    (H, W) float64: ``a I + (1 - a) h * I``, the convolution periodic and `a` of `taper_weights`. With kernels of unit
    sum and no negative value nothing leaves the range of the picture, to which MATLAB's function clips.
    """
    picture = np.asarray(image, np.float64)
    size = _size(picture)
    kept = taper_weights(kernel, size)
    blurred = fft.irfft2(fft.rfft2(picture) * transfer(kernel, size), size)
    return np.asarray(kept * picture + (1 - kept) * blurred)


def wiener(image: npt.ArrayLike, kernel: npt.ArrayLike, nsr: float) -> Float64:
    """Restore a periodic picture that one kernel has blurred.

    Parameters
    ----------
    image
        (H, W).
    kernel
        (n, m).
    nsr
        Power of noise over power of the image, its mean included; 0 is the inverse filter.

    Returns
    -------
    (H, W) float64. Frequencies that the kernel has none of stay zero.
    """
    picture = np.asarray(image, np.float64)
    size = _size(picture)
    return np.asarray(fft.irfft2(fft.rfft2(picture) * _inverse(transfer(kernel, size), nsr), size))


def wiener_layers(
    image: npt.ArrayLike, plane: npt.NDArray[np.integer[Any]], kernels: npt.ArrayLike, nsr: Sequence[float], *,
    taper: bool = True,
) -> Float64:  # fmt: skip
    """Restore a picture layer by layer of its depth, each colour by itself.

    The picture is continued by its border pixels by the kernels' size, and what was added is tapered.

    Parameters
    ----------
    image
        (H, W, C), in the light in which it was blurred.
    plane
        (H, W): layer of each pixel.
    kernels
        (K, 1 or C, n, m) of each layer, for all colours or for each.
    nsr
        Power of noise over power of the image; several cost less together than one after the other.
    taper
        Make what was added periodic by `edgetaper`, with the layer's own kernel.

    Returns
    -------
    (len(nsr), H, W, C) float64.

    Raises
    ------
    InputError
        If shapes do not go together, or a pixel is of a layer that has no kernel.
    """
    picture, taps = np.asarray(image, np.float64), np.asarray(kernels, np.float64)
    _check_layers(picture, plane, taps)
    margins = taps.shape[-2:]
    height, width = picture.shape[:2]
    size = tuple(fft.next_fast_len(n + 2 * m, real=True) for n, m in zip((height, width), margins, strict=True))
    ends = [(m, full - n - m) for n, m, full in zip((height, width), margins, size, strict=True)]
    around = np.pad(picture, [*ends, (0, 0)], mode="edge")
    inside = tuple(slice(m, m + n) for n, m in zip((height, width), margins, strict=True))
    out = np.zeros((len(nsr), *picture.shape))
    for k in np.unique(plane):
        mask = plane == k
        for c in range(picture.shape[2]):
            kernel = taps[k, c % taps.shape[1]]
            spectrum = fft.rfft2(edgetaper(around[..., c], kernel) if taper else around[..., c])
            h = transfer(kernel, (size[0], size[1]))
            for one, ratio in zip(out, nsr, strict=True):
                one[mask, c] = fft.irfft2(spectrum * _inverse(h, ratio), size)[inside][mask]
    return out


def _inverse(h: npt.NDArray[np.complex128], nsr: float) -> npt.NDArray[np.complex128]:
    power = np.abs(h) ** 2 + nsr
    return np.divide(h.conj(), power, out=np.zeros_like(h), where=power > 0)


def _size(picture: Float64) -> tuple[int, int]:
    if picture.ndim != 2 or not picture.size:
        raise InputError(f"a picture to restore has shape (H, W), not {picture.shape}.")
    return picture.shape[0], picture.shape[1]


def _check_layers(picture: Float64, plane: npt.NDArray[np.integer[Any]], taps: Float64) -> None:
    if picture.ndim != 3 or picture.shape[:2] != plane.shape or not picture.size:
        raise InputError(
            f"a picture (H, W, C) and its layers (H, W) go together, not {picture.shape} and {plane.shape}."
        )
    if taps.ndim != 4 or taps.shape[1] not in (1, picture.shape[2]):
        raise InputError(f"kernels have shape (K, 1 or {picture.shape[2]}, n, m), not {taps.shape}.")
    if plane.min() < 0 or plane.max() >= len(taps):
        raise InputError(f"layers are numbered from 0 to {len(taps) - 1}, not {plane.min()} to {plane.max()}.")
