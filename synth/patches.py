"""What renderers of true layers ask of a patch: its depths, and its continuation beyond the frame."""

import numpy as np
import numpy.typing as npt

from .scene import Patch


def depth_range(patch: Patch) -> npt.NDArray[np.float64]:
    """Least and greatest depth, metres, of what a patch shows; empty if nothing."""
    there = patch.rgba[..., 3] > 0
    depth = np.asarray(patch.depth, np.float64) if isinstance(patch.depth, float) else patch.depth[there]
    return np.array([depth.min(), depth.max()] if there.any() else [], np.float64)


def within_frame(patch: Patch, frame: tuple[int, int], border: int) -> Patch | None:
    """Cut a patch to the frame; continue it by reflection over the sides of the frame that it reaches.

    The result lies in a frame with `border` pixels more on each side; None if nothing of the patch is in the frame.
    """
    height, width = patch.rgba.shape[:2]
    if not border and 0 <= patch.top <= frame[0] - height and 0 <= patch.left <= frame[1] - width:
        return patch
    y0, y1 = max(patch.top, 0), min(patch.top + height, frame[0])
    x0, x1 = max(patch.left, 0), min(patch.left + width, frame[1])
    if y0 >= y1 or x0 >= x1:
        return None
    cut = np.s_[y0 - patch.top : y1 - patch.top, x0 - patch.left : x1 - patch.left]
    pads = [(border * (y0 == 0), border * (y1 == frame[0])), (border * (x0 == 0), border * (x1 == frame[1]))]
    depth = patch.depth
    if not isinstance(depth, float):
        depth = np.pad(depth[cut], pads, mode="symmetric")
    rgba = np.pad(patch.rgba[cut], [*pads, (0, 0)], mode="symmetric")
    return Patch(rgba, depth, top=y0 + border - pads[0][0], left=x0 + border - pads[1][0])
