"""Blurring by kernels that vary over the picture.

A pixel's kernel is interpolated between the four nodes around it. To spread it is to deal its light to the nodes by the
weights of the interpolation, and to blur by theirs. Of the four nodes around a pixel, one is in an even row and an even
column of the grid, one in an even row and an odd column, and so on: four copies of the source, in each of which a pixel
has one node, are blurred like any other.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from .dense import DenseCanvas, used_slots
from .dense_kernels import UNSEEN
from .field_kernels import weigh_runs
from .psf_field import FieldBank, hats, picture_positions
from .workspace import scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.integer[Any]]

PARITIES = tuple(product((0, 1), (0, 1)))
"""Even or odd row, even or odd column of the nodes that a copy of the source goes to."""


class FieldCanvas(DenseCanvas):
    """A `DenseCanvas` for a `FieldBank`; runs have the slots of its first node, as `lookup` gives them."""

    varies = True
    least = UNSEEN  # weights vary from pixel to pixel, and so does coverage: more is left of its running sums

    def __init__(self, frame: tuple[int, ...], bank: FieldBank[Any], reach: int, edge: int, *, shared: bool) -> None:
        super().__init__(frame, bank, reach, edge, shared=shared)
        height, width = frame[0] - 2 * edge, frame[1] - 2 * edge
        half_diagonal = float(np.hypot(height, width)) / 2
        self._rows = hats(bank.field_y, picture_positions(height, half_diagonal, edge))
        self._columns = hats(bank.field_x, picture_positions(width, half_diagonal, edge))
        self._nodes_in_row = len(bank.field_x)

    def scatter(self, source: Float32, runs: Runs, top: int = 0, left: int = 0) -> None:
        """Blur runs of the premultiplied source (rows, w, 4), placed at (top, left) in the frame."""
        for parity in PARITIES:
            super().scatter(*self._share(source, runs, top, left, parity), top, left)

    def scatter_ones(self, source: Float32, runs: Runs, top: int, left: int) -> None:
        """Blur a source of ones (rows, w, 1): what the coverage of an endless surface would be."""
        for parity in PARITIES:
            super().scatter_ones(*self._share(source, runs, top, left, parity), top, left)

    def prepare(self, source: Float32, runs: Runs) -> None:
        """Make the kernels of all runs; see `DenseCanvas.prepare`."""
        used = [used_slots(self._share(source, runs, 0, 0, parity)[1]) for parity in PARITIES]
        self.bank.dense(np.concatenate(used))

    def _share(self, source: Float32, runs: Runs, top: int, left: int, parity: tuple[int, int]) -> tuple[Float32, Runs]:
        """Return what goes to the nodes of a parity: weighted source and runs, valid until the next call."""
        source = source.reshape(-1, *source.shape[-2:])
        weighted = scratch("field source", source.shape, np.float32)
        most = len(runs) * (self._nodes_in_row // 2 + 1)
        cut = scratch("field runs", (most, 5), np.int32)
        rows, columns = self._rows, self._columns
        a, b = parity
        n = weigh_runs(
            source, runs, top, left, rows.node[a] * self._nodes_in_row, rows.weight[a],
            columns.node[b], columns.weight[b], weighted, cut,
        )  # fmt: skip
        return weighted, cut[:n]
