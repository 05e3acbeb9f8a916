"""Rendering models of papers, as they are written, for comparison and faithful reproduction."""

import numpy as np
import numpy.typing as npt

from .camera import ThinLens
from .disk_kernels import PLAIN
from .layered import border_for, canvas_for, layer_runs_of
from .layers import filled_depth, plane_grid
from .psf import PsfBank
from .scene import LayeredScene, Scene

Float32 = npt.NDArray[np.float32]


def masked_sum(scene: Scene | LayeredScene, lens: ThinLens, bank: PsfBank, planes: int) -> Float32:
    """Render by the RPSF paper's Eq. 7: ``sum_k h_k * (aif M_k)``, M_k being where the depth plane k is nearest."""
    if isinstance(scene, LayeredScene):
        flat = LayeredScene.from_patches(scene.frame, scene.patches, oversampling=scene.oversampling).flatten()
        scene = Scene(flat.aif, flat.depth, margin=scene.margin)
    depth = filled_depth(scene.depth)
    ends = np.array([depth.min(), depth.max()])
    bank.check_covers(ends)
    grid = plane_grid(float(ends[0]), float(ends[1]), lens, planes)
    plane = grid.number(depth)
    inverse = grid.centre(np.arange(int(plane.max()) + 1))  # 0, or less, for planes at infinity
    coc = lens.coc_per_dioptre * (inverse - 1.0 / lens.focus_distance)
    border = border_for(scene, bank, coc)
    around = [(border, border)] * 2
    slot = np.pad(bank.slots(coc)[plane], around, mode="symmetric")
    rgba = np.ones((*slot.shape, 4), np.float32)
    rgba[..., :3] = np.pad(scene.aif, [*around, (0, 0)], mode="symmetric")
    canvas = canvas_for(slot.shape, bank, coc, int(slot.max()), scene.margin + border, shared=False)
    canvas.scatter(rgba, layer_runs_of(rgba, slot))
    canvas.flush(0, 0, PLAIN)
    canvas.done()
    return canvas.laid()
