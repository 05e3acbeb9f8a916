"""A line chart for sheets: anti-aliased lines and marks, with each line named at its end instead of in a legend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .pictures import Ink, nice_step
from .sheet import fit, inks, typeface

Float64 = npt.NDArray[np.float64]

_FINE = 4  # lines are drawn so many times larger and averaged
_HEAD, _FOOT = 58, 44
_NAME = 13
_LEADER, _SAMPLE = 20, 46  # pixels from the plot to the names of lines, for a leader or a sample of the line
_ANGLE_STEPS = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 45.0, 60.0, 90.0, 180.0, 360.0)


@dataclass(frozen=True, eq=False, kw_only=True)
class Line:
    """What a chart shows of one thing.

    Parameters
    ----------
    name
        Written at the end of the line.
    colour
        R, G, B, each 0 to 255.
    x, y
        float64 (n,): the line, in the order of `x`; where y is NaN it is broken.
    marks
        float64 (n,): values at the same `x` that are marked; NaN is left out.
    shape
        Which mark: 0 a disk, 1 a square, 2 a triangle, each smaller, so that marks at the same place are all seen.
    dashed
        Whether a line is broken, so that one under it is seen.
    """

    name: str
    colour: Ink
    x: Float64
    y: Float64
    marks: Float64 | None = None
    shape: int = 0
    dashed: bool = False

    def end(self) -> tuple[float, float] | None:
        """Return the last known point, or None."""
        for y in (self.y, self.marks):
            known = np.nonzero(np.isfinite(y))[0] if y is not None else np.empty(0, np.intp)
            if y is not None and known.size:
                return float(self.x[known[-1]]), float(y[known[-1]])
        return None


def angle_step(span: float, most: int) -> float:
    """Return the least customary step in degrees that divides `span` into at most `most`."""
    found = [step for step in _ANGLE_STEPS if step * most >= span]
    return nice_step(span, most) if span < most or not found else found[0]


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places apart until neighbours are `gap` apart and all lie from `low` to `high`, if there is room."""
    order = sorted(range(len(wanted)), key=lambda k: wanted[k])
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    placed: list[float] = []
    for k in order:
        placed.append(max(wanted[k], low, placed[-1] + gap if placed else low))
    for k in range(len(placed) - 1, -1, -1):
        placed[k] = min(placed[k], high if k == len(placed) - 1 else placed[k + 1] - gap)
    found = [0.0] * len(wanted)
    for k, place in zip(order, placed, strict=True):
        found[k] = place
    return found


class _Frame:
    """Where values lie in the picture."""

    def __init__(self, box: tuple[int, int, int, int], x: tuple[float, float], y: tuple[float, float]) -> None:
        self.left, self.top, self.right, self.bottom = box
        self.x, self.y = x, y

    def at(self, x: Any, y: Any) -> tuple[Any, Any]:
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - self.y[0]) / (self.y[1] - self.y[0])
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)


def _ticks(ends: tuple[float, float], choose: Callable[[float, int], float], most: int) -> list[float]:
    """Return the multiples of a step that lie on an axis."""
    step = choose(ends[1] - ends[0], most)
    return [k * step for k in range(math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9) + 1)]


def _text(value: float) -> str:
    return f"{value:.6g}"


def _mark(draw: ImageDraw.ImageDraw, at: tuple[float, float], radius: float, shape: int, colour: Ink) -> None:
    x, y = at
    if shape == 0:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    elif shape == 1:
        r = 0.89 * radius  # the area of the disk
        draw.rectangle((x - r, y - r, x + r, y + r), fill=colour)
    else:
        r = 1.2 * radius
        draw.polygon([(x - r, y + 0.8 * r), (x + r, y + 0.8 * r), (x, y - r)], fill=colour)


def _stroke(draw: ImageDraw.ImageDraw, points: Float64, line: Line) -> None:
    """Draw a line through points (n, 2) in pixels, `_FINE` times enlarged; NaN breaks it."""
    along = np.concatenate([[0.0], np.nancumsum(np.hypot(*np.diff(points, axis=0).T))])
    if line.dashed:
        # Cut at every pixel, so that a dash need not end at a point of the line.
        fine = np.linspace(0, along[-1], 2 + int(along[-1]))
        points, along = np.stack([np.interp(fine, along, column) for column in points.T], axis=1), fine
    for a, b, at in zip(points, points[1:], along, strict=False):
        if np.isfinite([a, b]).all() and not (line.dashed and at % 12 >= 7):
            x0, y0, x1, y1 = (_FINE * float(v) for v in (*a, *b))
            draw.line((x0, y0, x1, y1), line.colour, 2 * _FINE)
            # A round joint: separate strokes leave a notch at every bend.
            draw.ellipse((x1 - _FINE, y1 - _FINE, x1 + _FINE, y1 + _FINE), fill=line.colour)


