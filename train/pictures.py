"""Pictures of predictions during training: rows of input, truth, prediction and error."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

GAP, TITLE = 4, 18
"""Pixels between pictures, and above them."""
UInt8 = npt.NDArray[np.uint8]
# Turbo, as in all pictures of depth: far is blue, near is red.
_TURBO = np.array(
    [
        [61, 53, 139], [70, 105, 224], [62, 155, 254], [31, 201, 221], [34, 235, 170],
        [97, 252, 108], [164, 252, 60], [215, 229, 53], [247, 193, 58], [253, 141, 39],
        [237, 85, 16], [204, 43, 4], [155, 15, 1],
    ]
)  # fmt: skip
_BAD = np.array([[255, 255, 255], [253, 174, 97], [215, 48, 39], [103, 0, 31]])
_UNKNOWN = 90


def coloured(values: npt.NDArray[np.floating[Any]], low: float, high: float, *, error: bool = False) -> UInt8:
    """Return (h, w, 3) uint8 colours of (h, w) numbers, blue for `low`, red for `high`; grey where not finite.

    Of errors white is `low`, dark red `high`.
    """
    anchors = _BAD if error else _TURBO
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / max(high - low, 1e-12), 0, 1) * (len(anchors) - 1)
    channels = [np.interp(share, np.arange(len(anchors)), anchors[:, c]) for c in range(3)]
    picture = np.stack(channels, axis=-1)
    picture[~known] = _UNKNOWN
    return np.uint8(np.rint(picture))  # type: ignore[return-value]


def as_picture(image: npt.NDArray[np.float32]) -> UInt8:
    """Return (h, w, 3) uint8 of a (3, h, w) image in [0, 1]."""
    return np.rint(np.clip(np.nan_to_num(image.transpose(1, 2, 0)), 0, 1) * 255).astype(np.uint8)


def write_rows(path: Path, titles: Sequence[str], rows: Sequence[Sequence[UInt8]]) -> None:
    """Write rows of (h, w, 3) pictures, all of one size, as one PNG, each column under its title.

    Pictures that are narrower than a title are enlarged by a whole number, pixel by pixel.
    """
    font = ImageFont.load_default(12)
    widest = max(font.getlength(title) for title in titles)
    times = max(1, math.ceil((widest + 2) / rows[0][0].shape[1]))
    height, width = (side * times for side in rows[0][0].shape[:2])
    across = max(map(len, rows))
    shape = (TITLE + len(rows) * (height + GAP) - GAP, across * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            y, x = TITLE + i * (height + GAP), j * (width + GAP)
            sheet[y : y + height, x : x + width] = tile.repeat(times, 0).repeat(times, 1)
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    for j, title in enumerate(titles):
        draw.text((j * (width + GAP) + 1, 1), title, fill=(0, 0, 0), font=font)
    path.parent.mkdir(exist_ok=True)
    image.save(path)
