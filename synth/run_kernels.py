"""Kernels that find runs: rows of neighbouring pixels that share a group and a kernel.

S = source images, h w = their size, n = runs, each (source row, first x, end x, slot, frame row).
"""

from typing import Any

from .jit import jit


@jit
def _end_of_run(group: Any, slot: Any, first: int) -> int:
    """Return where the run that begins at `first` ends, in a row of groups and slots (w)."""
    x = first + 1
    while x < len(group) and group[x] == group[first] and slot[x] == slot[first]:
        x += 1
    return x


@jit
def count_runs(group: Any, slot: Any, counts: Any) -> None:
    """Add to `counts` (groups) how many runs each group has; `group` (S, h, w), -1 for nothing, `slot` (S, h, w)."""
    images, height, width = group.shape
    for s in range(images):
        for y in range(height):
            x = 0
            while x < width:
                if group[s, y, x] < 0:
                    x += 1
                    continue
                counts[group[s, y, x]] += 1
                x = _end_of_run(group[s, y], slot[s, y], x)


@jit
def find_runs(group: Any, slot: Any, cursor: Any, runs: Any) -> None:
    """Write the `runs` (n, 5) of images (S, h, w), each group from above to below from its `cursor` (groups) on."""
    images, height, width = group.shape
    for y in range(height):
        for s in range(images):
            x = 0
            while x < width:
                g, first = group[s, y, x], x
                if g < 0:
                    x += 1
                    continue
                x = _end_of_run(group[s, y], slot[s, y], first)
                run = runs[cursor[g]]
                run[0], run[1], run[2], run[3], run[4] = s * height + y, first, x, slot[s, y, first], y
                cursor[g] += 1


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
