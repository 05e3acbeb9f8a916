"""A page for the workshop about one phase mask: its relief, its levels, and what both do to its PSFs. One HTML file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .. import InputError
from .curves import CURVE_STYLE, Curve, curve_figure, key
from .page import HEAD, STYLE
from .pictures import UInt8, nice_step, png_bytes
from .psf_tiles import Tiles, choose_tiles, false_colours

Float = npt.NDArray[np.floating[Any]]

_STYLE = (
    CURVE_STYLE
    + """
section{margin:2.2rem 0}section>h2{font-size:1.25rem;margin:0 0 .5rem}
.note{color:var(--muted);font-size:.87rem;margin:.3rem 0;max-width:85ch}
.maps{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr));gap:1rem 1.5rem}
.maps img{width:100%;height:auto;display:block;image-rendering:pixelated}
.rule{height:5px;background:var(--ink);margin:.5rem 0 .1rem}.length{font-size:.85rem;color:var(--muted)}
.maps .scale{max-width:none;margin-top:.6rem}
.wide{overflow-x:auto}
.numbers{font-variant-numeric:tabular-nums;margin:.5rem 0}
.numbers :is(th,td){white-space:nowrap;padding:.3rem 1.1rem .3rem 0;text-align:right}
.numbers th[scope=row]{text-align:left;color:var(--ink)}.numbers thead :is(th,td){border-bottom:1px solid var(--line)}
.psfs td{padding:0 .5rem .25rem 0;text-align:center;font-size:.85rem;font-variant-numeric:tabular-nums}
.psfs thead td{color:var(--muted)}.psfs th{padding-right:.75rem}.psfs img{display:block;image-rendering:pixelated}
.psfs tr.last td{padding-bottom:1rem}
"""
)
_SHOWN, _POINTS, _ROUND = 480, 720, 0.9
_SLOPE = 20
_GREY = 128
_ROOM = 0.86
"""Share of a bar up to which numbers stand clear of the one at its end."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskPage:
    """What the page tells.

    Parameters
    ----------
    title
        What the mask is.
    facts
        Headings and texts.
    heights, made
        Floating point (n, n), metres, [y, x]: as designed and as made; NaN outside the pupil.
    cell
        Side of a cell, metres.
    wave
        Height of one wave at the design wavelength, metres.
    before, after
        Floating point (K, C, h, w), not negative: PSFs as designed and as made.
    planes
        K names of the planes.
    colours
        C names of the colours.
    changes
        Floating point (K, C): relative difference of `after` from `before`.
    tables
        By title: names of the columns, then rows of a name and as many texts.
    notes
        Sentences, by the title of the table that they stand under.
    """

    title: str
    facts: Mapping[str, str]
    heights: Float
    made: Float
    cell: float
    wave: float
    before: Float
    after: Float
    planes: Sequence[str]
    colours: Sequence[str]
    changes: Float
    tables: Mapping[str, tuple[Sequence[str], Sequence[tuple[str, Sequence[str]]]]]
    notes: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        shape = self.heights.shape
        if len(shape) != 2 or shape[0] != shape[1] or self.made.shape != shape or not np.isfinite(self.heights).any():
            raise InputError(
                f"heights as designed and as made are squares of one size, not {shape}, {self.made.shape}."
            )
        counts = (len(self.planes), len(self.colours))
        if self.before.shape != self.after.shape or self.before.ndim != 4 or self.before.shape[:2] != counts:
            raise InputError(f"PSFs of {counts} planes and colours cannot be {self.before.shape}, {self.after.shape}.")
        if self.changes.shape != counts:
            raise InputError(f"the changes of PSFs are {counts}, not {self.changes.shape}.")


