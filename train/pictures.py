"""Pictures of predictions during training: rows of input, truth, prediction and error."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

GAP = 4
# Anchors of viridis, a map of colours that is also read in grey and by most colour-blind people.
_ANCHORS = np.array(
    [
        [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
        [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37],
    ]
)  # fmt: skip
_UNKNOWN = 90


def coloured(values: npt.NDArray[np.floating[Any]], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return (h, w, 3) uint8 colours of (h, w) numbers, dark for `low`, bright for `high`; grey where not finite."""
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / max(high - low, 1e-12), 0, 1) * (len(_ANCHORS) - 1)
    channels = [np.interp(share, np.arange(len(_ANCHORS)), _ANCHORS[:, c]) for c in range(3)]
    picture = np.stack(channels, axis=-1)
    picture[~known] = _UNKNOWN
    return np.uint8(np.rint(picture))  # type: ignore[return-value]


def as_picture(image: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return (h, w, 3) uint8 of a (3, h, w) image in [0, 1]."""
    return np.rint(np.clip(np.nan_to_num(image.transpose(1, 2, 0)), 0, 1) * 255).astype(np.uint8)


def write_rows(path: Path, rows: Sequence[Sequence[npt.NDArray[np.uint8]]]) -> None:
    """Write rows of (h, w, 3) pictures, all of one size, as one PNG."""
    height, width = rows[0][0].shape[:2]
    across = max(map(len, rows))
    shape = (len(rows) * (height + GAP) - GAP, across * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            y, x = i * (height + GAP), j * (width + GAP)
            sheet[y : y + height, x : x + width] = tile
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(sheet).save(path)
