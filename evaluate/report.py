"""A dataset on one page: a single HTML file of pictures, read-outs and histograms; it refers to nothing else.

The pictures are `<img>` elements, so that the page shows its samples without scripts; the script shows one of them
large, with what depth and circle of confusion (CoC) are at the pointer; see `viewer.py`.
"""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .page import HEAD, STYLE
from .pictures import (
    coc_range,
    coc_ticks,
    depth_range,
    depth_ticks,
    layer_picture,
    nice_step,
    scale_colours,
    webp_bytes,
)
from .readout import coc_readout, depth_readout
from .row import LAYERS, Layer, Row
from .slider import field_boxes, stack_facts
from .viewer import VIEWER_SCRIPT, VIEWER_STYLE, keys, viewer

Histogram = tuple[npt.ArrayLike, npt.ArrayLike]
Picture = tuple[int, int, str]  # height, width, WebP as a data: address
_SHORT: dict[Layer, str] = {
    "stack": "Focal stack",
    "capture": "Capture",
    "dual": "Dual pixel",
    "raw": "Raw",
    "aif": "All in focus",
    "depth": "Depth",
    "coc": "CoC",
    "valid": "Known",
}
# A mosaic with its noise costs most bytes, and its pattern is to be seen pixel by pixel.
_QUALITY: dict[Layer, int] = {
    "stack": 78,
    "capture": 78,
    "dual": 78,
    "raw": 70,
    "aif": 78,
    "depth": 72,
    "coc": 72,
    "valid": 72,
}
_MANY, _LEAST = 240, 160
"""Pictures on a page beyond which they are made smaller, and the least width, pixels, that they are made."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleView(Row):
    """A sample on the page: a `Row` with its own depth scale and lines of text.

    Parameters
    ----------
    near, far
        Ends of the depth colours in metres; by default the range of this sample's depth.
    caption
        Lines beside the opened sample, as plain text.
    lens
        Of its captures: change of the CoC with inverse depth, pixel metres, and the inverse of the focus distance,
        1/metre. From these its CoC is computed at the pointer, and from `coc` itself only where they are unknown.
    slice_lenses
        The same of the S slices of a stack.

    Raises
    ------
    InputError
        If the slices have another number of lenses.
    """

    near: float | None = None
    far: float | None = None
    caption: Sequence[str] = ()
    lens: tuple[float, float] | None = None
    slice_lenses: Sequence[tuple[float, float]] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slice_lenses and len(self.slice_lenses) != self.slices:
            count = len(self.slice_lenses)
            raise InputError(f"sample {self.index} has {self.slices} slices but {count} lenses; give one for each.")

    def depth_scale(self) -> tuple[float, float]:
        """Return the ends of the depth colours in metres."""
        near, far = depth_range([self.depth])
        return near if self.near is None else self.near, far if self.far is None else self.far


def html_page(
    title: str,
    facts: Mapping[str, str],
    samples: Sequence[SampleView],
    histograms: Mapping[str, Histogram],
    notes: Sequence[str] = (),
    *,
    width: int = 640,
    stack_width: int = 480,
    coc_limit: float | None = None,
) -> str:
    """Write a page about a dataset.

    Parameters
    ----------
    title
        Heading of the page.
    facts
        Names and values of a small table, such as recipe, camera and number of samples.
    samples
        At least one, each with a picture and an index of its own; `#index` in the address opens it.
    histograms
        For each heading, such as "depth in m", the edges (N + 1, ascending) and the counts (N, at least 0).
    notes
        Sentences shown below the facts.
    width
        Greatest width of a picture in pixels; narrower samples keep their size. On a page of more than 240 pictures
        it is less, as the square root of their number, and at least 160.
    stack_width
        The same for samples with a focal stack, which have many pictures.
    coc_limit
        End of the CoC colours in pixels; by default the greatest |CoC| of all samples.

    Returns
    -------
    The text of the page, to be written as UTF-8; about 100 kB a sample at the default width, and as much for
    each slice of a focal stack. The same input gives the same text.

    Raises
    ------
    InputError
        If there is no sample, two share an index, or an array, a scale or a histogram cannot be shown.
    """
    if not samples:
        raise InputError("a page needs at least one sample; none was given.")
    if len({sample.index for sample in samples}) < len(samples):
        raise InputError("the samples of a page need different indices; at least two share one.")
    layers = [layer for layer in LAYERS if any(len(sample.frames(layer)) for sample in samples)]
    limit = coc_range([sample.coc for sample in samples]) if coc_limit is None else coc_limit
    charts = "".join(histogram_figure(name, *histogram) for name, histogram in histograms.items())
    share = _share(samples)
    widths = [max(_LEAST, round(share * (stack_width if sample.slices else width))) for sample in samples]
    pictures = [_pictures(sample, wide, limit) for sample, wide in zip(samples, widths, strict=True)]
    cards = "".join(_card(sample, found) for sample, found in zip(samples, pictures, strict=True))
    data = [_data(sample, found) for sample, found in zip(samples, pictures, strict=True)]
    stacks = any(sample.slices > 1 for sample in samples)
    body = [
        f"<header><h1>{escape(title)}</h1></header>",
        f"<main>{_layer_choice('grid', layers)}{viewer(limit)}",
        f'<div id="scales">{_grid_scales(samples, layers, limit)}</div><div class="grid">{cards}</div></main>',
        f'<section class="about"><h2>Dataset</h2>{_facts(facts)}{_list(notes)}</section>',
        f'<section class="charts" aria-label="Histograms">{charts}</section>' if charts else "",
        keys(layers, stacks=stacks, reading=_reading(samples)),
        f'<script type="application/json" id="data">{_json(data)}</script>',
        f"<script>{VIEWER_SCRIPT}</script>",
    ]
    return HEAD.format(title=escape(title), style=STYLE + VIEWER_STYLE) + "\n".join(body) + "\n</body></html>\n"


def _share(samples: Sequence[SampleView]) -> float:
    """Return by how much pictures are scaled down so that many of them do not make a page too large to open."""
    count = sum(len(sample.frames(layer)) for sample in samples for layer in LAYERS)
    return min(1.0, math.sqrt(_MANY / count)) if count else 1.0


def _reading(samples: Sequence[SampleView]) -> str:
    """Say how exact the numbers at the pointer are."""
    said = ["Colours are those of the picture in this page, which is compressed."]
    if any(sample.depth is not None for sample in samples):
        said.append("Depth is the dataset's at the pixel shown, to 0.03 %.")
    if any(sample.lens or sample.slice_lenses for sample in samples):
        said.append("CoC is computed from it: A s (1/z \u2212 1/z_focus) / pixel pitch.")
    return " ".join(said)


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return f"<table>{rows}</table>" if rows else ""


def _list(lines: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")


def _json(value: object) -> str:
    """Write JSON that cannot end the script element around it, nor open a comment in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _layer_choice(group: str, layers: Sequence[Layer]) -> str:
    """Write radio buttons, which the arrow keys move through without any script."""
    buttons = "".join(
        f'<label><input type="radio" name="{group}" value="{layer}" id="{group}-{layer}"'
        f"{' checked' if k == 0 else ''}><span>{_SHORT[layer]}</span></label>"
        for k, layer in enumerate(layers)
    )
    return f'<fieldset class="choice"><legend class="unseen">Picture</legend>{buttons}</fieldset>'