def mask_page(page: MaskPage) -> str:
    """Write the page.

    Returns
    -------
    The text, to be written as UTF-8. The same input gives the same text.
    """
    facts = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in page.facts.items())
    tables = "".join(_table(title, *table, page.notes.get(title, ())) for title, table in page.tables.items())
    body = [
        f"<header><h1>{escape(page.title)}</h1><table>{facts}</table></header><main>",
        f'<section><h2>Relief</h2><div class="maps">{_maps(page)}</div></section>',
        f'<section><h2>Cuts</h2>{key(("as designed", "as made"))}<div class="charts">{_cuts(page)}</div></section>',
        f"{tables}<section><h2>PSFs</h2>{_psfs(page)}</section></main></body></html>",
    ]
    return HEAD.format(title=escape(page.title), style=STYLE + _STYLE) + "\n".join(body) + "\n"


def _image(picture: UInt8, alt: str) -> str:
    address = f"data:image/png;base64,{base64.b64encode(png_bytes(picture)).decode()}"
    height, width = picture.shape[:2]
    return f'<img alt="{escape(alt)}" width={width} height={height} src="{address}">'


def _length(metres: float) -> str:
    for factor, unit in ((1e3, "mm"), (1e6, "um"), (1e9, "nm")):
        if metres * factor >= 1 or unit == "nm":
            return f"{metres * factor:.4g} {unit}"
    raise AssertionError


def _thin(cells: Float) -> Float:
    """Pick cells: the mean of a wrapped relief would show heights that are not there."""
    at = np.unique(np.linspace(0, len(cells) - 1, min(len(cells), _SHOWN)).round().astype(int))
    return np.asarray(cells[np.ix_(at, at)])


def _coloured(position: Float, table: int | None) -> UInt8:
    known = np.isfinite(position)
    values = np.clip(np.where(known, position, 0.0), 0, 1).astype(np.float64)
    if table is None:
        colours = false_colours(values)
    else:
        codes = np.rint(255 * values).astype(np.uint8)
        colours = np.asarray(cv2.applyColorMap(codes, table)[..., ::-1], np.uint8)
    return np.where(known[..., None], colours, np.uint8(_GREY))


def _scale(title: str, table: int | None, ticks: Sequence[tuple[float, str]]) -> str:
    colours = _coloured(np.linspace(0, 1, 33)[None], table)[0]
    stops = ",".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colours.tolist())
    places = "".join(f'<i style="left:{100 * at:.2f}%">{text}</i>' for at, text in ticks)
    return (
        f'<div class="scale"><b>{title}</b><div style="background:linear-gradient(to right,{stops})"></div>'
        f"<p>{places}</p></div>"
    )


def _maps(page: MaskPage) -> str:
    top = float(np.nanmax(page.heights))
    ticks = _height_ticks(top * 1e9)
    heights, made = _thin(page.heights), _thin(page.made)
    side = len(page.heights) * page.cell
    length = nice_step(side, 4)
    rule = (
        f'<div class="rule" style="width:{100 * length / side:.2f}%"></div><div class="length">{_length(length)}</div>'
    )
    turns = ((0.0, "0"), (0.25, "\u03c0/2"), (0.5, "\u03c0"), (0.75, "3\u03c0/2"), (1.0, "2\u03c0"))
    shown = (
        ("Height as designed", _coloured(heights / top, None), _scale("height in nm", None, ticks)),
        ("Phase as designed", _coloured(np.mod(heights / page.wave, 1.0), cv2.COLORMAP_TWILIGHT),
         _scale("rad at the design wavelength", cv2.COLORMAP_TWILIGHT, turns)),
        ("Height as made", _coloured(made / top, None), _scale("height in nm", None, ticks)),
    )  # fmt: skip
    return "".join(
        f"<figure><figcaption>{name}</figcaption>{_image(picture, name)}{rule}{scale}</figure>"
        for name, picture, scale in shown
    )


def _height_ticks(top: float) -> list[tuple[float, str]]:
    """Places and texts of the numbers under a bar of heights from 0 to `top` nm, both ends among them."""
    step = nice_step(top, 4)
    inner = [(k * step / top, f"{k * step:g}") for k in range(int(top / step) + 1)]
    return [tick for tick in inner if tick[0] < _ROOM] + [(1.0, f"{top:.4g}")]


