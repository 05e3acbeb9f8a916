"""Captures rendered from images, planes and kernels, differentiable to the kernels.

Nothing of the layers is kept for the way back but their continuation at half resolution: part by part and layer by
layer they are cut out, transformed, blurred and put together, and once more for the gradient. Of a kernel's gradient
only its own pixels are asked for, so that it adds up in the frequency domain, and each plane is transformed back once.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ... import InputError
from .compositing import MODELS as COMPOSITORS
from .compositing import Layered
from .planes import planes_of
from .tiles import plan_tiles

__all__ = ["MODELS", "planes_of", "render"]

MODELS = tuple(COMPOSITORS)


def render(aif: Tensor, plane: Tensor, kernels: Tensor, model: str = "layered") -> Tensor:
    """Render the captures of a batch, differentiable to the kernels and to nothing else.

    Every pixel is blurred by the kernel of its plane; borders of the picture are mirrors. The result is that of
    `defocal.synth.render` with the same planes and kernels:

    "layered"
        The model "hasinoff" there: layers go on behind what is nearer, and are laid over each other.
    "eq7"
        ``sum_k h_k * (aif M_k)``, the RPSF paper's Eq. 7: light leaks across edges.
    "normalised-over"
        Ikoma et al. 2021: slices are laid over each other, each made whole by itself and those behind it.

    Where a nearer layer is opaque as far as kernels reach, "layered" does not look at what lies behind it; kernels
    whose sum is not 1 would let it shine through.

    Parameters
    ----------
    aif
        (B, 3, H, W) linear light.
    plane
        (B, H, W) int64, from 0 to K - 1: plane of each pixel, from far to near.
    kernels
        (K, C, n, n) floating, not negative, unit sum; C is 1 or 3. The axis is at (n // 2, n // 2).
    model
        One of `MODELS`.

    Returns
    -------
    (B, 3, H, W) linear light, float64 if the kernels are, else float32, under autocast too.

    Raises
    ------
    InputError
        If shapes do not fit together, a plane has no kernel, or kernels are wider than the picture.
    """
    _check(aif, plane, kernels, model)
    precision = torch.float64 if kernels.dtype == torch.float64 else torch.float32
    apply: Callable[..., Tensor] = _Render.apply
    return apply(kernels.to(precision), aif.detach().to(precision), plane, model)


class _Render(torch.autograd.Function):
    """Forward and backward of `render`; both go through the same parts."""

    @staticmethod
    def forward(ctx: Any, kernels: Tensor, aif: Tensor, plane: Tensor, model: str) -> Tensor:
        batch, kind = len(aif), COMPOSITORS[model]
        if kind.paired and batch % 2:
            aif, plane = torch.cat([aif, torch.zeros_like(aif[:1])]), torch.cat([plane, plane[-1:]])
        plan = plan_tiles(plane, len(kernels), kernels.shape[-1], between=kind.between, pairs=kind.paired)
        compositor = kind(aif, plane, kernels, plan)
        out = torch.empty_like(aif)
        for part in plan.parts:
            part.made(out)[compositor.images(part)] = compositor.picture(part)
        ctx.save_for_backward(kernels, aif, plane, *([compositor.behind] if isinstance(compositor, Layered) else []))
        ctx.model, ctx.plan = model, plan
        return out[:batch].clamp_min_(0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, coming: Tensor) -> tuple[Tensor, None, None, None]:
        kernels, aif, plane, *behind = ctx.saved_tensors
        compositor = COMPOSITORS[ctx.model](aif, plane, kernels, ctx.plan, *behind)
        if len(coming) < len(aif):
            coming = torch.cat([coming, torch.zeros_like(coming[:1])])
        return compositor.backward(coming), None, None, None


def _check(aif: Tensor, plane: Tensor, kernels: Tensor, model: str) -> None:
    if model not in MODELS:
        raise InputError(f"there is no rendering model {model!r}; there are {', '.join(MODELS)}.")
    if aif.dim() != 4 or aif.shape[1] != 3 or plane.shape != (aif.shape[0], *aif.shape[2:]):
        raise InputError(
            f"rendering takes images (B, 3, H, W) and their planes (B, H, W), not {tuple(aif.shape)} and "
            f"{tuple(plane.shape)}."
        )
    if kernels.dim() != 4 or kernels.shape[1] not in (1, 3) or kernels.shape[2] != kernels.shape[3]:
        raise InputError(f"rendering takes kernels (K, 1 or 3, n, n), not {tuple(kernels.shape)}.")
    if not (plane.numel() and kernels.numel()):
        raise InputError("there is nothing to render: images or kernels are empty.")
    if plane.is_floating_point() or plane.is_complex() or plane.dtype == torch.bool:
        raise InputError(f"planes must be whole numbers, not {plane.dtype}.")
    low, high = (int(end) for end in torch.aminmax(plane))
    if low < 0 or high >= len(kernels):
        raise InputError(f"the pixels' planes are {low} to {high}, and there are kernels of {len(kernels)} planes.")
    wide, (height, width) = 2 * (kernels.shape[-1] // 2) + 1, aif.shape[2:]
    if wide > min(height, width):
        raise InputError(
            f"the PSF's kernels are up to {wide} pixels wide, and the images {width}x{height} pixels: render larger "
            "images, or make the kernels smaller."
        )
