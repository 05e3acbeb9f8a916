"""Exact light transport of geometric optics: the scene as it is seen through each cell of the aperture.

The aperture's square is cut into equal square cells. Seen through one cell, every surface is shifted by its parallax
and blurred by the cell's shadow, a small box; surfaces are laid over each other once for each cell, and the pictures
summed up, weighted by the light that the cell lets through. What the layered renderer takes as independent for the
whole lens, what a surface hides and what lies behind it there, is so for a single cell only: the error falls with the
size of a cell, without noise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, maximum_filter, minimum_filter

from .. import InputError
from .camera import ThinLens
from .exact_kernels import FRACTIONS, WIDTHS, render_layers, render_surfaces
from .fill import fill_depth
from .layers import split_surfaces
from .patches import depth_range, within_frame
from .psf import PsfBank
from .psf_shaped import ShapeBank
from .scene import LayeredScene, Patch, Scene

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

FINER = 16
"""Parts of a cell's side in which its light is counted, to find its centre and its width."""


def render_exact(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, samples: int, planes: int) -> Float32:
    """Render by integration over the aperture; see `rendering.render`.

    Raises
    ------
    InputError
        If the bank is not one of geometric optics, or `samples` is out of range.
    """
    if not isinstance(bank, ShapeBank) or bank.light_through is None:
        raise InputError(
            f"render.method 'exact' sends rays through an aperture, and a bank of kind {bank.kind!r} has none: use "
            "PsfBank.disk or PsfBank.aperture, or render.method 'layered'."
        )
    if not (isinstance(samples, int | np.integer) and 1 <= samples <= 2**20):
        raise InputError(f"render.samples must be a whole number from 1 to {2**20}, not {samples!r}.")
    cells = aperture_cells(bank, int(samples))
    if isinstance(scene, LayeredScene):
        return _render_layers(scene, lens, cells)
    return _render_surfaces(scene, lens, bank, cells, planes)


def aperture_cells(bank: ShapeBank, samples: int) -> Float64:
    """Cut an aperture into at most `samples` square cells of one size, those that no light passes left out.

    Parameters
    ----------
    bank
        One with an aperture.
    samples
        1 or more.

    Returns
    -------
    (N, 5) float64: x and y of the centre of a cell's light and the widths, along both, of the box with the same
    variance, in half sides of the aperture's square; and the cell's share of the light. Row by row, from the top.
    """
    assert bank.light_through is not None
    side = math.isqrt(samples)
    while side < 4 * math.isqrt(samples) and _lit(bank.light_through(_edges(side + 1))).sum() <= samples:
        side += 1
    light = bank.light_through(_edges(side * FINER)).reshape(side, FINER, side, FINER)
    share = light.sum(axis=(1, 3))
    lit = _lit(share)
    x, width_x = _spread_along(light.sum(axis=1)[lit], np.broadcast_to(np.arange(side), lit.shape)[lit], side)
    y, width_y = _spread_along(light.sum(axis=3).transpose(0, 2, 1)[lit], np.nonzero(lit)[0], side)
    return np.column_stack([x, y, width_x, width_y, share[lit] / share[lit].sum()])


def _edges(side: int) -> Float64:
    return np.linspace(-1.0, 1.0, side + 1)


def _lit(light: Float64) -> npt.NDArray[np.bool_]:
    """Which cells let more light through than rounding leaves."""
    return np.asarray(light > 1e-9 * light.max())


def _spread_along(parts: Float64, number: npt.NDArray[np.int_], side: int) -> tuple[Float64, Float64]:
    """Centre of the light of cells, and width of the box of its variance, from its `parts` (N, FINER) along an axis.

    `number` (N) counts cells along the axis, `side` of them from -1 to 1.
    """
    part = 2.0 / (side * FINER)
    at = (number[:, None] * FINER + np.arange(FINER) + 0.5) * part - 1.0
    share = parts / parts.sum(axis=1, keepdims=True)
    centre = (share * at).sum(axis=1)
    variance = (share * (at - centre[:, None]) ** 2).sum(axis=1) + part**2 / 12.0
    return centre, np.sqrt(12.0 * variance)


