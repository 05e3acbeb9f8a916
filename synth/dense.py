"""Blurring by kernels that are not disks: any shape, one for all colours or one for each.

A channel of a bank is rendered by itself, with its own coverage: a bank of three channels is three lenses. Light is
spread tap by tap, and coverage by its x-derivative, which is zero almost everywhere; big kernels go through the Fourier
transform. All three ways add to the same accumulators.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from .dense_kernels import (
    flush,
    gather,
    mark_runs,
    resolve,
    scatter_cover,
    scatter_light,
    slot_boxes,
)
from .disk_kernels import BLOCK, ONE
from .psf import TAPS_AT_ONCE, PsfBank
from .resolve_kernels import FAINT, NOTHING
from .simd import STRIP
from .workspace import cleared, keep_clear, scratch

Float32 = npt.NDArray[np.float32]
Runs = npt.NDArray[np.integer[Any]]

FFT_PER_TAP = 12.0
"""Taps that are applied in the time that a real transform of N pixels takes, over N log2 N: what decides between both.

A count, not a clock: the same scene must take the same path on every machine.
"""


class DenseCanvas:
    """The frame under construction and the accumulators of the group that is being blurred.

    Parameters
    ----------
    frame
        Height and width, pixels.
    bank
        Gives the kernels.
    reach
        Half-size, pixels, that no kernel in use exceeds.
    edge
        Pixels on each side of the frame that are not part of the picture.
    shared
        Whether groups may be parts of one surface.

    Attributes
    ----------
    varies
        Whether kernels vary over the picture, so that not even equal ones sum up to one everywhere.
    least
        Coverage up to this is what rounding leaves of a running sum.
    """

    varies = False
    least = FAINT

    def __init__(self, frame: tuple[int, ...], bank: PsfBank, reach: int, edge: int, *, shared: bool) -> None:
        self.bank, self.frame = bank, frame
        self.border, self._pad = reach + 1, 2 * reach + 1
        self.edge = self.border + edge
        height, width = frame[0] + 2 * self.border, frame[1] + 2 * self.border
        width = -(-(width + STRIP) // BLOCK) * BLOCK
        rows, columns, planar = frame[0] - 2 * edge, frame[1] - 2 * edge, 3 + bank.channels
        self.spread = cleared("dense spread", (planar, height, width), np.float32)
        self.ones = np.zeros((bank.channels, 1, 1), np.float32)
        self.touched = np.zeros((height, width // BLOCK + 1), np.uint8)
        self.far = cleared("far", (rows, planar, columns), np.float32)
        self.near = (cleared if shared else scratch)("near", (rows, planar, columns), np.float32)
        self.last = scratch("last", (rows, bank.channels, columns), np.int32)
        self.last.fill(NOTHING)
        self._values = np.zeros(width + 2 * self._pad + STRIP, np.float32)
        self._weights = np.empty((4, width), np.float32)

    def scatter(self, source: Float32, runs: Runs, top: int = 0, left: int = 0) -> None:
        """Blur runs of the premultiplied source (rows, w, 4), placed at (top, left) in the frame."""
        if not len(runs):
            return
        source = source.reshape(-1, *source.shape[-2:])
        table = self.bank.dense(used_slots(runs))
        top, left = top + self.border, left + self.border
        mark_runs(runs, table.radius, top, left, self.touched)
        runs = self._transform(source, runs, top, left)
        scatter_light(
            source, runs, table.starts, table.radius, table.weight, top, left, self.edge, self._pad, self._values,
            self.spread,
        )  # fmt: skip
        scatter_cover(source, runs, table.starts, table.radius, table.weight, top, left, self.edge, self.spread[3:])

    def scatter_ones(self, source: Float32, runs: Runs, top: int, left: int) -> None:
        """Blur a source of ones (rows, w, 1): what the coverage of an endless surface would be."""
        if self.ones.shape[1] == 1:
            self.ones = np.zeros((self.bank.channels, *self.spread.shape[1:]), np.float32)
        if not len(runs):
            return
        table = self.bank.dense(used_slots(runs))
        top, left = top + self.border, left + self.border
        mark_runs(runs, table.radius, top, left, self.touched)
        scatter_cover(source, runs, table.starts, table.radius, table.weight, top, left, self.edge, self.ones)

    def flush(self, plane: int, gap: int, whole: int = ONE) -> None:
        """Composite the blurred group; see `dense_kernels.flush`."""
        flush(
            self.spread, self.ones, self.touched, whole, self.edge, plane, gap, self.near, self.far, self.last,
            self._weights, self.least,
        )  # fmt: skip

    def composite_planes(
        self, source: Float32, runs: Runs, bounds: npt.NDArray[np.int64], gap: int, plane_coc: npt.NDArray[np.float64]
    ) -> Float32:
        """Blur and composite an image that is sorted into planes; return the picture, (H, W, 3).

        What was seen stands for what was not. `source` (3, H, W, 4) has what is seen first;
        `bounds` (planes + 1) says where the runs of each plane begin, from far to near.
        """
        del plane_coc  # only disks take slopes
        edge = self.edge - self.border
        self.prepare(source, runs)
        for plane, (first, end) in enumerate(pairwise(bounds)):
            if first < end:
                self.scatter(source, runs[first:end])
                self.flush(plane, gap)
        self.done()
        out = np.empty((len(self.far), self.far.shape[2], 3), np.float32)
        resolve(self.near, self.far, source[0, edge:, edge:], out)
        return out

    def prepare(self, source: Float32, runs: Runs) -> None:
        """Make the kernels of all runs of the source, as `scatter` takes them, at once: to add any copies the table."""
        self.bank.dense(used_slots(runs))

    def done(self) -> None:
        """Note that the accumulators are as clear as they were: every group was composited."""
        keep_clear("dense spread")

    def laid(self) -> Float32:
        """Return what whole layers were laid to, (H, W, 3)."""
        return np.ascontiguousarray(np.moveaxis(self.far[:, :3], 1, -1))

    def _transform(self, source: Float32, runs: Runs, top: int, left: int) -> Runs:
        """Blur by Fourier transform those slots where it costs clearly less; return the runs of the others."""
        table = self.bank.dense(runs[:1, 3])
        boxes = np.empty((int(runs[:, 3].max()) + 1, 5), np.int64)
        slot_boxes(runs, boxes)
        used, channels = np.flatnonzero(boxes[:, 0]), self.bank.channels
        chosen = [slot for slot in used if _transforms(boxes[slot], int(table.radius[slot]), channels)]
        for slot in chosen:
            self._add_transformed(source, runs, int(slot), boxes[slot], top, left)
        return runs[~np.isin(runs[:, 3], chosen)] if chosen else runs

    def _add_transformed(
        self, source: Float32, runs: Runs, slot: int, box: npt.NDArray[np.int64], top: int, left: int
    ) -> None:
        from scipy.fft import irfft2, next_fast_len, rfft2

        table, channels = self.bank.dense(np.array([slot])), self.bank.channels
        _, y0, y1, x0, x1 = (int(v) for v in box)
        reach = int(table.radius[slot])
        size, start = 2 * reach + 1, int(table.starts[slot])
        image = np.zeros((4, y1 - y0, x1 - x0), np.float32)
        gather(source, runs, slot, y0, x0, image)
        stride = -(-size // TAPS_AT_ONCE) * TAPS_AT_ONCE
        kernels = table.weight[:, start : start + size * stride].reshape(channels, size, stride)[..., :size]
        height, width = y1 - y0 + 2 * reach, x1 - x0 + 2 * reach
        shape = next_fast_len(height, real=True), next_fast_len(width, real=True)
        kernel, spectrum = rfft2(kernels, shape, workers=1), rfft2(image, shape, workers=1)
        # Rounding must not leave negative light.
        light = np.maximum(irfft2(spectrum[:3] * kernel, shape, workers=1)[:, :height, :width], 0)
        cover = np.maximum(irfft2(spectrum[3:] * kernel, shape, workers=1)[:, :height, :width], 0)
        y, x = top + y0 - reach, left + x0 - reach
        self.spread[:3, y : y + height, x : x + width] += light
        steps = np.diff(cover, axis=-1, prepend=np.float32(0), append=np.float32(0))
        self.spread[3:, y : y + height, x : x + width + 1] += steps


def used_slots(runs: Runs) -> npt.NDArray[np.int64]:
    """Return the slots that occur in runs, ascending."""
    return np.flatnonzero(np.bincount(runs[:, 3]))


def _transforms(box: npt.NDArray[np.int64], reach: int, channels: int) -> bool:
    """Say whether pixels, their number and bounds in `box` (5), are blurred faster by transforms than tap by tap."""
    size = 2 * reach + 1
    points = int((box[2] - box[1] + size - 1) * (box[4] - box[3] + size - 1))
    # Light and coverage, the kernels, and light and coverage back.
    transforms = 4 + channels + 3 + channels
    return 3.0 * int(box[0]) * size * size > FFT_PER_TAP * transforms * points * math.log2(points + 1)
