"""Fields of view of the slices of a focal stack: focus breathing and shifts as boxes.

A lens that focuses nearer sees less: its sensor is farther away. What another slice sees is a rectangle in the
picture of a reference slice. It differs by a few pixels, so that it is drawn twice: to scale, and enlarged.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .. import InputError
from .pictures import UInt8, eight_bits, resized
from .row import Row
from .sheet import check_width, fit, plain, typeface

Float64 = npt.NDArray[np.float64]
_DARK = 24
_SMOOTH = 3
_MOST = 0.2
_ALIKE = 0.01


def field_of_view_boxes(intrinsics: npt.ArrayLike, size: tuple[int, int], reference: int = 0) -> Float64:
    """Return what each slice sees, as a rectangle in the picture of the reference slice.

    An edge of slice s at x is at ``(x - cx_s) fx_ref / fx_s + cx_ref`` in the reference: the pinhole model, by
    which a direction has one pixel in each slice. Pixel centres have integer coordinates.

    Parameters
    ----------
    intrinsics
        (S, 3, 3) camera matrices without skew, pixels.
    size
        Height and width of the slices in pixels.
    reference
        Number of the reference slice.

    Returns
    -------
    (S, 4) float64: left, top, right and bottom edge in pixels of the reference slice, whose own are -0.5, -0.5,
    width - 0.5 and height - 0.5.

    Raises
    ------
    InputError
        If the matrices are not camera matrices without skew, the size is empty, or there is no such reference.
    """
    matrices = np.asarray(intrinsics, np.float64)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3) or not len(matrices):
        raise InputError(f"intrinsics of a stack have shape (S, 3, 3), not {matrices.shape}.")
    focal, centre = matrices[:, (0, 1), (0, 1)], matrices[:, :2, 2]
    shape = np.zeros_like(matrices)
    shape[:, (0, 1), (0, 1)], shape[:, :2, 2], shape[:, 2, 2] = focal, centre, 1
    if not (np.isfinite(matrices).all() and (focal > 0).all() and (matrices == shape).all()):
        raise InputError("intrinsics are finite matrices ((fx, 0, cx), (0, fy, cy), (0, 0, 1)), fx and fy above 0.")
    if not 0 <= reference < len(matrices):
        raise InputError(f"a stack of {len(matrices)} slices has no slice {reference} to be the reference.")
    if min(size) < 1:
        raise InputError(f"the size of a slice is a positive height and width in pixels, not {tuple(size)}.")
    ends = np.array([(-0.5, -0.5), (size[1] - 0.5, size[0] - 0.5)])
    placed = (ends - centre[:, None]) * (focal[reference] / focal)[:, None] + centre[reference]
    return np.asarray(placed.reshape(-1, 4))


def stack_boxes(row: Row) -> Float64 | None:
    """Return `field_of_view_boxes` of a sample's stack; None if unknown or equal within a hundredth of a pixel."""
    if row.stack is None or row.intrinsics is None:
        return None
    boxes = field_of_view_boxes(row.intrinsics, (row.stack.shape[1], row.stack.shape[2]), row.reference)
    return boxes if np.ptp(boxes, axis=0).max() >= _ALIKE else None