def _cuts(page: MaskPage) -> str:
    """Draw heights along a line through the centre, and around a circle."""
    middle, reach = (len(page.heights) - 1) / 2, _radius(page)

    def cells(radius: Any, angle: Any) -> tuple[Any, Any]:
        y, x = (np.rint(middle + radius * part(angle)).astype(int) for part in (np.sin, np.cos))
        return y, x

    across = np.linspace(-reach, reach, _POINTS)
    turn = np.linspace(-np.pi, np.pi, _POINTS + 1)
    radius = _ROUND * reach
    line = _cut(
        page, "Through the centre", f"height in nm; the line falls to the right by {_SLOPE} degrees",
        across * page.cell * 1e3, "mm from the centre", cells(across, np.radians(_SLOPE)),
    )  # fmt: skip
    note = f"height in nm; {_length(radius * page.cell)} from the centre, clockwise from the right"
    return line + _cut(page, "Around the centre", note, np.degrees(turn), "degrees", cells(radius, turn), 90.0)


def _radius(page: MaskPage) -> float:
    """Radius of the pupil, cells."""
    known = np.flatnonzero(np.isfinite(page.heights).any(axis=0))
    return float(known[-1] - known[0]) / 2


def _cut(
    page: MaskPage, title: str, note: str, x: Float, unit: str, cells: tuple[Any, Any], x_step: float | None = None
) -> str:  # fmt: skip
    lines = [
        Curve(name=name, run=run, x=np.asarray(x, np.float64), y=np.asarray(heights[cells], np.float64) * 1e9)
        for run, (name, heights) in enumerate((("as designed", page.heights), ("as made", page.made)))
    ]
    return curve_figure(title, note, lines, x_title=unit, x_step=x_step)


def _table(
    title: str, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], notes: Sequence[str]
) -> str:  # fmt: skip
    head = "".join(f"<th scope=col>{escape(name)}</th>" for name in columns)
    lines = "".join(
        f"<tr><th scope=row>{escape(name)}</th>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"
        for name, texts in rows
    )
    said = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return (
        f'<section><h2>{escape(title)}</h2><div class="wide"><table class="numbers"><thead><tr><td></td>{head}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>{said}</section>"
    )


def _tile(kernel: Float, peak: float, tiles: Tiles) -> UInt8:
    light = np.clip(tiles.pixels(np.asarray(kernel, np.float64)) / peak, 0, 1)
    return false_colours(np.sqrt(light))


def _psfs(page: MaskPage) -> str:
    """Write tiles of every plane and colour, as designed over as made, each pair on the scale of the designed."""
    tiles = choose_tiles(np.maximum(np.asarray(page.before, np.float64), 0))
    head = "".join(f"<td>{escape(name).replace(', ', '<br>')}</td>" for name in page.planes)
    rows = []
    for c, colour in enumerate(page.colours):
        for stack, name, kind in ((page.before, "designed", ""), (page.after, "made", ' class="last"')):
            cells = []
            for k, plane in enumerate(page.planes):
                peak = float(tiles.pixels(np.asarray(page.before[k, c], np.float64)).max())
                picture = _image(_tile(stack[k, c], peak, tiles), f"PSF at {plane}, {colour}, as {name}")
                moved = f"{100 * float(page.changes[k, c]):.1f} %" if stack is page.after else ""
                cells.append(f"<td>{picture}{moved}</td>")
            rows.append(f"<tr{kind}><th scope=row>{escape(colour)}<br>as {name}</th>{''.join(cells)}</tr>")
    return (
        '<p class="note">Brightness is the square root of the light, each pair on the scale of the designed one. Under '
        "those as made: how much of the light lies elsewhere (relative L1 difference).</p>"
        f'<div class="wide"><table class="psfs"><thead><tr><td></td>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
