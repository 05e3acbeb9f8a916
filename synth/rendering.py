"""Defocused captures of scenes: layered light transport through a thin lens.

Surfaces are composited from far to near, ``out = out (1 - a_k * h_k) + (a_k L_k) * h_k`` (D3-Net Eqs. 1-2 after
Hasinoff and Kutulakos 2007), `a_k` being whole surfaces with what they hide included: with the visible masks alone the
product would create light. Light stays linear throughout, and values over 1 stay.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .dense import DenseCanvas
from .layers import filled_depth, plane_grid, split_surfaces
from .psf import PsfBank, TapTable
from .rendering_kernels import (
    BLOCK,
    NOTHING,
    ONE,
    ONES,
    OWN,
    PLAIN,
    composite_planes,
    find_runs,
    flush,
    layer_runs,
    resolve,
    scatter,
    sort_runs,
)
from .scene import LayeredScene, Patch, Scene
from .workspace import cleared, keep_clear, scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.int32]


def render(
    scene: Scene | LayeredScene,
    lens: ThinLens,
    bank: PsfBank | None = None,
    *,
    planes: int = 64,
    method: Literal["layered"] = "layered",
    model: Literal["surfaces", "eq7"] = "surfaces",
) -> Float32:
    """Render what the lens makes of a scene.

    Parameters
    ----------
    scene
        A `Scene` is split at depth edges into surfaces, which are continued behind their occluders; a `LayeredScene`
        has all that already. Beyond the scene's margin the world is its mirror image, so borders do not darken.
    lens
        Gives the circle of confusion of each depth.
    bank
        PSFs; disks if left out.
    planes
        Depth planes that a `Scene` is sorted into. They only order: blur follows each pixel's own depth.
    method
        "layered".
    model
        "surfaces" composites surfaces with what they hide. "eq7" is the RPSF paper's Eq. 7, for comparison: the image
        cut at the centres of `planes` depth planes, each part blurred by its plane's kernel, and summed. Nothing
        hides anything there, so light is lost and gained at depth edges; a `LayeredScene` is flattened first.

    Returns
    -------
    (H, W, 3) float32, linear radiance.

    Raises
    ------
    InputError
        If the bank was made for another lens, does not cover the scene's depths or has kernels wider than the scene
        (disks may be), or if `planes`, `method` or `model` are out of range.
    """
    bank = bank or PsfBank.disk(lens)
    if bank.lens != lens:
        raise InputError("the PSF bank was made for another lens than the one to render with.")
    if method != "layered":
        raise InputError(f"render.method must be 'layered', not {method!r}.")
    if not isinstance(planes, int | np.integer):
        raise InputError(f"render.planes must be a whole number, not {planes!r}.")
    if model not in ("surfaces", "eq7"):
        raise InputError(f"render.model must be 'surfaces' or 'eq7', not {model!r}.")
    if model == "eq7":
        return _render_sum(scene, lens, bank, planes)
    if isinstance(scene, LayeredScene):
        return _render_layers(scene, lens, bank)
    return _render_surfaces(scene, lens, bank, planes)


class _DiskCanvas:
    """The frame under construction and the accumulators of the group that is being blurred; as `DenseCanvas`."""

    def __init__(self, frame: tuple[int, ...], table: TapTable, reach: int, edge: int, *, shared: bool) -> None:
        self.table, self.frame, self.edge = table, frame, edge
        self.border = reach + 1
        height, width = frame[0] + 2 * self.border, frame[1] + 2 * self.border
        width = -(-width // BLOCK) * BLOCK
        self.spread = cleared("spread", (height, width, 4), np.float32)
        self.ones = np.zeros((1, 1), np.float32)
        self.touched = np.zeros((height, width // BLOCK + 1), np.uint8)
        # Whole layers share no surface with another, and need only `far`.
        used = frame if shared else (0, 0)
        self.far = (scratch if shared else cleared)("far", (*frame, 4), np.float32)
        self.near = scratch("near", (*used, 4), np.float32)
        self.last = scratch("last", used, np.int32)
        self.last.fill(NOTHING)

    def scatter(self, source: Float32, runs: Runs, top: int = 0, left: int = 0) -> None:
        """Blur runs of the premultiplied source (rows, w, 4), placed at (top, left) in the frame."""
        self._scatter(source, runs, top, left, self.spread)

    def scatter_ones(self, source: Float32, runs: Runs, top: int, left: int) -> None:
        """Blur a source of ones (rows, w, 1): what the coverage of an endless surface would be."""
        if self.ones.size == 1:
            self.ones = np.zeros(self.spread.shape[:2], np.float32)
        self._scatter(source, runs, top, left, self.ones)

    def _scatter(self, source: Float32, runs: Runs, top: int, left: int, out: Float32) -> None:
        t, channels = self.table, source.shape[-1]
        rows = source.reshape(-1, source.shape[-2] * channels)
        scatter(
            rows, runs, t.starts, t.dy, t.dx, t.weight, t.radius,
            top + self.border, left + self.border, channels, out.reshape(len(out), -1), self.touched,
        )  # fmt: skip

    def flush(self, plane: int, gap: int, whole: int = ONE) -> None:
        """Composite the blurred group; see `rendering_kernels.flush`."""
        flush(
            self.spread, self.ones, self.touched, whole, self.border,
            plane, gap, self.near, self.far, self.last,
        )  # fmt: skip

    def composite_planes(self, source: Float32, runs: Runs, bounds: npt.NDArray[np.int64], gap: int) -> None:
        """Blur and composite an image that is sorted into planes; see `rendering_kernels.composite_planes`."""
        t, rows = self.table, source.reshape(-1, source.shape[-2] * 4)
        flat = self.spread.reshape(len(self.spread), -1)
        composite_planes(
            rows, runs, bounds, t.starts, t.dy, t.dx, t.weight, t.radius, self.border, gap,
            self.spread, flat, self.ones, self.touched, self.near, self.far, self.last,
        )  # fmt: skip

    def done(self) -> None:
        """Note that the accumulators are as clear as they were: every group was composited."""
        keep_clear("spread")

    def laid(self) -> Float32:
        """Return what whole layers were laid to, (H, W, 3) without the edge."""
        height, width = self.frame[0] - self.edge, self.frame[1] - self.edge
        return np.ascontiguousarray(self.far[self.edge : height, self.edge : width, :3])

    def resolve(self) -> Float32:
        """Return the picture, (H, W, 3) without the edge, as if what was seen stood for what was not."""
        out = np.empty((self.frame[0] - 2 * self.edge, self.frame[1] - 2 * self.edge, 3), np.float32)
        resolve(self.near, self.far, self.edge, out)
        return out


_Canvas = _DiskCanvas | DenseCanvas


def _runs(group: npt.NDArray[np.int32], slot: npt.NDArray[np.int32], groups: int) -> tuple[Runs, Any]:
    """Runs of equal group and slot of (S, h, w) images, sorted by group, and where each group begins."""
    runs, of_group = scratch("runs", (group.size, 5), np.int32), scratch("groups", (group.size,), np.int32)
    counts = np.zeros(groups, np.int64)
    n = find_runs(group, slot, of_group, runs, counts)
    bounds = np.concatenate([[0], np.cumsum(counts)])
    ordered = np.empty((n, 5), np.int32)
    sort_runs(runs[:n], of_group[:n], bounds[:-1].copy(), ordered)
    return ordered, bounds


def _canvas(frame: tuple[int, ...], bank: PsfBank, coc: Any, highest_slot: int, edge: int, *, shared: bool) -> _Canvas:
    reach = int(bank.reach(coc).max())
    if bank.by_differences:
        return _DiskCanvas(frame, bank.taps(highest_slot), reach, edge, shared=shared)
    return DenseCanvas(frame, bank, reach, edge, shared=shared)


def _border(scene: Scene | LayeredScene, bank: PsfBank, coc: Any) -> int:
    """Pixels to add on each side by reflection, so that the kernels of the CoCs find light beyond the picture."""
    reach, (height, width) = int(bank.reach(coc).max()), scene.size
    height, width = height + 2 * scene.margin, width + 2 * scene.margin
    if 2 * reach + 1 > min(height, width) and not bank.by_differences:
        raise InputError(
            f"the PSF's kernels are up to {2 * reach + 1} pixels wide, and the scene is {width}x{height} pixels with "
            "its margin: check the units of the camera and of the PSFs, or render larger images."
        )
    return max(reach - scene.margin, 0)


def _render_surfaces(scene: Scene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    depth = filled_depth(scene.depth)
    ends = np.array([depth.min(), depth.max()])
    bank.check_covers(ends)
    coc = lens.coc(ends)
    border = _border(scene, bank, coc)
    found = split_surfaces(scene.aif, depth, border, bank, planes)
    runs, bounds = _runs(found.plane, found.slot, int(found.plane.max()) + 1)
    canvas = _canvas(found.plane.shape[1:], bank, coc, int(found.slot[0].max()), scene.margin + border, shared=True)
    canvas.composite_planes(found.rgba, runs, bounds, found.gap)
    canvas.done()
    return canvas.resolve()


def _render_layers(scene: LayeredScene, lens: ThinLens, bank: PsfBank) -> Float32:
    depth = np.concatenate([_depth_range(p) for p in scene.patches])
    if not depth.size:
        return np.zeros((*scene.size, 3), np.float32)
    bank.check_covers(depth)
    coc = lens.coc(np.array([depth.min(), depth.max()]))
    border = _border(scene, bank, coc)
    frame = (scene.frame[0] + 2 * border, scene.frame[1] + 2 * border)
    patches = [p for p in (_within_frame(p, scene.frame, border) for p in scene.patches) if p]
    # A layer's depth may be anything where the layer is transparent.
    depths = [np.fmin(np.fmax(p.depth, depth.min()), depth.max()) for p in patches]
    slots = [bank.slots(np.atleast_2d(np.asarray(lens.coc(z), np.float32))) for z in depths]
    highest_slot = max((int(s.max()) for s in slots), default=0)
    canvas = _canvas(frame, bank, coc, highest_slot, scene.margin + border, shared=False)
    reach = int(bank.reach(coc).max())
    for plane, (patch, slot) in enumerate(zip(patches, slots, strict=True)):
        whole = _scatter_patch(canvas, patch, slot, reach)
        canvas.flush(plane, 0, whole)
    canvas.done()
    return canvas.laid()


def _render_sum(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by the RPSF paper's Eq. 7: ``sum_k h_k * (aif M_k)``, M_k being where the depth plane k is nearest."""
    if isinstance(scene, LayeredScene):
        flat = LayeredScene.from_patches(scene.frame, scene.patches).flatten()
        scene = Scene(flat.aif, flat.depth, margin=scene.margin)
    depth = filled_depth(scene.depth)
    ends = np.array([depth.min(), depth.max()])
    bank.check_covers(ends)
    grid = plane_grid(float(ends[0]), float(ends[1]), lens, planes)
    plane = grid.number(depth)
    coc = lens.coc(1.0 / grid.centre(np.arange(int(plane.max()) + 1)))
    border = _border(scene, bank, coc)
    around = [(border, border)] * 2
    slot = np.pad(bank.slots(coc)[plane], around, mode="symmetric")
    rgba = np.ones((*slot.shape, 4), np.float32)
    rgba[..., :3] = np.pad(scene.aif, [*around, (0, 0)], mode="symmetric")
    canvas = _canvas(slot.shape, bank, coc, int(slot.max()), scene.margin + border, shared=False)
    canvas.scatter(rgba, _layer_runs(rgba, slot))
    canvas.flush(0, 0, PLAIN)
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


def _scatter_patch(canvas: _Canvas, patch: Patch, slot: npt.NDArray[np.int32], reach: int) -> int:
    """Blur one layer; return what its opaque interior sums to: one, its own coverage, or that of ones.

    Where blur varies within a layer, neighbouring kernels overlap more or less than once. A layer that fills the
    frame is made whole by its own sum; a smaller one by the sum of an endless layer with the same depths.
    """
    alpha = patch.rgba[..., 3]
    canvas.scatter(patch.rgba, _layer_runs(patch.rgba, slot), patch.top, patch.left)
    if slot.size == 1 or (slot == slot.flat[0]).all():
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
    slot = np.pad(slot, around, mode="edge")
    ones = np.ones((*slot.shape, 1), np.float32)
    canvas.scatter_ones(ones, _layer_runs(ones, slot), top, left)
    return ONES


def _layer_runs(rgba: Float32, slot: npt.NDArray[np.int32]) -> Runs:
    runs = scratch("runs", (rgba.shape[0] * rgba.shape[1], 5), np.int32)
    return runs[: layer_runs(rgba, slot, runs)]
