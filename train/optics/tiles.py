"""How a batch is cut into tiles for the renderer, and which layers each tile needs.

A tile sees few of a scene's layers, and its transforms fit a processor's cache: both save more than the overlap of
neighbouring tiles costs. Where that is not so, one tile holds the whole picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..transforms import fast_size

BLOCK = 8
"""Pixels along the sides of the blocks for which it is noted which planes they hold."""
DIVISIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Into how many tiles an axis may be cut."""
AT_ONCE = 2**21
"""Points of transforms, summed over layers, that are worked on at once; of each some 100 bytes are kept meanwhile."""
WORK, PER_TILE = 5.0, 0.5
"""Work at a point besides its transforms, in units of a transform's step; work on a tile, in layers."""

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Span:
    """One tile along one axis, pixels.

    Attributes
    ----------
    start, stop
        What it makes of the picture.
    low, high
        What it takes of the picture: as far as kernels reach.
    before, after
        What it takes beyond the picture's borders, where mirrors stand.
    size
        Length of its transforms; its window begins `before` ahead of `low` and is filled with zeros at its end.
    """

    start: int
    stop: int
    low: int
    high: int
    before: int
    after: int
    size: int

    @property
    def length(self) -> int:
        """Pixels that it takes of the picture."""
        return self.high - self.low


@dataclass(frozen=True)
class Block:
    """The l-th layers of a part's tiles: where they begin and end among all."""

    start: int
    stop: int

    @property
    def count(self) -> int:
        """How many tiles have such a layer."""
        return self.stop - self.start


