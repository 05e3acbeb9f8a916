"""A mask as a picture: its height, its PSFs over defocus in each colour, and its parameters beside their start."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw, ImageFont

from .module import Optics

UInt8 = npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
GAP, MARGIN = 6, 16
"""Pixels between tiles, and around everything."""
TITLE, TEXT = 20, 15
"""Sizes of letters, pixels."""
LINE, HEAD, BESIDE = 22, 62, 76
"""Pixels of a line of text, above the PSFs, and for the names of their rows."""
LEAST_SIDE, LARGEST_TILE, LEAST_PITCH, MOST_PLANES, MOST_NUMBERS = 320, 105, 78, 7, 8
_GROUND, _INK, _MUTED = 16, (235,) * 3, (160,) * 3
_BAR = 14
# Viridis and inferno (van der Walt and Smith 2015): as far apart as they look, also in grey and to the colour-blind.
_VIRIDIS = np.array(
    [
        [68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99],
        [170, 220, 50], [253, 231, 37],
    ]
)  # fmt: skip
_INFERNO = np.array(
    [
        [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51], [249, 140, 10],
        [249, 201, 50], [252, 255, 164],
    ]
)  # fmt: skip
_GREYS = np.array([[40] * 3, [250] * 3])


@torch.no_grad()
def mask_picture(optics: Optics) -> UInt8:
    """Draw a mask: on the left its height in micrometres, or what it lets through; on the right its PSFs.

    Returns
    -------
    (h, w, 3) uint8. Each PSF is scaled to its own greatest value, and drawn with its square root.
    """
    # As it will be made, and on the processor wherever it is learned.
    kernels = optics.bank.kernels(optics.mask.finished(), "cpu").float().numpy()
    chosen = _chosen(optics.bank.psi.numpy())
    scale = max(1, LARGEST_TILE // kernels.shape[-1])
    pitch, rows = max(kernels.shape[-1] * scale + GAP, LEAST_PITCH), kernels.shape[1]
    side = max(LEAST_SIDE, rows * pitch - GAP)
    across = max(side + BESIDE + len(chosen) * pitch - GAP, 2 * LEAST_SIDE)
    numbers = _wrapped(number_words(optics.mask.numbers(), optics.began), across)
    top = MARGIN + 2 * LINE
    below = top + HEAD + side + 3 * LINE + _BAR
    shape = (below + len(numbers) * LINE + MARGIN, across + 2 * MARGIN, 3)
    image = Image.fromarray(np.full(shape, _GROUND, np.uint8))
    draw = ImageDraw.Draw(image)
    draw.text((MARGIN, MARGIN), f"Mask: {optics.mask.finished().name}", _INK, _font(TITLE))
    _draw_surface(image, optics, (MARGIN, top + HEAD), side)
    left = MARGIN + side + BESIDE
    _draw_heads(draw, optics, chosen, (left, top), pitch)
    for row, wavelength in enumerate(optics.settings.wavelengths[:rows]):
        y = top + HEAD + row * pitch
        draw.text((left - 10, y + (pitch - GAP) // 2), f"{wavelength * 1e9:.0f} nm", _INK, _font(TEXT), anchor="rm")
        for column, plane in enumerate(chosen):
            tile = Image.fromarray(_tile(kernels[plane, row], scale))
            image.paste(tile, (left + column * pitch, y))
    for k, line in enumerate(numbers):
        draw.text((MARGIN, below + k * LINE), line, _INK, _font(TEXT))
    return np.asarray(image)


def write_mask_picture(optics: Optics, path: Path) -> None:
    """Write `mask_picture` as a PNG."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(mask_picture(optics)).save(path)


def number_words(numbers: Mapping[str, float], began: Mapping[str, float] | None = None) -> str:
    """Say the numbers of a mask in a line, each with what it began at where that is known; of many the first."""
    said = []
    for name, value in numbers.items():
        words = f"{name.replace('_', ' ')} {value:.4g}"
        start = (began or {}).get(name)
        said.append(words if start is None or start == value else f"{words} (began at {start:.4g})")
    return ", ".join(said[:MOST_NUMBERS]) + (", ..." if len(said) > MOST_NUMBERS else "")


def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def _wrapped(text: str, room: int) -> list[str]:
    """Break a line between its parts."""
    lines: list[str] = []
    for part in text.split(", ") if text else []:
        longer = f"{lines[-1]}, {part}" if lines else part
        if lines and _font(TEXT).getlength(longer) <= room:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines


