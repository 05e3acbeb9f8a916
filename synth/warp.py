"""Warps of whole scenes: radiance, depth and layers resampled together, by one map."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from .scene import LayeredScene, Patch, Scene
from .warp_kernels import gather, gather_depth

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def warp_scene(scene: Scene | LayeredScene, source: Float64) -> Scene | LayeredScene:
    """Resample a scene by a map from its pixels to where their light comes from.

    Radiance and coverage are interpolated by cubics, depth within surfaces linearly in its inverse; across depth edges
    it is never mixed. Beyond the frame the world is its mirror image. The frame keeps its size and margin.

    Parameters
    ----------
    scene
        Without oversampling, if it is layered.
    source
        (H, W, 2) float64, x and y in pixels of the frame, margin included; pixel centres are whole numbers.

    Returns
    -------
    A scene of the same kind.
    """
    if isinstance(scene, Scene):
        aif, depth = np.empty_like(scene.aif), np.empty_like(scene.depth)
        gather(scene.aif, source, True, aif)
        gather_depth(scene.depth, source, depth)
        return replace(scene, aif=aif, depth=depth)
    patches = [patch for patch in (_warped(p, source) for p in scene.patches) if patch is not None]
    return LayeredScene.from_patches(scene.frame, patches, scene.intrinsics, scene.source, scene.margin)


def _warped(patch: Patch, source: Float64) -> Patch | None:
    """Resample a patch where the map sees any of it; None where it sees nothing."""
    height, width = patch.rgba.shape[:2]
    whole = (height, width) == source.shape[:2]
    at = source - np.array([patch.left, patch.top])
    if whole:
        return layer_at(patch, at, None, 0, 0, mirrored=True)
    touched = ((at > -2) & (at < np.array([width + 1, height + 1]))).all(axis=2)
    rows, columns = (np.flatnonzero(touched.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return layer_at(patch, at[top:bottom, left:right], None, int(top), int(left), mirrored=False)


def layer_at(patch: Patch, at: Float64, depth: Float32 | None, top: int, left: int, *, mirrored: bool) -> Patch:
    """Make a patch of what another has at positions `at` (h, w, 2), and of its depth there, if none is given."""
    at = np.ascontiguousarray(at)
    rgba = np.empty((*at.shape[:2], 4), np.float32)
    gather(patch.rgba, at, mirrored, rgba)
    rgba[..., 3] = np.minimum(rgba[..., 3], 1)
    if depth is None and isinstance(patch.depth, float):
        return Patch(rgba, patch.depth, top, left)
    if depth is None:
        depth = np.empty(at.shape[:2], np.float32)
        gather_depth(np.asarray(patch.depth, np.float32), at, depth)
    # A layer has no depth where it is transparent, and interpolation spreads a little light there.
    rgba[~(depth > 0)] = 0
    return Patch(rgba, depth, top, left)