def _scale(layer: Literal["depth", "coc"], low: float, high: float) -> str:
    """Write a scale bar as markup, so that its numbers follow the page's colours."""
    stops = ",".join(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in scale_colours(layer, 33).tolist())
    ticks = depth_ticks(low, high) if layer == "depth" else coc_ticks(high)
    marks = "".join(f'<i style="left:{100 * place:.2f}%">{_minus(text)}</i>' for place, text in ticks)
    name = "Depth in m" if layer == "depth" else _minus("CoC in px: - farther, + nearer than the focus")
    return (
        f'<div class="scale" data-layer="{layer}"><b>{name}</b>'
        f'<div style="background:linear-gradient(to right,{stops})"></div><p>{marks}</p></div>'
    )


def _grid_scales(samples: Sequence[SampleView], layers: Sequence[Layer], limit: float) -> str:
    """Write the scales above the grid; depth only if all samples share one."""
    parts = [_scale("coc", -limit, limit)] if "coc" in layers else []
    if "depth" in layers:
        scales = {sample.depth_scale() for sample in samples if sample.depth is not None}
        own = "Each sample has its own depth scale; open one to see it."
        shared = len(scales) == 1
        parts.append(_scale("depth", *scales.pop()) if shared else f'<p class="scale" data-layer="depth">{own}</p>')
    return "".join(parts)


def _pictures(sample: SampleView, width: int, limit: float) -> dict[Layer, list[Picture]]:
    """Encode every frame of every layer of a sample."""
    near, far = sample.depth_scale()
    found: dict[Layer, list[Picture]] = {}
    for layer in LAYERS:
        frames = sample.frames(layer)
        # An array without columns passes here, for `layer_picture` to refuse it in words.
        size = max(1, min([width, *frames.shape[2:3]]))
        for k in range(len(frames)):
            picture = layer_picture(sample, layer, size, near=near, far=far, coc_limit=limit, frame=k)
            if picture is not None:
                address = f"data:image/webp;base64,{base64.b64encode(webp_bytes(picture, _QUALITY[layer])).decode()}"
                found.setdefault(layer, []).append((picture.shape[0], picture.shape[1], address))
    if not found:
        raise InputError(f"sample {sample.index} has no picture to show.")
    return found


def _card(sample: SampleView, pictures: Mapping[Layer, list[Picture]]) -> str:
    """Write one sample of the grid: a picture of each layer, of which the chosen one is visible, and a caption."""
    near, far = sample.depth_scale()
    images = "".join(
        f'<img data-layer="{layer}" alt="{LAYERS[layer]} of sample {sample.index}" width={width} '
        f'height={height} src="{address}">'
        for layer, [(height, width, address), *_] in pictures.items()
    )
    scale = _scale("depth", near, far) if sample.depth is not None else ""
    slices = f" \u00b7 {sample.slices} slices" if sample.slices else ""
    drawn = field_boxes(sample)
    boxes = f'<template class="fields">{drawn}</template>' if drawn else ""
    return (
        f'<a class="card" href="#{sample.index}"><span class="frame">{images}</span>'
        f"<span class=label><b>#{sample.index}</b> <span>{escape(sample.source)}{slices}</span></span>"
        f"<template>{scale}{_list([*sample.caption, _size(sample, pictures)])}</template>{boxes}</a>\n"
    )


