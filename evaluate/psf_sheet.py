"""A sheet about a bank of point spread functions (PSFs): a strip of kernels over depth, their rotation and MTF."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .. import InputError
from .charts import Line, line_chart, ranges
from .pictures import Ink, UInt8
from .psf_field_map import field_maps
from .psf_measures import mtf
from .psf_tiles import SHOWN, Tiles, choose_planes, choose_tiles, false_colours, tile_rows
from .sheet import fit, inks, plain, typeface

Float64 = npt.NDArray[np.float64]

_MARGIN, _GAP, _TICK = 28, 16, 4
_WIDEST, _NARROWEST = 2200, 960
_TEXT = 14
_CHART = 330
# Okabe and Ito's colours, which colour blindness does not confuse; brighter on black.
_CHANNELS = {
    False: ((200, 80, 0), (0, 140, 100), (0, 100, 178)),
    True: ((255, 140, 70), (60, 205, 155), (95, 185, 240)),
}
_ENDS: dict[bool, tuple[Ink, Ink]] = {False: ((184, 85, 6), (31, 95, 168)), True: ((240, 160, 70), (110, 175, 235))}


@dataclass(frozen=True, eq=False, kw_only=True)
class Planes:
    """The planes of a bank of PSFs.

    Parameters
    ----------
    coc
        Floating point (K,), signed CoC diameter in pixels, positive nearer than the focus.
    depth
        Floating point (K,), metres; `inf` is allowed.
    defocus
        Floating point (K,), defocus phase psi in radians at the edge of the pupil, or None.
    """

    coc: npt.NDArray[Any]
    depth: npt.NDArray[Any]
    defocus: npt.NDArray[Any] | None = None

    def focus(self) -> int:
        """Index of the plane with the least |CoC|."""
        return int(np.abs(self.coc).argmin())

    def named(self) -> dict[int, str]:
        """Return the planes that a reader compares, and their names: the focus and the two ends."""
        focus = self.focus()
        found = {int(self.coc.argmax()): "near", focus: "", int(self.coc.argmin()): "far"}
        return found | {focus: "focus" if abs(self.coc[focus]) < 1 else "least CoC"}


def _check(stack: npt.NDArray[Any], planes: Planes, names: Sequence[str] | None) -> None:
    if stack.ndim != 4 or stack.size == 0 or stack.shape[1] not in (1, 3) or stack.dtype.kind not in "fiu":
        raise InputError(f"a sheet shows real PSFs (K, 1 or 3, h, w), not {stack.dtype} {stack.shape}.")
    if not (np.isfinite(stack).all() and stack.min() >= 0 and stack.any(axis=(2, 3)).all()):
        raise InputError("every PSF of a sheet is finite, not negative, and holds some light; one of these is not.")
    count, channels = stack.shape[:2]
    for name in ("coc", "depth", "defocus"):
        values = getattr(planes, name)
        if values is None:
            continue
        if values.shape != (count,):
            raise InputError(f"the {name} of {count} planes has shape ({count},), not {values.shape}.")
        if np.isnan(values).any() or (name == "depth" and values.min() <= 0):
            raise InputError(f"the {name} of a plane cannot be {values.min():g}.")
        if name != "depth" and np.isinf(values).any():
            raise InputError(f"the {name} of a plane is finite.")
    if names is not None and len(names) != channels:
        raise InputError(f"PSFs of {channels} channels need as many names, not {len(names)}.")


def _check_extras(
    stack: npt.NDArray[Any], rotation: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None, energy: npt.NDArray[Any] | None
) -> None:
    count, channels = stack.shape[:2]
    for angles in rotation or ():
        if angles.shape != (channels, count) or np.isinf(angles).any():
            raise InputError(f"angles of rotation are finite or NaN and ({channels}, {count}), not {angles.shape}.")
    if energy is not None and not (energy.shape == (count, channels) and np.isfinite(energy).all()):
        raise InputError(f"the light in the window is finite and ({count}, {channels}), not {energy.shape}.")


def _wrapped(text: str, size: int, room: float) -> list[str]:
    """Break text into lines that fit, at its spaces."""
    lines = [""]
    for word in plain(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if fit(longer, size, room) == longer:
            lines[-1] = longer
        else:
            lines.append(fit(word, size, room))
    return [line for line in lines if line]


def _number(value: float, sign: str = "") -> str:
    """Write a depth, or with sign "+" a difference from the focus, of which hundredths matter."""
    return "0" if sign and abs(value) < 0.005 else f"{value:{sign}.3g}"


def _text_block(lines: Sequence[tuple[str, int, Ink]], width: int, back: int) -> UInt8:
    """Write lines of (text, size, colour), broken to the width, under one another."""
    broken = [(part, size, colour) for text, size, colour in lines for part in _wrapped(text, size, width)]
    tops = np.cumsum([0, *(round(1.45 * size) for _, size, _ in broken)])
    picture = Image.new("RGB", (width, max(1, int(tops[-1]))), (back,) * 3)
    draw = ImageDraw.Draw(picture)
    for (text, size, colour), top in zip(broken, tops, strict=False):
        draw.text((0, int(top)), text, colour, typeface(size))
    return np.asarray(picture)


def _labels(planes: Planes) -> dict[str, list[str]]:
    """Return the lines of text above the tiles: their titles and a text for every plane."""
    named = planes.named()
    lines = {
        "": [named.get(k, "") for k in range(len(planes.coc))],
        "depth in m": [_number(z) for z in planes.depth],
        "CoC in px": [_number(c, "+") for c in planes.coc],
    }
    if planes.defocus is not None:
        lines["psi in rad"] = [_number(p, "+") for p in planes.defocus]
    return lines


def _strip(stack: Float64, planes: Planes, names: Sequence[str], dark: bool) -> tuple[UInt8, Tiles]:
    """Draw kernels over depth, with what they are above them; also return how the tiles were made."""
    back, ink, muted = inks(dark)
    colours: list[Ink] = list(_CHANNELS[dark]) if len(names) == 3 else [ink]
    titles = [*(["composite"] if len(names) == 3 else []), *names]
    labels = _labels(planes)
    gutter = 14 + math.ceil(max(typeface(13).getlength(fit(t, 13, 130)) for t in [*titles, *labels]))
    most = 11
    for _ in range(2):
        chosen = choose_planes(len(stack), most, planes.focus())
        tiles = choose_tiles(stack[chosen])
        cell = max(tiles.shape[1], 64) + _GAP
        most = max(3, min(11, (_WIDEST - gutter) // cell))
    top = 18 * len(labels) + _GAP
    pitch = max(tiles.shape[0], 18) + _GAP
    picture = Image.new("RGB", (gutter + len(chosen) * cell, top + len(titles) * pitch), (back,) * 3)
    draw = ImageDraw.Draw(picture)
    for j, title in enumerate(labels):
        draw.text((0, 18 * j), title, muted, typeface(13))
    for j, (title, colour) in enumerate(zip(titles, [ink, *colours][-len(titles) :], strict=True)):
        middle = top + j * pitch + tiles.shape[0] / 2
        draw.text((0, middle), fit(title, 13, 130), colour, typeface(13), anchor="lm")
    for column, k in enumerate(chosen):
        left = gutter + column * cell + (cell - _GAP - tiles.shape[1]) // 2
        for j, (title, texts) in enumerate(labels.items()):
            draw.text((left + tiles.shape[1] / 2, 18 * j), texts[k], ink if title else muted, typeface(13), anchor="ma")
        for j, tile in enumerate(tile_rows(stack[k], tiles)):
            corner = (left, top + j * pitch)
            picture.paste(Image.fromarray(tile), corner)
            _frame(draw, corner, tiles, muted)
    return np.asarray(picture), tiles


def _frame(draw: ImageDraw.ImageDraw, corner: tuple[int, int], tiles: Tiles, colour: Ink) -> None:
    """Frame a tile and point at the axis pixel, both from outside: nothing of the PSF is covered."""
    left, top = corner[0] - 1, corner[1] - 1
    right, bottom = corner[0] + tiles.shape[1], corner[1] + tiles.shape[0]
    x, y = corner[0] + math.floor(tiles.axis[1]), corner[1] + math.floor(tiles.axis[0])
    draw.rectangle((left, top, right, bottom), outline=colour)
    for line in ((x, top - _TICK, x, top), (x, bottom, x, bottom + _TICK)):
        draw.line(line, colour)
    for line in ((left - _TICK, y, left, y), (right, y, right + _TICK, y)):
        draw.line(line, colour)


def _note(stack: Float64, tiles: Tiles) -> str:
    """Say what the tiles are."""
    height, width = stack.shape[2:]
    rows, columns = tiles.rows.stop - tiles.rows.start, tiles.columns.stop - tiles.columns.start
    part = f"all {height} x {width} pixels"
    if (rows, columns) != (height, width):
        held = f"at least {100 * SHOWN:.0f} % of the light inside the window of each PSF"
        part = f"the central {rows} x {columns} of {height} x {width} pixels, {held}"
    scale = f"enlarged {tiles.magnified} times" if tiles.magnified > 1 else "pixel by pixel"
    if tiles.averaged > 1:
        scale = f"averaged {tiles.averaged} x {tiles.averaged}"
    return (
        f"Tiles: {part}, {scale}; ticks point at the axis. Brightness is the square root of the light, each tile "
        "scaled to its own brightest pixel."
    )


def _scale_bar(width: int, dark: bool) -> UInt8:
    """Draw the colours of the channels' tiles over the light."""
    back, _, muted = inks(dark)
    picture = Image.new("RGB", (width, 20), (back,) * 3)
    draw = ImageDraw.Draw(picture)
    before, after = "light in a pixel: 0", "brightest of the tile"
    start = math.ceil(typeface(12).getlength(before)) + 8
    bar = false_colours(np.sqrt(np.linspace(0, 1, 200))[None].repeat(12, axis=0))
    picture.paste(Image.fromarray(bar), (start, 3))
    draw.text((0, 9), before, muted, typeface(12), anchor="lm")
    draw.text((start + 208, 9), after, muted, typeface(12), anchor="lm")
    return np.asarray(picture)


