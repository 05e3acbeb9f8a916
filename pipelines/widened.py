"""A photograph through a small aperture rendered through a wide one, beside the photograph that was really taken.

D3-Net's DSLR pairs show a scene through f/8 and through f/2.8, with its depth. What a renderer makes of the first is
compared with the second: a test of the camera, of the renderer and of the depth at once.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..evaluate.metrics import image_metrics
from ..evaluate.silhouettes import silhouettes
from ..synth.camera import ThinLens
from ..synth.light import linear_to_srgb
from ..synth.readers.dslr import Dslr
from ..synth.rendering import render
from ..synth.scene import Scene

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SMALL_APERTURE = 8.0
"""F-number of the sharper photograph."""
BORDER = 16
"""Pixels on each side that do not count: light comes there from outside the picture."""
WHITE = 0.9
"""Linear light beyond which a pixel of either photograph may be clipped, and does not count for the exposure."""
OURS, NONE = "layers with what they hide", "no blur"
GAUSSIAN, SUM, GATHER = "one Gaussian for all", "no occlusion (Eq. 7)", "no occlusion (neighbours)"
SMOOTH = 3.0
"""Standard deviation in pixels of the Gaussian under which the two photographs look alike, whatever their apertures."""
TILE = 160
"""Pixels along a side of what the picture shows of a pair."""


@dataclass(frozen=True, eq=False, slots=True)
class Widened:
    """What came out of one pair.

    Attributes
    ----------
    name
        Of the scene.
    psnr, ssim
        By way of rendering, against the real photograph, encoded, inside the border.
    gain
        By way: the factor in linear light by which its exposure was aligned.
    shift
        Pixels (down, right) by which the real photograph was moved to lie over the sharper one.
    tiles
        uint8 (`TILE`, n `TILE`, 3) sRGB: the most hidden part of the sharper photograph, of each way but the first and
        of the real one, side by side.
    """

    name: str
    psnr: dict[str, float]
    ssim: dict[str, float]
    gain: dict[str, float]
    shift: tuple[float, float]
    tiles: UInt8


def added_blur(lens: ThinLens, small: float = SMALL_APERTURE) -> ThinLens:
    """Return the lens whose blur makes that of `lens` of a picture taken through the f-number `small`.

    That picture is blurred already. Second moments of PSFs add under convolution, and are as the squares of the
    aperture: ``1/N^2 = 1/N_wide^2 - 1/N_small^2``.
    """
    return replace(lens, f_number=1 / math.sqrt(lens.f_number**-2 - small**-2))


def _one_gaussian(scene: Scene, lens: ThinLens) -> Float32:
    """Blur all of a picture by one Gaussian, of the mean variance of its disks: c^2 / 16 along an axis."""
    from scipy.ndimage import gaussian_filter

    sigma = math.sqrt(float(np.nanmean(np.square(lens.coc(scene.depth)))) / 16)
    return np.asarray(gaussian_filter(scene.aif, (sigma, sigma, 0), mode="reflect"), np.float32)


WAYS: Mapping[str, Callable[[Scene, ThinLens], Float32]] = {
    NONE: lambda scene, lens: scene.aif,
    GAUSSIAN: _one_gaussian,
    SUM: lambda scene, lens: render(scene, lens, model="eq7"),
    GATHER: lambda scene, lens: render(scene, lens, model="gather"),
    OURS: lambda scene, lens: render(scene, lens),
}
"""How the wider aperture is made; all in linear light."""


def exposure_gain(picture: Float32, real: Float32) -> float:
    """Return the factor that brings linear light (H, W, 3) nearest to another's, by least squares of what is not white.

    One number: shutter and aperture change nothing else. 1 where nothing can be compared.
    """
    usable = (picture < WHITE) & (real < WHITE)
    a, b = picture[usable].astype(np.float64), real[usable].astype(np.float64)
    return float((a * b).sum() / (a * a).sum()) if (a * a).sum() > 0 else 1.0


def displacement(small: Float32, wide: Float32) -> tuple[float, float]:
    """Return by how many pixels (down, right) `wide` must be moved to lie over `small`; both (H, W, 3), linear light.

    The camera was touched between its photographs. Least squares over smoothed pictures, repeated (Lucas and Kanade
    1981); an exposure may differ.
    """
    from scipy.ndimage import gaussian_filter, shift

    still, moving = (gaussian_filter(np.sqrt(one.mean(axis=2)).astype(np.float64), SMOOTH) for one in (small, wide))
    found, inner = np.zeros(2), np.s_[BORDER:-BORDER, BORDER:-BORDER]
    slopes = [slope[inner].ravel() for slope in np.gradient(still)]
    known = np.stack([*slopes, still[inner].ravel(), np.ones(slopes[0].size)], axis=1)
    for _ in range(5):
        moved = shift(moving, found, order=3, mode="nearest")
        down, right, gain, _ = np.linalg.lstsq(known, moved[inner].ravel(), rcond=None)[0]
        found += np.array([down, right]) / gain
    return float(found[0]), float(found[1])


def widen(small: Scene, wide: Scene, lens: ThinLens = Dslr.LENS) -> Widened:
    """Render a pair's sharper photograph through the wide aperture in every way, and compare.

    Parameters
    ----------
    small, wide
        The same view through the small and the wide aperture, linear light; depth is the first one's.
    lens
        The wide one.
    """
    from scipy.ndimage import shift

    inner = np.s_[BORDER:-BORDER, BORDER:-BORDER]
    moved = displacement(small.aif, wide.aif)
    through = added_blur(lens)
    real = np.maximum(shift(wide.aif, (*moved, 0.0), order=3, mode="nearest"), 0)[inner]
    made, gains, scores = {}, {}, {}
    for name, way in WAYS.items():
        picture = way(small, through)[inner]
        gains[name] = exposure_gain(picture, real)
        made[name] = linear_to_srgb(np.clip(picture * np.float32(gains[name]), 0, 1))
        scores[name] = image_metrics(made[name], linear_to_srgb(np.clip(real, 0, 1)))
    shown = [made[name] for name in WAYS if name != GAUSSIAN] + [linear_to_srgb(np.clip(real, 0, 1))]
    at = _tile(silhouettes(small.depth)[inner], np.abs(np.asarray(through.coc(small.depth)))[inner])
    tiles = np.concatenate([np.rint(255 * picture[at]).astype(np.uint8) for picture in shown], axis=1)
    return Widened(
        name=small.source, tiles=tiles, gain=gains, shift=moved,
        psnr={name: one["psnr"] for name, one in scores.items()},
        ssim={name: one["ssim"] for name, one in scores.items()},
    )  # fmt: skip


def _tile(edge: npt.NDArray[np.bool_], blur: npt.NDArray[Any]) -> tuple[slice, slice]:
    """Return where a window has the most blur at silhouettes."""
    weight = np.where(edge, np.nan_to_num(blur), 0.0)
    total = np.pad(weight, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    height, width = min(TILE, edge.shape[0]), min(TILE, edge.shape[1])
    sums = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def widen_pairs(reader: Dslr, places: Sequence[int]) -> list[Widened]:
    """Compare so many pairs of the DSLR set.

    Raises
    ------
    InputError
        If one cannot be read.
    """
    return [widen(*reader.pair(place)) for place in places]
