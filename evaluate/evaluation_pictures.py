"""The colours of an evaluation: scales that all runs share, and their bars with numbers and units."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from .pictures import (
    SCALE_TITLES,
    UInt8,
    coc_ticks,
    depth_range,
    depth_ticks,
    nice_step,
    paint,
    scale_colours,
)

Float64 = npt.NDArray[np.float64]
Scale = Literal["depth", "error", "std"]


@dataclass(frozen=True)
class Scales:
    """Ends of the colours in m: of depth, of the error's size and of uncertainty."""

    near: float
    far: float
    error: float
    std: float


def shared_scales(
    target: npt.NDArray[Any], errors: Sequence[npt.NDArray[Any]], spreads: Sequence[npt.NDArray[Any]]
) -> Scales:
    """Choose one scale of depth, error and uncertainty for all runs; outliers are cut at the 98th percentile."""
    near, far = depth_range([target])

    def high(arrays: Sequence[npt.NDArray[Any]]) -> float:
        known = [np.abs(a[np.isfinite(a)]) for a in arrays]
        every = np.concatenate(known) if known else np.empty(0)
        most = float(np.quantile(every, 0.98)) if every.size else 0.0
        return _rounded_up(most) if most > 0 else 1.0

    return Scales(near, far, high(errors), high(spreads))


def _rounded_up(value: float) -> float:
    step = nice_step(value, 4)
    return float(step * np.ceil(value / step - 1e-9))


def _std_table() -> UInt8:
    bgr = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_VIRIDIS)
    return np.asarray(bgr[:, 0, ::-1], np.uint8)


def thin(values: npt.NDArray[Any], width: int) -> Float64:
    """Pick pixels of a map: a mean over an edge would show depths that are not there."""
    width = min(width, values.shape[1])
    height = max(1, round(width * values.shape[0] / values.shape[1]))
    small = cv2.resize(np.asarray(values, np.float64), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(small, np.float64)


def spread_colours(spread: npt.NDArray[Any], limit: float) -> UInt8:
    """Colour a map of uncertainty, floating point (H, W) in m, from dark (0) to yellow (limit); NaN is hatched."""
    return paint((np.asarray(spread, np.float64) / limit).astype(np.float32), _std_table())


def bar(scale: Scale, scales: Scales) -> str:
    """Write a colour bar with its numbers and unit."""
    if scale == "depth":
        colours, ticks = scale_colours("depth", 33), depth_ticks(scales.near, scales.far)
        title = SCALE_TITLES["depth"].capitalize()
    elif scale == "error":
        # The colours of a CoC run from farther to nearer: the error in their sense is truth minus prediction.
        colours = scale_colours("coc", 33)[::-1]
        ticks, title = coc_ticks(scales.error, 3), "Error in m: prediction minus truth"
    else:
        colours, step = _std_table()[:: 255 // 32], nice_step(scales.std, 4)
        ticks = [(k * step / scales.std, f"{k * step:.3g}") for k in range(int(scales.std / step + 1e-9) + 1)]
        title = "Uncertainty in m"
    stops = ",".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist())
    places = "".join(
        f'<i style="left:{100 * place:.2f}%">{text.replace("-", chr(0x2212))}</i>' for place, text in ticks
    )
    return (
        f'<div class="scale"><b>{title}</b><div style="background:linear-gradient(to right,{stops})"></div>'
        f"<p>{places}</p></div>"
    )
