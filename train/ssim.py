"""Structural similarity with gradients, as Wang et al. 2004 define it."""

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .. import InputError

WINDOW = 11
SIGMA = 1.5
K1, K2 = 0.01, 0.03


def ssim_map(first: Tensor, second: Tensor, data_range: float = 1.0) -> Tensor:
    """Return the structural similarity of each window of two images (Wang et al. 2004, Eq. 13).

    Gaussian windows of 11x11 pixels with sigma 1.5, population covariance, K1 = 0.01, K2 = 0.03, and no padding: the
    windows that lie inside the image.

    Parameters
    ----------
    first, second
        (B, C, H, W), floating point.
    data_range
        Largest value minus least value that an image can have.

    Returns
    -------
    Tensor
        (B, C, H - 10, W - 10); at most 1, which is reached where both are equal.

    Raises
    ------
    InputError
        If the image is smaller than a window.
    """
    if min(first.shape[-2:]) < WINDOW:
        raise InputError(f"SSIM needs images of at least {WINDOW} x {WINDOW} pixels, not {tuple(first.shape[-2:])}.")
    # Autocast would convolve in 16 bits, whose rounding is larger than the variances of smooth regions.
    with torch.autocast(device_type=first.device.type, enabled=False):
        mean1, mean2 = _smooth(first), _smooth(second)
        variance1 = _smooth(first * first) - mean1 * mean1
        variance2 = _smooth(second * second) - mean2 * mean2
        covariance = _smooth(first * second) - mean1 * mean2
        c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
        likeness = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
        return likeness / ((mean1 * mean1 + mean2 * mean2 + c1) * (variance1 + variance2 + c2))


def whole_windows(valid: Tensor) -> Tensor:
    """Return, for (B, C, H, W) booleans, which windows of `ssim_map` have none but valid pixels."""
    return F.max_pool2d((~valid).float(), WINDOW, stride=1) == 0


def _smooth(image: Tensor) -> Tensor:
    at = torch.arange(WINDOW, dtype=image.dtype, device=image.device) - WINDOW // 2
    weights = torch.exp(-(at**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = F.conv2d(F.conv2d(planes, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
    return planes.view(*image.shape[:-2], *planes.shape[-2:])