def _chosen(psi: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Choose planes to draw: both ends, that in focus where it lies between, and others evenly."""
    chosen = np.linspace(0, len(psi) - 1, min(MOST_PLANES, len(psi))).round().astype(np.intp)
    focus = int(np.abs(psi).argmin())
    if 0 < focus < len(psi) - 1 and len(chosen) > 2:
        chosen[1 + int(np.abs(chosen[1:-1] - focus).argmin())] = focus
    return np.unique(chosen)


def _draw_heads(
    draw: ImageDraw.ImageDraw, optics: Optics, chosen: Sequence[int] | npt.NDArray[np.intp], at: tuple[int, int],
    pitch: int,
) -> None:  # fmt: skip
    """Write above each column of PSFs its defocus and its depth."""
    draw.text(at, "PSFs: defocus psi at the pupil's edge, and depth", _MUTED, _font(TEXT))
    depths = optics.lens.depth_at_coc(optics.bank.coc.numpy())
    for column, plane in enumerate(chosen):
        x = at[0] + column * pitch + (pitch - GAP) // 2
        psi = float(optics.bank.psi[plane])
        words = "0 rad" if abs(psi) < 0.05 else f"{psi:+.1f} rad"
        draw.text((x, at[1] + LINE - 2), words, _INK, _font(TEXT), anchor="ma")
        depth = "infinity" if math.isinf(depths[plane]) else f"{depths[plane]:.3g} m"
        draw.text((x, at[1] + 2 * LINE - 4), depth, _MUTED, _font(TEXT), anchor="ma")


def _draw_surface(image: Image.Image, optics: Optics, at: tuple[int, int], side: int) -> None:
    """Draw the height of a mask, or its transmission where it has none, over the pupil, with both scales."""
    draw, (left, top) = ImageDraw.Draw(image), at
    axis = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = np.meshgrid(axis, axis)
    mask = optics.mask.finished()
    through = np.asarray(mask.amplitude(x, y), np.float64) ** 2
    height = mask.height(x, y)
    if height is None:
        values, low, high, palette, title = through, 0.0, 1.0, _GREYS, "Transmission"
        outside = np.hypot(x, y) > 1 if not getattr(mask, "square", False) else np.zeros_like(through, bool)
    else:
        outside, palette, title = through <= 0, _VIRIDIS, "Height in um"
        values = np.asarray(height, np.float64) * 1e6
        low, high = float(values[~outside].min()), float(values[~outside].max())
    picture = _coloured(values, low, max(high, low + 1e-3), palette)
    picture[outside] = _GROUND
    draw.text((left, top - LINE), title, _MUTED, _font(TEXT))
    image.paste(Image.fromarray(picture), (left, top))
    _draw_length(draw, optics.lens.aperture_diameter, (left, top + side + 4), side)
    bar = _coloured(np.linspace(0, 1, side // 2)[None].repeat(_BAR, axis=0), 0.0, 1.0, palette)
    right, below = left + side - side // 2, top + side + 6
    image.paste(Image.fromarray(bar), (right, below))
    for x_at, value, anchor in ((right, low, "la"), (left + side, high, "ra")):
        text = f"{value:.3g}" if height is None else f"{round(value, 3) + 0.0:.3g} um"
        draw.text((x_at, below + _BAR + 3), text, _INK, _font(TEXT), anchor=anchor)


def _draw_length(draw: ImageDraw.ImageDraw, diameter: float, at: tuple[int, int], side: int) -> None:
    """Draw a bar of a round length under the pupil, at most a third of it."""
    power = 10 ** math.floor(math.log10(diameter / 3))
    length = max(step * power for step in (1, 2, 5) if step * power <= diameter / 3)
    x, y = at
    draw.rectangle((x, y + 2, x + round(side * length / diameter), y + 6), fill=_INK)
    draw.text((x, y + 11), f"{length * 1e6:.4g} um", _INK, _font(TEXT))


def _coloured(values: npt.NDArray[np.float64], low: float, high: float, palette: npt.NDArray[np.int_]) -> UInt8:
    share = np.clip((values - low) / (high - low), 0, 1) * (len(palette) - 1)
    channels = [np.interp(share, np.arange(len(palette)), palette[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _tile(kernel: npt.NDArray[np.float32], scale: int) -> UInt8:
    share = np.sqrt(np.clip(kernel / max(float(kernel.max()), 1e-30), 0, 1)).astype(np.float64)
    return _coloured(np.kron(share, np.ones((scale, scale))), 0.0, 1.0, _INFERNO)
