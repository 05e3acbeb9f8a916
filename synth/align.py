"""Edges of depth moved to those of the image."""

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def align_depth(depth: Float32, image: Float32, reach: int) -> Float32:
    """Replaced by the branch that makes it."""
    return depth
