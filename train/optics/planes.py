"""Which plane of a PSF bank each pixel is blurred by."""

import torch
from torch import Tensor

from ... import InputError
from ...synth.camera import ThinLens


def planes_of(depth: Tensor, lens: ThinLens, coc: Tensor, valid: Tensor | None = None) -> Tensor:
    """Return the plane nearest in CoC to each pixel's depth, as a bank of sampled kernels chooses it.

    Unknown depths take the plane of the nearest pixel whose depth is known, counted in steps along rows and columns;
    of two as near the farther plane wins. In an image without any known depth all take the farthest plane.

    Parameters
    ----------
    depth
        (B, H, W) floating, metres. NaN and what is not positive are unknown; `inf` is allowed.
    lens
        The camera.
    coc
        (K,) signed CoC of each plane, pixels, ascending: from far to near.
    valid
        (B, H, W) bool: where depth is known; None if NaN alone says so.

    Returns
    -------
    (B, H, W) int64, from 0 to K - 1. Depths beyond the first and the last plane take these.

    Raises
    ------
    InputError
        If shapes do not fit, or planes are not in ascending order.
    """
    if depth.dim() != 3 or (valid is not None and valid.shape != depth.shape):
        told = "" if valid is None else f" and valid {tuple(valid.shape)}"
        raise InputError(f"depth must be (B, H, W), and valid the same, not {tuple(depth.shape)}{told}.")
    if coc.dim() != 1 or not len(coc) or bool((coc.diff() <= 0).any()):
        raise InputError("the planes' circles of confusion must be a list in ascending order, from far to near.")
    z = depth.detach().to(torch.promote_types(depth.dtype, torch.float32))
    known = z > 0
    if valid is not None:
        known = known & valid.to(torch.bool)
    blur = lens.coc_per_dioptre * (1.0 / torch.where(known, z, torch.inf) - 1.0 / lens.focus_distance)
    planes = coc.detach().to(blur)
    plane = torch.bucketize(blur, (planes[1:] + planes[:-1]) / 2)
    return _filled(plane, known, len(coc))


def _filled(plane: Tensor, known: Tensor, planes: int) -> Tensor:
    """Give unknown pixels the plane of the nearest known one, in city-block distance.

    Distance and plane make one number, `distance * planes + plane`, whose minimum over a row, then over columns, is
    found by running minima in both directions.
    """
    height, width = plane.shape[-2:]
    # Farther than any pixel; multiples of the number of planes leave the plane what it is.
    nothing = planes * 4 * (height + width)
    key = torch.where(known, plane, nothing)
    for axis, length in ((-1, width), (-2, height)):
        ramp = planes * torch.arange(length, device=plane.device)
        ramp = ramp if axis == -1 else ramp[:, None]
        forward = (key - ramp).cummin(axis).values + ramp
        backward = (key + ramp).flip(axis).cummin(axis).values.flip(axis) - ramp
        key = torch.minimum(forward, backward)
    return key % planes