def relative(boxes: Float64, size: tuple[int, int]) -> Float64:
    """Return boxes (S, 4) in pixels as fractions of a picture of that height and width: its own is 0, 0, 1, 1.

    Raises
    ------
    InputError
        If a box is not left, top, right, bottom in this order, or not finite.
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) or not np.isfinite(boxes).all():
        raise InputError(f"boxes are finite numbers of shape (S, 4), in pixels, not {boxes.shape} or unknown ones.")
    if not (boxes[:, 2:] > boxes[:, :2]).all():
        raise InputError("a box is its left, top, right and bottom edge, in this order.")
    return np.asarray((boxes + 0.5) / np.tile(size[::-1], 2))


def enlarged(shares: Float64) -> tuple[Float64, int]:
    """Enlarge how boxes (S, 4) differ from the whole picture (0, 0, 1, 1), so that it can be seen.

    Returns
    -------
    The boxes (S, 4) with every difference multiplied, and by how much: 1, 2 or 5 times a power of ten up to 1000, at
    which no edge moves by more than a fifth of the picture.
    """
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    largest = float(np.abs(shares - whole).max())
    factors = [m * 10**power for power in range(4) for m in (1, 2, 5) if m * 10**power <= 1000]
    factor = max((f for f in factors if f * largest <= _MOST), default=1) if largest > 1e-9 else 1
    return whole + factor * (shares - whole), factor


def slice_colours(count: int) -> UInt8:
    """Return a colour for each slice, uint8 (count, 3), for a dark ground: from yellow over orange to magenta."""
    codes = np.rint(np.linspace(245, 105, count)).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(codes[:, None], cv2.COLORMAP_PLASMA)[:, 0, ::-1], np.uint8)


def outlines(ground: UInt8, boxes: Float64, colours: UInt8, stroke: float = 1.6) -> UInt8:
    """Draw boxes (S, 4: left, top, right, bottom, in pixels from the picture's corner) with smooth lines."""
    fine = Image.fromarray(ground.repeat(_SMOOTH, axis=0).repeat(_SMOOTH, axis=1))
    draw = ImageDraw.Draw(fine)
    for box, colour in zip((_SMOOTH * boxes).tolist(), colours.tolist(), strict=True):
        draw.rectangle(box, outline=tuple(colour), width=max(1, round(_SMOOTH * stroke)))
    return np.asarray(fine.reduce(_SMOOTH))


def field_diagram(shares: Float64, height: int, width: int, aspect: float, current: int | None = None) -> UInt8:
    """Draw boxes, fractions of a picture whose width is `aspect` times its height, to fill a dark ground.

    Parameters
    ----------
    shares
        (S, 4), as `enlarged` returns them.
    height, width
        Of the diagram, pixels.
    aspect
        Width over height of the picture.
    current
        A slice to emphasise: the others are dimmed.

    Returns
    -------
    uint8 (height, width, 3), sRGB.
    """
    low = np.minimum(shares[:, :2].min(axis=0), 0)
    span = np.maximum(shares[:, 2:].max(axis=0), 1) - low
    scale = 0.92 * min(width / (span[0] * aspect), height / span[1])
    unit = np.array([aspect * scale, scale])
    corner = (np.array([width, height]) - span * unit) / 2
    boxes = (shares.reshape(-1, 2, 2) - low) * unit + corner
    colours = slice_colours(len(shares))
    ground = np.full((height, width, 3), _DARK, np.uint8)
    if current is None:
        return outlines(ground, boxes.reshape(-1, 4), colours)
    dimmed = outlines(ground, boxes.reshape(-1, 4), colours // 3 + _DARK // 2)
    return outlines(dimmed, boxes.reshape(-1, 4)[current : current + 1], colours[current : current + 1], 2)


def draw_boxes(
    picture: npt.NDArray[np.generic], boxes: npt.ArrayLike, labels: Sequence[str] = (), *, width: int = 640
) -> UInt8:
    """Draw fields of view over a picture, dimmed, to scale; beside it enlarged, with the names of their colours.

    Parameters
    ----------
    picture
        uint8 or uint16 (H, W, 3), sRGB: the reference slice, or the all-in-focus picture in its frame.
    boxes
        (S, 4) pixels of the picture, as `field_of_view_boxes` returns them; they may leave it.
    labels
        A text for each box; numbers from 1 if left out. Where there is no room for all, some are left out evenly.
    width
        Width of the shown picture in pixels, at least 120; the drawing is about twice as wide.

    Returns
    -------
    uint8 (h, w, 3), sRGB.

    Raises
    ------
    InputError
        If the picture, the boxes, the number of labels or the width cannot be shown.
    """
    check_width(width)
    shown = eight_bits(np.asarray(picture))
    size = shown.shape[0], shown.shape[1]
    shares = relative(np.asarray(boxes, np.float64), size)
    names = list(labels) or [str(k + 1) for k in range(len(shares))]
    if len(names) != len(shares):
        raise InputError(f"{len(shares)} boxes need as many labels, not {len(names)}.")
    height = max(1, round(width * size[0] / size[1]))
    over = np.abs(shares - [0, 0, 1, 1]).max(axis=0)
    pad = 6 + int(np.ceil(max(over[0::2].max() * width, over[1::2].max() * height)))
    ground = np.full((height + 2 * pad, width + 2 * pad, 3), _DARK, np.uint8)
    grey = resized(shown, width, height).mean(axis=2, keepdims=True) * 0.45 + _DARK
    ground[pad : pad + height, pad : pad + width] = grey.astype(np.uint8)
    placed = shares * np.tile([width, height], 2) + pad
    left = outlines(ground, placed, slice_colours(len(shares)))
    return np.concatenate([left, _key(shares, names, left.shape[0], width, size[1] / size[0])], axis=1)


def _key(shares: Float64, names: Sequence[str], height: int, width: int, aspect: float) -> UInt8:
    """Draw the enlarged boxes above a line that says how much, and beside them the names of the colours."""
    wide, factor = enlarged(shares)
    longest = max(typeface(13).getlength(plain(name)) for name in names)
    room = 36 + math.ceil(min(longest, 0.5 * width))
    line, top = 18, 30
    canvas = np.full((height, width + room, 3), _DARK, np.uint8)
    canvas[top:, :width] = field_diagram(wide, height - top, width, aspect)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    text = f"fields of view, differences x {factor}" if factor > 1 else "fields of view"
    draw.text((14, 10), fit(text, 14, width - 28), (235,) * 3, typeface(14))
    colours = slice_colours(len(shares)).tolist()
    most = max(1, (height - top - 6) // line)
    for row, k in enumerate(np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).round()).astype(int)):
        y = top + 6 + row * line
        draw.line((width, y + 8, width + 16, y + 8), tuple(colours[k]), 3)
        draw.text((width + 22, y), fit(names[k], 13, room - 34), (215,) * 3, typeface(13))
    return np.asarray(picture)
