"""Curves as inline SVG, whose text and lines follow the page's light or dark colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from .. import InputError
from .pictures import nice_step

Float64 = npt.NDArray[np.float64]
Place = Callable[[float], float]

RUNS = 8
"""How many runs a page tells apart by colour."""
CURVE_STYLE = """
:root{--run0:#1f5fa8;--run1:#c25a00;--run2:#1b7a43;--run3:#8a3fa0;--run4:#b3263f;--run5:#0b7f88;--run6:#7a6a00;
--run7:#555}
@media(prefers-color-scheme:dark){:root{--run0:#7fb6e6;--run1:#f2a365;--run2:#6fcf97;--run3:#cf9be0;--run4:#f08a9a;
--run5:#6fd3da;--run6:#d8c75a;--run7:#bbb}}
.curve{fill:none;stroke-width:2.5;stroke-linejoin:round;stroke-linecap:round}
svg .curve{stroke:var(--c)}svg .dashed{stroke-dasharray:2 6}svg .point{fill:var(--c);stroke:none}
svg .bin{fill:var(--muted);fill-opacity:.18}svg .bin:hover{fill:var(--muted);fill-opacity:.35}
svg .axis{stroke:var(--muted)}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.1rem;margin:.75rem 0;padding:0;list-style:none}
.key li::before{content:"";display:inline-block;width:1.5rem;height:4px;border-radius:2px;background:var(--c);
margin-right:.45rem;vertical-align:middle}
figcaption small{display:block;font-weight:400;color:var(--muted)}
"""
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 414, 14, 200


@dataclass(frozen=True, eq=False, kw_only=True)
class Curve:
    """One line.

    Parameters
    ----------
    name
        What the pointer is told over it.
    run
        Which of the page's colours.
    x, y
        float64 (N,); NaN breaks the line.
    dashed
        Whether it is drawn in dots, such as an oracle.
    """

    name: str
    run: int
    x: Float64
    y: Float64
    dashed: bool = False


def _text(value: float) -> str:
    return f"{value:.6g}".replace("-", "\u2212")


def _ends(values: Sequence[Float64], zero: bool) -> tuple[float, float]:
    """Return the range of the known values, from 0 if asked for, never empty."""
    every = np.concatenate([np.ravel(v) for v in values]) if values else np.empty(0)
    known = every[np.isfinite(every)]
    if not known.size:
        return 0.0, 1.0
    low, high = (min(0.0, float(known.min())) if zero else float(known.min())), float(known.max())
    return (low, high) if high > low else (low, low + (abs(low) or 1.0))


def curve_figure(
    title: str,
    note: str,
    curves: Sequence[Curve],
    *,
    x_title: str,
    edges: npt.ArrayLike | None = None,
    share: npt.ArrayLike | None = None,
    diagonal: bool = False,
    x_step: float | None = None,
) -> str:
    """Draw lines over a common x as a figure.

    Parameters
    ----------
    title, note, x_title
        What it shows with its unit; how to read it; what x is with its unit.
    curves
        The lines; without any known value the axes are empty.
    edges, share
        Bins (N + 1,) in x and what fraction of the pixels (N,) each holds: grey bars behind the lines, on a scale of
        their own.
    diagonal
        A dashed line where y equals x, and axes of one range.
    x_step
        Between the numbers along x, such as 90 of degrees; one that suits the range if None.

    Raises
    ------
    InputError
        If a curve has not as many x as y, or bins and shares do not fit.
    """
    if any(curve.x.shape != curve.y.shape or curve.x.ndim != 1 for curve in curves):
        raise InputError(f"every line of {title!r} has as many x as y, in one dimension.")
    bars = (np.empty(0), np.empty(0)) if edges is None else (np.asarray(edges, float), np.asarray(share, float))
    if len(bars[0]) and (bars[0].ndim != 1 or bars[1].shape != (len(bars[0]) - 1,)):
        raise InputError(f"the bars of {title!r} need N + 1 edges and N shares.")
    x = _ends([curve.x for curve in curves] + [bars[0]], zero=diagonal)
    low, high = _ends([curve.y for curve in curves], zero=True)
    y = (low, high + 0.06 * (high - low))
    if diagonal:
        x = y = (0.0, 1.04 * max(x[1], high))

    def across(v: float) -> float:
        return _LEFT + (v - x[0]) / (x[1] - x[0]) * (_RIGHT - _LEFT)

    def down(v: float) -> float:
        return _BOTTOM - (v - y[0]) / (y[1] - y[0]) * (_BOTTOM - _TOP)

    parts = [_bars(bars[0], bars[1], across)] if len(bars[0]) else []
    for tick in _ticks(y, 5):
        place = down(tick)
        parts.append(f'<path class="{"axis" if tick == 0 else "rule"}" d="M{_LEFT} {place:.1f}H{_RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{place + 4:.1f}" text-anchor="end">{_text(tick)}</text>')
    for tick in _ticks(x, 7, x_step):
        parts.append(f'<text x="{across(tick):.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{_text(tick)}</text>')
    if diagonal:
        d = f"M{_LEFT} {_BOTTOM}L{_RIGHT} {_TOP}"
        parts.append(f'<path class="curve dashed" style="--c:var(--muted);stroke-width:1.5" d="{d}"/>')
    parts += [_line(curve, across, down) for curve in curves]
    middle = (_LEFT + _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_BOTTOM + 34}" text-anchor="middle">{escape(x_title)}</text>')
    return (
        f"<figure><figcaption>{escape(title)}<small>{escape(note)}</small></figcaption>"
        f'<svg viewBox="0 0 424 240" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _ticks(ends: tuple[float, float], most: int, step: float | None = None) -> list[float]:
    step = step or nice_step(ends[1] - ends[0], most)
    first, last = np.ceil(ends[0] / step - 1e-9), np.floor(ends[1] / step + 1e-9)
    # Adding 0 makes a zero of a negative one.
    return [float(k * step) + 0.0 for k in np.arange(first, last + 1)]


def _bars(edges: Float64, share: Float64, across: Place) -> str:
    top = float(share.max(initial=0)) or 1.0
    parts = []
    for k, part in enumerate(share.tolist()):
        left, right = across(float(edges[k])), across(float(edges[k + 1]))
        tall = 0.9 * part / top * (_BOTTOM - _TOP)
        tip = f"{_text(float(edges[k]))} to {_text(float(edges[k + 1]))}: {100 * part:.3g} % of the pixels"
        box = f'x="{left:.1f}" y="{_BOTTOM - tall:.1f}" width="{max(0.5, right - left - 1):.1f}" height="{tall:.1f}"'
        parts.append(f'<rect class="bin" {box}><title>{tip}</title></rect>')
    return "".join(parts)


def _line(curve: Curve, across: Place, down: Place) -> str:
    known = np.isfinite(curve.x) & np.isfinite(curve.y)
    commands, points, pen = [], [], "M"
    for x, y, there in zip(curve.x.tolist(), curve.y.tolist(), known.tolist(), strict=True):
        if there:
            commands.append(f"{pen}{across(x):.1f} {down(y):.1f}")
            tip = f"<title>{escape(curve.name)}: {_text(round(y, 4))} at {_text(round(x, 4))}</title>"
            points.append(f'<circle class="point" cx="{across(x):.1f}" cy="{down(y):.1f}" r="3">{tip}</circle>')
        pen = "L" if there else "M"
    kind = "curve dashed" if curve.dashed else "curve"
    drawn = "".join(points) if len(points) <= 30 and not curve.dashed else ""
    tip = f"<title>{escape(curve.name)}</title>"
    body = f'<path class="{kind}" d="{"".join(commands)}">{tip}</path>' if commands else ""
    return f'<g style="--c:var(--run{curve.run % RUNS})">{body}{drawn}</g>'


def key(names: Sequence[str]) -> str:
    """Write which colour is which run."""
    items = "".join(f'<li style="--c:var(--run{k % RUNS})">{escape(name)}</li>' for k, name in enumerate(names))
    return f'<ul class="key">{items}</ul>'
