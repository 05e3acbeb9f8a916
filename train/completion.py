"""All-in-focus pictures out of focal stacks, and how sharp a picture is, in torch: UDfD paper, section 3.4.

Slices are taken as they are: of one scene, aligned, without breathing.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
CODES = 255.0
"""Sharpness is counted in 8-bit codes: the paper's range of 0 to 1000 is of these."""


def complete(stack: Tensor, *, sigma: float = 1.0, radius: float = 2.0) -> Tensor:
    """Put an all-in-focus picture together of the slices that respond most to a Laplacian of a Gaussian.

    Parameters
    ----------
    stack
        (B, S, 3, H, W).
    sigma
        Of the Gaussian before the Laplacian, pixels.
    radius
        Standard deviation of the window over which responses are gathered before they are compared, pixels; 0 compares
        pixel by pixel, as the paper does, which noise and flat regions decide at random.

    Returns
    -------
    (B, 3, H, W): each pixel that of one slice. No gradient passes through the choice.
    """
    with torch.no_grad():
        grey = stack.mean(2).flatten(0, 1)[:, None]
        response = _laplacian(_smoothed(grey, sigma)).abs()
        best = _smoothed(response, radius).view(*stack.shape[:2], *stack.shape[3:]).argmax(1)
    chosen = best[:, None, None].expand(-1, 1, stack.shape[2], -1, -1)
    return stack.gather(1, chosen).squeeze(1)


def select(stack: Tensor, at: Tensor, depth: Tensor) -> Tensor:
    """Take from a stack what a depth map says is sharp, differentiable to the depth.

    Between the focus distances of two slices their pictures are mixed linearly; beyond the first and the last there is
    that slice alone.

    Parameters
    ----------
    stack
        (B, S, 3, H, W).
    at
        (B, S), where slices are sharp, in units of `depth`, in any order.
    depth
        (B, H, W).

    Returns
    -------
    (B, 3, H, W).
    """
    place, order = at.to(depth.dtype).sort(dim=1)
    rows = torch.arange(len(stack), device=stack.device)[:, None]
    place, here = place[:, :, None, None], depth[:, None]
    # Rising shares between a slice and the one before it; 1 before the first, 0 behind the last.
    gaps = (place[:, 1:] - place[:, :-1]).clamp_min(torch.finfo(depth.dtype).eps)
    passed = ((here - place[:, :-1]) / gaps).clamp(0, 1)
    ends = torch.ones_like(here)
    shares = torch.cat([ends, passed], 1) - torch.cat([passed, torch.zeros_like(here)], 1)
    return (stack[rows, order] * shares[:, :, None]).sum(1)


def sharpness(picture: Tensor) -> Tensor:
    """Return the variance of the Laplacian of each picture (B, 3, H, W) of 0 to 1, in 8-bit codes: (B,)."""
    response = _laplacian(picture.mean(1, keepdim=True) * CODES)[..., 1:-1, 1:-1]
    return response.flatten(1).var(1, correction=0)


def _laplacian(picture: Tensor) -> Tensor:
    """Second derivative of (N, 1, H, W), borders continued by their pixels."""
    kernel = torch.tensor(LAPLACIAN, dtype=picture.dtype, device=picture.device)[None, None]
    return F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), kernel)


def _smoothed(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian of (N, 1, H, W), borders continued by their pixels; cut at three standard deviations."""
    half = math.ceil(3 * sigma)
    if not half:
        return picture
    at = torch.arange(-half, half + 1, dtype=picture.dtype, device=picture.device)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    padded = F.pad(picture, (half, half, half, half), mode="replicate")
    return F.conv2d(F.conv2d(padded, weights.view(1, 1, 1, -1)), weights.view(1, 1, -1, 1))
