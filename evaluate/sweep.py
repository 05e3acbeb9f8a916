"""Pictures of one focal stack: the sweep as an animation, and a sheet of its slices."""

import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from .. import InputError
from .fields import draw_boxes, enlarged, field_diagram, relative, stack_boxes
from .pictures import UInt8, coc_range, depth_range, eight_bits, layer_picture, resized
from .row import LAYERS, Layer, Row
from .sheet import check_width, fit, inks, legend, typeface

_STRIP, _DIAGRAM = 44, 96
_BACK, _INK, _MUTED = inks(dark=True)
_LEAST = 240
_MARGIN, _GAP, _LINE, _TITLE = 24, 10, 22, 34


def sweep_webp(
    slices: npt.NDArray[np.generic],
    labels: Sequence[str] = (),
    *,
    width: int = 480,
    milliseconds: int = 250,
    boxes: npt.ArrayLike | None = None,
) -> bytes:
    """Make an animated WebP of a focal stack, to and fro without end, with a line of text under each slice.

    Parameters
    ----------
    slices
        uint8 or uint16 (S, H, W, 3), sRGB.
    labels
        A text for each slice, such as focus distance and f-number; only numbers if left out.
    width
        Greatest width in pixels, at least 120; narrower slices keep their size or, below 240 pixels, are multiplied.
    milliseconds
        Time for a slice, 20 to 10000; the first and the last stay twice as long.
    boxes
        (S, 4) pixels, as `field_of_view_boxes` returns them: a small diagram shows each slice's field of view.

    Returns
    -------
    The content of the file: max(1, 2 S - 2) frames. The same input gives the same bytes.

    Raises
    ------
    InputError
        If the slices, the number of labels or boxes, the width or the time cannot be shown.
    """
    check_width(width)
    if slices.ndim != 4 or not slices.size:
        raise InputError(f"the slices of a sweep have shape (S, H, W, 3) and are not empty, not {slices.shape}.")
    count, height, full = slices.shape[:3]
    if labels and len(labels) != count:
        raise InputError(f"a sweep of {count} slices needs as many labels, not {len(labels)}.")
    if not 20 <= milliseconds <= 10000:
        raise InputError(f"a slice of a sweep is shown for 20 to 10000 milliseconds, not {milliseconds}.")
    shares = None if boxes is None else relative(np.asarray(boxes, np.float64), (height, full))
    if shares is not None and len(shares) != count:
        raise InputError(f"a sweep of {count} slices needs as many boxes, not {len(shares)}.")
    shown = min(width, full * math.ceil(_LEAST / full))
    frames = []
    for k, picture in enumerate(slices):
        image = resized(eight_bits(np.asarray(picture)), shown, max(1, round(shown * height / full)))
        strip = _strip(k, labels[k] if labels else "", count, shown, shares, full / height)
        frames.append(Image.fromarray(np.concatenate([image, strip])))
    order = [*range(count), *range(count - 2, 0, -1)]
    times = [milliseconds * (2 if k in (0, count - 1) else 1) for k in order]
    out = io.BytesIO()
    first, *rest = (frames[k] for k in order)
    first.save(out, "WEBP", save_all=True, append_images=rest, duration=times, loop=0, quality=80, method=4)
    return out.getvalue()


