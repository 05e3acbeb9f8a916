"""Compiled loop that resamples a photograph. Only + - * /: the result is the same on every processor."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from .jit import jit


@jit
def resampled(image: Any, table: npt.NDArray[np.uint16], side: int, out: npt.NDArray[np.uint16]) -> None:
    """Average the square in the middle of an image to a smaller one, or interpolate it to a larger one.

    Parameters
    ----------
    image
        (H, W, 3) of whole numbers.
    table
        What each of them means, linear.
    side
        Of the result, pixels.
    out
        (side, side, 3), written.
    """
    height, width = image.shape[0], image.shape[1]
    square = min(height, width)
    ratio = square / side
    span = max(ratio, 1.0)
    y_first, x_first = 0.5 * (height - square), 0.5 * (width - square)
    total = np.zeros(3)
    for row in range(side):
        y0 = y_first + (row + 0.5) * ratio - 0.5 * span
        for column in range(side):
            x0 = x_first + (column + 0.5) * ratio - 0.5 * span
            total[:] = 0.0
            area = 0.0
            for y in range(max(math.floor(y0), 0), min(math.ceil(y0 + span), height)):
                high = min(y + 1.0, y0 + span) - max(float(y), y0)
                for x in range(max(math.floor(x0), 0), min(math.ceil(x0 + span), width)):
                    weight = high * (min(x + 1.0, x0 + span) - max(float(x), x0))
                    area += weight
                    for k in range(3):
                        total[k] += weight * table[image[y, x, k]]
            for k in range(3):
                out[row, column, k] = np.uint16(total[k] / area + 0.5)
