"""Kernels of `field_canvas`. A run is a row of neighbouring pixels that share a kernel; see `disk_kernels`."""

from typing import Any

import numpy as np

from .jit import jit

NONE = np.float32(0.0)


@jit
def weigh_runs(
    source: Any, runs: Any, top: int, left: int, first: Any, row_weight: Any, along: Any, column_weight: Any,
    weighted: Any, out: Any,
) -> int:  # fmt: skip
    """Write the share of `runs` (n, 5) that goes to some of the nodes; return the number of runs written.

    `source` (rows, w, k) lies at (top, left) in the frame (H, W). A pixel's share belongs to the node numbered
    ``first[y] + along[x]``, and is its value times ``row_weight[y] * column_weight[x]`` (H and W each). The products go
    to `weighted` (rows, w, k), and to `out` (m, 5) the runs, cut where the node changes, the slot being that node's.
    """
    n, channels = 0, source.shape[2]
    for i in range(len(runs)):
        row, x, end, slot, y = runs[i, 0], runs[i, 1], runs[i, 2], runs[i, 3], top + runs[i, 4]
        if row_weight[y] == NONE:
            continue
        while x < end:
            if column_weight[left + x] == NONE:
                x += 1
                continue
            begin, node = x, along[left + x]
            while x < end and along[left + x] == node and column_weight[left + x] != NONE:
                weight = row_weight[y] * column_weight[left + x]
                for k in range(channels):
                    weighted[row, x, k] = source[row, x, k] * weight
                x += 1
            out[n, 0], out[n, 1], out[n, 2], out[n, 3], out[n, 4] = row, begin, x, slot + first[y] + node, runs[i, 4]
            n += 1
    return n
