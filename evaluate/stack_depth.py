"""Depth from focus: where along a focal stack every pixel is sharpest.

1. A focus measure of every slice (`focus_measures`).
2. Its aggregation over windows, which trades noise for sharp edges.
3. The peak over slices, found between them (`peaks`), in 1 / distance.
4. A confidence, and depth of uncertain pixels from confident ones that look alike (`smoothing`).

Slices must show the same view: those of a lens whose field of view changes with the focus must be registered first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from .focus_measures import MEASURES, box_mean, scaled
from .fusion import fuse_by_depth
from .peaks import gaussian_fit, tent_peak
from .smoothing import guided_filter, smooth_along_edges
from .stack_methods import Method

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_CODE = 1 / 255
_TENT = 4
_BRIGHTEST = 1e6
"""Times white: squares of squares of what is measured are numbers of single precision up to there."""
NEAREST = 1e-12
"""Metres, and the inverse of the farthest but infinity: depth and its inverse are numbers of single precision."""


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """How focus measures and depth are smoothed; the defaults are those that were best on training stacks.

    Parameters
    ----------
    radius
        Windows that measures are averaged over have 2 radius + 1 pixels on a side.
    guided
        Average along the edges of a picture made of the sharpest slices (guided filter) and not over plain squares.
    strength
        Of the smoothing of depth along edges, see `smooth_along_edges`; 0 for none.
    contrast
        Difference of colours, white 1, at which it stops.
    least
        Confidence below which depth is that of neighbours, or unknown.
    """

    radius: int = 3
    guided: bool = False
    strength: float = 100.0
    contrast: float = 0.03
    least: float = 0.02

    def __post_init__(self) -> None:
        if not (0 <= self.radius <= 256 and 0 <= self.least <= 1 and self.strength >= 0 and self.contrast > 0):
            raise InputError(
                "aggregation needs a radius of 0 to 256 px, a strength of 0 or more, a contrast above 0 and a least "
                f"confidence from 0 to 1, not {self.radius}, {self.strength:g}, {self.contrast:g}, {self.least:g}."
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class StackDepth:
    """What a focal stack says.

    Parameters
    ----------
    depth
        float32 (H, W), metres; without focus distances in slices, the first is 0. NaN where it is unknown and not
        filled.
    confidence
        float32 (H, W), from 0 (all slices alike) to 1 (one slice alone is sharp).
    index
        float32 (H, W): place of the greatest sharpness among `slices`, with fractions; never NaN.
    slices
        (T,): numbers of the slices that `index` counts in, in the order of their distances: all, where no two have the
        same; of those that have, the sharpest.
    """

    depth: Float32
    confidence: Float32
    index: Float32
    slices: npt.NDArray[np.intp]


def depth_from_stack(
    stack: npt.ArrayLike,
    focus: npt.ArrayLike | None,
    *,
    method: Method = "sml",
    aggregation: Aggregation | None = None,
    fill: bool = True,
) -> StackDepth:
    """Tell depth of a focal stack.

    Parameters
    ----------
    stack
        (S, H, W, 3) or (S, H, W): uint8, uint16, or floating point with white 1; any order, one slice or more.
    focus
        (S,) focus distances in metres, above 0, infinity allowed; None where they are not known, and depth is told in
        slices. Slices at one distance (of several apertures) are taken together.
    method
        "sml" (sum-modified Laplacian), "rdf" (ring difference filter), "variance" (of the Laplacian), each with a
        Gaussian through the slices around the sharpest; "windowed-ls" (ring difference filter and windowed linear
        least squares).
    aggregation
        How it is smoothed.
    fill
        Give pixels of little confidence the depth of neighbours that look alike; otherwise NaN.

    Returns
    -------
    Depth lies between the nearest and the farthest focus distance.

    Raises
    ------
    InputError
        If stack, distances or method are not such.
    """
    slices = as_stack(stack)
    chosen = aggregation or default_aggregation(method)
    x, groups = _in_order(focus, len(slices))
    measures = _measured(slices, method)
    view = np.stack([measures[group].mean(axis=0) for group in groups])
    kept = np.array([group[np.argmax(measures[group].mean(axis=(1, 2)))] for group in groups], np.intp)
    volume = _aggregated(view, slices[kept], chosen)
    confidence = _confidence(volume)
    place = _peaks(volume, x, method)
    sharp = fuse_by_depth(slices[kept], _index(place, x))
    filled = _filled(place, confidence, sharp, chosen)
    depth = filled if focus is None else _reciprocal(filled)
    if not fill:
        depth = np.where(confidence >= chosen.least, depth, np.nan)
    return StackDepth(
        depth=depth.astype(np.float32), confidence=confidence.astype(np.float32),
        index=_index(filled, x).astype(np.float32), slices=kept,
    )  # fmt: skip


def default_aggregation(method: str) -> Aggregation:
    """Return what was best for a method on training stacks (see `docs/depth-from-focus.md`).

    Raises
    ------
    InputError
        If there is no such method.
    """
    if method not in MEASURES:
        raise InputError(f"there is no method {method!r} for depth from focus: choose from {', '.join(MEASURES)}.")
    return Aggregation(radius=2 if method in ("sml", "variance") else 3)


def as_stack(stack: npt.ArrayLike) -> Float32:
    """Return a focal stack as float32 (S, H, W, 3), white 1.

    Raises
    ------
    InputError
        If it is none, or has unknown pixels, or pixels far beyond white.
    """
    if isinstance(stack, np.ma.MaskedArray):
        raise InputError("a focal stack has no masked pixels: fill them, and give a plain array.")
    try:
        values = np.asarray(stack)
    except ValueError:
        raise InputError("a focal stack has slices of one size: these differ.") from None
    if values.ndim == 3:
        values = np.repeat(values[..., None], 3, axis=3)
    if values.ndim != 4 or values.shape[3] != 3 or values.size == 0:
        raise InputError(f"a focal stack is (S, H, W, 3) or (S, H, W) and not empty, not {np.shape(stack)}.")
    found = scaled(values)
    if not np.isfinite(found).all():
        raise InputError("a focal stack has no NaN and no infinite values.")
    if (most := float(np.abs(found).max())) > _BRIGHTEST:
        raise InputError(f"a focal stack of floating point has white at 1, and this one {most:g}: scale it.")
    return found


def _in_order(focus: npt.ArrayLike | None, count: int) -> tuple[Float64, list[npt.NDArray[np.intp]]]:
    """Return coordinates in strict order, and the slices at each of them."""
    if focus is None:
        return np.arange(count, dtype=np.float64), [np.array([k]) for k in range(count)]
    try:
        distances = np.asarray(focus, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"focus distances are numbers of metres, not {str(focus)[:60]!r}.") from None
    if distances.shape != (count,):
        raise InputError(f"a stack of {count} slices has as many focus distances, not {distances.shape}.")
    if not ((distances >= NEAREST) & ((distances <= 1 / NEAREST) | np.isinf(distances))).all():
        raise InputError(f"focus distances are metres from {NEAREST:g} to {1 / NEAREST:g}, or infinite.")
    x, which = np.unique(1 / distances, return_inverse=True)
    if count > 1 and distances[0] < distances[-1]:
        # Near to far: the order of the stack is kept, so that places are those of its slices.
        x, which = x[::-1], len(x) - 1 - which
    return x, [np.flatnonzero(which == k) for k in range(len(x))]


def _measured(slices: Float32, method: str) -> Float32:
    return np.stack([MEASURES[method](one) for one in slices])


def _aggregated(view: Float32, slices: Float32, chosen: Aggregation) -> Float32:
    """Average measures over windows, plain or along the edges of the picture that they say is sharpest."""
    plain = np.stack([box_mean(one, chosen.radius) for one in view])
    if not chosen.guided or len(view) < 2:
        return plain
    best = plain.argmax(axis=0)
    sharp = np.take_along_axis(slices, best[None, ..., None], axis=0)[0]
    grey = sharp.mean(axis=2)
    # A guided filter may fall below 0 beside strong edges; measures never do.
    return np.stack([np.maximum(guided_filter(one, grey, chosen.radius), 0).astype(np.float32) for one in view])


def _confidence(volume: Float32) -> Float64:
    """Say how far the best slice stands above the mean of all, and above what noise and one code of eight bits are."""
    count = len(volume)
    if count == 1:
        return np.zeros(volume.shape[1:])
    peak, mean = volume.max(axis=0).astype(np.float64), volume.mean(axis=0, dtype=np.float64)
    stands = np.divide(peak - mean, peak, out=np.zeros_like(peak), where=peak > 0) * count / (count - 1)
    # Each pixel is blurred in some slice: what is left there in half of all pixels is noise, or no more than it.
    floor = float(np.median(volume.min(axis=0))) + _CODE / 4
    return np.asarray(np.clip(stands, 0, 1) * np.square(peak) / (np.square(peak) + np.square(2 * floor)), np.float64)


def _peaks(volume: Float32, x: Float64, method: str) -> Float64:
    """Return where each pixel's measure peaks, (H, W), in x."""
    count, height, width = volume.shape
    flat = volume.reshape(count, -1).astype(np.float64)
    # Zeros, of pictures without noise, have no logarithm; what is far below one code says nothing.
    logs = np.log(flat + 1e-3 * _CODE)
    peak = gaussian_fit(logs, x)
    if method == "windowed-ls" and count >= 4:
        tent, _ = tent_peak(logs, x, _TENT)
        peak = np.where(np.isfinite(tent), tent, peak)
    return peak.reshape(height, width)


def _filled(place: Float64, confidence: Float64, sharp: Float32, chosen: Aggregation) -> Float64:
    """Spread what is confident along the edges of the sharp picture."""
    if chosen.strength == 0:
        return place
    weights = np.where(confidence >= chosen.least, np.square(confidence), 0.0)
    if not weights.any():
        weights = confidence + 1e-6
    found = smooth_along_edges(place, weights, sharp, strength=chosen.strength, contrast=chosen.contrast)
    return np.clip(found, place.min(), place.max())


def _index(place: Float64, x: Float64) -> Float64:
    up = np.argsort(x, kind="stable")
    return np.asarray(np.interp(place, x[up], up.astype(np.float64)), np.float64)


def _reciprocal(x: Float64) -> Float64:
    with np.errstate(divide="ignore"):
        return np.asarray(1 / x, np.float64)


def distance_words(focus: Sequence[float], unit: str = "m") -> list[str]:
    """Name focus distances, as labels of slices: "0.35 m", "infinity"; without a unit where `unit` is ""."""
    return ["infinity" if np.isinf(d) else f"{d:.4g} {unit}".strip() for d in focus]
