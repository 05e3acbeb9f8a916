"""Pictures of samples: colour maps for depth and circles of confusion, their legends, and a contact sheet.

A circle of confusion (CoC) is signed: positive for points nearer than the plane in focus. NaN is unknown and
is drawn as a grey hatch, a pattern that neither colour map contains.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from .row import Layer, Row

UInt8 = npt.NDArray[np.uint8]
Ink = tuple[int, ...]
SCALE_TITLES = {"depth": "depth in m, even in 1/depth", "coc": "CoC in px: - farther, + nearer than focus"}

_INSET = (18, 24)
_HATCH: tuple[int, int] = (70, 92)
_VALID = (40, 235)
# Farther and nearer, each from white (in focus) to dark: colour blindness does not confuse blue with orange.
_FARTHER = ("#ffffff", "#a6cfe8", "#4f97c9", "#1f5fa8", "#0a2c5e")
_NEARER = ("#ffffff", "#fdc98a", "#f08a24", "#b85506", "#5f2a02")


def eight_bits(image: npt.NDArray[Any]) -> UInt8:
    """Reduce an encoded picture, uint8 or uint16 (H, W, 3), to uint8 with rounding to nearest.

    Raises
    ------
    InputError
        If the shape or the dtype is another one, or the picture is empty.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise InputError(f"a picture to show has shape (H, W, 3) and is not empty, not {image.shape}.")
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise InputError(f"a picture to show is uint8 or uint16, not {image.dtype}; encode it first.")
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def as_codes(values: npt.NDArray[Any]) -> UInt8:
    """Return numbers from 0 to 1 as codes from 0 to 255, to the nearest; what lies outside is cut off."""
    return np.asarray(np.rint(255 * np.clip(values, 0, 1)), np.uint8)


def _map_values(values: npt.NDArray[Any], name: str) -> npt.NDArray[np.float32]:
    """Check a depth or CoC map and return it as float32."""
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.floating):
        shape = f"{values.dtype} {values.shape}"
        raise InputError(f"the {name} to show is a floating-point array (H, W) and not empty, not {shape}.")
    return values.astype(np.float32, copy=False)


def paint(position: npt.NDArray[np.float32], table: UInt8) -> UInt8:
    """Look positions 0 to 1 up in a colour table (N, 3); NaN gets the hatch."""
    unknown = np.isnan(position)
    last = len(table) - 1
    codes = np.rint(np.clip(np.where(unknown, 0, position), 0, 1) * last).astype(np.intp)
    colours: UInt8 = table[codes]
    if unknown.any():
        y, x = np.nonzero(unknown)
        colours[y, x] = np.where((x + y) // 4 % 2, *_HATCH).astype(np.uint8)[:, None]
    return colours


@lru_cache(maxsize=1)
def _depth_table() -> UInt8:
    """TURBO without its darkest ends, far (blue) first, near (red) last."""
    bgr = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_TURBO)
    return np.asarray(bgr[12:246, 0, ::-1], np.uint8)


