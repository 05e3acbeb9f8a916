"""From a depth map to ordered planes, and to what lies behind occluders.

Planes only order: they are uniform in inverse depth (hence in CoC), counted from far to near, the focus plane at the
centre of one. Two neighbouring pixels more than `gap` planes apart belong to different surfaces; less, to one.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .layers_kernels import fill_empty_rows, fill_rows, find_hidden, paint_hidden

Float32 = npt.NDArray[np.float32]

SURFACE_STEP = 1.0
"""A jump of the CoC of more than this many pixels between neighbours is an edge between two surfaces."""


def filled_depth(depth: Float32) -> Float32:
    """Give unknown (NaN) depths a value for rendering: along each row, the farther of the two ends of the gap.

    Rows with no value at all copy the nearest row that has one. The stored ground truth keeps its NaN.

    Parameters
    ----------
    depth
        (H, W) float32, metres, at least one value known.
    """
    if not np.isnan(depth).any():
        return depth
    filled = np.empty_like(depth)
    if fill_rows(depth, filled):
        fill_empty_rows(filled)
    return filled


@dataclass(frozen=True, slots=True)
class Planes:
    """Planes uniform in inverse depth.

    Attributes
    ----------
    count
        How many there are.
    gap
        Largest difference of plane numbers within one surface.
    number
        (H, W) int32, plane of each pixel, 0 the farthest.
    """

    count: int
    gap: int
    number: npt.NDArray[np.int32]


def assign_planes(depth: Float32, lens: ThinLens, planes: int) -> Planes:
    """Sort pixels into at most `planes` planes, from the farthest to the nearest depth of the image.

    Parameters
    ----------
    depth
        (H, W) float32, metres, all known; `inf` allowed.
    lens
        Its focus plane becomes the centre of a plane, if it lies in the range.
    planes
        2 or more.
    """
    if planes < 2:
        raise InputError(f"render.planes must be 2 or more, not {planes}.")
    inverse = np.float32(1.0) / depth
    low, high = float(inverse.min()), float(inverse.max())
    step = (high - low) / (planes - 1)
    if step * lens.coc_per_dioptre < 1e-6:
        return Planes(1, 1, np.zeros(depth.shape, np.int32))
    focus = 1.0 / lens.focus_distance
    anchor = focus if low <= focus <= high else low
    first = math.floor((low - anchor) / step + 0.5)
    number = np.floor((inverse - np.float32(anchor)) * np.float32(1.0 / step) + np.float32(0.5)).astype(np.int32)
    number -= np.int32(min(first, int(number.min())))
    gap = max(1, math.ceil(SURFACE_STEP / (step * lens.coc_per_dioptre)))
    return Planes(int(number.max()) + 1, gap, number)


@dataclass(frozen=True, slots=True)
class Hidden:
    """What lies behind the visible pixels, where blur can bring it to light.

    Attributes
    ----------
    rgba
        (H, W, 4) float32, linear radiance with coverage 1; 0 where nothing is hidden.
    plane
        (H, W) int32, -1 where nothing is hidden.
    coc
        (H, W) float32, signed pixels.
    """

    rgba: Float32
    plane: npt.NDArray[np.int32]
    coc: Float32


def extend_behind(rgba: Float32, coc: Float32, planes: Planes) -> Hidden:
    """Continue each surface behind the one that occludes it (A*, L* of D3-Net Eq. 1).

    From every depth edge the farther surface goes on under the nearer one, as far as the blur of the two can reach;
    its colour and depth are means of its last visible pixels to the left, right, above and below.

    Parameters
    ----------
    rgba
        (H, W, 4) float32, linear radiance, coverage 1.
    coc
        (H, W) float32, signed pixels.
    planes
        Of the same image.
    """
    steps = np.zeros((4, *coc.shape), np.int16)
    find_hidden(planes.number, coc, planes.gap, steps)
    hidden = Hidden(np.zeros_like(rgba), np.empty(coc.shape, np.int32), np.zeros_like(coc))
    paint_hidden(rgba, planes.number, coc, planes.gap, steps, hidden.rgba, hidden.plane, hidden.coc)
    return hidden
