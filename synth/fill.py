"""Unknown depth, filled for rendering. The stored ground truth keeps its NaN."""

import numpy as np
import numpy.typing as npt

from .. import InputError
from .light import encode

Float32 = npt.NDArray[np.float32]

EDGE = 1.05
"""Two neighbouring depths whose ratio is more than this belong to different surfaces."""
STRAIGHT, DIAGONAL, PER_CODE = 5, 7, 5
"""Cost of a step along an axis and along a diagonal, and of one code (1/255) of sRGB: as much as a pixel's length."""
SPREAD = 1.7
"""Largest to smallest width, for the same step of 1/z, of gaps that are shadows; pixels are counted in wholes."""
LEAST_SHARE = 0.4
"""Share of the pixels in gaps at edges that must agree on one baseline."""
WIDEST = 0.125
"""A shadow is no wider than this, in widths of the picture."""
LEAST_GAPS = 10


def fill_depth(depth: Float32, image: Float32) -> Float32:
    """Give unknown (NaN) depths a value: always one that is known elsewhere, never a mixture across an edge.

    First the shadows of the sensor. What one eye of a sensor sees and an occluder hides from the other (the other
    camera, or the projector) is background, and along the row as wide as ``k (1/near - 1/far)`` pixels, k the
    baseline times the focal length. Gaps of rows whose ends lie at different depths are sorted by the side of the
    nearer end; if most on a side agree on one k (within a factor of 1.7; 40 % of their pixels), these are shadows
    and get the depth of their farther end. Nothing need be known of the sensor but that its eyes lie side by side.

    All other pixels get the depth of the known pixel from which the cheapest path leads to them, over the eight
    neighbours, where a pixel of length costs as much as a change of colour by one of 255 codes of sRGB, counted in
    the channel that changes most. Of two that cost the same the farther one wins. Paths avoid the edges of the image,
    hence of things; where the image has none, the nearest known depth is taken, and depth that slopes is
    continued in steps.

    Parameters
    ----------
    depth
        (H, W) float32, metres, NaN unknown; `inf` allowed.
    image
        (H, W, 3) float32, linear radiance.

    Returns
    -------
    (H, W) float32: `depth` itself if nothing, or everything, is unknown. The same on every processor.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    depth, image = float_pair(depth, image)
    unknown = np.isnan(depth)
    if not unknown.any() or unknown.all():
        return depth
    filled = depth.copy()
    _fill_shadows(filled)
    fill_by_paths(filled, encode(image, "srgb"))
    return filled


def float_pair(depth: npt.ArrayLike, image: npt.ArrayLike) -> tuple[Float32, Float32]:
    """Return a depth map (H, W) and its image (H, W, 3) as float32; themselves if they are.

    Raises
    ------
    InputError
        If they have other shapes.
    """
    z, light = np.asarray(depth, np.float32), np.asarray(image, np.float32)
    if z.ndim != 2 or light.shape != (*z.shape, 3):
        raise InputError(f"a depth map (H, W) needs an image (H, W, 3) of its size, not {z.shape} and {light.shape}.")
    return z, light


def _fill_shadows(depth: Float32) -> None:
    """Fill, in place, gaps that are shadows of a sensor with two eyes side by side."""
    from .fill_kernels import fill_gaps_with_farther_end, find_gaps

    height, width = depth.shape
    gaps = np.empty((height * (width // 2), 3), np.int32)
    gaps = gaps[: find_gaps(depth, gaps)]
    with np.errstate(divide="ignore"):
        left, right = (1.0 / depth[gaps[:, 0], at].astype(np.float64) for at in (gaps[:, 1] - 1, gaps[:, 2]))
    for near, far in ((left, right), (right, left)):
        at_edge = near > EDGE * far
        if not at_edge.any():
            continue
        most = float(near[at_edge].max() - far[at_edge].min())
        found = _shadows(gaps[at_edge], (near - far)[at_edge], WIDEST * width / most)
        fill_gaps_with_farther_end(found, depth)


def _shadows(gaps: npt.NDArray[np.int32], steps: npt.NDArray[np.float64], most: float) -> npt.NDArray[np.int32]:
    """Return the gaps (n, 3), given their steps of 1/z, that agree on one k of at most `most`."""
    # A pixel less or more is too much of a gap of one pixel.
    wide = gaps[:, 2] - gaps[:, 1] >= 2
    gaps, steps = gaps[wide], steps[wide]
    if len(gaps) < LEAST_GAPS:
        return gaps[:0]
    # Only divisions and sums of whole numbers: the same on every processor.
    sizes = gaps[:, 2] - gaps[:, 1]
    per_step = sizes / steps
    order = np.argsort(per_step, kind="stable")
    sums = np.concatenate([[0], np.cumsum(sizes[order])])
    ordered = per_step[order]
    ends = np.searchsorted(ordered, ordered * SPREAD, side="right")
    within = sums[ends] - sums[:-1]
    begin = int(np.argmax(within))
    agree = order[begin : ends[begin]]
    if within[begin] < LEAST_SHARE * sums[-1] or ordered[begin] > most:
        return gaps[:0]
    return gaps[agree]


def fill_by_paths(depth: Float32, codes: npt.NDArray[np.uint8]) -> None:
    """Fill, in place, every unknown depth with that at the end of its cheapest path."""
    from .fill_kernels import fill_by_cheapest_paths

    unknown = np.pad(np.isnan(depth), 1)
    filled = np.pad(depth, 1, constant_values=np.nan)
    costs = np.where(unknown, np.int32(2**31 - 1), np.int32(0)).ravel()
    first = np.full(1 << (DIAGONAL + 255 * PER_CODE).bit_length(), -1, np.int32)
    after, before = np.empty(costs.size, np.int32), np.empty(costs.size, np.int32)
    padded = np.pad(codes, ((1, 1), (1, 1), (0, 0))).reshape(-1, 3)
    prices = STRAIGHT, DIAGONAL, PER_CODE
    fill_by_cheapest_paths(filled.shape[1], prices, padded, filled.reshape(-1), costs, first, after, before)
    depth[:] = filled[1:-1, 1:-1]