@lru_cache(maxsize=1)
def _coc_table() -> UInt8:
    """511 colours from the farthest over white in the middle to the nearest."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (*_FARTHER[::-1], *_NEARER[1:])], float)
    at, wanted = np.linspace(0, 1, len(stops)), np.linspace(0, 1, 511)
    return np.rint([np.interp(wanted, at, column) for column in stops.T]).T.astype(np.uint8)


def _check_depths(near: float, far: float) -> None:
    if not 0 < near <= far or math.isinf(near):
        raise InputError(f"the depth scale needs 0 < near <= far, in metres, not {near:g} to {far:g}.")


def _check_limit(limit: float) -> None:
    if not 0 < limit < math.inf:
        raise InputError(f"the limit of the CoC colours is a positive number of pixels, not {limit:g}.")


def depth_colours(depth: npt.NDArray[Any], near: float, far: float) -> UInt8:
    """Colour a depth map: equal steps of 1/z, hence of defocus, are equal steps of colour; near is warm.

    Parameters
    ----------
    depth
        Floating point (H, W), metres; NaN and values not above 0 are unknown, infinity is farthest.
    near, far
        Ends of the scale in metres, 0 < near <= far; depths outside get the colour of the end.

    Returns
    -------
    uint8 (H, W, 3), sRGB.

    Raises
    ------
    InputError
        If the map is empty or not (H, W) floating point, or the scale is not in order.
    """
    _check_depths(near, far)
    z = _map_values(depth, "depth").astype(np.float64)
    inverse = 1 / np.where(z > 0, z, np.nan)
    span = 1 / near - 1 / far
    position = (inverse - 1 / far) / span if span > 0 else inverse * 0 + 0.5
    return paint(position.astype(np.float32), _depth_table())


def mosaic_picture(raw: npt.NDArray[Any], black: float, white: float, cfa: str) -> UInt8:
    """Show a raw mosaic in grey, and its middle magnified in the colours of the filters.

    Parameters
    ----------
    raw
        uint16 (..., H, W), digital numbers.
    black, white
        Digital numbers of no light and of the brightest, which become 0 and 1 before they are encoded for display.
    cfa
        The colours of two by two pixels in reading order, such as "RGGB"; "" for a sensor without filters.

    Returns
    -------
    uint8 (..., H, W, 3), sRGB. The inset is left out of mosaics less than 144 pixels wide.

    Raises
    ------
    InputError
        If the mosaic is not uint16 (..., H, W), white is not above black, or the filters are not four of R, G, B.
    """
    if raw.ndim < 2 or raw.size == 0 or raw.dtype != np.uint16:
        raise InputError(f"a mosaic to show is uint16 (..., H, W) and not empty, not {raw.dtype} {raw.shape}.")
    if not black < white:
        raise InputError(f"the white level of a mosaic is above its black level, not {white:g} to {black:g}.")
    if cfa and (len(cfa) != 4 or set(cfa) - set("RGB")):
        raise InputError(f"the filters of a mosaic are four of R, G and B, such as RGGB, not {cfa!r}.")
    light = np.clip((np.arange(2**16) - black) / (white - black), 0, 1)
    codes = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    picture = np.repeat(np.rint(255 * codes).astype(np.uint8)[raw][..., None], 3, axis=-1)
    height, width = raw.shape[-2:]
    times = width // 72
    rows, columns = _INSET
    if not cfa or times < 2 or height < times * rows + 8:
        return picture
    top, left = (height - rows) // 4 * 2, (width - columns) // 4 * 2
    part = picture[..., top : top + rows, left : left + columns, :].copy()
    for k, colour in enumerate(cfa):
        part[..., k // 2 :: 2, k % 2 :: 2, [c for c in range(3) if "RGB"[c] != colour]] = 0
    inset = np.s_[..., height - times * rows - 4 : height - 4, width - times * columns - 4 : width - 4, :]
    picture[..., height - times * rows - 5 : height - 3, width - times * columns - 5 : width - 3, :] = 255
    picture[inset] = part.repeat(times, axis=-3).repeat(times, axis=-2)
    return picture


def coc_colours(coc: npt.NDArray[Any], limit: float) -> UInt8:
    """Colour a map of signed circles of confusion: white in focus, orange nearer, blue farther.

    Parameters
    ----------
    coc
        Floating point (H, W), pixels, positive nearer than the focus; NaN is unknown.
    limit
        The |CoC| in pixels, above 0, at which the colours end.

    Returns
    -------
    uint8 (H, W, 3), sRGB.

    Raises
    ------
    InputError
        If the map is empty or not (H, W) floating point, or the limit is not a positive number.
    """
    _check_limit(limit)
    return paint(_map_values(coc, "CoC") / np.float32(2 * limit) + np.float32(0.5), _coc_table())


def depth_range(depths: Sequence[npt.NDArray[Any] | None]) -> tuple[float, float]:
    """Return the least and the greatest known finite depth of maps in metres, or (1, 1) if there is none."""
    known = [d[np.isfinite(d) & (d > 0)] for d in depths if d is not None]
    known = [d for d in known if d.size]
    return (float(min(d.min() for d in known)), float(max(d.max() for d in known))) if known else (1.0, 1.0)


def coc_range(cocs: Sequence[npt.NDArray[Any] | None]) -> float:
    """Return the greatest known |CoC| of maps in pixels, at least 1 so that a sharp dataset looks sharp."""
    peaks = [float(np.abs(c[np.isfinite(c)]).max(initial=0)) for c in cocs if c is not None]
    return max([1.0, *peaks])


def nice_step(span: float, most: int) -> float:
    """Return the least of 1, 2 and 5 times a power of ten that divides `span` into at most `most` steps."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next((m * power for m in (1, 2, 5) if m * power * most >= span * (1 - 1e-9)), 10 * power)


def depth_ticks(near: float, far: float, gap: float = 0.13) -> list[tuple[float, str]]:
    """Return round depths and their places on a scale that is even in 1/z.

    Parameters
    ----------
    near, far
        Ends of the scale in metres, 0 < near <= far; both are among the ticks.
    gap
        Least distance of two ticks as a fraction of the scale.

    Returns
    -------
    Pairs of position (0 at near, 1 at far) and text in metres, ascending.
    """
    _check_depths(near, far)
    span = 1 / near - 1 / far
    if span <= 0:
        return [(0.5, f"{near:.3g}")]
    ticks = {0.0: f"{near:.3g}", 1.0: f"{far:.3g}"}
    first = math.floor(math.log10(near))
    last = math.ceil(math.log10(min(far, 1000 * near)))
    # Rounder numbers claim their place first.
    for mantissa in (1, 2, 5, 3, 1.5, 4, 7, 2.5, 6, 8, 1.2):
        for z in (mantissa * 10.0**power for power in range(first, last + 1)):
            place = (1 / near - 1 / z) / span
            if near < z < far and all(abs(place - other) >= gap for other in ticks):
                ticks[place] = f"{z:.3g}"
    return sorted(ticks.items())


