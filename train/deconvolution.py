"""Wiener deconvolution in torch, of features, by one kernel for each layer of depth; differentiable.

DWDN (Dong et al. 2020) filters each of a network's features by ``conj(H) F / (|H|^2 + NSR)``; for blur that depends on
depth the RPSF paper (section 5.2) does so once for each layer of depth, cuts the layer's own pixels out of each result
and adds them up. Layers follow each other, and each is computed again for its gradient, so that memory holds the
spectra of one, however many there are.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .transforms import fast_size

NOISE_SHARE = 8 / 30
"""Factor of DWDN's noise-to-signal ratio: its public code's."""
LEAST = 1e-8
"""Added to variances and ratios, so that a feature that is the same everywhere has a gradient."""


def transfer(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the transform of kernels (..., n, m), their axis at (n // 2, m // 2): (..., H, W // 2 + 1)."""
    n, m = kernel.shape[-2:]
    padded = F.pad(kernel, (0, size[1] - m, 0, size[0] - n))
    spectrum: Tensor = torch.fft.rfft2(torch.roll(padded, (-(n // 2), -(m // 2)), (-2, -1)))
    return spectrum


def taper_weights(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return how much `edgetaper` keeps of each pixel, (H, W): see `evaluate.wiener.taper_weights`."""
    kept = []
    for axis in (0, 1):
        spectrum = torch.fft.rfft(kernel.sum(1 - axis), size[axis] - 1)
        correlation = torch.fft.irfft(spectrum.abs() ** 2, size[axis] - 1)
        around = torch.cat([correlation, correlation[:1]])
        kept.append(1 - around / around.max())
    return kept[0][:, None] * kept[1][None, :]


def edgetaper(features: Tensor, kernel: Tensor) -> Tensor:
    """Blur towards the borders, so that each feature goes on smoothly from one border to the opposite one.

    Parameters
    ----------
    features
        (..., H, W).
    kernel
        (n, m), unit sum.
    """
    size = (features.shape[-2], features.shape[-1])
    kept = taper_weights(kernel, size)
    blurred = torch.fft.irfft2(torch.fft.rfft2(features) * transfer(kernel, size), s=size)
    tapered: Tensor = kept * features + (1 - kept) * blurred
    return tapered


def noise_to_signal(features: Tensor) -> Tensor:
    """Estimate the ratio of noise to signal of each feature, (B, C): DWDN's public code.

    ``8/30 var(x - median(x)) / std(x)``, the median that of 3x3 pixels. Not free of units: a network can choose it by
    the scale of its features.
    """
    ratio: Tensor = checkpoint(_noise_to_signal, features, use_reentrant=False, preserve_rng_state=False)
    return ratio


def _noise_to_signal(features: Tensor) -> Tensor:
    noise = features - median(F.pad(features, (1, 1, 1, 1), mode="reflect"))
    spread = (features.var((-2, -1)) + LEAST).sqrt()
    return NOISE_SHARE * noise.var((-2, -1)) / spread + LEAST


def median(features: Tensor) -> Tensor:
    """Return the median of the 3x3 pixels around each, (..., H - 2, W - 2).

    Columns of three are sorted once for all that share them; the median of nine is that of the greatest of the least,
    of the median of the middle ones, and of the least of the greatest.
    """
    above, here, below = (features[..., k : features.shape[-2] - 2 + k, :] for k in range(3))
    low, high = torch.minimum(above, here), torch.maximum(above, here)
    middle = torch.minimum(high, below)
    columns = torch.minimum(low, below), torch.maximum(low, middle), torch.maximum(high, below)
    least, mid, most = (
        [one[..., k : one.shape[-1] - 2 + k] for k in range(3)] for one in (columns[0], columns[1], columns[2])
    )
    return _middle(
        torch.maximum(torch.maximum(least[0], least[1]), least[2]),
        _middle(*mid),
        torch.minimum(torch.minimum(most[0], most[1]), most[2]),
    )


def _middle(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    return torch.maximum(torch.minimum(a, b), torch.minimum(torch.maximum(a, b), c))


def wiener_layers(
    features: Tensor, plane: Tensor, kernels: Tensor, nsr: Tensor | None = None, *, taper: bool = True
) -> Tensor:
    """Deconvolve features layer by layer of depth.

    Features are continued by their border pixels by the kernels' size; what was added is tapered, by the mean of all
    kernels, so that one transform of the features serves every layer.

    Parameters
    ----------
    features
        (B, C, H, W) floating point.
    plane
        (B, H, W) int64: layer of each pixel. Layers that no pixel has cost nothing.
    kernels
        (K, n, m), one for each layer, unit sum.
    nsr
        (B, C) ratio of noise to signal; `noise_to_signal` if left out.
    taper
        Make what was added periodic.

    Returns
    -------
    (B, C, H, W), float32 or float64; differentiable to features, kernels and ratios.
    """
    # Half precision has neither transforms of any size nor the range that inverse filters need.
    with torch.autocast(features.device.type, enabled=False):
        wide = features.double() if features.dtype == torch.float64 else features.float()
        taps = kernels.to(wide.dtype)
        ratio = noise_to_signal(wide) if nsr is None else nsr.to(wide.dtype)
        rows, columns = taps.shape[-2:]
        window = (rows, columns, *wide.shape[-2:])
        height, width = fast_size(wide.shape[-2] + 2 * rows), fast_size(wide.shape[-1] + 2 * columns)
        ends = (columns, width - wide.shape[-1] - columns, rows, height - wide.shape[-2] - rows)
        padded = F.pad(wide, ends, mode="replicate")
        if taper:
            padded = edgetaper(padded, taps.mean(0))
        spectrum = torch.fft.rfft2(padded)
        out = torch.zeros_like(wide)
        for layer, samples in _layers(plane, len(taps)):
            given = (spectrum, ratio, taps[layer], plane == layer, samples, (height, width), window)
            part = checkpoint(_filtered, *given, use_reentrant=False, preserve_rng_state=False)
            out = out + part if len(samples) == len(wide) else out.index_add(0, samples, part)
        return out


def _filtered(
    spectrum: Tensor, ratio: Tensor, kernel: Tensor, mask: Tensor, samples: Tensor, size: tuple[int, int],
    window: tuple[int, int, int, int],
) -> Tensor:  # fmt: skip
    """Return what one layer has of the sharp features, (samples, C, H, W), 0 elsewhere."""
    if len(samples) < len(spectrum):
        spectrum, ratio, mask = spectrum[samples], ratio[samples], mask[samples]
    h = transfer(kernel, size)
    # Multiplied by its reciprocal: a quotient of complex and real numbers is computed as one of complex ones.
    share = (h.real**2 + h.imag**2 + ratio[..., None, None]).reciprocal()
    sharp: Tensor = torch.fft.irfft2(spectrum * (h.conj() * share), s=size)
    top, left, height, width = window
    return sharp[..., top : top + height, left : left + width] * mask[:, None]


def _layers(plane: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
    """Yield the layers that have pixels, each with the numbers of the samples that have it."""
    there = torch.zeros(len(plane), count, dtype=torch.bool, device=plane.device)
    there.scatter_(1, plane.flatten(1), True)
    for layer in there.any(0).nonzero()[:, 0].tolist():
        yield layer, there[:, layer].nonzero()[:, 0]