def _rotation_chart(
    planes: Planes, names: Sequence[str], rotation: tuple[Float64, Float64], width: int, dark: bool
) -> UInt8:
    measured, theory = np.degrees(rotation[0]), np.degrees(rotation[1])
    x = np.asarray(planes.coc if planes.defocus is None else planes.defocus, np.float64)
    order = np.argsort(x, kind="stable")
    colours: Sequence[Ink] = _CHANNELS[dark] if len(names) == 3 else [inks(dark)[1]]
    lines = [
        Line(name=name, colour=colour, x=x[order], y=theory[c, order], marks=measured[c, order], shape=c)
        for c, (name, colour) in enumerate(zip(names, colours, strict=True))
    ]
    low, high = ranges(x, 0.0 if np.ptp(x) > 0 else 1.0)
    bottom, top = ranges(np.concatenate([measured, theory]), 10.0)
    quantity = "CoC in px" if planes.defocus is None else "defocus psi in rad"
    note = "degrees, positive is clockwise on this sheet; marks are measured, lines are theory"
    return line_chart(
        lines,
        width=width,
        height=_CHART,
        heading="Rotation of the PSF",
        note=note if np.isfinite(measured).any() else "no plane has a rotation that can be measured",
        x_title=f"{quantity}, positive is nearer",
        x_range=(low - 0.02 * (high - low), high + 0.02 * (high - low)),
        y_range=(bottom - 0.05 * (top - bottom), top + 0.05 * (top - bottom)),
        degrees=True,
        dark=dark,
    )


