"""Kernels as tiles: which part of a PSF is shown, how large, and in which colours."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from .pictures import UInt8

Float64 = npt.NDArray[np.float64]

SHOWN = 0.95
"""Tiles show the least square around the axis that holds this share of each PSF's light, and two pixels more."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tiles:
    """How kernels become tiles: the part that is shown, and pixels of the sheet per pixel or the reverse."""

    rows: slice
    columns: slice
    magnified: int
    averaged: int
    axis: tuple[float, float]  # pixels of the sheet from the tile's corner to the middle of the axis pixel
    shape: tuple[int, int]

    def pixels(self, kernel: Float64) -> Float64:
        """Cut, average and magnify (..., h, w) to (..., *shape)."""
        part = kernel[..., self.rows, self.columns]
        n = self.averaged
        if n > 1:
            fill = [(0, 0)] * (part.ndim - 2) + [(0, -size % n) for size in part.shape[-2:]]
            part = np.pad(part, fill)
            part = part.reshape(*part.shape[:-2], part.shape[-2] // n, n, part.shape[-1] // n, n).mean(axis=(-3, -1))
        return part.repeat(self.magnified, axis=-2).repeat(self.magnified, axis=-1)


def choose_tiles(kernels: Float64) -> Tiles:
    """Choose the central part that holds `SHOWN` of every kernel's light, and a scale at which it can be seen."""
    height, width = kernels.shape[-2:]
    y, x = height // 2, width // 2
    reach = np.maximum(np.abs(np.arange(height) - y)[:, None], np.abs(np.arange(width) - x)).ravel()
    light = [np.bincount(reach, kernel) for kernel in kernels.reshape(-1, height * width)]
    need = max(int(np.searchsorted(np.cumsum(held), SHOWN * held.sum())) for held in light) + 2
    top, left = max(0, y - need), max(0, x - need)
    bottom, right = min(height, y + need + 1), min(width, x + need + 1)
    side = max(bottom - top, right - left)
    target = min(300, max(136, 820 // len(kernels)))
    magnified, averaged = max(1, round(target / side)), max(1, math.ceil(side / (1.34 * target)))
    shape = [-(-size // averaged) * magnified for size in (bottom - top, right - left)]
    scale = magnified / averaged
    return Tiles(
        rows=slice(top, bottom),
        columns=slice(left, right),
        magnified=magnified,
        averaged=averaged,
        axis=((y - top + 0.5) * scale, (x - left + 0.5) * scale),
        shape=(shape[0], shape[1]),
    )


def choose_planes(count: int, most: int, focus: int) -> list[int]:
    """Return at most `most` planes, evenly apart, among them the first, the last and the one in focus."""
    if count <= most:
        return list(range(count))
    even = [round(k * (count - 1) / (most - 1)) for k in range(most)]
    if focus not in even:
        even[min(range(1, most - 1), key=lambda k: abs(even[k] - focus))] = focus
    return even


def false_colours(values: Float64) -> UInt8:
    """Colour 0 to 1 with a map of even perceived steps from black over red to pale yellow."""
    codes = np.rint(255 * values).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def tile_rows(kernel: Float64, tiles: Tiles) -> list[UInt8]:
    """Return the tiles of a plane (C, h, w), each uint8 (*tiles.shape, 3): the composite of three, then channels."""
    light = tiles.pixels(kernel)
    rows = []
    if len(light) == 3:
        rows.append(np.rint(255 * np.sqrt(light / light.max())).astype(np.uint8).transpose(1, 2, 0))
    return rows + [false_colours(np.sqrt(channel / channel.max())) for channel in light]
