"""Scenes on one page: their statistics beside those of photographs, and what they look like. One file of HTML.

What is known of photographs:

- The amplitude spectrum falls as 1/f^alpha with alpha about 1 (Field 1987, J. Opt. Soc. Am. A 4, 2379); over 135
  photographs of natural scenes alpha was 0.8 to 1.5, and 1.2 in the mean (Tolhurst, Tadmor and Chao 1992, Ophthal.
  Physiol. Opt. 12, 229). Van der Schaaf and van Hateren (1996, Vision Res. 36, 2759) write of power, whose exponent is
  twice as large.
- Differences of neighbours' log luminance have a sharp peak and heavy tails, far from a Gaussian, whose kurtosis is 3
  (Huang and Mumford 1999, CVPR). They give numbers of photographs taken outdoors; we only tell which side of 3.
- For the other measures there is no reference that everyone shares: compare them with those of the pictures that a
  network is to work on.
"""

import base64
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from .. import InputError
from .page import HEAD, STYLE
from .pictures import depth_range, layer_picture, webp_bytes
from .report import histogram_figure
from .row import Layer, Row
from .scene_statistics import DEPTH_EDGES, SceneStatistics, Spread, ring_frequencies

SLOPES = (0.8, 1.5)
"""Least and greatest alpha of Tolhurst, Tadmor and Chao (1992)."""
USUAL_SLOPE = 1.2
"""Their mean."""
GAUSSIAN = 3.0

_PICTURES = "Beside each image its depth, near red and far blue, each scene on its own scale; unknown depth is hatched."
_BINS = 4  # of the statistics, in one of the chart
_STYLE = """
body{max-width:1100px}
.figures{width:100%;margin:1rem 0}.figures td:first-child,.figures th{padding-top:.5rem}
.figures thead th{border-bottom:1px solid var(--line)}.figures tbody th{color:var(--ink);white-space:normal}
.figures td{font-variant-numeric:tabular-nums;padding-top:.5rem}
.figures small{display:block;color:var(--muted);font-weight:400}.figures span{display:block}
.within{color:#1b7a43}.outside{color:#b3470b}
@media(prefers-color-scheme:dark){.within{color:#6fcf97}.outside{color:#f2a365}}
.pair{display:grid;align-content:start;grid-template-columns:1fr 1fr}.pair img{width:100%;height:auto;display:block}
.pair span{grid-column:1/-1;padding:.35rem .7rem;font-size:.87rem;color:var(--muted);overflow-wrap:anywhere}
figcaption small{display:block;font-weight:400;color:var(--muted)}
@media(max-width:640px){body{padding:1rem}.figures thead{display:none}.figures tr{display:block;padding:.4rem 0;
border-bottom:1px solid var(--line)}.figures th,.figures td{display:block;padding:0!important}
.figures tbody th{font-weight:600}.figures td:last-child::before{content:"Photographs: ";color:var(--muted)}
.figures td:last-child small:only-child{display:inline}}
"""


def scene_page(title: str, statistics: SceneStatistics, pictures: Sequence[Row]) -> str:
    """Write a page about scenes.

    Parameters
    ----------
    title
        Heading of the page.
    statistics
        Of all scenes, by `SceneCounter`.
    pictures
        Some of the scenes, each with its all-in-focus picture and its depth.

    Returns
    -------
    The text of the page, to be written as UTF-8; about 30 kB a picture. The same input gives the same text.

    Raises
    ------
    InputError
        If a picture lacks its image or its depth, or cannot be shown.
    """
    body = [
        f"<header><h1>{escape(title)}</h1><p>{_summary(statistics)}</p></header><main>",
        f'<table class="figures"><thead><tr><th>Measure</th><th>These scenes</th><th>Photographs</th></tr></thead>'
        f"<tbody>{_table(statistics)}</tbody></table>",
        '<section class="charts" aria-label="Charts">',
        f"{_depth_chart(statistics)}{_spectrum_chart(statistics)}</section>",
        f"<p>{_PICTURES}</p>" if pictures else "",
        f'<div class="grid">{"".join(_pair(row) for row in pictures)}</div></main></body></html>',
    ]
    return HEAD.format(title=escape(title), style=STYLE + _STYLE) + "\n".join(body) + "\n"


