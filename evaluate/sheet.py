"""A contact sheet: samples in rows, with headings, labels and legends."""

import unicodedata
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .. import InputError
from .pictures import (
    SCALE_TITLES,
    Ink,
    UInt8,
    coc_range,
    coc_ticks,
    depth_range,
    depth_ticks,
    layer_picture,
    scale_colours,
)
from .row import LAYERS, Layer, Row

_MARGIN, _GAP, _LINE = 24, 10, 22


def check_width(width: int) -> None:
    """Refuse a width in pixels at which no text can be read."""
    if width < 120:
        raise InputError(f"pictures for people are at least 120 pixels wide, not {width}.")


@lru_cache(maxsize=8)
def typeface(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's built-in font in a size in pixels."""
    return ImageFont.load_default(size=size)


def plain(text: str) -> str:
    """Reduce text to what Pillow's built-in font can draw."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "replace").decode().replace("\n", " ")


def fit(text: str, size: int, room: float) -> str:
    """Shorten text in its middle until it fits: the ends of a path tell samples apart."""
    text, font = plain(text), typeface(size)
    if font.getlength(text) <= room:
        return text

    def cut(dropped: int) -> str:
        kept = len(text) - dropped
        return text[: kept // 3] + "..." + text[len(text) - (kept - kept // 3) :]

    return cut(bisect_left(range(len(text)), True, key=lambda dropped: font.getlength(cut(dropped)) <= room))


def inks(dark: bool) -> tuple[int, Ink, Ink]:
    """Grey level of the background, colours of the text and of the muted text."""
    return (20, (235,) * 3, (150,) * 3) if dark else (255, (25,) * 3, (110,) * 3)


def legend(layer: Literal["depth", "coc"], low: float, high: float, width: int = 320, *, dark: bool = False) -> UInt8:
    """Draw the horizontal scale bar of `depth_colours` or `coc_colours` with numbers and unit.

    Parameters
    ----------
    layer
        Which scale.
    low, high
        Its ends: near and far in metres, or -limit and +limit in pixels.
    width
        Width of the picture in pixels, at least 120.
    dark
        Light text on near-black, instead of dark text on white.

    Returns
    -------
    uint8 (64, width, 3), sRGB.

    Raises
    ------
    InputError
        If the ends are not in order or the width is too small.
    """
    check_width(width)
    bar = width - 2
    ticks = depth_ticks(low, high, gap=36 / bar) if layer == "depth" else coc_ticks(high, max(1, bar // 64))
    back, ink, muted = inks(dark)
    canvas = np.full((64, width, 3), back, np.uint8)
    canvas[22:36, 1:-1] = scale_colours(layer, bar)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 21, width - 1, 36), outline=muted)
    draw.text((0, 2), fit(SCALE_TITLES[layer], 13, bar), ink, typeface(13))
    for place, text in ticks:
        x = 1 + round(place * (bar - 1))
        half = typeface(12).getlength(text) / 2
        draw.line((x, 37, x, 41), muted)
        draw.text((min(max(x, half), width - half), 44), text, ink, typeface(12), anchor="ma")
    return np.asarray(picture)


def contact_sheet(
    rows: Sequence[Row],
    *,
    width: int = 320,
    near: float | None = None,
    far: float | None = None,
    coc_limit: float | None = None,
    title: str = "",
    dark: bool = False,
) -> UInt8:
    """Lay samples out as rows of captioned thumbnails, with one depth and one CoC scale for all of them.

    Parameters
    ----------
    rows
        The samples, at least one; a column that no sample has is left out, and `valid` always is.
    width
        Width of a thumbnail in pixels, at least 120.
    near, far
        Ends of the depth colours in metres; by default the range of all rows.
    coc_limit
        End of the CoC colours in pixels; by default the greatest |CoC| of all rows.
    title
        One line above everything, left out if empty.
    dark
        Near-black background instead of white.

    Returns
    -------
    uint8 (H, W, 3), sRGB.

    Raises
    ------
    InputError
        If there is nothing to show, or an array or a scale cannot be shown.
    """
    # Where depth is known is seen in depth itself.
    layers = [layer for layer in LAYERS if layer != "valid" and any(len(row.frames(layer)) for row in rows)]
    if not layers:
        raise InputError("a contact sheet needs at least one sample with at least one picture; none was given.")
    check_width(width)
    known = depth_range([row.depth for row in rows])
    low, high = known[0] if near is None else near, known[1] if far is None else far
    limit = coc_range([row.coc for row in rows]) if coc_limit is None else coc_limit
    bands = [
        [layer_picture(row, layer, width, near=low, far=high, coc_limit=limit) for layer in layers] for row in rows
    ]
    ends: dict[Layer, UInt8] = {}
    if "depth" in layers:
        ends["depth"] = legend("depth", low, high, width, dark=dark)
    if "coc" in layers:
        ends["coc"] = legend("coc", -limit, limit, width, dark=dark)
    labels = [(f"#{row.index}", row.source) for row in rows]
    return _sheet(title, [LAYERS[x] for x in layers], labels, bands, [ends.get(x) for x in layers], width, dark)


def _sheet(
    title: str,
    headings: Sequence[str],
    labels: Sequence[tuple[str, str]],
    bands: Sequence[Sequence[UInt8 | None]],
    legends: Sequence[UInt8 | None],
    width: int,
    dark: bool,
) -> UInt8:
    """Place bands of thumbnails and a last band of legends on a sheet, with the text."""
    back, ink, muted = inks(dark)
    lefts = [_MARGIN + k * (width + _GAP) for k in range(len(headings))]
    right = lefts[-1] + width
    heights = [max((c.shape[0] for c in band if c is not None), default=0) for band in [*bands, legends]]
    top = _MARGIN + (34 if title else 0)
    tops = np.cumsum([top + _LINE, *(h + _LINE + _GAP for h in heights)])[:-1] + _LINE
    bottom = int(tops[-1]) + heights[-1] + (_MARGIN - 12 if heights[-1] else -_LINE - _GAP + _MARGIN)
    canvas = np.full((bottom, right + _MARGIN, 3), back, np.uint8)
    for y, band in zip(tops, [*bands, legends], strict=True):
        for x, cell in zip(lefts, band, strict=True):
            if cell is not None:
                canvas[y : y + cell.shape[0], x : x + width] = cell
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    draw.text((_MARGIN, _MARGIN - 6), fit(title, 20, right - _MARGIN), ink, typeface(20))
    for x, heading in zip(lefts, headings, strict=True):
        draw.text((x, top), fit(heading, 15, width), ink, typeface(15))
    for y, (name, source), band in zip(tops, labels, bands, strict=False):
        base = int(y) - 6
        draw.text((_MARGIN, base), name, ink, typeface(13), anchor="ls")
        after = _MARGIN + typeface(13).getlength(name) + 8
        draw.text((after, base), fit(source, 13, right - after), muted, typeface(13), anchor="ls")
        for x, cell in zip(lefts, band, strict=True):
            if cell is None:
                draw.text((x, int(y)), "not given", muted, typeface(13))
    return np.asarray(picture)
