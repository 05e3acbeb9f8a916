"""An evaluation on one page: tables, curves and pictures of one run or of several side by side, in one HTML file.

The page needs no script and refers to nothing outside itself. All depth maps of an image share one scale, as do the
errors of all runs on it, so that pictures beside each other can be compared by eye.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .curves import CURVE_STYLE, RUNS, Curve, curve_figure, key
from .depth_errors import depth_metrics
from .evaluation_pictures import Scales, bar, shared_scales, spread_colours, thin
from .image_errors import image_metrics
from .measures import measure
from .page import HEAD, STYLE
from .pictures import UInt8, coc_colours, depth_colours, eight_bits, resized, webp_bytes
from .scores import ErrorCurve
from .tables import Table, table_html
from .uncertainty import Calibration

Float64 = npt.NDArray[np.float64]

_STYLE = (
    CURVE_STYLE
    + """
section{margin:2.2rem 0}section>h2{font-size:1.25rem;margin:0 0 .5rem}
.wide{overflow-x:auto}
.scores{margin:.5rem 0;font-variant-numeric:tabular-nums}.scores caption{text-align:left;color:var(--muted);
padding-bottom:.4rem}
.scores th,.scores td{white-space:nowrap;padding:.3rem 1.1rem .3rem 0;text-align:right}
.scores th[scope=row]{text-align:left;color:var(--ink)}
.scores thead :is(th,td){border-bottom:1px solid var(--line);font-size:.87rem}
.scores tbody tr:hover{background:var(--card)}
.note{color:var(--muted);font-size:.87rem;margin:.2rem 0}
article{border-top:1px solid var(--line);padding-top:.9rem;margin-top:1.4rem}
article h3{font-size:1rem;margin:0 0 .6rem;overflow-wrap:anywhere}
.strip{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr));gap:.6rem 1rem;
margin-bottom:.8rem}
.strip figure{flex:none}.strip img{width:100%;height:auto;display:block;border-radius:4px}
.strip figcaption{font-weight:400;font-size:.87rem;color:var(--muted);padding-top:.2rem}
.strip figcaption b{color:var(--ink)}
article>.strip{padding-left:calc(4px + .8rem)}
.run{border-left:4px solid var(--c);padding-left:.8rem;margin:0 0 .9rem}
.run h4{margin:0 0 .4rem;font-size:.95rem;overflow-wrap:anywhere}
.run h4 small{font-weight:400;color:var(--muted)}
.bars{display:flex;flex-wrap:wrap;gap:.2rem 2rem}.bars .scale{flex:1 1 260px}
"""
)


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluatedImage:
    """One image with its truth and what every run predicts of it.

    Parameters
    ----------
    name
        What the image is called.
    target
        Floating point (H, W), m; NaN is unknown.
    predictions
        By name of the run, floating point (H, W), m.
    picture
        uint8 or uint16 (H, W, 3), sRGB: what the runs were given; or by name of the run where they were given
        different ones. None is not shown.
    given
        By caption, uint8 or uint16 (H, W, 3), sRGB: pictures that runs were given together, such as slices of a focal
        stack; shown first.
    uncertainty
        By name of the run, floating point (H, W), m: standard deviation of the prediction.
    valid
        bool (H, W): pixels that count; the others are drawn as unknown in the error map.
    restored
        By name of the run, uint8 (H, W, 3), sRGB: the all-in-focus image that it makes.
    sharp
        uint8 or uint16 (H, W, 3), sRGB: the true one.
    """

    name: str
    target: npt.NDArray[Any]
    predictions: Mapping[str, npt.NDArray[Any]]
    picture: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]] | None = None
    given: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    uncertainty: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    valid: npt.NDArray[np.bool_] | None = None
    restored: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    sharp: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        shape = self.target.shape
        if len(shape) != 2 or not self.target.size:
            raise InputError(f"the true depth of {self.name!r} has shape (H, W) and is not empty, not {shape}.")
        valid = {} if self.valid is None else {"valid pixels": self.valid}
        for run, array in (*self.predictions.items(), *self.uncertainty.items(), *valid.items()):
            if array.shape != shape:
                raise InputError(f"{run!r} of {self.name!r} has shape {array.shape}, the truth {shape}; make them one.")

    def error(self, run: str) -> Float64:
        """Return prediction minus truth, float64 (H, W) in m; NaN where the pixel does not count."""
        with np.errstate(invalid="ignore"):
            error = np.asarray(self.predictions[run], np.float64) - self.target
        known = np.isfinite(error) & (True if self.valid is None else self.valid)
        return np.where(known, error, np.nan)


@dataclass(frozen=True, eq=False, kw_only=True)
class EvaluatedRun:
    """What was found of one run over the whole set.

    Parameters
    ----------
    name
        As in the images and the tables.
    depth_curve, coc_curve
        Its errors over true depth and over the circle of confusion; None is not drawn.
    calibration
        Its uncertainty; None is not drawn.
    mask
        uint8 (H, W, 3): the mask that it looks through; None is not drawn.
    facts
        Such as seed, machine, time and parameters, shown as a list.
    """

    name: str
    depth_curve: ErrorCurve | None = None
    coc_curve: ErrorCurve | None = None
    calibration: Calibration | None = None
    mask: UInt8 | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def evaluation_page(
    title: str,
    facts: Mapping[str, str],
    tables: Sequence[Table],
    runs: Sequence[EvaluatedRun],
    images: Sequence[EvaluatedImage] = (),
    notes: Sequence[str] = (),
    *,
    width: int = 420,
) -> str:
    """Write a page about an evaluation.

    Parameters
    ----------
    title
        Heading of the page.
    facts
        Names and values of a small table: dataset, split, number of images, protocol, machine, time.
    tables
        Of metrics; their captions say which average they are.
    runs
        What is compared, at least one and at most 8; their order gives their colours.
    images
        Some images; a run that predicts nothing of one is left out there.
    notes
        Sentences shown below the facts.
    width
        Greatest width of a picture in pixels.

    Returns
    -------
    The text of the page, to be written as UTF-8; about 25 kB for each picture. The same input gives the same text.

    Raises
    ------
    InputError
        If there is no run or too many, two share a name, an image has a run that is not listed, or an array cannot be
        shown.
    """
    if not 1 <= len(runs) <= RUNS:
        raise InputError(f"a page compares 1 to {RUNS} runs, not {len(runs)}.")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise InputError("the runs of a page need different names; at least two share one.")
    for image in images:
        strange = sorted({*image.predictions, *image.uncertainty, *image.restored} - set(names))
        if strange:
            raise InputError(f"image {image.name!r} has a prediction of {strange[0]!r}, which is not among the runs.")
    rows = "".join(f"<tr><th scope=row>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    colours = key(names) if len(names) > 1 else ""
    charts = _charts(runs)
    body = [
        f"<header><h1>{escape(title)}</h1>{f'<table>{rows}</table>' if rows else ''}"
        f"{f'<ul>{items}</ul>' if items else ''}</header><main>",
        f"<section><h2>Metrics</h2>{''.join(table_html(table) for table in tables)}</section>" if tables else "",
        _masks(runs),
        f'<section><h2>Curves</h2>{colours}<div class="charts">{charts}</div></section>' if charts else "",
        f"<section><h2>Images</h2>{_how_to_read(images)}{''.join(_article(i, names, width) for i in images)}</section>"
        if images
        else "",
        _run_facts(runs),
        "</main></body></html>",
    ]
    return HEAD.format(title=escape(title), style=STYLE + _STYLE) + "\n".join(part for part in body if part) + "\n"


def _masks(runs: Sequence[EvaluatedRun]) -> str:
    parts = [
        f'<div class="run" style="--c:var(--run{k})"><h4>{escape(run.name)} <small>{escape(run.facts.get("mask", ""))}'
        f'</small></h4><div class="wide">{_figure(run.mask, f"Mask of {run.name}", "", 90)}</div></div>'
        for k, run in enumerate(runs)
        if run.mask is not None
    ]
    note = "<p class=note>The mask's height, and its PSFs from the farthest to the nearest plane.</p>"
    return f"<section><h2>Learned masks</h2>{note}{''.join(parts)}</section>" if parts else ""


def _run_facts(runs: Sequence[EvaluatedRun]) -> str:
    parts = []
    for k, run in enumerate(runs):
        rows = "".join(f"<tr><th scope=row>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in run.facts.items())
        if rows:
            style = f"--c:var(--run{k})"
            parts.append(f'<div class="run" style="{style}"><h4>{escape(run.name)}</h4><table>{rows}</table></div>')
    return f"<section><h2>How they were made</h2>{''.join(parts)}</section>" if parts else ""


def _charts(runs: Sequence[EvaluatedRun]) -> str:
    """Draw every curve that at least one run has."""
    figures = []
    over = (
        ("depth_curve", "RMSE over true depth, m", "true depth, m", "Grey: how the pixels are spread over depth."),
        (
            "coc_curve",
            "RMSE over blur, m",
            "signed CoC, px",
            "CoC: + nearer, \u2212 farther than the focus. Grey: pixels.",
        ),
    )
    for name, title, x_title, note in over:
        found = [(k, run.name, curve) for k, run in enumerate(runs) if (curve := getattr(run, name)) is not None]
        lines = [Curve(name=n, run=k, x=(c.edges[1:] + c.edges[:-1]) / 2, y=c.rmse) for k, n, c in found]
        if lines:
            first = found[0][2]
            figures.append(curve_figure(title, note, lines, x_title=x_title, edges=first.edges, share=first.share))
    sure = [(k, run.name, run.calibration) for k, run in enumerate(runs) if run.calibration is not None]
    if sure:
        figures += _uncertainty_charts(sure)
    return "".join(figures)


def _uncertainty_charts(sure: Sequence[tuple[int, str, Calibration]]) -> list[str]:
    sparse = [
        Curve(name=name + (", oracle" if dashed else ""), run=k, x=s.fractions, y=y, dashed=dashed)
        for k, name, c in sure
        for s in [c.sparsification]
        for y, dashed in ((s.by_uncertainty, False), (s.by_error, True))
    ]
    note = "Solid: the most uncertain pixels left out first. Dotted: the truly worst first."
    figures = [curve_figure("Sparsification: remaining RMSE / RMSE of all", note, sparse, x_title="share left out")]
    calibrated = [Curve(name=name, run=k, x=c.stated, y=c.found) for k, name, c in sure]
    note = "On the dotted line it is honest; above it the model is too sure of itself."
    figures.append(
        curve_figure("Calibration: RMSE found, m", note, calibrated, x_title="stated uncertainty, m", diagonal=True)
    )
    covered = [Curve(name=name, run=k, x=c.shares, y=c.coverage) for k, name, c in sure]
    note = "Share of true depths within a central interval. Below the dotted line: too sure."
    figures.append(
        curve_figure("Coverage", note, covered, x_title="share that the interval should hold", diagonal=True)
    )
    spreads = [
        Curve(name=name, run=k, x=(c.depth_edges[1:] + c.depth_edges[:-1]) / 2, y=c.spread)
        for k, name, c in sure
        if c.depth_edges is not None and c.spread is not None
    ]
    if spreads:
        title, note = "Uncertainty over true depth, m", "Root mean square over the pixels of each bin."
        figures.append(curve_figure(title, note, spreads, x_title="true depth, m"))
    return figures


def _how_to_read(images: Sequence[EvaluatedImage]) -> str:
    sure = " Uncertainty is the standard deviation of the prediction, dark where the model is sure." * any(
        image.uncertainty for image in images
    )
    return (
        "<p class=note>Depth: near red, far blue. Error: orange is predicted too near, blue too far, white right. "
        f"Hatched: unknown or not counted.{sure} Scales are shared within an image.</p>"
    )


def _figure(picture: UInt8, alt: str, caption: str, quality: int = 78) -> str:
    height, width = picture.shape[:2]
    address = f"data:image/webp;base64,{base64.b64encode(webp_bytes(picture, quality)).decode()}"
    return (
        f'<figure><img alt="{escape(alt)}" width={width} height={height} src="{address}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _article(image: EvaluatedImage, names: Sequence[str], width: int) -> str:
    """Write one image: what was given and the truth, then a strip for each run."""
    scales = shared_scales(
        image.target,
        [image.error(run) for run in image.predictions],
        [np.asarray(one, np.float64) for one in image.uncertainty.values()],
    )
    own = image.picture if isinstance(image.picture, Mapping) else {}
    first = "" if image.picture is None or own else _input(image.picture, image.name, width)  # type: ignore[arg-type]
    first = "".join(_picture(one, f"{title}: {image.name}", title, width) for title, one in image.given.items()) + first
    truth = _depth(image.target, scales, width)
    first += _figure(truth, f"True depth of {image.name}", "<b>True depth</b>")
    if image.sharp is not None:
        first += _picture(image.sharp, f"True all-in-focus image of {image.name}", "Truth", width)
    strips = []
    for k, run in enumerate(names):
        if run not in image.predictions and run not in image.restored:
            continue
        parts = _input(own[run], f"{image.name} for {run}", width) if run in own else ""
        if run in image.predictions:
            parts += _run_figures(image, run, scales, width)
        if run in image.restored:
            parts += _picture(image.restored[run], f"{image.name} restored by {run}", "Restored", width)
        heading = f"<h4>{escape(run)} <small>{_own_scores(image, run)}</small></h4>"
        strips.append(f'<div class="run" style="--c:var(--run{k})">{heading}<div class="strip">{parts}</div></div>')
    bars = bar("depth", scales) + (bar("error", scales) if strips else "")
    bars += bar("std", scales) if image.uncertainty else ""
    return (
        f'<article><h3>{escape(image.name)}</h3><div class="strip">{first}</div>{"".join(strips)}'
        f'<div class="bars">{bars}</div></article>\n'
    )


def _input(picture: npt.NDArray[Any], name: str, width: int) -> str:
    return _picture(picture, f"Input: {name}", "Input", width)


def _picture(picture: npt.NDArray[Any], alt: str, caption: str, width: int) -> str:
    small = eight_bits(picture)
    across = min(width, small.shape[1])
    small = resized(small, across, max(1, round(across * small.shape[0] / small.shape[1])))
    return _figure(small, alt, f"<b>{escape(caption)}</b>")


def _depth(values: npt.NDArray[Any], scales: Scales, width: int) -> UInt8:
    return depth_colours(thin(values, width), scales.near, scales.far)


def _run_figures(image: EvaluatedImage, run: str, scales: Scales, width: int) -> str:
    predicted = _depth(image.predictions[run], scales, width)
    error = coc_colours(-thin(image.error(run), width), scales.error)
    parts = _figure(predicted, f"Depth of {image.name} by {run}", "<b>Predicted depth</b>")
    parts += _figure(error, f"Error of {run} on {image.name}", "<b>Error</b>")
    if run in image.uncertainty:
        spread = spread_colours(thin(image.uncertainty[run], width), scales.std)
        parts += _figure(spread, f"Uncertainty of {run} on {image.name}", "<b>Uncertainty</b>")
    return parts


def _own_scores(image: EvaluatedImage, run: str) -> str:
    """Write a few numbers of one image beside its name."""
    parts = []
    if run in image.restored and image.sharp is not None:
        scores = image_metrics(eight_bits(image.restored[run]), eight_bits(image.sharp))
        parts = [f"PSNR {scores['psnr']:.2f} dB", f"SSIM {scores['ssim']:.3f}"]
    if run not in image.predictions:
        return escape(" \u00b7 ".join(parts))
    found = depth_metrics(image.predictions[run], image.target, np.isfinite(image.error(run)))
    if not found["pixels"]:
        return "no pixel counts"
    for name in ("rmse", "abs_rel", "delta1"):
        kind = measure(name)
        parts.append(f"{kind.title} {found[name]:.{kind.digits}f}{f' {kind.unit}' if kind.unit else ''}")
    return escape(" \u00b7 ".join(parts))