def _number(value: float, digits: int = 2) -> str:
    return "unknown" if math.isnan(value) else f"{value:.{digits}f}".replace("-", "\u2212")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %" if value == 0 or value >= 0.001 else "under 0.1 %"


def _metres(value: float) -> str:
    if math.isnan(value):
        return "unknown"
    return "infinite" if math.isinf(value) else f"{value:.2g} m" if value < 100 else f"{value:.0f} m"


def _spread(value: Spread, digits: int = 2) -> str:
    if math.isnan(value.mean):
        return "unknown"
    ends = f"{_number(value.least, digits)} to {_number(value.greatest, digits)}"
    return f"{_number(value.mean, digits)}<small>scenes {ends}, deviation {_number(value.deviation, digits)}</small>"


def _judged(text: str, within: bool) -> str:
    return f'<span class="{"within" if within else "outside"}">{"within" if within else "outside"}: {text}</span>'


def _slope_words(slope: float) -> str:
    if math.isnan(slope):
        return "Not measured: the scenes are too small, or of one colour."
    if slope < SLOPES[0]:
        return _judged("more fine detail, or noise, than photographs have for their coarse structure", False)
    if slope > SLOPES[1]:
        return _judged("less fine detail than photographs have: smooth surfaces, or blurred textures", False)
    return _judged("fine detail and coarse structure are balanced as in photographs", True)


def _kurtosis_words(kurtosis: float) -> str:
    if math.isnan(kurtosis):
        return "Not measured: the scenes are of one colour."
    if kurtosis > GAUSSIAN:
        return _judged("flat regions with sharp edges between, as in photographs", True)
    return _judged("differences like those of noise, without flat regions and sharp edges", False)


def _summary(found: SceneStatistics) -> str:
    scenes = "One scene" if found.scenes == 1 else f"{found.scenes} scenes"
    low, _, middle, _, high = (_metres(value) for value in found.depth_quantiles)
    depth = (
        "no known depth"
        if middle == "unknown"
        else f"nine tenths of the depths from {low} to {high}, half below {middle}"
    )
    return f"{scenes}; {depth}; {_share(found.unknown)} of the depths unknown."


def _table(found: SceneStatistics) -> str:
    quantiles = [_metres(value) for value in found.depth_quantiles]
    none = "<small>no shared reference</small>"
    rows = [
        (
            "Slope of the spectrum",
            "alpha of amplitude 1/f<sup>alpha</sup>, from 1/64 to 1/4 cycles per pixel; of power it is twice as large",
            _spread(found.slope),
            f"{SLOPES[0]} to {SLOPES[1]}, mean {USUAL_SLOPE}<small>Tolhurst et al. 1992; about 1 in Field 1987</small>"
            + _slope_words(found.slope.mean),
        ),
        (
            "Kurtosis of differences",
            "of log luminance, between horizontal neighbours",
            _spread(found.kurtosis, 1),
            f"above {GAUSSIAN:g}, a Gaussian's<small>Huang and Mumford 1999</small>"
            + _kurtosis_words(found.kurtosis.mean),
        ),
        ("Edges of the image", "pixels where encoded luminance jumps by over 0.1", _share(found.image_edges), none),
        ("Edges of depth", "neighbours whose depths differ by over 5 %", _share(found.depth_edges), none),
        ("Luminance", "mean, linear, white is 1", _spread(found.luminance), none),
        ("Contrast", "standard deviation of luminance over its mean", _spread(found.contrast), none),
        ("Depth", "5, 25, 50, 75 and 95 % lie below", ", ".join(quantiles).replace(" m", "\u00a0m"), none),
        ("Depth outside 0.1 to 1000 m", "nearer, farther", f"{_share(found.nearer)}, {_share(found.farther)}", none),
        ("Unknown depth", "of all pixels", _share(found.unknown), none),
    ]
    return "".join(
        f"<tr><th scope=row>{name}<small>{what}</small></th><td>{value}</td><td>{reference}</td></tr>"
        for name, what, value, reference in rows
    )


def _depth_chart(found: SceneStatistics) -> str:
    """Draw the depths from the first to the last bin that has any."""
    share = found.depth_share.reshape(-1, _BINS).sum(axis=1)
    edges = DEPTH_EDGES[::_BINS]
    held = np.flatnonzero(share)
    if not held.size:
        return ""
    first, last = int(held[0]), int(held[-1])
    # Three bins or more, so that the axis can tell that it is logarithmic.
    first, last = max(0, min(first, last - 6)), min(len(share) - 1, max(last, first + 6))
    return histogram_figure("Depth in m", edges[first : last + 2], share[first : last + 1])