def cell_filters(widest: float) -> Float32:
    """Weights that look an image up at a point between its pixels, averaged over boxes of up to `widest` pixels.

    Pixels are averages over their area: they are interpolated by cubic convolution (Keys 1981, a = -1/2), which is
    exact for parabolas and does not blur, and integrated over the box in closed form.

    Returns
    -------
    (widths, fractions, taps) float32: for each width, in steps of 1 / `WIDTHS` pixel, and each position of the point
    after a pixel, in steps of 1 / `FRACTIONS`, the weights of the pixels in reach, from the first on.
    """
    width = np.arange(math.ceil(widest * WIDTHS) + 1)[:, None, None] / WIDTHS
    fraction = np.arange(FRACTIONS + 1)[None, :, None] / FRACTIONS
    first = np.ceil(fraction - 2.0 - width / 2)
    away = first + np.arange(4 + math.ceil(widest)) - fraction
    # A narrow box stands for a point: what it blurs is below rounding.
    box = np.maximum(width, 1e-4)
    weight = (_cubic_integral(away + box / 2) - _cubic_integral(away - box / 2)) / box
    return np.asarray((weight / weight.sum(axis=2, keepdims=True)).astype(np.float32))


def _cubic_integral(t: Float64) -> Float64:
    """Integral, from 0 to t, of Keys's cubic convolution kernel; odd in t, and 1/2 from 2 on."""
    d = np.minimum(np.abs(t), 2.0)
    inner = ((3 / 8 * d - 5 / 6) * d * d + 1.0) * d
    outer = (((-1 / 8 * d + 5 / 6) * d - 2.0) * d + 2.0) * d - 1 / 6
    return np.asarray(np.copysign(np.where(d < 1.0, inner, outer), t))


def _reach(half: float, cells: Float64) -> int:
    """Pixels that a surface's light may lie from where it is, half its CoC given: parallax, cell and interpolation."""
    return math.ceil(abs(half) * (1.0 + float(cells[:, 2:4].max()) / 2)) + 3


def _filters_for(half: float, cells: Float64) -> tuple[Float32, int, int]:
    """Return the filters that surfaces of at most `half` their CoC need, flattened, and their widths and taps."""
    filters = cell_filters(half * float(cells[:, 2:4].max()))
    return filters.ravel(), filters.shape[0], filters.shape[2]


def _render_layers(scene: LayeredScene, lens: ThinLens, cells: Float64) -> Float32:
    depth = np.concatenate([depth_range(p) for p in scene.patches])
    if not depth.size:
        return np.zeros((*scene.size, 3), np.float32)
    widest = float(np.abs(lens.coc(np.array([depth.min(), depth.max()]))).max()) / 2
    border = max(_reach(widest, cells) - scene.margin, 0)
    cut = (within_frame(p, scene.frame, border) for p in scene.patches)
    # A layer's depth may be anything where the layer is transparent.
    known = [replace(p, depth=np.fmin(np.fmax(p.depth, depth.min()), depth.max())) for p in cut if p]
    out = np.empty((scene.size[0], 3, scene.size[1]), np.float32)
    packed = _pack(known, lens, scene.margin + border)
    reach = np.array([_reach(half, cells) for half in packed.widest])
    render_layers(
        packed.texels, packed.relief, packed.where, packed.half, reach, cells, _filters_for(widest, cells), out
    )
    return _without_ringing(np.moveaxis(out, 1, -1))


@dataclass(frozen=True, slots=True)
class _Packed:
    """Layers as `exact_kernels.render_layers` takes them, and the greatest half CoC of each."""

    texels: Float32
    relief: Float32
    where: npt.NDArray[np.int64]
    half: Float64
    widest: Float64