def _first(sample: SampleView) -> npt.NDArray[Any]:
    """Return one array of a sample, in its full size."""
    return next(np.asarray(frames[0]) for layer in LAYERS if len(frames := sample.frames(layer)))


def _size(sample: SampleView, pictures: Mapping[Layer, list[Picture]]) -> str:
    """Say how large the pictures of a sample are, and at which scale they are shown."""
    height, width = _first(sample).shape[:2]
    shown = next(iter(pictures.values()))[0][1]
    scale = "" if shown == width else f", scaled to {100 * shown / width:.3g} % here"
    return f"{width} \u00d7 {height} px{scale}"


def _data(sample: SampleView, pictures: Mapping[Layer, list[Picture]]) -> dict[str, Any]:
    """Collect what the script needs of a sample: texts, further frames, and maps to read out."""
    height, width = _first(sample).shape[:2]
    found: dict[str, Any] = {"index": sample.index, "source": sample.source, "width": width, "height": height}
    found["shows"] = list(pictures)
    found["frames"] = {layer: [address for *_, address in rest] for layer, [_, *rest] in pictures.items() if rest}
    if sample.depth is not None:
        edge = max(next(iter(pictures.values()))[0][:2])
        # As inverse depths, which JSON can hold where the scale goes to infinity.
        found["depth"], found["scale"] = depth_readout(sample.depth, edge), [1 / z for z in sample.depth_scale()]
    if sample.depth is not None and (sample.lens or sample.slice_lenses):
        found["lens"], found["lenses"] = sample.lens, list(sample.slice_lenses)
    elif sample.coc is not None:
        maps = [coc_readout(values) for values in sample.frames("coc")]
        found["coc"] = maps if len(maps) > 1 else maps[0]
    return found | stack_facts(sample)


def _axis(edges: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[tuple[float, str]]]:
    """Place edges and round numbers from 0 to 1; logarithmically where the edges are a geometric series."""
    low, high = float(edges[0]), float(edges[-1])
    if low > 0 and len(edges) > 2 and high > 4 * low and np.ptp(np.diff(np.log(edges))) < 1e-3 * math.log(high / low):
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        mantissas = (1, 2, 5) if high < 300 * low else (1,)
        round_numbers = [m * 10.0**power for power in powers for m in mantissas]
        place = np.log(edges / low) / math.log(high / low)
        ticks = [(math.log(v / low) / math.log(high / low), f"{v:g}") for v in round_numbers if low <= v <= high]
        return place, ticks
    step = nice_step(high - low, 6)
    numbers = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    return (edges - low) / (high - low), [((v - low) / (high - low), f"{v:.6g}") for v in numbers.tolist()]


def histogram_figure(name: str, edges: npt.ArrayLike, counts: npt.ArrayLike) -> str:
    """Draw a histogram as inline SVG, heights as shares of the whole."""
    e, n = np.asarray(edges, np.float64), np.asarray(counts, np.float64)
    if e.ndim != 1 or len(e) < 2 or n.shape != (len(e) - 1,) or not (np.isfinite(e).all() and (e[1:] > e[:-1]).all()):
        raise InputError(f"the histogram {name!r} needs N + 1 ascending finite edges and N counts.")
    if not (np.isfinite(n) & (n >= 0)).all():
        raise InputError(f"the histogram {name!r} has a negative or unknown count.")
    share = n / (n.sum() or 1)
    top = float(share.max()) or 1.0
    left, right, high, low = 44, 412, 12, 150
    places, ticks = _axis(e)
    x, y = left + places * (right - left), low - share * (low - high) / top
    parts = []
    for v in np.arange(0, top * (1 + 1e-9), nice_step(top, 4)).tolist():
        at = low - v * (low - high) / top
        parts.append(f'<path d="M{left} {at:.1f}H{right}"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{100 * v:.3g} %</text>')
    for place, text in ticks:
        at = left + place * (right - left)
        parts.append(f'<text x="{at:.1f}" y="{low + 16}" text-anchor="middle">{_minus(text)}</text>')
    for k in np.flatnonzero(n).tolist():
        size = f'width="{max(x[k + 1] - x[k] - 0.6, 0.4):.2f}" height="{low - y[k]:.2f}"'
        tip = _minus(f"{e[k]:.4g} to {e[k + 1]:.4g}: {100 * share[k]:.3g} %")
        parts.append(f'<rect x="{x[k]:.2f}" y="{y[k]:.2f}" {size}><title>{tip}</title></rect>')
    svg = f'<svg viewBox="0 0 424 174" role="img" aria-label="Histogram: {escape(name)}">{"".join(parts)}</svg>'
    return f"<figure><figcaption>{escape(name)}</figcaption>{svg}</figure>"
