"""A mask as a picture: its height, and its PSFs over defocus in each colour."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from ..pictures import coloured
from .module import Optics

UInt8 = npt.NDArray[np.uint8]
GAP, LINE, LEFT = 4, 15, 46
"""Pixels between tiles, of a line of text, and for the names of the rows."""
LEAST_TILE, MOST_PLANES, MOST_NUMBERS = 72, 9, 8
_BEYOND = 255


@torch.no_grad()
def mask_picture(optics: Optics) -> UInt8:
    """Draw a mask: on the left its height (blue low, red high), or what it lets through; on the right its PSFs.

    Returns
    -------
    (h, w, 3) uint8. Each PSF is scaled to its own greatest value, and drawn with its square root.
    """
    # As it will be made, and on the processor wherever it is learned.
    kernels = optics.bank.kernels(optics.mask.finished(), "cpu").float().numpy()
    chosen = np.unique(np.linspace(0, len(kernels) - 1, min(MOST_PLANES, len(kernels))).round().astype(int))
    scale = max(1, math.ceil(LEAST_TILE / kernels.shape[-1]))
    tile, rows = kernels.shape[-1] * scale, kernels.shape[1]
    side = max(3, rows) * (tile + GAP) - GAP
    sheet = np.full((2 * LINE + side, side + LEFT + len(chosen) * (tile + GAP), 3), _BEYOND, np.uint8)
    surface, words = _surface(optics, side)
    sheet[LINE : LINE + side, :side] = surface
    for row in range(rows):
        for column, plane in enumerate(chosen):
            y, x = LINE + row * (tile + GAP), side + LEFT + column * (tile + GAP)
            sheet[y : y + tile, x : x + tile] = _enlarged(kernels[plane, row], scale)
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    draw.text((1, 1), words, fill=(0, 0, 0))
    for row, wavelength in enumerate(optics.settings.wavelengths[:rows]):
        draw.text((side + 6, LINE + row * (tile + GAP) + tile // 2 - 6), f"{wavelength * 1e9:.0f} nm", fill=(0, 0, 0))
    for column, psi in enumerate(optics.bank.psi[chosen].tolist()):
        draw.text((side + LEFT + column * (tile + GAP), 1), f"{psi:+.1f} rad", fill=(0, 0, 0))
    draw.text((1, LINE + side + 2), number_words(optics.mask.numbers()), fill=(0, 0, 0))
    return np.asarray(image)


def write_mask_picture(optics: Optics, path: Path) -> None:
    """Write `mask_picture` as a PNG."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask_picture(optics)).save(path)


def number_words(numbers: Mapping[str, float]) -> str:
    """Say the numbers of a mask in a line; of many the first."""
    said = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items()]
    return ", ".join(said[:MOST_NUMBERS]) + (", ..." if len(said) > MOST_NUMBERS else "")


def _surface(optics: Optics, side: int) -> tuple[UInt8, str]:
    """Return the picture of a mask's height, or of its transmission where it has none, and what it shows."""
    axis = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(axis, axis)
    mask = optics.mask.finished()
    through = np.asarray(mask.amplitude(x, y), np.float64) ** 2
    height = mask.height(x, y)
    if height is None:
        return coloured(through, 0.0, 1.0), "transmission, 0 to 1"
    opened = np.where(through > 0, np.asarray(height, np.float64) * 1e9, np.nan)
    low, high = float(np.nanmin(opened)), float(np.nanmax(opened))
    picture = coloured(opened, low, max(high, low + 1.0))
    picture[through <= 0] = _BEYOND
    return picture, f"height, {low:.0f} to {high:.0f} nm"


def _enlarged(kernel: npt.NDArray[np.float32], scale: int) -> UInt8:
    share = np.sqrt(np.clip(kernel / max(float(kernel.max()), 1e-30), 0, 1))
    grey = np.rint(255 * np.kron(share, np.ones((scale, scale)))).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)
