"""What a focal stack of photographs says: its slices, depth, confidence and all-in-focus picture. One HTML file."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .. import InputError
from .page import HEAD, STYLE
from .pictures import UInt8, as_codes, depth_ticks, eight_bits, nice_step, paint, resized, scale_colours, webp_bytes
from .sheet import fit, typeface

Float32 = npt.NDArray[np.float32]

_WIDTH, _QUALITY = 720, 80
_BAR = 64

_STYLE = """
section{margin:1.8rem 0}section>h2{font-size:1.25rem;margin:0 0 .5rem}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(480px,100%),1fr));gap:1rem 1.5rem;align-items:start}
.pair figure{position:relative}.pair img{width:100%;height:auto;display:block;border-radius:4px}
.pair .scale{max-width:none;margin-top:.6rem}
.turn{display:flex;gap:.75rem;align-items:center;margin:.5rem 0}.turn input{flex:1 1 160px;accent-color:var(--hue)}
.note{color:var(--muted);font-size:.87rem;margin:.3rem 0;max-width:85ch}
"""

_SCRIPT = """
"use strict";
const $ = id => document.getElementById(id), data = JSON.parse($("data").textContent);
const range = $("slice"), picture = $("stack"), spots = [...document.querySelectorAll(".spot")];
let spot = null;
const bytes = text => Uint8Array.from(atob(text), c => c.charCodeAt(0));
const depth = new Float32Array(bytes(data.depth).buffer), trust = bytes(data.confidence);
function turn() {
  const k = Number(range.value);
  picture.src = data.slices[k];
  picture.alt = "Slice " + (k + 1);
  $("which").value = (k + 1) + " of " + data.slices.length + (data.labels[k] ? ", focus at " + data.labels[k] : "");
}
function read() {
  for (const one of spots) {
    const mark = one.querySelector("s");
    mark.style.display = spot ? "block" : "none";
    if (spot) { mark.style.left = 100 * spot[0] + "%"; mark.style.top = 100 * spot[1] + "%"; }
  }
  if (!spot) { $("read").value = "Move the pointer over a picture to read its " + data.name + "."; return; }
  const x = Math.floor(spot[0] * data.width), y = Math.floor(spot[1] * data.height), k = y * data.width + x;
  const z = depth[k], words = Number.isNaN(z) ? "unknown" : z === Infinity ? "infinity" : z.toPrecision(4) + data.unit;
  const sure = trust.length ? " \\u00b7 confidence " + (trust[k] / 255).toFixed(2) : "";
  $("read").value = data.name + " " + words + sure;
}
for (const one of spots) one.addEventListener("pointermove", e => {
  const box = one.getBoundingClientRect();
  const at = [(e.clientX - box.left) / box.width, (e.clientY - box.top) / box.height];
  spot = at.map(v => Math.min(Math.max(v, 0), 0.9999));
  read();
});
range.addEventListener("input", turn);
turn(); read();
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class StackPage:
    """What the page tells.

    Parameters
    ----------
    title
        The name of the stack.
    facts
        Headings and texts.
    notes
        Sentences above the pictures.
    slices
        uint8 or uint16 (S, H, W, 3), sRGB.
    labels
        S texts, such as focus distances; empty ones where none are known.
    depth
        float32 (H, W): distances, or slices from 1; NaN unknown.
    unit
        Of distances, "m", or "" where they are known up to a scale; None if depth is in slices.
    aif
        uint8 (H, W, 3), sRGB: the all-in-focus picture.
    confidence
        float32 (H, W), 0 to 1; None if it is not known.
    """

    title: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    slices: npt.NDArray[Any]
    labels: Sequence[str]
    depth: Float32
    unit: str | None
    aif: UInt8
    confidence: Float32 | None

    def __post_init__(self) -> None:
        size = self.slices.shape[1:3]
        if self.depth.shape != size or self.aif.shape[:2] != size or len(self.labels) != len(self.slices):
            raise InputError(
                f"slices of {size}, depth of {self.depth.shape}, a picture of {self.aif.shape[:2]} and "
                f"{len(self.labels)} labels of {len(self.slices)} slices make no page."
            )


@dataclass(frozen=True)
class DepthScale:
    """The colours of a depth map: near is warm.

    Attributes
    ----------
    near, far
        Ends, distances above 0, or slices.
    unit
        Of distances, equal steps of whose inverse are equal steps of colour; "" if it is not known. None if depth is in
        slices, which are steps of colour themselves.
    """

    near: float
    far: float
    unit: str | None

    @classmethod
    def of(cls, depth: Float32, *, unit: str | None, slices: int) -> "DepthScale":
        """Return the scale of a map: all slices, or the distances between which all but a hundredth of it lies."""
        if unit is None:
            return cls(1.0, float(max(slices, 2)), None)
        inverse = 1 / depth[np.isfinite(depth) & (depth > 0)]
        if not inverse.size:
            return cls(1.0, 1.0, unit)
        low, high = (float(1 / one) for one in np.quantile(inverse, (0.995, 0.005)))
        return cls(low, high, unit)

    @property
    def title(self) -> str:
        """What the scale shows."""
        if self.unit is None:
            return "depth in slices, first to last"
        return f"depth in {self.unit or 'the unit of the focus'}, even in 1/depth"

    def colours(self, depth: Float32) -> UInt8:
        """Return uint8 (H, W, 3) of a map; what is unknown is hatched."""
        values = depth.astype(np.float64)
        if self.unit is not None:
            with np.errstate(divide="ignore"):
                inverse = 1 / np.where(values > 0, values, np.nan)
            span = 1 / self.near - 1 / self.far
            place = (1 / self.near - inverse) / span if span > 0 else inverse * 0 + 0.5
        else:
            place = (values - self.near) / (self.far - self.near)
        return paint(place.astype(np.float32), scale_colours("depth", 256))

    def ticks(self) -> list[tuple[float, str]]:
        """Return places from 0 to 1, and numbers."""
        if self.unit is not None:
            return depth_ticks(self.near, self.far)
        step = max(1.0, nice_step(self.far - self.near, 8))
        return [
            ((k - self.near) / (self.far - self.near), f"{k:g}") for k in np.arange(self.near, self.far + 0.01, step)
        ]


