"""Blurring by disks: the few differences of their rows along x, spread over whole runs and summed up once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .disk_kernels import BLOCK, ONE, composite_planes, flush, scatter, scatter_ones
from .psf import TapTable
from .simd_disks import PIXELS
from .workspace import cleared, keep_clear

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.integer[Any]]

ROWS = 32
"""Rows of the picture that are finished at once: few enough for all that they need to stay in the processor's cache."""


class DiskCanvas:
    """The picture under construction and the accumulators of the group that is being blurred; as `DenseCanvas`.

    Whole layers are laid to the whole picture, one after the other; an image that is sorted into planes is finished
    strip by strip (`composite_planes`), so that only a strip is under construction.
    """

    varies = False

    def __init__(self, frame: tuple[int, ...], table: TapTable, reach: int, edge: int, *, shared: bool) -> None:
        self.frame, self.edge = frame, edge
        self.border = reach + 2
        self.size = frame[0] - 2 * edge, frame[1] - 2 * edge
        width = -(-(frame[1] + 2 * self.border + PIXELS) // BLOCK) * BLOCK
        if shared:
            # Slopes are taken from one row to the next: a strip has one more on each side.
            rows = used = min(ROWS, self.size[0]) + 2
            self.spread, self.far = np.zeros((rows, 4 * width), np.float32), np.empty((rows, 4, width), np.float32)
        else:
            # Layers share no surface with another, and need only `far`.
            rows, used = self.size[0], 0
            self.spread = cleared("spread", (rows, 4 * width), np.float32)
            self.far = cleared("far", (rows, 4, width), np.float32)
        self.near = np.empty((used, 4, width), np.float32)
        self.last, self.behind = np.empty((used, width), np.float32), np.empty((used, width), np.float32)
        self.ones = np.zeros((1, width), np.float32)
        self.touched = np.zeros((rows, width // BLOCK + 1), np.uint8)
        self._values, self._parts = np.zeros(16 * width, np.float32), np.empty((8, width), np.float32)
        self.use(table)

    def use(self, table: TapTable) -> None:
        """Take the kernels from another table, none of them wider than the canvas was made for."""
        width = self.ones.shape[1]
        self.table = table
        self._rises = 4 * (table.dy * width + table.dx)
        self._falls = 4 * (table.dy * width + 1 - table.dx)

    def scatter(self, source: Float32, runs: Runs, top: int = 0, left: int = 0) -> None:
        """Blur runs of the premultiplied source (rows, w, 4), placed at (top, left) in the frame."""
        t = self.table
        scatter(
            source.reshape(-1), source.shape[-2], runs, t.rows, t.starts, t.dx, self._rises, self._falls, t.weight,
            t.radius, top - self.edge, left + self.border, self._values, self.spread, self.touched,
        )  # fmt: skip

    def scatter_ones(self, source: Float32, runs: Runs, top: int, left: int) -> None:
        """Blur a source of ones (rows, w, 1): what the coverage of an endless surface would be."""
        if len(self.ones) == 1:
            self.ones = np.zeros((len(self.spread), self.ones.shape[1]), np.float32)
        t = self.table
        scatter_ones(
            runs, t.rows, t.starts, t.dy, t.dx, t.weight, t.radius, top - self.edge, left + self.border, self.ones,
            self.touched,
        )  # fmt: skip

    def flush(self, plane: int, gap: int, whole: int = ONE) -> None:
        """Composite the blurred group; see `disk_kernels.flush`."""
        flush(
            self.spread, self.ones, self.touched, whole, plane, gap, self.near, self.far, self.last, self.behind,
            self._parts,
        )  # fmt: skip

    def composite_planes(
        self, source: Float32, runs: Runs, bounds: npt.NDArray[np.int64], gap: int, plane_coc: npt.NDArray[np.float64]
    ) -> Float32:
        """Blur and composite an image that is sorted into planes; return the picture, (H, W, 3) without the edge.

        What was seen stands for what was not; see `disk_kernels.composite_planes`.
        """
        t = self.table
        out = np.empty((*self.size, 3), np.float32)
        composite_planes(
            source.reshape(-1), source.shape[-2], runs, bounds, bounds[:-1].copy(), t.rows, t.starts, t.dx,
            self._rises, self._falls, t.weight, t.radius, self.edge, self.border, gap, plane_coc, self._values,
            self.spread, self.touched, self.near, self.far, self.last, self.behind, self._parts, self.ones, out,
        )  # fmt: skip
        return out

    def done(self) -> None:
        """Note that the accumulators are as clear as they were: every group was composited."""
        keep_clear("spread")

    def laid(self) -> Float32:
        """Return what whole layers were laid to, (H, W, 3) without the edge."""
        left = self.edge + self.border
        return np.ascontiguousarray(np.moveaxis(self.far[:, :3, left : left + self.size[1]], 1, -1))
