"""Losses of the papers as functions, masked by valid pixels.

Every function takes `prediction` and `target`, (B, H, W) or (B, C, H, W) in the same units, and `valid`, booleans
(B, H, W) or of the shape of the prediction (None: all). What is not valid has no influence, whatever it holds, NaN
included. The result is a scalar in float32, or in float64 for float64 predictions; if nothing at all is valid it is 0,
and so are its gradients. Sums run over all valid pixels of the batch, so that an image counts by its valid pixels;
`scale_invariant` alone can average over images. `losses` makes of them what a config's `loss` section asks for.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from .ssim import ssim_map, whole_windows

LossFunction = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean absolute error (2HDED Eq. 1; D3-Net's loss)."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(residual.abs(), mask)


def charbonnier(prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt(error^2 + epsilon^2) (2HDED Eq. 4); `epsilon` in units of the target."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(torch.where(mask, torch.sqrt(residual**2 + epsilon**2), 0), mask)


def mse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared error (the public code of Won and Jeon 2022)."""
    residual, mask = _residual(prediction, target, valid)
    return _mean(residual**2, mask)


def rmse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean squared error (RPSF Eq. 9); its gradient is taken as 0 where the error is exactly 0."""
    residual, mask = _residual(prediction, target, valid)
    return _root(_mean(residual**2, mask))


def gradient_l1(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Sum of |d error/dx| + |d error/dy| over the number of valid pixels (2HDED Eq. 2).

    Differences are forward ones, between neighbours that are both valid.
    """
    residual, mask = _residual(prediction, target, valid)
    across, down = _differences(residual, mask)
    return _mean(across.abs(), mask) + _mean(down.abs(), mask)


def gradient_rmse(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Root mean square of d error/dx, plus that of d error/dy (RPSF Eq. 10, after PhaseCam3D's public code).

    Differences are forward ones, between neighbours that are both valid; as in TensorFlow's `image_gradients` the mean
    is over the number of pixels, whose last row or column has none.
    """
    residual, mask = _residual(prediction, target, valid)
    across, down = _differences(residual, mask)
    return _root(_mean(across**2, mask)) + _root(_mean(down**2, mask))


def structural_dissimilarity(
    prediction: Tensor, target: Tensor, valid: Tensor | None = None, *, data_range: float = 1.0
) -> Tensor:
    """1 - SSIM (2HDED Eq. 5), the mean over windows of 11x11 pixels that lie inside the image and are wholly valid.

    `data_range` is that of the target. SSIM is `ssim_map`'s: that of Wang et al. 2004.

    Raises
    ------
    InputError
        If the image is smaller than a window.
    """
    guess, truth, mask = _pair(prediction, target, valid)
    if guess.ndim == 3:
        guess, truth, mask = guess[:, None], truth[:, None], mask[:, None]
    likeness, windows = ssim_map(guess, truth, data_range), whole_windows(mask)
    return _mean(torch.where(windows, 1 - likeness, 0), windows)


def scale_invariant(
    prediction: Tensor,
    target: Tensor,
    valid: Tensor | None = None,
    *,
    balance: float = 0.5,
    logarithmic: bool = False,
    per_image: bool = True,
    root: bool = False,
    floor: float = 1e-2,
) -> Tensor:
    """Scale-invariant error of log depth, mean(d^2) - balance mean(d)^2 with d = log prediction - log target.

    With `balance` 0.5, image by image, this is Eq. 4 of Eigen et al. 2014; with 0.85, over all valid pixels of the
    batch and with the root it is a tenth of BTS's "SiLog" (Lee et al. 2019).

    Parameters
    ----------
    prediction, target, valid
        As of every loss.
    balance
        0 for the plain squared error of the logarithm, 1 for one that no common factor of the prediction changes.
    logarithmic
        Prediction and target are logarithms already.
    per_image
        Whether the error is that of each image, averaged over the images that have valid pixels, or that of the batch.
    root
        Take the root of each error.
    floor
        Below it the logarithm is continued by its tangent: a target may be 0, as the farthest depth is in some units,
        and a network that starts with negative numbers is led out of there.
    """
    guess, truth, mask = _pair(prediction, target, valid)
    if not logarithmic:
        guess, truth = _log(guess, floor), _log(truth, floor)
    error = torch.where(mask, guess - truth, 0)
    dims = tuple(range(1, error.ndim)) if per_image else tuple(range(error.ndim))
    count = mask.sum(dims)
    mean, square = error.sum(dims) / count.clamp(min=1), (error**2).sum(dims) / count.clamp(min=1)
    value = (square - balance * mean**2).clamp(min=0)
    return _mean(_root(value) if root else value, count > 0)


def _pair(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction and target with zeros where they are not valid, in at least 32 bits, and the mask."""
    if prediction.shape != target.shape:
        raise ValueError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    if valid is None:
        mask = torch.ones_like(prediction, dtype=torch.bool)
    else:
        mask = (valid if valid.ndim == prediction.ndim else valid.unsqueeze(1)).expand_as(prediction)
    return torch.where(mask, prediction.to(dtype), 0), torch.where(mask, target.to(dtype), 0), mask


def _residual(prediction: Tensor, target: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    guess, truth, mask = _pair(prediction, target, valid)
    return guess - truth, mask


def _differences(residual: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return forward differences along x and along y, 0 unless both neighbours are valid."""
    across = torch.where(mask[..., 1:] & mask[..., :-1], residual[..., 1:] - residual[..., :-1], 0)
    down = torch.where(mask[..., 1:, :] & mask[..., :-1, :], residual[..., 1:, :] - residual[..., :-1, :], 0)
    return across, down


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Divide the sum of values, which are 0 where they do not count, by how many count."""
    return values.sum() / mask.sum().clamp(min=1)


def _root(value: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0; NaN stays NaN."""
    none = value <= 0
    return torch.where(none, 0, torch.sqrt(torch.where(none, 1, value)))


def _log(value: Tensor, floor: float) -> Tensor:
    above = value.clamp(min=floor)
    return above.log() + (value - above) / floor


def at_own_size(function: LossFunction) -> LossFunction:
    """Make of a loss one that compares a smaller prediction with the target brought to its size.

    The target (B, C, H, W) is reduced bilinearly, as DWDN's public code does: at half the size by means of 2x2 pixels.
    A pixel is valid where all are that it stands for.
    """

    def resized(prediction: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
        size = (prediction.shape[-2], prediction.shape[-1])
        small = F.interpolate(target, size, mode="bilinear", align_corners=False)
        if valid is None:
            return function(prediction, small, None)
        whole = F.adaptive_avg_pool2d(valid.unsqueeze(1).float(), size).squeeze(1) == 1
        return function(prediction, small, whole)

    return resized