def _plot(draw: ImageDraw.ImageDraw, frame: _Frame, line: Line) -> None:
    """Draw one line and its marks, `_FINE` times enlarged."""
    _stroke(draw, np.stack(frame.at(line.x, line.y), axis=1), line)
    if line.marks is None:
        return
    radius = (5.0 - line.shape if line.x.size <= 45 else 3.2 - 0.7 * line.shape) * _FINE
    for x, y in zip(*frame.at(line.x, line.marks), strict=True):
        if math.isfinite(y):
            _mark(draw, (_FINE * float(x), _FINE * float(y)), radius, line.shape, line.colour)


def line_chart(
    lines: Sequence[Line],
    *,
    width: int,
    height: int,
    heading: str,
    note: str,
    x_title: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    degrees: bool = False,
    key: bool = False,
    dark: bool = False,
) -> npt.NDArray[np.uint8]:
    """Draw lines over a common x, with ticks, titles and the lines' names at their right ends.

    Parameters
    ----------
    lines
        What to draw; none gives empty axes.
    width, height
        Of the picture in pixels, at least 300 and 160.
    heading, note
        What the chart shows, and under it the unit of y and what the marks are.
    x_title
        Quantity and unit of x.
    x_range, y_range
        Ends of the axes, each in order.
    degrees
        Ticks of y at customary angles.
    key
        Names in a column with samples of the lines, for lines that end at the same place.
    dark
        Light text on near-black, instead of dark text on white.

    Returns
    -------
    uint8 (height, width, 3), sRGB.
    """
    font = typeface(12)
    y_ticks = _ticks(y_range, angle_step if degrees else nice_step, 6)
    named = [(line, fit(line.name, _NAME, 150), end) for line in lines if (end := line.end()) is not None]
    right = max([typeface(_NAME).getlength(name) for _, name, _ in named], default=0) + (_SAMPLE if key else _LEADER)
    left = max([font.getlength(_text(tick)) for tick in y_ticks], default=0) + 12
    frame = _Frame((math.ceil(left), _HEAD, width - math.ceil(right) - 2, height - _FOOT), x_range, y_range)
    x_ticks = _ticks(x_range, nice_step, max(2, (frame.right - frame.left) // 56))

    canvas = Image.new("RGB", (_FINE * width, _FINE * height), (inks(dark)[0],) * 3)
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        _plot(draw, frame, line)
    ends = [frame.at(*end) for _, _, end in named]
    places = spread([y for _, y in ends], _NAME + 3, frame.top + 4, frame.bottom - 4)
    for k, (line, _, _) in enumerate(named):
        if key:
            places[k] = frame.top + 8 + 20 * k
            sample = [[frame.right + 14, places[k]], [frame.right + _SAMPLE - 6, places[k]]]
            _stroke(draw, np.array(sample, float), line)
        else:
            draw.line(
                [_FINE * v for v in (ends[k][0] + 6, ends[k][1], frame.right + 16, places[k])], line.colour, _FINE
            )
    # Lines keep their colour over the grid: the darker wins on white, the lighter on black.
    grid = np.asarray(_grid(width, height, frame, x_ticks, y_ticks, dark))
    picture = Image.fromarray((np.maximum if dark else np.minimum)(grid, np.asarray(canvas.reduce(_FINE))))
    draw = ImageDraw.Draw(picture)
    _, ink, muted = inks(dark)
    draw.text((0, 0), fit(heading, 16, width), ink, typeface(16))
    draw.text((0, 23), fit(note, 12, width), muted, font)
    middle = (frame.left + frame.right) / 2
    draw.text((middle, height - 2), fit(x_title, 12, frame.right - frame.left), muted, font, anchor="md")
    for (line, name, _), place in zip(named, places, strict=True):
        start = frame.right + (_SAMPLE if key else _LEADER)
        draw.text((start, place), name, line.colour, typeface(_NAME), anchor="lm")
    return np.asarray(picture)


def _grid(
    width: int, height: int, frame: _Frame, x_ticks: Sequence[float], y_ticks: Sequence[float], dark: bool
) -> Image.Image:
    """Draw axes, grid lines and their numbers at whole pixels."""
    back, _, muted = inks(dark)
    picture = Image.new("RGB", (width, height), (back,) * 3)
    draw = ImageDraw.Draw(picture)
    for tick in y_ticks:
        y = round(frame.at(0, tick)[1])
        draw.line((frame.left, y, frame.right, y), (58,) * 3 if dark else (225,) * 3)
        draw.text((frame.left - 7, y), _text(tick), muted, typeface(12), anchor="rm")
    draw.line((frame.left, frame.bottom, frame.right, frame.bottom), muted)
    for tick in x_ticks:
        x = round(frame.at(tick, 0)[0])
        draw.line((x, frame.bottom, x, frame.bottom + 4), muted)
        draw.text((x, frame.bottom + 7), _text(tick), muted, typeface(12), anchor="ma")
    return picture


def ranges(values: npt.NDArray[Any], least: float) -> tuple[float, float]:
    """Return the least and the greatest finite value, widened to a span of at least `least`; (-l/2, l/2) if none."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    missing = max(0.0, least - (high - low)) / 2
    return low - missing, high + missing
