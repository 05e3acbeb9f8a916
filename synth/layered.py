"""Layered light transport: surfaces or true layers, each blurred and laid over what lies behind it.

From far to near, ``out = out (1 - a_k * h_k) + (a_k L_k) * h_k`` (D3-Net Eqs. 1-2 after Hasinoff and Kutulakos 2007),
`a_k` being whole surfaces with what they hide included: with the visible masks alone the product would create light.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .dense import DenseCanvas
from .disk_kernels import ONE, ONES, OWN, find_runs, layer_runs, sort_runs
from .disks import DiskCanvas
from .field_canvas import FieldCanvas
from .layers import filled_depth, split_surfaces
from .psf import PsfBank
from .psf_field import FieldBank
from .scene import LayeredScene, Patch, Scene
from .workspace import scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.int32]

Canvas = DiskCanvas | DenseCanvas


def _runs(group: npt.NDArray[np.int32], slot: npt.NDArray[np.int32], groups: int) -> tuple[Runs, Any]:
    """Runs of equal group and slot of (S, h, w) images, sorted by group, and where each group begins."""
    runs, of_group = scratch("runs", (group.size, 5), np.int32), scratch("groups", (group.size,), np.int32)
    counts = np.zeros(groups, np.int64)
    n = find_runs(group, slot, of_group, runs, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    ordered = np.empty((n, 5), np.int32)
    sort_runs(runs[:n], of_group[:n], bounds[:-1].copy(), ordered)
    return ordered, bounds


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


def render_surfaces(scene: Scene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render an image and depth map: split into surfaces that go on behind their occluders; see `render`."""
    depth = filled_depth(scene.depth)
    ends = np.array([depth.min(), depth.max()])
    bank.check_covers(ends)
    coc = lens.coc(ends)
    border = border_for(scene, bank, coc)
    found = split_surfaces(scene.aif, depth, border, bank, planes)
    runs, bounds = _runs(found.plane, found.slot, int(found.plane.max()) + 1)
    canvas = canvas_for(found.plane.shape[1:], bank, coc, int(found.slot[0].max()), scene.margin + border, shared=True)
    canvas.composite_planes(found.rgba, runs, bounds, found.gap)
    canvas.done()
    return canvas.resolve()


def render_layers(scene: LayeredScene, lens: ThinLens, bank: PsfBank) -> Float32:
    """Render true layers; see `render`."""
    depth = np.concatenate([_depth_range(p) for p in scene.patches])
    if not depth.size:
        return np.zeros((*scene.size, 3), np.float32)
    bank.check_covers(depth)
    coc = lens.coc(np.array([depth.min(), depth.max()]))
    border = border_for(scene, bank, coc)
    frame = (scene.frame[0] + 2 * border, scene.frame[1] + 2 * border)
    patches = [p for p in (_within_frame(p, scene.frame, border) for p in scene.patches) if p]
    # A layer's depth may be anything where the layer is transparent.
    depths = [np.fmin(np.fmax(p.depth, depth.min()), depth.max()) for p in patches]
    slots = [bank.slots(np.atleast_2d(np.asarray(lens.coc(z), np.float32))) for z in depths]
    highest_slot = max((int(s.max()) for s in slots), default=0)
    canvas = canvas_for(frame, bank, coc, highest_slot, scene.margin + border, shared=False)
    reach = int(bank.reach(coc).max())
    for plane, (patch, slot) in enumerate(zip(patches, slots, strict=True)):
        whole = _scatter_patch(canvas, patch, slot, reach)
        canvas.flush(plane, 0, whole)
    canvas.done()
    return canvas.laid()


def _depth_range(patch: Patch) -> npt.NDArray[np.float64]:
    """Least and greatest depth of what a patch shows; empty if nothing."""
    there = patch.rgba[..., 3] > 0
    depth = np.asarray(patch.depth, np.float64) if isinstance(patch.depth, float) else patch.depth[there]
    return np.array([depth.min(), depth.max()] if there.any() else [], np.float64)


def _within_frame(patch: Patch, frame: tuple[int, int], border: int) -> Patch | None:
    """Cut a patch to the frame; continue it by reflection over the sides of the frame that it reaches."""
    height, width = patch.rgba.shape[:2]
    if not border and 0 <= patch.top <= frame[0] - height and 0 <= patch.left <= frame[1] - width:
        return patch
    y0, y1 = max(patch.top, 0), min(patch.top + height, frame[0])
    x0, x1 = max(patch.left, 0), min(patch.left + width, frame[1])
    if y0 >= y1 or x0 >= x1:
        return None
    cut = np.s_[y0 - patch.top : y1 - patch.top, x0 - patch.left : x1 - patch.left]
    pads = [(border * (y0 == 0), border * (y1 == frame[0])), (border * (x0 == 0), border * (x1 == frame[1]))]
    depth = patch.depth
    if not isinstance(depth, float):
        depth = np.pad(depth[cut], pads, mode="symmetric")
    rgba = np.pad(patch.rgba[cut], [*pads, (0, 0)], mode="symmetric")
    return Patch(rgba, depth, top=y0 + border - pads[0][0], left=x0 + border - pads[1][0])


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
    runs = scratch("runs", (rgba.shape[0] * rgba.shape[1], 5), np.int32)
    return runs[: layer_runs(rgba, slot, runs)]