def depth_picture(depth: Float32, scale: DepthScale) -> UInt8:
    """Colour a depth map, with its scale below: uint8 (H + 64, max(W, 120), 3), sRGB."""
    colours = scale.colours(depth)
    width = max(120, depth.shape[1])
    canvas = np.full((len(colours) + _BAR, width, 3), 255, np.uint8)
    canvas[: len(colours), : depth.shape[1]] = colours
    top, bar = len(colours), width - 24
    canvas[top + 24 : top + 38, 12 : 12 + bar] = scale_colours("depth", bar)
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    draw.text((12, top + 5), fit(scale.title, 13, bar), (25, 25, 25), typeface(13))
    right = -1.0
    for place, text in scale.ticks():
        half = typeface(12).getlength(text) / 2
        x = min(max(12 + place * (bar - 1), half + 2), width - half - 2)
        draw.line((12 + round(place * (bar - 1)), top + 39, 12 + round(place * (bar - 1)), top + 43), (110, 110, 110))
        # The ends come first and last: between them what would touch is left out.
        if x - half > right + 4:
            draw.text((x, top + 46), text, (25, 25, 25), typeface(12), anchor="ma")
            right = x + half
    return np.asarray(picture)


def stack_page(page: StackPage) -> str:
    """Write the page.

    Returns
    -------
    The text, to be written as UTF-8. The same input gives the same text.
    """
    scale = DepthScale.of(page.depth, unit=page.unit, slices=len(page.slices))
    facts = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in page.facts.items())
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in page.notes)
    shown = [_figure("Depth", scale.colours(_thin(page.depth)), _bar(scale)), _figure("All in focus", _small(page.aif))]
    if page.confidence is not None:
        grey = np.repeat(as_codes(_thin(page.confidence))[..., None], 3, axis=2)
        shown.append(_figure("Confidence, black to white", grey))
    first = _address(page.slices[0])
    slider = (
        '<figure><figcaption>Slices</figcaption><div class="spot">'
        f'<img id="stack" alt="Slice 1" src="{first}"><s></s></div>'
        f'<div class="turn"><input type="range" id="slice" min="0" max="{len(page.slices) - 1}" value="0" step="1" '
        'aria-label="Slice"><output id="which" for="slice"></output></div></figure>'
    )
    body = [
        f"<header><h1>{escape(page.title)}</h1><table>{facts}</table>{notes}</header><main>",
        f'<section><p><output id="read"></output></p><div class="pair">{slider}{"".join(shown)}</div></section></main>',
        f'<script type="application/json" id="data">{_data(page)}</script><script>{_SCRIPT}</script></body></html>',
    ]
    return HEAD.format(title=escape(page.title), style=STYLE + _STYLE) + "\n".join(body) + "\n"


def _thin(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pick pixels of a map: a mean over an edge would show depths that are not there."""
    width, height = _size(values)
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def _small(picture: npt.NDArray[Any]) -> UInt8:
    return np.asarray(resized(eight_bits(picture), *_size(picture)), np.uint8)


def _size(values: npt.NDArray[Any]) -> tuple[int, int]:
    width = min(_WIDTH, values.shape[1])
    return width, max(1, round(width * values.shape[0] / values.shape[1]))


def _address(picture: npt.NDArray[Any]) -> str:
    return f"data:image/webp;base64,{base64.b64encode(webp_bytes(_small(picture), _QUALITY)).decode()}"


def _figure(name: str, picture: UInt8, below: str = "") -> str:
    height, width = picture.shape[:2]
    return (
        f'<figure><figcaption>{escape(name)}</figcaption><div class="spot"><img alt="{escape(name)}" width={width} '
        f'height={height} src="{_address(picture)}"><s></s></div>{below}</figure>'
    )


def _bar(scale: DepthScale) -> str:
    stops = ",".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in scale_colours("depth", 33).tolist())
    places = "".join(f'<i style="left:{100 * at:.2f}%">{text}</i>' for at, text in scale.ticks())
    return (
        f'<div class="scale"><b>{scale.title.capitalize()}</b>'
        f'<div style="background:linear-gradient(to right,{stops})"></div><p>{places}</p></div>'
    )


def _data(page: StackPage) -> str:
    depth = _thin(page.depth).astype("<f4")
    confidence = b"" if page.confidence is None else as_codes(_thin(page.confidence)).tobytes()
    found = {
        "slices": [_address(one) for one in page.slices], "labels": list(page.labels), "width": depth.shape[1],
        "height": depth.shape[0], "depth": base64.b64encode(depth.tobytes()).decode(),
        "confidence": base64.b64encode(confidence).decode(), "unit": f" {page.unit}" if page.unit else "",
        "name": "slice" if page.unit is None else "depth",
    }  # fmt: skip
    return json.dumps(found).replace("<", "\\u003c")