@dataclass(frozen=True)
class Part:
    """Tiles at one place of several images, worked on together.

    Their layers are numbered from far to near, and stored so that the first layers of all tiles come first: those
    tiles that have an l-th layer are the first `counts[l]`.

    Attributes
    ----------
    rows, columns
        Where the tiles lie.
    images
        (T,) which images, those with most layers first.
    counts
        Tiles that have a first, a second, ... layer; descending.
    planes
        (J,) plane of each layer, J being the sum of `counts`.
    """

    rows: Span
    columns: Span
    images: tuple[int, ...]
    counts: tuple[int, ...]
    planes: tuple[int, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the tiles make."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def blocks(self) -> Iterator[Block]:
        """Yield the first, second, ... layers."""
        start = 0
        for count in self.counts:
            yield Block(start, start + count)
            start += count

    def owners(self) -> list[int]:
        """Image of each layer, (J,)."""
        return [image for count in self.counts for image in self.images[:count]]

    def made(self, image: Tensor) -> Tensor:
        """Return the view (..., h, w) of an image (..., H, W) that the tiles make."""
        return image[..., self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def taken(self, image: Tensor) -> Tensor:
        """Return the view (..., h, w) of an image (..., H, W) that the tiles take."""
        return image[..., self.rows.low : self.rows.high, self.columns.low : self.columns.high]

    def inner(self, window: Tensor) -> Tensor:
        """Return the view (..., h, w) of windows that what the tiles take fills."""
        rows, columns = self.rows, self.columns
        return window[..., rows.before : rows.before + rows.length, columns.before : columns.before + columns.length]

    def mirror(self, window: Tensor) -> None:
        """Continue windows, of which `inner` is filled and the rest is zero, beyond the picture's borders."""
        columns = self.columns
        _mirror(window[..., columns.before : columns.before + columns.length], self.rows, -2)
        _mirror(window, columns, -1)

    def valid(self, window: Tensor, size: int) -> Tensor:
        """Return the view (..., h, w) of windows that convolution with kernels of a size makes right."""
        first, (height, width) = size - 1, self.size
        return window[..., first : first + height, first : first + width]


@dataclass(frozen=True)
class Plan:
    """How a batch is worked on.

    Attributes
    ----------
    shape
        Size of all transforms.
    parts
        What is worked on together; each pixel of each image is in one of them.
    """

    shape: tuple[int, int]
    parts: tuple[Part, ...]


def plan_tiles(plane: Tensor, planes: int, size: int, *, between: bool, pairs: bool, at_once: int = AT_ONCE) -> Plan:
    """Choose the tiles for which least has to be transformed.

    Parameters
    ----------
    plane
        (B, H, W) whole numbers from 0 to planes - 1.
    planes
        How many there are.
    size
        Side of the kernels, pixels.
    between
        A tile needs not only the planes that it sees, but all of the image's planes between these too.
    pairs
        Each image of the batch's first half is worked on together with its partner in the second half.
    at_once
        Points of transforms that a part may have, unless one tile has more.
    """
    height, width = plane.shape[-2:]
    packed = np.packbits(_planes_of_blocks(plane, planes), axis=-1)
    if pairs:
        packed = packed[: len(packed) // 2] | packed[len(packed) // 2 :]
    in_image = np.bitwise_or.reduce(packed, axis=(1, 2))
    best: tuple[float, list[Span], list[Span], Flags] | None = None
    for rows in _divisions(height, size):
        over_rows = np.stack([_any(packed, span, 1) for span in rows])
        for columns in _divisions(width, size):
            seen = np.stack([_any(over_rows, span, 2) for span in columns], axis=1)
            needed = np.unpackbits(seen, axis=-1, count=planes).astype(bool)
            if between:
                behind = np.logical_or.accumulate(needed, axis=-1)
                before = np.logical_or.accumulate(needed[..., ::-1], axis=-1)[..., ::-1]
                needed = behind & before & np.unpackbits(in_image, axis=-1, count=planes).astype(bool)
            points = rows[0].size * columns[0].size
            work = points * (WORK + np.log2(points + 1)) * float(needed.sum() + PER_TILE * needed[..., 0].size)
            fits = points * int(needed.sum(-1).max()) <= at_once
            # Tiles that do not fit cost memory, and are for want of better ones.
            cost = work if fits else 4 * work
            if best is None or cost < best[0]:
                best = cost, rows, columns, needed
    assert best is not None
    _, rows, columns, needed = best
    points = rows[0].size * columns[0].size
    parts = [
        part
        for i, row in enumerate(rows)
        for j, column in enumerate(columns)
        for part in _parts(row, column, needed[i, j], max(at_once // points, 1))
    ]
    return Plan((rows[0].size, columns[0].size), tuple(parts))


def _divisions(length: int, size: int) -> Iterator[list[Span]]:
    """Yield tiles along an axis of `length` pixels, kernels being `size` pixels long."""
    found = set()
    for count in DIVISIONS:
        points = fast_size(-(-length // count) + size - 1, multiple=2)
        step = min(points - size + 1, length)
        if points in found or (count > 1 and 2 * step < size):
            continue
        found.add(points)
        yield [_span(start, min(start + step, length), length, size, points) for start in range(0, length, step)]


def _span(start: int, stop: int, length: int, size: int, points: int) -> Span:
    # The axis is at size // 2, and convolution turns kernels round.
    ahead, behind = size - 1 - size // 2, size // 2
    low, high = start - ahead, stop + behind
    return Span(
        start, stop, max(low, 0), min(high, length), before=max(-low, 0), after=max(high - length, 0), size=points
    )


def _planes_of_blocks(plane: Tensor, planes: int) -> Flags:
    """Say which planes each block of pixels holds, (B, rows, columns, planes)."""
    batch, height, width = plane.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    y = torch.arange(height, device=plane.device) // BLOCK
    x = torch.arange(width, device=plane.device) // BLOCK
    image = torch.arange(batch, device=plane.device)
    block = (image[:, None, None] * rows + y[:, None]) * columns + x
    table = torch.zeros(batch * rows * columns * planes, dtype=torch.bool, device=plane.device)
    table[(block * planes + plane).reshape(-1)] = True
    return table.view(batch, rows, columns, planes).cpu().numpy()


def _any(table: npt.NDArray[np.uint8], span: Span, axis: int) -> npt.NDArray[np.uint8]:
    """Join the blocks along one axis of a table whose axes (image, row, column) come before the last one."""
    blocks = slice(span.low // BLOCK, -(-span.high // BLOCK))
    at = [slice(None)] * table.ndim
    at[axis] = blocks
    joined: npt.NDArray[np.uint8] = np.bitwise_or.reduce(table[tuple(at)], axis=axis)
    return joined


def _parts(rows: Span, columns: Span, needed: Flags, most: int) -> Iterator[Part]:
    """Yield parts of at most so many layers, of the tiles at one place, `needed` (B, planes) being their layers."""
    layers = {image: np.flatnonzero(flags).tolist() for image, flags in enumerate(needed)}
    order = sorted(layers, key=lambda image: -len(layers[image]))
    taken, group = 0, 0
    groups = []
    for image in order:
        taken += len(layers[image])
        if taken > most:
            taken, group = len(layers[image]), group + 1
        groups.append((group, image))
    for _, members in groupby(groups, key=lambda pair: pair[0]):
        images = tuple(image for _, image in members)
        depth = len(layers[images[0]])
        ranks = [[layers[image][rank] for image in images if len(layers[image]) > rank] for rank in range(depth)]
        yield Part(
            rows, columns, images, tuple(len(rank) for rank in ranks), tuple(plane for rank in ranks for plane in rank)
        )


def _mirror(window: Tensor, span: Span, axis: int) -> None:
    """Fill along one axis, in place, what windows take beyond the picture."""
    end = span.before + span.length
    if span.before:
        window.narrow(axis, 0, span.before).copy_(window.narrow(axis, span.before, span.before).flip(axis))
    if span.after:
        window.narrow(axis, end, span.after).copy_(window.narrow(axis, end - span.after, span.after).flip(axis))