def coc_ticks(limit: float, most: int = 4) -> list[tuple[float, str]]:
    """Return round signed CoC diameters in pixels and their places (0 at -limit, 1 at +limit), ascending.

    There are at most `most` of them on either side of 0.
    """
    _check_limit(limit)
    step = nice_step(limit, most)
    count = math.floor(limit / step + 1e-9)
    return [(0.5 + k * step / (2 * limit), f"{k * step:+.3g}" if k else "0") for k in range(-count, count + 1)]


def scale_colours(layer: Literal["depth", "coc"], count: int) -> UInt8:
    """Return `count` colours, uint8 (count, 3), along a legend: near to far, or farther to nearer for CoC."""
    table = _depth_table()[::-1] if layer == "depth" else _coc_table()
    return table[np.rint(np.linspace(0, len(table) - 1, count)).astype(np.intp)]


def resized(values: npt.NDArray[Any], width: int, height: int) -> npt.NDArray[Any]:
    """Resize a picture: means of pixels where it shrinks, whole pixels where it grows."""
    shrinks = width <= values.shape[1] and height <= values.shape[0]
    return np.asarray(
        cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    )


def _resized_map(values: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.float32]:
    """Resize by picking pixels: a mean over an edge would show depths that are not there."""
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.float32)


def layer_picture(
    row: Row, layer: Layer, width: int, *, near: float, far: float, coc_limit: float, frame: int = 0
) -> UInt8 | None:
    """Return one layer of a sample as a picture, uint8 (H, width, 3), or None if the sample lacks it.

    Maps are thinned before they are coloured, so that every colour is one of the legend's.
    `near`, `far` (metres) and `coc_limit` (pixels) are the ends of the colours; `frame` is the slice or the view.

    Raises
    ------
    InputError
        If the array has a shape or a dtype that the layer does not allow.
    """
    frames = row.frames(layer)
    if not len(frames):
        return None
    array = frames[frame]
    if layer == "valid":
        array = np.repeat(np.array(_VALID, np.uint8)[array.astype(np.intp)][..., None], 3, axis=-1)
    checked = _map_values(array, layer) if layer in ("depth", "coc") else eight_bits(array)
    height = max(1, round(width * checked.shape[0] / checked.shape[1]))
    if layer == "depth":
        inverse = 1 / np.where(checked > 0, checked, np.float32(np.nan))
        with np.errstate(divide="ignore"):
            return depth_colours(1 / _resized_map(inverse.astype(np.float32), width, height), near, far)
    if layer == "coc":
        return coc_colours(_resized_map(checked.astype(np.float32), width, height), coc_limit)
    return resized(checked, width, height)


def png_bytes(image: npt.NDArray[Any]) -> bytes:
    """Encode a picture, uint8 or uint16 (H, W, 3) RGB, as PNG of the same bit depth.

    Raises
    ------
    InputError
        If the shape or the dtype is another one, or the picture is empty.
    """
    eight_bits(image)
    return encoded(image, ".png")


def webp_bytes(image: npt.NDArray[Any], quality: int = 80) -> bytes:
    """Encode a picture, uint8 or uint16 (H, W, 3) RGB, as lossy 8-bit WebP; quality 1 (small) to 100.

    Raises
    ------
    InputError
        If the shape or the dtype is another one, the picture is empty, or the quality is out of range.
    """
    if not 1 <= quality <= 100:
        raise InputError(f"the quality of a WebP picture is 1 to 100, not {quality}.")
    return encoded(eight_bits(image), ".webp", [cv2.IMWRITE_WEBP_QUALITY, quality])


def encoded(image: npt.NDArray[Any], suffix: str, options: Sequence[int] = ()) -> bytes:
    """Encode a picture, (H, W, 3) RGB or (H, W) grey, in the format of a suffix, with OpenCV's options for it.

    Raises
    ------
    InputError
        If the format cannot hold it.
    """
    bgr = np.ascontiguousarray(image[..., ::-1]) if image.ndim == 3 else image
    done, content = cv2.imencode(suffix, bgr, options)
    if not done:
        raise InputError(f"a picture of shape {image.shape} cannot be written as {suffix[1:]}; make it smaller.")
    return content.tobytes()
