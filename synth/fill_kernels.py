"""Kernels of `fill`. Frames have one pixel more on each side; flattened ones have a `width` with those pixels."""

from typing import Any

import numpy as np

from .jit import jit


@jit
def find_gaps(depth: Any, gaps: Any) -> int:
    """List the unknown (NaN) runs of each row of `depth` (H, W) that have two ends; return how many there are.

    `gaps` (n, 3) receives row, first column and the column after the last.
    """
    height, width = depth.shape
    count = 0
    for y in range(height):
        x = 0
        while x < width:
            if not np.isnan(depth[y, x]):
                x += 1
                continue
            end = x
            while end < width and np.isnan(depth[y, end]):
                end += 1
            if x > 0 and end < width:
                gaps[count, 0], gaps[count, 1], gaps[count, 2] = y, x, end
                count += 1
            x = end
    return count


@jit
def fill_gaps_with_farther_end(gaps: Any, depth: Any) -> None:
    """Fill the `gaps` (n, 3) of `depth` (H, W) with the farther of their two ends."""
    for i in range(len(gaps)):
        y, begin, end = gaps[i]
        value = max(depth[y, begin - 1], depth[y, end])
        for x in range(begin, end):
            depth[y, x] = value


@jit
def _difference(codes: Any, a: int, b: int) -> int:
    """Change of the channel that changes most, between two pixels."""
    most = 0
    for k in range(3):
        # Unsigned numbers would wrap.
        change = np.int32(codes[a, k]) - np.int32(codes[b, k])
        most = max(most, int(change), int(-change))
    return most


@jit
def _offer(at: int, cost: int, value: float, filled: Any, costs: Any, first: Any, after: Any, before: Any) -> int:
    """Offer a pixel a path of a cost to a depth; return 1 if it had none before.

    `first` (buckets, a power of two), `after` and `before` (n) are a list of pixels for each cost.
    """
    was, mask = costs[at], len(first) - 1
    if cost > was or (cost == was and not value > filled[at]):
        return 0
    filled[at] = value
    if cost == was:
        return 0
    new = was == 2**31 - 1
    if not new:
        left, right = before[at], after[at]
        if left < 0:
            first[was & mask] = right
        else:
            after[left] = right
        if right >= 0:
            before[right] = left
    right = first[cost & mask]
    after[at], before[at] = right, -1
    if right >= 0:
        before[right] = at
    first[cost & mask], costs[at] = at, cost
    return 1 if new else 0


@jit
def fill_by_cheapest_paths(
    width: int, prices: tuple[int, int, int], codes: Any, filled: Any, costs: Any, first: Any, after: Any, before: Any
) -> None:
    """Give each unknown pixel the depth at the end of its cheapest path; the farther one if two cost the same.

    Dijkstra's algorithm with a list of pixels for each cost (Dial 1969), which needs no passes and no heap.

    `prices` are those of a straight step, a diagonal one, and a code of colour. `codes` (n, 3) uint8; `filled` (n) is
    NaN where unknown, `costs` (n) int32 there 2**31 - 1 and elsewhere, margin included, 0. `first` holds -1, as many
    as a power of two, more than the dearest step costs; `after` and `before` (n) are scratch.
    """
    straight, diagonal, per_code = prices
    steps = np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    lengths = np.array([diagonal, straight, diagonal, straight, straight, diagonal, straight, diagonal])
    waiting = 0
    for at in range(len(filled)):
        if costs[at] == 0:
            continue
        for i in range(8):
            other = at + steps[i]
            if costs[other] == 0 and not np.isnan(filled[other]):
                cost = lengths[i] + per_code * _difference(codes, at, other)
                waiting += _offer(at, cost, filled[other], filled, costs, first, after, before)
    now, mask = 0, len(first) - 1
    while waiting:
        # No step costs nothing, so what is found from here lies in later lists.
        at = first[now & mask]
        while at >= 0:
            waiting -= 1
            for i in range(8):
                other = at + steps[i]
                if costs[other] >= now + lengths[i]:
                    cost = now + lengths[i] + per_code * _difference(codes, at, other)
                    waiting += _offer(other, cost, filled[at], filled, costs, first, after, before)
            at = after[at]
        first[now & mask] = -1
        now += 1