def _mtf_chart(stack: Float64, planes: Planes, names: Sequence[str], width: int, dark: bool) -> UInt8:
    channel = len(names) // 2
    colours = {"near": _ENDS[dark][0], "far": _ENDS[dark][1]}
    lines = []
    for k, name in planes.named().items():
        frequency, values = mtf(stack[k, channel], 128)
        text, colour = f"{name}, {_number(planes.depth[k])} m", colours.get(name, inks(dark)[1])
        lines.append(Line(name=text, colour=colour, x=frequency, y=values, dashed=name == "far"))
    return line_chart(
        lines,
        width=width,
        height=_CHART,
        heading=f"MTF ({names[channel]})" if len(names) == 3 else "MTF",
        note="modulus of the transfer function, mean over directions",
        x_title="spatial frequency in cycles per pixel, up to Nyquist",
        x_range=(0.0, 0.5),
        y_range=(0.0, 1.0),
        key=True,
        dark=dark,
    )


def _energy_line(energy: npt.NDArray[Any], planes: Planes, names: Sequence[str]) -> str:
    """Say where the window holds least and most of the light."""

    def where(flat: np.intp) -> str:
        k, c = np.unravel_index(flat, energy.shape)
        which = f"{names[int(c)]}, " if len(names) == 3 else ""
        return f"{100 * energy[k, c]:.1f} % ({which}{_number(planes.depth[k])} m)"

    if energy.min() == energy.max():
        return f"Light inside the window: {100 * energy.flat[0]:.1f} %"
    return f"Light inside the window: {where(energy.argmin())} to {where(energy.argmax())}"


