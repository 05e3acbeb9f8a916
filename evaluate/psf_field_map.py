"""Kernels where they stand in the picture: how a point spread function (PSF) varies over the field."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .. import InputError
from .pictures import UInt8
from .psf_tiles import choose_tiles, false_colours
from .sheet import fit, inks, typeface

_GAP, _HEADING = 16, 26


def field_map(kernels: npt.NDArray[Any], room: int) -> UInt8:
    """Draw kernels in rows and columns, each scaled to its own brightest pixel, brightness being the square root.

    Parameters
    ----------
    kernels
        Real (rows, columns, h, w), not negative, each with some light; the axis is pixel (h // 2, w // 2).
    room
        Pixels that all columns may take together.

    Returns
    -------
    uint8 (height, width, 3), sRGB; a column is at least 2 pixels wide.
    """
    rows, columns, height, width = kernels.shape
    tiles = choose_tiles(kernels.reshape(-1, height, width).astype(np.float64))
    side = tiles.columns.stop - tiles.columns.start
    cell = max(2, room // columns)
    tiles = replace(tiles, magnified=max(1, (cell - 1) // side), averaged=max(1, math.ceil(side / (cell - 1))))
    light = tiles.pixels(kernels.astype(np.float64))
    light /= light.max(axis=(2, 3), keepdims=True)
    framed = np.pad(np.sqrt(light), [(0, 0), (0, 0), (0, 1), (0, 1)], constant_values=0.35)
    return false_colours(framed.transpose(0, 2, 1, 3).reshape(rows * framed.shape[2], columns * framed.shape[3]))


def field_maps(maps: Mapping[str, npt.NDArray[Any]], width: int, *, dark: bool = False) -> UInt8:
    """Draw maps of kernels beside each other, each under its heading.

    Parameters
    ----------
    maps
        Headings, and kernels as for `field_map`.
    width
        Of the picture, pixels.
    dark
        Near-black background instead of white.

    Raises
    ------
    InputError
        If kernels are not four-dimensional, or one of them is dark.
    """
    for kernels in maps.values():
        if kernels.ndim != 4 or not kernels.any(axis=(2, 3)).all():
            raise InputError(f"a map shows PSFs (rows, columns, h, w) that hold some light, not {kernels.shape}.")
    room = (width - _GAP * (len(maps) - 1)) // len(maps)
    drawn = [field_map(kernels, room) for kernels in maps.values()]
    back, ink, _ = inks(dark)
    picture = Image.new("RGB", (width, _HEADING + max(len(tiles) for tiles in drawn)), (back,) * 3)
    draw = ImageDraw.Draw(picture)
    for k, (heading, tiles) in enumerate(zip(maps, drawn, strict=True)):
        draw.text((k * (room + _GAP), 0), fit(heading, 14, room), ink, typeface(14))
        picture.paste(Image.fromarray(tiles), (k * (room + _GAP), _HEADING))
    return np.asarray(picture)
