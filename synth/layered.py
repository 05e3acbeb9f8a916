"""Layered light transport: surfaces or true layers, each blurred and laid over what lies behind it.

From far to near, ``out = out (1 - a_k * h_k) + (a_k L_k) * h_k`` (D3-Net Eqs. 1-2 after Hasinoff and Kutulakos 2007),
`a_k` being whole surfaces with what they hide included: with the visible masks alone the product would create light.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .dense import DenseCanvas
from .disk_kernels import ONE, ONES, OWN
from .disks import DiskCanvas
from .field_canvas import FieldCanvas
from .fill import fill_depth
from .layers import Surfaces, Sweep, slots_for_coc, split_surfaces
from .patches import depth_range, within_frame
from .psf import PsfBank
from .psf_field import FieldBank
from .psf_shaped import ShapeBank
from .run_kernels import count_runs, find_runs, layer_runs
from .scene import LayeredScene, Patch, Scene
from .workspace import scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.integer[Any]]

Canvas = DiskCanvas | DenseCanvas


def _run_type(rows: int, width: int, highest_slot: int) -> type[np.integer[Any]]:
    """Smaller one of two types that holds the rows, columns and slots of runs: in noise every pixel has its own."""
    return np.int16 if max(rows, width, highest_slot) < 2**15 else np.int32


def _runs(
    group: npt.NDArray[np.int16], slot: npt.NDArray[np.int32], groups: int, highest_slot: int
) -> tuple[Runs, npt.NDArray[np.int64]]:
    """Runs of equal group and slot of (S, h, w) images, sorted by group, and where each group begins."""
    counts = np.zeros(groups, np.int64)
    count_runs(group, slot, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    images, height, width = group.shape
    runs = np.empty((int(bounds[-1]), 5), _run_type(images * height, width, highest_slot))
    find_runs(group, slot, bounds[:-1].copy(), runs)
    return runs, bounds


def canvas_for(
    frame: tuple[int, ...], bank: PsfBank, coc: Any, highest_slot: int, edge: int, *, shared: bool
) -> Canvas:
    """Return a canvas for kernels of a bank, those of the CoCs (pixels) being the widest; see `DenseCanvas`."""
    reach = int(bank.reach(coc).max())
    if bank.by_differences:
        return DiskCanvas(frame, bank.taps(highest_slot), reach, edge, shared=shared)
    if isinstance(bank, FieldBank):
        return FieldCanvas(frame, bank, reach, edge, shared=shared)
    return DenseCanvas(frame, bank, reach, edge, shared=shared)


def border_for(scene: Scene | LayeredScene, bank: PsfBank, coc: Any) -> int:
    """Pixels to add on each side by reflection, so that the kernels of the CoCs find light beyond the picture."""
    reach, (height, width) = int(bank.reach(coc).max()), scene.size
    height, width = height + 2 * scene.margin, width + 2 * scene.margin
    if 2 * reach + 1 > min(height, width) and not bank.by_differences:
        raise InputError(
            f"the PSF's kernels are up to {2 * reach + 1} pixels wide, and the scene is {width}x{height} pixels with "
            "its margin: check the units of the camera and of the PSFs, or render larger images."
        )
    return max(reach - scene.margin, 0)


def render_surfaces(scene: Scene, banks: Sequence[PsfBank], planes: int) -> list[Float32]:
    """Render an image and depth map: split into surfaces that go on behind their occluders; see `render`.

    Through the lenses of several banks the scene is split once for all of them.
    """
    depth = fill_depth(scene.depth, scene.aif)
    ends = np.array([depth.min(), depth.max()])
    for bank in banks:
        bank.check_covers(ends)
    banks = [bank.averaged for bank in banks]
    border = max(border_for(scene, bank, bank.lens.coc(ends)) for bank in banks)
    sweep = Sweep.of([bank.lens for bank in banks]) if len(banks) > 1 else None
    found = split_surfaces(scene.aif, depth, border, banks[0], planes, sweep)
    return [_composite(found, bank, bank.lens.coc(ends), scene.margin + border, sweep) for bank in banks]


def _composite(found: Surfaces, bank: PsfBank, coc: npt.NDArray[np.float64], edge: int, sweep: Sweep | None) -> Float32:
    plane, plane_coc, change = found.plane, found.plane_coc, None
    if sweep:
        change = sweep.change(bank.lens)
        plane, plane_coc = sweep.seen_by(found, bank, coc), plane_coc * change[0] + change[1]
    slot = slots_for_coc(found, bank, coc, change)
    highest_slot = int(slot[0].max())
    runs, bounds = _runs(plane, slot, len(found.plane_coc), highest_slot)
    canvas = canvas_for(found.plane.shape[1:], bank, coc, highest_slot, edge, shared=True)
    return canvas.composite_planes(found.rgba, runs, bounds, found.gap, plane_coc)


def render_layers(scene: LayeredScene, lens: ThinLens, bank: PsfBank) -> Float32:
    """Render true layers; see `render`."""
    depth = np.concatenate([depth_range(p) for p in scene.patches])
    if not depth.size:
        return np.zeros((*scene.size, 3), np.float32)
    bank.check_covers(depth)
    coc = lens.coc(np.array([depth.min(), depth.max()]))
    border = border_for(scene, bank, coc)
    frame = (scene.frame[0] + 2 * border, scene.frame[1] + 2 * border)
    patches = [p for p in (within_frame(p, scene.frame, border) for p in scene.patches) if p]
    # A layer's depth may be anything where the layer is transparent.
    depths = [np.fmin(np.fmax(p.depth, depth.min()), depth.max()) for p in patches]
    slots = [bank.slots(np.atleast_2d(np.asarray(lens.coc(z), np.float32))) for z in depths]
    highest_slot = max((int(s.max()) for s in slots), default=0)
    canvas = canvas_for(frame, bank, coc, highest_slot, scene.margin + border, shared=False)
    if isinstance(bank, ShapeBank) and isinstance(canvas, DiskCanvas):
        # A layer of one depth takes the kernel of its own CoC, not that of the nearest slot.
        flat = [k for k, patch in enumerate(patches) if isinstance(patch.depth, float)]
        table, first = bank.taps_with(highest_slot, [lens.coc(depths[k]) for k in flat])
        canvas.use(table)
        for i, k in enumerate(flat):
            slots[k] = np.full((1, 1), first + i, np.int32)
    reach = int(bank.reach(coc).max())
    for plane, (patch, slot) in enumerate(zip(patches, slots, strict=True)):
        whole = _scatter_patch(canvas, patch, slot, reach)
        canvas.flush(plane, 0, whole)
    canvas.done()
    return canvas.laid()


def _scatter_patch(canvas: Canvas, patch: Patch, slot: npt.NDArray[np.int32], reach: int) -> int:
    """Blur one layer; return what its opaque interior sums to: one, its own coverage, or that of ones.

    Where blur varies within a layer, neighbouring kernels overlap more or less than once. A layer that fills the
    frame is made whole by its own sum; a smaller one by the sum of an endless layer with the same depths.
    """
    alpha = patch.rgba[..., 3]
    canvas.scatter(patch.rgba, layer_runs_of(patch.rgba, slot), patch.top, patch.left)
    if not canvas.varies and (slot == slot.flat[0]).all():
        return ONE
    if alpha.shape == canvas.frame and bool((alpha == 1).all()):
        return OWN
    pad = 2 * reach
    top, left = max(patch.top - pad, 0), max(patch.left - pad, 0)
    bottom = min(patch.top + alpha.shape[0] + pad, canvas.frame[0])
    right = min(patch.left + alpha.shape[1] + pad, canvas.frame[1])
    around = [
        (patch.top - top, bottom - patch.top - alpha.shape[0]),
        (patch.left - left, right - patch.left - alpha.shape[1]),
    ]
    slot = np.pad(np.broadcast_to(slot, alpha.shape), around, mode="edge")
    ones = np.ones((*slot.shape, 1), np.float32)
    canvas.scatter_ones(ones, layer_runs_of(ones, slot), top, left)
    return ONES


def layer_runs_of(rgba: Float32, slot: npt.NDArray[np.int32]) -> Runs:
    """Runs of one layer (h, w, channels) where it is not transparent; `slot` (h, w), or (1, 1) for all of it."""
    height, width = rgba.shape[:2]
    runs = scratch("runs", (height * width, 5), _run_type(height, width, int(slot.max(initial=0))))
    return runs[: layer_runs(rgba, slot, runs)]