def psf_sheet(
    kernels: npt.NDArray[Any],
    *,
    title: str,
    planes: Planes,
    channel_names: Sequence[str] | None = None,
    rotation: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None,
    energy: npt.NDArray[Any] | None = None,
    field: Mapping[str, npt.NDArray[Any]] | None = None,
    facts: Sequence[str] = (),
    dark: bool = False,
) -> UInt8:
    """Draw a sheet about a bank of PSFs, for a slide or a lab book.

    A strip shows at most eleven planes, the first, the last and the one in focus among them; charts show the rotation
    of all planes and the MTF of the ends and of the focus.

    Parameters
    ----------
    kernels
        Real (K, C, h, w), not negative, C 1 or 3 (R, G, B); the axis is pixel (h // 2, w // 2).
    title
        One line.
    planes
        What the K planes are.
    channel_names
        C names; "red", "green", "blue" or "PSF" by default.
    rotation
        Measured and theoretical angles, each floating point (C, K), radians, clockwise on the display, NaN where there
        is none; without them that chart is left out. See `psf_measures.rotation_angles`.
    energy
        Floating point (K, C): share of the light that the window holds.
    field
        Where PSFs vary over the picture: kernels (rows, columns, h, w) at its positions, by heading.
    facts
        Lines of text under the title: camera, mask, wavelengths.
    dark
        Near-black background instead of white.

    Returns
    -------
    uint8 (H, W, 3), sRGB.

    Raises
    ------
    InputError
        If shapes do not belong together, or a value is one that cannot be.
    """
    stack = np.asarray(kernels)
    _check(stack, planes, channel_names)
    _check_extras(stack, rotation, energy)
    names = channel_names or (["red", "green", "blue"] if stack.shape[1] == 3 else ["PSF"])
    back, ink, muted = inks(dark)
    strip, tiles = _strip(stack, planes, names, dark)
    width = max(_NARROWEST, strip.shape[1])
    lines: list[tuple[str, int, Ink]] = [(fit(title, 24, width), 24, ink), *((fact, _TEXT, muted) for fact in facts)]
    if energy is not None:
        lines.append((_energy_line(energy, planes, names), _TEXT, muted))
    half = (width - 2 * _GAP) // 2
    charts = [_mtf_chart(stack, planes, names, half if rotation is not None else min(width, 800), dark)]
    if rotation is not None:
        angles = (np.asarray(rotation[0], np.float64), np.asarray(rotation[1], np.float64))
        charts.insert(0, _rotation_chart(planes, names, angles, half, dark))
    row = np.full((_CHART, width, 3), back, np.uint8)
    for k, chart in enumerate(charts):
        row[:, k * (width - half) : k * (width - half) + chart.shape[1]] = chart
    note = _text_block([(_note(stack, tiles), 12, muted)], width, back)
    maps = [field_maps(field, width, dark=dark)] if field else []
    return _stacked([_text_block(lines, width, back), strip, _scale_bar(width, dark), note, *maps, row], width, back)


def _stacked(blocks: Sequence[UInt8], width: int, back: int) -> UInt8:
    """Put pictures under one another, with margins."""
    gaps = [_GAP, 4, 2, *[2 * _GAP] * (len(blocks) - 4), 0]
    height = sum(block.shape[0] for block in blocks) + sum(gaps)
    canvas = np.full((height + 2 * _MARGIN, width + 2 * _MARGIN, 3), back, np.uint8)
    top = _MARGIN
    for block, gap in zip(blocks, gaps, strict=True):
        canvas[top : top + block.shape[0], _MARGIN : _MARGIN + block.shape[1]] = block
        top += block.shape[0] + gap
    return canvas