def _spectrum_chart(found: SceneStatistics) -> str:
    """Draw the mean amplitude spectrum over the slopes of photographs, both axes logarithmic."""
    frequency, amplitude = ring_frequencies(), found.spectrum
    known = amplitude > 0
    if known.sum() < 2:
        return ""
    x, y = np.log10(frequency[known]), np.log10(amplitude[known])
    middle = float(x.mean()), float(y.mean())
    reach = max(abs(float(end) - middle[0]) for end in (x[0], x[-1]))
    tall = 1.1 * max(SLOPES[1] * reach, float(np.abs(y - middle[1]).max()))
    left, right, high, low = 44, 412, 12, 230

    def at(u: float, v: float) -> str:
        across = (u - (middle[0] - reach)) / (2 * reach)
        up = (v - (middle[1] - tall)) / (2 * tall)
        return f"{left + across * (right - left):.1f} {low - up * (low - high):.1f}"

    def ray(slope: float, side: int) -> str:
        return at(middle[0] + side * reach, middle[1] - side * slope * reach)

    parts = []
    for power in range(math.ceil(middle[1] - tall), math.floor(middle[1] + tall) + 1):
        place = at(middle[0] - reach, power).split()[1]
        parts.append(f'<path d="M{left} {place}H{right}"/>')
        text = f"{10.0**power:g}" if abs(power) < 4 else f"1e{power}"
        parts.append(f'<text x="{left - 6}" y="{float(place) + 4:.1f}" text-anchor="end">{text}</text>')
    for denominator in (64, 32, 16, 8, 4):
        u = -math.log10(denominator)
        if abs(u - middle[0]) <= reach * 1.05:
            place = at(u, middle[1]).split()[0]
            parts.append(f'<text x="{place}" y="{low + 16}" text-anchor="middle">1/{denominator}</text>')
    fan = f"M{ray(SLOPES[0], -1)}L{ray(SLOPES[0], 1)}L{ray(SLOPES[1], 1)}L{ray(SLOPES[1], -1)}Z"
    usual = f"M{ray(USUAL_SLOPE, -1)}L{ray(USUAL_SLOPE, 1)}"
    line = "M" + "L".join(at(float(u), float(v)) for u, v in zip(x, y, strict=True))
    parts.append(f'<path d="{fan}" style="fill:var(--muted);fill-opacity:.22;stroke:none"/>')
    parts.append(f'<path d="{usual}" style="stroke:var(--muted);stroke-dasharray:4 4"/>')
    parts.append(f'<path d="{line}" style="fill:none;stroke:var(--hue);stroke-width:2.5"/>')
    words = "Line: the mean of these scenes' spectra. Grey: the slopes of photographs, dashed their mean."
    label = f"Amplitude spectrum: mean slope {_number(found.slope.mean)}"
    return (
        f"<figure><figcaption>Amplitude over cycles per pixel</figcaption>"
        f'<svg viewBox="0 0 424 254" role="img" aria-label="{label}">{"".join(parts)}</svg>'
        f"<figcaption><small>{words}</small></figcaption></figure>"
    )


def _pair(row: Row) -> str:
    """Write a picture beside its depth, near warm and far cold, on the scene's own scale."""
    if row.aif is None or row.depth is None:
        raise InputError(f"picture {row.index} needs its all-in-focus image and its depth to be shown.")
    near, far = depth_range([row.depth])
    layers: tuple[Layer, ...] = ("aif", "depth")
    images = []
    for layer in layers:
        picture = layer_picture(row, layer, min(320, row.aif.shape[1]), near=near, far=far, coc_limit=1)
        assert picture is not None
        address = f"data:image/webp;base64,{base64.b64encode(webp_bytes(picture, 74)).decode()}"
        name = "Image" if layer == "aif" else "Depth"
        height, width = picture.shape[:2]
        images.append(f'<img alt="{name} of {escape(row.source)}" width={width} height={height} src="{address}">')
    label = f"{escape(row.source)}, {_metres(near)} to {_metres(far)}"
    return f'<div class="card pair">{"".join(images)}<span>{label}</span></div>\n'