def _pack(patches: list[Patch], lens: ThinLens, edge: int) -> _Packed:
    """Pack patches one after the other; the picture begins `edge` pixels into their frame."""
    texels, relief = [np.empty(0, np.float32)], [np.empty(0, np.float32)]
    where, halves, widest = np.empty((len(patches), 6), np.int64), np.zeros(len(patches)), np.zeros(len(patches))
    for k, patch in enumerate(patches):
        flat, half = isinstance(patch.depth, float), np.asarray(lens.coc(patch.depth), np.float64) / 2
        begin, begin_relief = sum(t.size for t in texels), sum(r.size for r in relief)
        where[k] = (
            begin, *patch.rgba.shape[:2], patch.top - edge, patch.left - edge, -1 if flat else begin_relief
        )  # fmt: skip
        texels.append((np.moveaxis(patch.rgba, -1, 1) if flat else patch.rgba).ravel())
        if not flat:
            relief.append(_relief(half, patch.rgba[..., 3] > 0).ravel())
        halves[k], widest[k] = half.flat[0], np.abs(half).max()
    return _Packed(np.concatenate(texels), np.concatenate(relief), where, halves, widest)


def _without_ringing(picture: Float32) -> Float32:
    """Return the picture without the negative light that interpolation may leave beside a highlight."""
    return np.ascontiguousarray(np.maximum(picture, np.float32(0.0)))


def _relief(half: Float64, there: npt.NDArray[np.bool_]) -> Float32:
    """Half the CoC and its growth along x and y, (h, w, 3); what is not `there` continues what is, as a plane.

    Of the steps to the two neighbours the smaller one counts: a surface may have an edge.
    """
    relief = np.stack([half, _growth(half, there, 1), _growth(half, there, 0)], axis=-1)
    if not there.all():
        y, x = distance_transform_edt(~there, return_distances=False, return_indices=True)
        relief = relief[y, x]
        rows, columns = np.indices(half.shape)
        relief[..., 0] += relief[..., 1] * (columns - x) + relief[..., 2] * (rows - y)
    return np.asarray(relief.astype(np.float32))


def _growth(half: Float64, there: npt.NDArray[np.bool_], axis: int) -> Float64:
    half, there = np.moveaxis(half, axis, 0), np.moveaxis(there, axis, 0)
    step = np.where(there[1:] & there[:-1], np.diff(half, axis=0), np.inf)
    none = np.full((1, *half.shape[1:]), np.inf)
    before, after = np.concatenate([none, step]), np.concatenate([step, none])
    growth = np.where(np.abs(before) < np.abs(after), before, after)
    return np.moveaxis(np.where(np.isfinite(growth), growth, 0.0), 0, axis)


def _render_surfaces(scene: Scene, lens: ThinLens, bank: PsfBank, cells: Float64, planes: int) -> Float32:
    depth = fill_depth(scene.depth, scene.aif)
    widest = float(np.abs(lens.coc(np.array([depth.min(), depth.max()]))).max()) / 2
    reach = _reach(widest, cells)
    border = max(reach - scene.margin, 0)
    found = split_surfaces(scene.aif, depth, border, bank, planes)
    half = np.where(found.plane >= 0, found.coc, found.coc[0]) / 2
    around = 2 * reach + 1
    high, low = maximum_filter(half[0], around, mode="nearest"), minimum_filter(half[1], around, mode="nearest")
    filters = _filters_for(widest, cells)
    # A ray may meet the surface half a pixel beside the pixel where it is noticed.
    taps = 2 * filters[2] + 3
    plane = found.plane[0]
    whole = maximum_filter(plane, taps, mode="nearest") - minimum_filter(plane, taps, mode="nearest") <= found.gap
    out = np.empty((*scene.size, 3), np.float32)
    surfaces = found.rgba, found.rgba.reshape(-1), half, found.plane, whole, high, low
    render_surfaces(surfaces, found.gap, cells, filters, scene.margin + border, out)
    return _without_ringing(out)
