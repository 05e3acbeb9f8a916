"""Kernels that find runs: rows of neighbouring pixels that share a group and a kernel.

S = source images, h w = their size, n = runs, each (source row, first x, end x, slot, frame row).
"""

from typing import Any

from .jit import jit


@jit
def count_runs(group: Any, slot: Any, counts: Any) -> None:
    """Add to `counts` (groups) how many runs each group has; `group` (S, h, w), -1 for nothing, `slot` (S, h, w)."""
    images, height, width = group.shape
    for s in range(images):
        for y in range(height):
            g, kernel = -1, -1
            for x in range(width):
                if group[s, y, x] != g or (g >= 0 and slot[s, y, x] != kernel):
                    g, kernel = group[s, y, x], slot[s, y, x]
                    if g >= 0:
                        counts[g] += 1


@jit
def _write_run(runs: Any, cursor: Any, group: int, row: int, first: int, end: int, slot: int, y: int) -> None:
    """Write the next of the `runs` (n, 5) of a group, unless the group is -1, and move `cursor` (groups)."""
    if group >= 0:
        run = runs[cursor[group]]
        run[0], run[1], run[2], run[3], run[4] = row, first, end, slot, y
        cursor[group] += 1


@jit
def find_runs(group: Any, slot: Any, cursor: Any, runs: Any) -> None:
    """Write the `runs` (n, 5) of images as for `count_runs`, those of each group from above to below.

    `cursor` (groups) says where those of each group begin.
    """
    images, height, width = group.shape
    for y in range(height):
        for s in range(images):
            g, kernel, first = -1, -1, 0
            for x in range(width):
                if group[s, y, x] != g or (g >= 0 and slot[s, y, x] != kernel):
                    _write_run(runs, cursor, g, s * height + y, first, x, kernel, y)
                    g, kernel, first = group[s, y, x], slot[s, y, x], x
            _write_run(runs, cursor, g, s * height + y, first, width, kernel, y)


@jit
def layer_runs(rgba: Any, slot: Any, runs: Any) -> int:
    """Write the `runs` (n, 5) of one layer (h, w, channels), which is where its last channel is positive; return n.

    `slot` is (h, w), or (1, 1) where one kernel serves the whole layer.
    """
    height, width, channels = rgba.shape
    varies = slot.size > 1
    n = 0
    for y in range(height):
        x = 0
        while x < width:
            if rgba[y, x, channels - 1] <= 0:
                x += 1
                continue
            first = x
            kernel = slot[y, x] if varies else slot[0, 0]
            x += 1
            while x < width and rgba[y, x, channels - 1] > 0 and (not varies or slot[y, x] == kernel):
                x += 1
            runs[n, 0], runs[n, 1], runs[n, 2], runs[n, 3], runs[n, 4] = y, first, x, kernel, y
            n += 1
    return n