def _strip(k: int, label: str, count: int, width: int, shares: npt.NDArray[np.float64] | None, aspect: float) -> UInt8:
    """Draw what stands under slice k: its number, label and place in the sweep, and its field of view if given."""
    height = _STRIP if shares is None else _DIAGRAM
    canvas = np.full((height, width, 3), _BACK, np.uint8)
    room, below = width - 16, ""
    if shares is not None:
        side = min(width // 3, round(height * aspect))
        wide, factor = enlarged(shares)
        canvas[:, width - side :] = field_diagram(wide, height, side, aspect, k)
        room -= side
        below = f"field of view, differences x {factor}" if factor > 1 else "field of view"
    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    number = f"{k + 1}/{count}"
    draw.text((8, 8), number, _MUTED, typeface(15))
    after = typeface(15).getlength(f"{count}/{count}") + 12
    draw.text((8 + after, 8), fit(label, 15, room - after), _INK, typeface(15))
    step = room / max(count - 1, 1)
    draw.line((8, 34, 8 + room, 34), _MUTED)
    draw.ellipse((8 + k * step - 4, 30, 8 + k * step + 4, 38), _INK)
    draw.text((8, 58), fit(below, 12, room), _MUTED, typeface(12))
    return np.asarray(picture)


def stack_sheet(
    row: Row,
    *,
    width: int = 240,
    near: float | None = None,
    far: float | None = None,
    coc_limit: float | None = None,
    title: str = "",
    dark: bool = False,
) -> UInt8:
    """Lay one focal stack out: its slices with their CoC maps below, all-in-focus picture and depth at the side.

    Where the slices see different fields (`row.intrinsics`), these are drawn under the slices.

    Parameters
    ----------
    row
        A sample with a stack.
    width
        Width of a slice in pixels, at least 120.
    near, far
        Ends of the depth colours in metres; by default the range of this sample.
    coc_limit
        End of the CoC colours in pixels; by default the greatest |CoC| of all slices.
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
        If the sample has no stack, or an array or a scale cannot be shown.
    """
    check_width(width)
    if not row.slices:
        raise InputError(f"sample {row.index} has no focal stack to lay out.")
    known = depth_range([row.depth])
    low, high = known[0] if near is None else near, known[1] if far is None else far
    limit = coc_range([row.coc]) if coc_limit is None else coc_limit

    def picture(layer: Layer, frame: int = 0) -> UInt8 | None:
        return layer_picture(row, layer, width, near=low, far=high, coc_limit=limit, frame=frame)

    board = _Board()
    board.text(_MARGIN, _MARGIN - 6, title, 20)
    y = top = _MARGIN + (_TITLE if title else 0)
    for heading, cell in (
        (LAYERS["aif"], picture("aif")),
        (LAYERS["depth"], picture("depth")),
        ("", None if row.depth is None else legend("depth", low, high, width, dark=dark)),
        ("", None if row.coc is None else legend("coc", -limit, limit, width, dark=dark)),
    ):
        y = board.put(_MARGIN, y, heading, cell)
    left = _MARGIN + (width + 2 * _GAP if board.cells else 0)
    columns = min(row.slices, max(5, math.ceil(math.sqrt(1.5 * row.slices))))
    for first in range(0, row.slices, columns):
        bottom = top
        for k in range(first, min(first + columns, row.slices)):
            x = left + (k - first) * (width + _GAP)
            y = board.put(x, top, f"{k + 1}  {row.labels[k]}" if row.labels else str(k + 1), picture("stack", k))
            bottom = max(bottom, board.put(x, y - _GAP + 2, "", picture("coc", k) if row.coc is not None else None))
        top = bottom + _GAP
    board.put(left, top, "", _fields(row, int(columns * (width + _GAP) / 2.4)))
    return board.drawn(dark)


def _fields(row: Row, width: int) -> UInt8 | None:
    """Draw the fields of view of a stack, if they are known and differ."""
    boxes = stack_boxes(row)
    if boxes is None or row.stack is None:
        return None
    # Slices that differ only in their aperture see the same.
    distinct = np.sort(np.unique(boxes.round(2), axis=0, return_index=True)[1])
    labels = [f"{k + 1}  {row.labels[k]}" if row.labels else str(k + 1) for k in distinct]
    return draw_boxes(row.stack[row.reference], boxes[distinct], labels, width=max(width, 120))


class _Board:
    """A sheet in the making: pictures with headings, and how far they reach."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, int, UInt8]] = []
        self.texts: list[tuple[int, int, str, int, float]] = []

    def text(self, x: int, y: int, text: str, size: int, room: float = math.inf) -> None:
        self.texts.append((x, y, text, size, room))

    def put(self, x: int, y: int, heading: str, cell: UInt8 | None) -> int:
        """Place a picture under its heading; return where the next one below may begin."""
        if cell is None:
            return y
        if heading:
            self.text(x, y, heading, 14, cell.shape[1])
            y += _LINE
        self.cells.append((x, y, cell))
        return y + len(cell) + _GAP

    def drawn(self, dark: bool) -> UInt8:
        """Draw everything on white, or on near-black."""
        back, ink, _ = inks(dark)
        right = max(x + cell.shape[1] for x, _, cell in self.cells)
        bottom = max(y + cell.shape[0] for _, y, cell in self.cells)
        canvas = np.full((bottom + _MARGIN, right + _MARGIN, 3), back, np.uint8)
        for x, y, cell in self.cells:
            canvas[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
        picture = Image.fromarray(canvas)
        draw = ImageDraw.Draw(picture)
        for x, y, text, size, room in self.texts:
            draw.text((x, y), fit(text, size, min(room, right - x)), ink, typeface(size))
        return np.asarray(picture)
