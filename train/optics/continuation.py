"""Layers of an image continued behind what is nearer, from coarse to fine ("push-pull"), in torch.

The same as `defocal.synth` does for its model "hasinoff", for many layers at once. Only the half-resolution images are
kept: a quarter of the memory, from which the full ones follow by interpolation.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .tiles import Part, Span


def continued(image: Tensor, known: Tensor) -> Tensor:
    """Fill images where they are not known, by push-pull (Gortler et al. 1996), coarse to fine.

    Parameters
    ----------
    image
        (N, 3, H, W) floating.
    known
        (N, 1, H, W), 1 or 0, of the same dtype; a wholly unknown image becomes 0.
    """
    height, width = known.shape[-2:]
    if min(height, width) < 2:
        mean = (image * known).sum((-2, -1), keepdim=True) / known.sum((-2, -1), keepdim=True).clamp_min(1)
        return mean + (image - mean) * known
    coarse, total = _halved(image * known, known)
    filled = continued(coarse, (total > 0).to(known.dtype))
    doubled = _doubled(_doubled(filled, -2), -1)[..., :height, :width]
    return doubled + (image - doubled) * known


def halves(aif: Tensor, plane: Tensor, planes: list[int]) -> Tensor:
    """Continue layers of one image, at half the resolution.

    Parameters
    ----------
    aif
        (3, H, W) floating.
    plane
        (1, H, W) plane of each pixel.
    planes
        Which layers, N, each of which has a pixel.

    Returns
    -------
    (N, 3, ceil(H / 2), ceil(W / 2)): what `upsampled` takes.
    """
    height, width = plane.shape[-2:]
    wanted = torch.tensor(planes, dtype=aif.dtype, device=aif.device)[:, None, None, None]
    number = plane[None].to(aif.dtype)
    if min(height, width) < 2:
        known = (number == wanted).to(aif.dtype)
        mean = (aif * known).sum((-2, -1), keepdim=True) / known.sum((-2, -1), keepdim=True)
        return mean.expand(-1, -1, -(-height // 2), -(-width // 2))
    even = (0, width % 2, 0, height % 2)
    light, number = F.pad(aif[None], even, mode="replicate"), F.pad(number, even, mode="replicate")
    first = (number[..., 0::2, 0::2] == wanted).to(aif.dtype)
    coarse, total = light[..., 0::2, 0::2] * first, first
    for y, x in ((0, 1), (1, 0), (1, 1)):
        there = (number[..., y::2, x::2] == wanted).to(aif.dtype)
        coarse.addcmul_(light[..., y::2, x::2], there)
        total += there
    return continued(coarse.div_(total.clamp_min(1)), (total > 0).to(aif.dtype))


def upsampled(half: Tensor, part: Part) -> Tensor:
    """Return what a part's tiles take of layers whose `halves` are given, without what lies beyond the borders.

    Parameters
    ----------
    half
        (c, 3, ceil(H / 2), ceil(W / 2)), of as many tiles.

    Returns
    -------
    (c, 3, h, w): rows and columns from `low` to `high` of the part.
    """
    rows, columns = (_coarse(span, size) for span, size in zip((part.rows, part.columns), half.shape[-2:], strict=True))
    coarse = half[..., rows[0] : rows[1], columns[0] : columns[1]]
    for span, (begin, _), axis in ((part.rows, rows, -2), (part.columns, columns, -1)):
        coarse = _doubled(coarse, axis).narrow(axis, span.low - 2 * begin, span.length)
    return coarse


def _coarse(span: Span, size: int) -> tuple[int, int]:
    """First and end of the coarse pixels that a tile takes part in, their neighbours included."""
    return max(span.low // 2 - 1, 0), min((span.high - 1) // 2 + 2, size)


def _halved(light: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the known ones of each 2x2 pixels, and how many these are."""
    height, width = known.shape[-2:]
    even = (0, width % 2, 0, height % 2)
    light, known = (_fourfold(F.pad(x, even, mode="replicate")) for x in (light, known))
    return light / known.clamp_min(1), known


def _fourfold(image: Tensor) -> Tensor:
    """Sum of each 2x2 pixels."""
    return image[..., 0::2, 0::2] + image[..., 1::2, 0::2] + image[..., 0::2, 1::2] + image[..., 1::2, 1::2]


def _doubled(image: Tensor, axis: int) -> Tensor:
    """Double the size along one axis, by linear interpolation."""
    size = image.shape[axis]
    shape = list(image.shape)
    shape[axis] = 2 * size
    doubled = image.new_empty(shape)
    at = image.dim() + axis + 1
    pairs = doubled.view(*image.shape[:at], 2, *image.shape[at:])
    before, after = pairs.select(axis, 0), pairs.select(axis, 1)
    own = image * 0.75
    rest = size - 1
    torch.add(own.narrow(axis, 1, rest), image.narrow(axis, 0, rest), alpha=0.25, out=before.narrow(axis, 1, rest))
    torch.add(own.narrow(axis, 0, rest), image.narrow(axis, 1, rest), alpha=0.25, out=after.narrow(axis, 0, rest))
    before.select(axis, 0).copy_(image.select(axis, 0))
    after.select(axis, rest).copy_(image.select(axis, rest))
    return doubled
