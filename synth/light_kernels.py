"""Kernel of `light.encode`. n = values, c = codes - 1."""

from typing import Any

import numpy as np

from .jit import jit


@jit
def encode_by_thresholds(linear: Any, thresholds: Any, starts: Any, out: Any) -> None:
    """Write to `out` (n) the number of `thresholds` (c, ascending) that each value of `linear` (n) reaches."""
    steps = np.float32(len(starts) - 1)
    for i in range(len(linear)):
        value = min(max(linear[i], np.float32(0)), np.float32(1))
        code = int(starts[int(value * steps)])
        while code < len(thresholds) and value >= thresholds[code]:
            code += 1
        out[i] = code
