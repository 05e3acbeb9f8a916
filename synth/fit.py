"""Scenes of other sizes brought to one, so that camera, colour and depth stay true."""

import math
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import Intrinsics
from .fill import EDGE
from .scene import Scene

Fit = Literal["crop", "cover"]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def fit_scene(scene: Scene, size: tuple[int, int], fit: Fit) -> Scene:
    """Return a scene of a given size.

    Height and width are resized by one factor, never by two: pixels that are no squares would need two focal
    lengths, and make ellipses of all circles of confusion.

    Colour is the mean of linear light over each pixel's area, or interpolated linearly where pixels get smaller.
    Depth is never mixed across an edge, which is where neighbours differ by more than 5 %: a pixel gets the depth at
    its centre, linear in 1/z within a surface, or a depth that was there, of the surface that fills most of it.
    A pixel is unknown where at least half of it is; so holes keep their size, and those smaller than a pixel close.

    Parameters
    ----------
    scene
        Without a margin.
    size
        Height and width wanted, pixels.
    fit
        "crop" cuts out the centre, pixel for pixel (the odd pixel is cut off below and on the right); "cover" makes
        the scene just large or small enough to cover the size, and cuts off as much on both sides.

    Returns
    -------
    The scene, with `intrinsics` of the new pixels and `scale` multiplied by the factor; itself if it has the size.

    Raises
    ------
    InputError
        If the scene has a margin, is smaller than a size to be cropped to, or has no known depth left.
    """
    height, width = scene.depth.shape
    name = f"scene {scene.source!r}" if scene.source else "the scene"
    if scene.margin:
        raise InputError(f"{name} has a margin of {scene.margin} pixels: resize it before it is given one.")
    if fit not in get_args(Fit):
        raise InputError(f"scenes are fitted by 'crop' or 'cover', not {fit!r}.")
    if not (len(size) == 2 and all(isinstance(n, int | np.integer) for n in size)) or min(size) < 1:
        raise InputError(f"a scene cannot be made {size[1]}x{size[0]} pixels (width x height).")
    if (height, width) == tuple(size):
        return scene
    factor = 1.0 if fit == "crop" else max(size[0] / height, size[1] / width)
    if factor == 1:
        return _cropped(scene, size, name)
    cut = (height * factor - size[0]) / 2, (width * factor - size[1]) / 2
    depth = _fitted_depth(scene.depth, size, factor, cut)
    if np.isnan(depth).all():
        raise InputError(
            f"{name} has no known depth left at {size[1]}x{size[0]} pixels (width x height): leave it out, with "
            "scenes.listing."
        )
    return replace(
        scene,
        aif=_fitted_colour(scene.aif, size, factor, cut),
        depth=depth,
        intrinsics=_moved(scene.intrinsics, factor, cut),
        scale=scene.scale * factor,
    )


def _cropped(scene: Scene, size: tuple[int, int], name: str) -> Scene:
    height, width = scene.depth.shape
    if height < size[0] or width < size[1]:
        raise InputError(
            f"{name} is {width}x{height} pixels (width x height), too small to be cropped to {size[1]}x{size[0]}: "
            'fit it by "cover", or make the size smaller.'
        )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    window = np.s_[top : top + size[0], left : left + size[1]]
    if np.isnan(scene.depth[window]).all():
        raise InputError(
            f"{name} has no known depth in its middle {size[1]}x{size[0]} pixels (width x height): leave it "
            "out, with scenes.listing, or set scenes.fit to 'cover'."
        )
    intrinsics = _moved(scene.intrinsics, 1.0, (top, left))
    return replace(scene, aif=scene.aif[window], depth=scene.depth[window], intrinsics=intrinsics)


def _moved(intrinsics: Intrinsics | None, factor: float, cut: tuple[float, float]) -> Intrinsics | None:
    """Return the intrinsics of pixels 1/factor as large, of which `cut` are cut off above and on the left."""
    if intrinsics is None:
        return None
    return Intrinsics(
        fx=intrinsics.fx * factor,
        fy=intrinsics.fy * factor,
        cx=(intrinsics.cx + 0.5) * factor - 0.5 - cut[1],
        cy=(intrinsics.cy + 0.5) * factor - 0.5 - cut[0],
    )


def _fitted_colour(image: Float32, size: tuple[int, int], factor: float, cut: tuple[float, float]) -> Float32:
    from .fit_kernels import weigh_columns, weigh_rows

    height, width = size
    rows, columns = (_taps(n, factor, begin) for n, begin in zip(size, cut, strict=True))
    between = np.empty((height, *image.shape[1:]), np.float32)
    weigh_rows(image.reshape(len(image), -1), *rows, between.reshape(height, -1))
    out = np.empty((height, width, 3), np.float32)
    weigh_columns(between, *columns, out)
    return out


def _taps(count: int, factor: float, cut: float) -> tuple[npt.NDArray[np.int64], Float32]:
    """Return the first pixel (count) and the weights (count, taps) that make the pixels along an axis."""
    if factor > 1:
        at = (np.arange(count) + cut + 0.5) / factor - 0.5
        first = np.floor(at)
        weights = np.stack([first + 1 - at, at - first], axis=1)
    else:
        # In edges of pixels, not centres.
        begin, end = (np.arange(count) + cut) / factor, (np.arange(count) + cut + 1) / factor
        first = np.floor(begin)
        taps = first[:, None] + np.arange(math.ceil(1 / factor) + 1)
        weights = np.maximum(np.minimum(end[:, None], taps + 1) - np.maximum(begin[:, None], taps), 0.0)
        weights /= weights.sum(axis=1, keepdims=True)
    return first.astype(np.int64), weights.astype(np.float32)


def _fitted_depth(depth: Float32, size: tuple[int, int], factor: float, cut: tuple[float, float]) -> Float32:
    from .fit_kernels import fit_depth

    tops, lefts = ((np.arange(n) + begin) / factor - 0.5 for n, begin in zip(size, cut, strict=True))
    out = np.empty(size, np.float32)
    fit_depth(depth, tops, lefts, 1 / factor, EDGE, out)
    return out
