"""Radial distortion of a lens: where straight lines bend."""

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import Intrinsics
from .scene import LayeredScene, Scene
from .warp import warp_scene

Float64 = npt.NDArray[np.float64]


def distorted(scene: Scene | LayeredScene, intrinsics: Intrinsics, k1: float, k2: float = 0.0) -> Scene | LayeredScene:
    """Return a scene as a lens with radial distortion frames it: image, depth and layers alike.

    A point at the distance r from the principal point, in focal lengths, moves to ``r (1 + k1 r^2 + k2 r^4)`` (Brown
    1966): barrels for negative k1, pincushions for positive.

    Parameters
    ----------
    scene
        Without distortion.
    intrinsics
        Of its picture, pixels.
    k1, k2
        Without unit.

    Raises
    ------
    InputError
        If the distortion folds the picture over.
    """
    if k1 == 0 and k2 == 0:
        return scene
    height, width = scene.size[0] + 2 * scene.margin, scene.size[1] + 2 * scene.margin
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u = (x - scene.margin - intrinsics.cx) / intrinsics.fx
    v = (y - scene.margin - intrinsics.cy) / intrinsics.fy
    shrink = _undistorted(np.hypot(u, v), k1, k2)
    source = [scene.margin + intrinsics.cx + u * shrink * intrinsics.fx]
    source += [scene.margin + intrinsics.cy + v * shrink * intrinsics.fy]
    return warp_scene(scene, np.stack(source, axis=2))


def _undistorted(radius: Float64, k1: float, k2: float) -> Float64:
    """Return the factors that bring distorted radii, in focal lengths, back to the straight picture."""
    straight = radius.copy()
    for _ in range(20):
        square = straight**2
        slope = 1 + 3 * k1 * square + 5 * k2 * square**2
        if not (slope > 0.05).all():
            raise InputError(
                f"a radial distortion of k1 = {k1:g} and k2 = {k2:g} folds the picture over within its corners: "
                "lessen it, or use a longer focal length."
            )
        straight -= (straight * (1 + k1 * square + k2 * square**2) - radius) / slope
    return np.divide(straight, radius, out=np.ones_like(radius), where=radius > 0)
