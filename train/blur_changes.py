"""Augmentations that change blur, for comparison with work that used them: refused unless settings allow them."""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import affine_grid, conv2d, grid_sample, pad

from .samples import Batch
from .settings import AugmentSettings

Float64 = npt.NDArray[np.float64]
RESIZE, ROTATE, BLUR, SHARPEN, NOISE = range(5)
"""Columns of a sample's uniform numbers."""


def warp(batch: Batch, augment: AugmentSettings, random: Float64) -> Batch:
    """Resize and rotate samples about their middle.

    Pictures are interpolated linearly and continued by reflection; maps take their nearest pixel, and what comes from
    outside is not valid. The CoC grows with the picture; depth stays.

    Parameters
    ----------
    batch
        float32 tensors whose last two axes are y and x, and others, which stay.
    augment
        Ranges of the factor and of the angle.
    random
        Uniform numbers, (B, 5).
    """
    low, high = augment.resize
    factor = low + random[:, RESIZE] * (high - low)
    angle = np.deg2rad(augment.rotate) * (2 * random[:, ROTATE] - 1)
    warped = dict(batch)
    for name in batch.keys() & {"capture", "aif", "stack", "dual", "depth", "valid", "coc"}:
        tensor = batch[name]
        flat = tensor.reshape(len(tensor), -1, *tensor.shape[-2:])
        theta = _matrices(factor, angle, *flat.shape[-2:]).to(flat.device)
        grid = affine_grid(theta, list(flat.shape), align_corners=False)
        of_map = name in ("depth", "valid", "coc")
        moved = grid_sample(
            flat.to(torch.float32),
            grid,
            mode="nearest" if of_map else "bilinear",
            padding_mode="zeros" if of_map else "reflection",
            align_corners=False,
        ).reshape(tensor.shape)
        warped[name] = moved > 0.5 if tensor.dtype == torch.bool else moved
        if name == "depth":
            # Outside there is no depth, which 0 would be.
            warped[name] = torch.where(moved > 0, moved, math.nan)
        elif name == "coc":
            warped[name] = (
                moved * torch.as_tensor(factor, dtype=torch.float32, device=moved.device)[:, None, None, None]
            )
    return warped


def _matrices(factor: Float64, angle: Float64, height: int, width: int) -> torch.Tensor:
    """Affine maps from places in the result to places in the sample, in half sizes, (B, 2, 3)."""
    theta = np.zeros((len(factor), 2, 3))
    # Half sizes differ along x and y: a turn of pixels is none of them.
    theta[:, 0, 0] = theta[:, 1, 1] = np.cos(angle) / factor
    theta[:, 0, 1] = -np.sin(angle) / factor * height / width
    theta[:, 1, 0] = np.sin(angle) / factor * width / height
    return torch.as_tensor(theta, dtype=torch.float32)


def change_blur(picture: torch.Tensor, augment: AugmentSettings, random: Float64) -> torch.Tensor:
    """Blur, sharpen and add noise, as far as settings say, (B, ..., 3, h, w) of 0 to 1."""
    if not (augment.blur or augment.sharpen or augment.noise):
        return picture
    changed = []
    for one, numbers in zip(picture, random, strict=True):
        flat = one.reshape(-1, 1, *one.shape[-2:])
        if augment.blur:
            flat = _gaussian(flat, augment.blur * float(numbers[BLUR]))
        if augment.sharpen:
            flat = flat + augment.sharpen * float(numbers[SHARPEN]) * (flat - _gaussian(flat, 1.0))
        if augment.noise:
            # On the CPU: the generators of devices differ.
            source = torch.Generator().manual_seed(int(numbers[NOISE] * 2**53))
            flat = flat + augment.noise * torch.randn(flat.shape, generator=source).to(flat.device)
        changed.append(flat.reshape(one.shape).clamp(0, 1))
    return torch.stack(changed)


def _gaussian(planes: torch.Tensor, sigma: float) -> torch.Tensor:
    """Blur (n, 1, h, w) by a Gaussian of `sigma` pixels, the border repeated."""
    if sigma < 1e-3:
        return planes
    reach = max(1, math.ceil(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=planes.device)
    profile = torch.exp(-0.5 * (offsets / sigma) ** 2)
    profile = profile / profile.sum()
    wide = pad(planes, (reach, reach, reach, reach), mode="replicate")
    return conv2d(conv2d(wide, profile[None, None, None, :]), profile[None, None, :, None])
