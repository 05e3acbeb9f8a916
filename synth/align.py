"""Edges of a sensor's depth, moved to the edges of the image."""

import numpy as np
import numpy.typing as npt

from .. import InputError
from .fill import EDGE, float_pair
from .light import encode

Float32 = npt.NDArray[np.float32]

MOST_REACH = 64
FALL = 20.0
"""Sum of the differences of three sRGB codes (0 to 255) at which a neighbour's weight has fallen to 1/e."""


def align_depth(depth: Float32, image: Float32, reach: int) -> Float32:
    """Move the edges of a depth map to the edges of the image beside them.

    Sensors that match patterns over windows, and depth brought from one camera's view to another's, are ragged at
    the silhouettes of things, by a few pixels. Near edges each pixel takes the median of the depths in the square of
    neighbours within `reach`, each weighted by how alike its colour is; if that is of another surface than its own, it
    gets that surface's nearest depth. No depth is invented: all are copied, and pixels that are on their side of the
    edge keep theirs. An edge is where the depths of two neighbours have a ratio of over 1.05: the noise of structured
    light stays below, silhouettes are mostly above, and slanted surfaces seldom reach it.

    Where the image shows no edge beside an edge of depth (things of one colour, in the dark, overexposed), it is a
    plain median: a straight silhouette stays, a ragged one becomes smooth, and one that is off as a whole stays off,
    as does one that is off by more than `reach`. Where colour varies more within a thing than across its
    silhouette, the edge may be drawn to the wrong place; things thinner than `reach` whose colour is that of their
    background are lost. Hence this is an option, off unless asked for.

    Parameters
    ----------
    depth
        (H, W) float32, metres, NaN unknown.
    image
        (H, W, 3) float32, linear radiance.
    reach
        Pixels, at least 1: a little more than the edges are off by.

    Returns
    -------
    (H, W) float32. What was unknown is unknown still; every depth `reach` or more pixels from the next pixel at an
    edge is the same to the bit. The same on every processor.

    Raises
    ------
    InputError
        If `reach` is not a whole number from 1 to 64, or the shapes do not fit.
    """
    from .align_kernels import vote

    if not (isinstance(reach, int | np.integer) and 1 <= reach <= MOST_REACH):
        raise InputError(
            f"the reach of edge alignment is a whole number of pixels from 1 to {MOST_REACH}, not {reach!r}."
        )
    depth, image = float_pair(depth, image)
    doubtful = _near_edges(depth, int(reach))
    if not doubtful.any():
        return depth
    # Whole numbers, whose sums no order changes.
    weights = np.rint(2.0**20 * np.exp(-np.arange(3 * 255 + 1) / FALL))
    out = depth.copy()
    vote(depth, encode(image, "srgb"), doubtful, int(reach), weights, EDGE, out)
    return out


def _near_edges(depth: Float32, reach: int) -> npt.NDArray[np.bool_]:
    """Pixels less than `reach` away from one that has another surface beside it."""
    from scipy.ndimage import distance_transform_edt

    edges = np.zeros(depth.shape, np.bool_)
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        a, b = depth[one], depth[other]
        # NaN is no edge.
        edge = (a > EDGE * b) | (b > EDGE * a)
        edges[one] |= edge
        edges[other] |= edge
    if not edges.any():
        return edges
    return np.asarray(distance_transform_edt(~edges) < reach)
