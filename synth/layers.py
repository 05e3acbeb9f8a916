"""From a depth map to ordered planes, and to what lies behind occluders.

Planes only order: they are uniform in inverse depth (hence in CoC), counted from far to near, the focus plane at the
centre of one. Two neighbouring pixels more than `gap` planes apart belong to different surfaces; less, to one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .hidden_kernels import find_hidden, find_neighbours, keep_reachable, list_hidden, paint_hidden, relax
from .layers_kernels import find_slots, mean_coc, sort_pixels
from .psf import PsfBank
from .silhouette_kernels import mark_edges, settle, soften
from .workspace import cleared, scratch

Float32 = npt.NDArray[np.float32]

MOST_PLANES = 16384
SWEEPS = 8
"""How often hidden pixels are drawn towards the mean of their neighbours; more changes captures by less than noise."""
SURFACE_STEP = 1.0
"""A jump of the CoC of more than this many pixels between neighbours is an edge between two surfaces."""


@dataclass(frozen=True, slots=True)
class PlaneGrid:
    """Planes uniform in inverse depth.

    Attributes
    ----------
    gap
        Largest difference of plane numbers within one surface.
    anchor
        Inverse depth (1/metre) of the centre of plane `-first`: the focus plane, if it is among them.
    per_dioptre
        Planes in one 1/metre.
    first
        What to subtract so that the farthest plane has number 0.
    """

    gap: int
    anchor: float
    per_dioptre: float
    first: int

    def number(self, depth: Float32) -> npt.NDArray[np.int32]:
        """Plane of each depth in metres, float32; same shape, int32."""
        above = np.float32(1.0) / depth - np.float32(self.anchor)
        raw = np.floor(above * np.float32(self.per_dioptre) + np.float32(0.5))
        return np.asarray(np.maximum(raw.astype(np.int32) - np.int32(self.first), 0))

    def centre(self, number: npt.NDArray[np.int_]) -> npt.NDArray[np.float64]:
        """Inverse depth (1/metre) of the centre of each plane; same shape, float64."""
        return self.anchor + (number + self.first) / (self.per_dioptre or math.inf)


def plane_grid(near: float, far: float, lens: ThinLens, planes: int) -> PlaneGrid:
    """Lay at most `planes` planes from the farthest to the nearest depth.

    Parameters
    ----------
    near, far
        Depths in metres; `far` may be `inf`.
    lens
        Its focus plane becomes the centre of a plane, if it lies in the range.
    planes
        2 or more.

    Raises
    ------
    InputError
        If `planes` is less than 2 or more than `MOST_PLANES`.
    """
    if not 2 <= planes <= MOST_PLANES:
        raise InputError(f"render.planes must be 2 to {MOST_PLANES}, not {planes}.")
    low, high = 1.0 / far, 1.0 / near
    step = (high - low) / (planes - 1)
    if step * lens.coc_per_dioptre < 1e-6:
        return PlaneGrid(gap=1, anchor=low, per_dioptre=0.0, first=0)
    focus = 1.0 / lens.focus_distance
    anchor = focus if low <= focus <= high else low
    gap = max(1, math.ceil(SURFACE_STEP / (step * lens.coc_per_dioptre)))
    return PlaneGrid(gap, anchor, 1.0 / step, math.floor((low - anchor) / step + 0.5))


def hidden_reach(bank: PsfBank, coc: tuple[float, float]) -> Float32:
    """How deep behind an edge the blur of two surfaces can bring to light what is hidden there.

    Parameters
    ----------
    bank
        Gives the kernels.
    coc
        Least and greatest signed CoC that occur, pixels.

    Returns
    -------
    (2,) float32, pixels for each pixel of the two CoCs' sizes, and pixels besides: the half-sizes of the two kernels.
    """
    if bank.by_differences:
        return np.array([0.5, 1.5], np.float32)
    widest = max(abs(coc[0]), abs(coc[1]), bank.coc_step)
    focused, blurred = (float(np.max(bank.reach(np.array([-c, c])))) for c in (0.0, widest))
    return np.array([(blurred - focused) / widest, 2 * focused + 1.5], np.float32)


@dataclass(frozen=True, slots=True)
class Sweep:
    """Several lenses that look at one scene: what can be found for all of them at once.

    Attributes
    ----------
    lens
        Focused in their middle, with the widest blur among them.
    swing
        By how many pixels the CoC of a depth may be larger for one of them.
    """

    lens: ThinLens
    swing: float

    def seen_by(self, found: "Surfaces", bank: PsfBank, coc: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
        """Return `found.plane`, (3, H, W), without what is hidden too deep for the blur of one of the lenses.

        `bank` is that lens's, and `coc` has the ends of its CoCs, pixels. In the thread's workspace.
        """
        plane = scratch("plane of a lens", found.plane.shape, np.int16)
        plane[::2] = found.plane[::2]
        lens = np.array(self.change(bank.lens), np.float32)
        reach = hidden_reach(bank, (float(coc.min()), float(coc.max())))
        keep_reachable(found.plane, found.coc, found.deep, lens, reach, plane[1])
        return plane

    @classmethod
    def of(cls, lenses: Sequence[ThinLens]) -> "Sweep":
        """Sum up lenses that differ in focus, f-number or pixel pitch."""
        focus = [1.0 / lens.focus_distance for lens in lenses]
        low, high = min(focus), max(focus)
        middle = math.inf if high == 0 else 2.0 / (low + high)
        widest = max(lens.coc_per_dioptre for lens in lenses)
        lens = lenses[0].refocused(middle)
        lens = replace(lens, pixel_pitch=lens.pixel_pitch * lens.coc_per_dioptre / widest)
        return cls(lens, widest * (high - low) / 2)

    def change(self, lens: ThinLens) -> tuple[float, float]:
        """Return the factor, and what to add (pixels), that make of a CoC of `self.lens` that of another lens."""
        factor = lens.coc_per_dioptre / self.lens.coc_per_dioptre
        focus = 1.0 / self.lens.focus_distance - 1.0 / lens.focus_distance
        return factor, lens.coc_per_dioptre * focus


@dataclass(frozen=True, slots=True)
class Surfaces:
    """An image sorted into planes, with what lies behind it where blur can bring it to light.

    Attributes
    ----------
    rgba
        (3, H, W, 4) float32, premultiplied linear radiance and coverage: what is seen, what is hidden, and the
        fringes: what spills of nearer surfaces into pixels at their silhouettes.
    plane
        (3, H, W) int16, counted from far to near; -1 where nothing is.
    coc
        (3, H, W) float32, signed pixels.
    deep
        (H, W) int16, pixels: how far from there what is hidden was last seen.
    gap
        Two pixels more than this many planes apart belong to different surfaces.
    plane_coc
        (planes,) float64, signed pixels: mean CoC of what is seen of each plane.
    """

    rgba: Float32
    plane: npt.NDArray[np.int16]
    coc: Float32
    deep: npt.NDArray[np.int16]
    gap: int
    plane_coc: npt.NDArray[np.float64]


def split_surfaces(
    aif: Float32, depth: Float32, border: int, bank: PsfBank, planes: int, sweep: "Sweep | None" = None
) -> Surfaces:
    """Sort an image into planes and continue each surface behind what occludes it (A*, L* of D3-Net Eq. 1).

    From every depth edge the farther surface goes on under the nearer one, as far as the blur of the two can reach,
    in the smoothest continuation of its visible colours and at the depth of its nearest visible pixel. Pixels beside
    an edge are divided between its two surfaces: images are antialiased, and depth maps are not.

    Parameters
    ----------
    aif
        (H, W, 3) float32, linear radiance.
    depth
        (H, W) float32, metres, all known; `inf` allowed.
    border
        Pixels to add on each side, by reflection.
    bank
        Gives the lens, and the kernels.
    planes
        At most so many.
    sweep
        The lenses that will look at it, if they are several; then `coc` is that of `sweep.lens`.

    Returns
    -------
    Arrays of the thread's workspace: use them before the next call.
    """
    lens = sweep.lens if sweep else bank.lens
    near, far = float(depth.min()), float(depth.max())
    grid = plane_grid(near, far, lens, planes)
    size = (depth.shape[0] + 2 * border, depth.shape[1] + 2 * border)
    found = Surfaces(
        rgba=scratch("rgba", (3, *size, 4), np.float32),
        plane=scratch("plane", (3, *size), np.int16),
        coc=scratch("coc", (3, *size), np.float32),
        deep=scratch("deep", size, np.int16),
        gap=grid.gap,
        plane_coc=np.zeros(int(grid.number(np.array([near], np.float32))[0]) + 1),
    )
    optics = np.array([lens.coc_per_dioptre, 1.0 / lens.focus_distance], np.float32)
    planes_at = np.array([grid.anchor, grid.per_dioptre], np.float32)
    coc = lens.coc(far), lens.coc(near)
    sort_pixels(
        aif, depth, border, optics, planes_at, grid.first, found.rgba[0], found.plane[0], found.coc[0],
    )  # fmt: skip
    mean_coc(found.plane[0], found.coc[0], np.zeros(len(found.plane_coc), np.int64), found.plane_coc)
    found.plane[2].fill(-1)
    steps = cleared("steps", (4, *size), np.int16)
    reach = hidden_reach(bank, coc)
    reach[1] += 2 * reach[0] * (sweep.swing if sweep else 0)
    find_hidden(found.plane[0], found.coc[0], grid.gap, reach, steps)
    mark = cleared("mark", size, np.uint8)
    mark_edges(found.plane[0], grid.gap, mark)
    soften(found.rgba, found.plane, found.coc, grid.gap, mark)
    paint_hidden(found.rgba, found.plane, found.coc, grid.gap, steps, found.deep)
    _smooth(found)
    settle(found.rgba, found.plane, mark)
    return found


def slots_for_coc(
    found: Surfaces, bank: PsfBank, coc: npt.NDArray[np.float64], change: tuple[float, float] | None = None
) -> npt.NDArray[np.int32]:
    """Return the kernel of each pixel, (3, H, W) int32.

    Parameters
    ----------
    found
        The surfaces; without a `change` its `coc` is no more, the slots take its place.
    bank
        Gives the kernels.
    coc
        Ends of the CoCs, pixels, of the bank's lens.
    change
        A factor, and what to add, pixels, that make of `found.coc` the CoC of the bank's lens.
    """
    slot = scratch("slot", found.coc.shape, np.int32) if change else found.coc.view(np.int32)
    lookup, first_step = bank.lookup(float(coc.min()), float(coc.max()))
    lens = np.array(change or (1, 0), np.float32)
    per_pixel = np.float32(1.0 / bank.coc_step)
    plane, blur = found.plane.reshape(-1), found.coc.reshape(-1)
    find_slots(plane, blur, lens, per_pixel, lookup, first_step, slot.reshape(-1))
    return slot


def _smooth(found: Surfaces) -> None:
    """Smooth what is hidden, from its first guess on."""
    _, height, width = found.plane.shape
    count = int(np.count_nonzero(found.plane[1] >= 0))
    at, fixed = scratch("hidden", (count, 5), np.int32), scratch("fixed", (count, 4), np.float32)
    number = scratch("steps", (height, width), np.int32)  # which no one needs any more
    n = list_hidden(found.rgba, found.plane, number, at)
    find_neighbours(found.rgba, found.plane, found.gap, number, at[:n], fixed)
    before, now = (scratch(name, (n + 1, 4), np.float32) for name in ("before", "now"))
    relax(found.rgba[1].reshape(-1, 4), at[:n], fixed, SWEEPS, before, now)
