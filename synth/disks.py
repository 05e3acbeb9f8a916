"""Blurring by disks: the few differences of their rows along x, spread over whole runs and summed up once."""

import numpy as np
import numpy.typing as npt

from .disk_kernels import (
    BLOCK,
    NOTHING,
    ONE,
    composite_planes,
    flush,
    scatter,
)
from .psf import TapTable
from .resolve_kernels import resolve
from .workspace import cleared, keep_clear, scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.int32]


class DiskCanvas:
    """The frame under construction and the accumulators of the group that is being blurred; as `DenseCanvas`."""

    varies = False

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
        self.behind = scratch("behind", used, np.int32)

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
        """Composite the blurred group; see `disk_kernels.flush`."""
        flush(
            self.spread, self.ones, self.touched, whole, self.border,
            plane, gap, self.near, self.far, self.last, self.behind,
        )  # fmt: skip

    def composite_planes(self, source: Float32, runs: Runs, bounds: npt.NDArray[np.int64], gap: int) -> None:
        """Blur and composite an image that is sorted into planes; see `disk_kernels.composite_planes`."""
        t, rows = self.table, source.reshape(-1, source.shape[-2] * 4)
        flat = self.spread.reshape(len(self.spread), -1)
        composite_planes(
            rows, runs, bounds, t.starts, t.dy, t.dx, t.weight, t.radius, self.border, gap,
            self.spread, flat, self.ones, self.touched, self.near, self.far, self.last, self.behind,
        )  # fmt: skip

    def done(self) -> None:
        """Note that the accumulators are as clear as they were: every group was composited."""
        keep_clear("spread")

    def laid(self) -> Float32:
        """Return what whole layers were laid to, (H, W, 3) without the edge."""
        height, width = self.frame[0] - self.edge, self.frame[1] - self.edge
        return np.ascontiguousarray(self.far[self.edge : height, self.edge : width, :3])

    def resolve(self, gap: int, plane_coc: npt.NDArray[np.float64]) -> Float32:
        """Return the picture, (H, W, 3) without the edge; see `resolve_kernels.resolve`."""
        out = np.empty((self.frame[0] - 2 * self.edge, self.frame[1] - 2 * self.edge, 3), np.float32)
        resolve(self.near, self.far, self.last, self.behind, gap, plane_coc, self.edge, out)
        return out
