"""What a page reads out at the pointer: depth and circle of confusion (CoC) as small arrays of 16-bit codes."""

import base64
import math
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from .pictures import coc_range, depth_range

_COC_EDGE = 160
_DEPTH_STEP = 5e-4


def depth_readout(depth: npt.NDArray[Any], edge: int) -> dict[str, Any]:
    """Code depth, metres, in 16 bits, logarithmic in steps of 0.05 %: 0 is unknown, 65535 infinite.

    A code c of the others is a depth of ``least * exp((c - 1) * step)`` metres. There are at most `edge` in a row or a
    column: every pixel, or every second ...
    """
    z = _thinned(depth, edge)
    least = depth_range([z])[0]
    known = z > 0
    logs = np.log(np.where(known & np.isfinite(z), z, least) / least) / _DEPTH_STEP
    codes = np.where(np.isinf(z), 65535, 1 + np.rint(np.minimum(logs, 65533)))
    return _readout(np.where(known, codes, 0), {"least": least, "step": _DEPTH_STEP})


def coc_readout(coc: npt.NDArray[Any]) -> dict[str, Any]:
    """Code CoC, pixels, in 16 bits, linear in steps of 0.01 px or more; 0 is unknown, 32768 is no blur."""
    c = _thinned(coc, _COC_EDGE)
    step = max(0.01, coc_range([c]) / 32000)
    known = np.isfinite(c)
    codes = 32768 + np.rint(np.where(known, c, 0) / step)
    return _readout(np.where(known, codes, 0), {"step": step})


def _readout(codes: npt.NDArray[np.float64], scale: dict[str, float]) -> dict[str, Any]:
    height, width = codes.shape
    return {"height": height, "width": width, "codes": _packed(codes.astype(np.uint16)), **scale}


def _packed(codes: npt.NDArray[np.uint16]) -> str:
    """Deflate differences of successive codes, low bytes before high bytes: half the size of plain codes."""
    deltas = np.diff(codes.ravel(), prepend=np.uint16(0))
    planes = (deltas & 255).astype(np.uint8).tobytes() + (deltas >> 8).astype(np.uint8).tobytes()
    return base64.b64encode(zlib.compress(planes, 9)).decode()


def _thinned(values: npt.NDArray[Any], edge: int) -> npt.NDArray[np.float64]:
    """Take real pixels, not means, so that a read-out never invents a depth between two surfaces."""
    step = math.ceil(max(values.shape) / edge)
    counts = [math.ceil(size / step) for size in values.shape]
    y, x = (((np.arange(n) + 0.5) * size / n).astype(np.intp) for n, size in zip(counts, values.shape, strict=True))
    return values[np.ix_(y, x)].astype(np.float64)
