"""Banks of one shape that scales with the circle of confusion: kernels for every depth."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf import LARGEST_SAMPLED, PsfBank, Slots, Tables, TapTable
from .psf_sampled import SampledBank

Float64 = npt.NDArray[np.float64]


PIXEL_MOMENT = 1.0 / 6.0
"""Mean squared distance from the centre of a square pixel, square pixels."""
_TAPS = ("dy", "dx", "weight", "radius")


class ShapeBank(PsfBank):
    """One shape scaled by the CoC: kernels for every depth. See `PsfBank.disk` and its neighbours.

    Attributes
    ----------
    light_through
        For shadows of an aperture: how much light passes each cell of a grid on the aperture's square, whose edges
        along both axes are given, ascending from -1 to 1; (n + 1,) to (n, n) float64, [y, x]. None for other shapes.
    """

    def __init__(
        self,
        kind: str,
        lens: ThinLens,
        coc_step: float,
        shape: Callable[[float], Float64],
        reach_per_coc: float,
        parameters: dict[str, Any] | None = None,
        turns: bool = False,
        *,
        by_differences: bool = False,
        light_through: Callable[[Float64], Float64] | None = None,
    ) -> None:
        if not 1e-3 <= coc_step <= 4:
            raise InputError(f"psf.coc_step must be between 0.001 and 4 pixels, not {coc_step}.")
        self.kind, self.lens, self.coc_step, self.by_differences = kind, lens, coc_step, by_differences
        # Only the CoCs of slots repeat.
        self._shape, self._exact_shape, self._reach_per_coc = cache(shape), shape, reach_per_coc
        self._parameters, self._turns = parameters or {}, turns
        self.light_through = light_through
        self._like: ShapeBank | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""
        return {"kind": self.kind, "coc_step": self.coc_step, **self._parameters}

    def through(self, lens: ThinLens) -> "ShapeBank":
        """Return the same kernels, by CoC, for another lens; both banks share what is made of them."""
        if lens == self.lens:
            return self
        _ = self._tables  # now, so that the copy has the very same
        bank = copy(self)
        bank.lens, bank._like = lens, self._like or self
        bank.__dict__.pop("averaged", None)
        if self.__dict__.get("averaged") is self:
            bank.averaged = bank
        return bank

    def finer(self, times: int) -> "ShapeBank":
        """Return the bank for pixels `times` as small."""
        return self.through(replace(self.lens, pixel_pitch=self.lens.pixel_pitch / times))

    def lookup(self, low: float, high: float) -> tuple[Slots, int]:
        """Slots of the CoCs from `low` to `high` pixels; see `PsfBank.lookup`."""
        first, last = (int(np.rint(c / self.coc_step)) for c in (low, high))
        steps = np.arange(first - 1, last + 2)
        return np.asarray(self._slot(steps), np.int32), first - 1

    def _slot(self, steps: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
        # Both signs share a slot, unless the kernel turns with the sign: then odd slots are points behind the focus.
        return np.abs(steps) * 2 - (steps < 0) if self._turns else np.abs(steps)

    @cached_property
    def averaged(self) -> "ShapeBank":
        """The bank for pictures whose pixels are averages over their area already.

        Kernels are integrated over pixels, which is right for points of light. To blur what was integrated once before
        they are a little too wide: here each has the second moment of the shape itself, for a disk c^2 / 16 along each
        axis, by standing for a smaller CoC.
        """
        return self._like.averaged.through(self.lens) if self._like else self.averaged_as(self)

    def averaged_as(self, other: "ShapeBank") -> "ShapeBank":
        """Return the bank for averaged pixels that stands for smaller CoCs as another bank does; see `averaged`."""
        shape, narrower = self._exact_shape, _narrowing(other._exact_shape)
        bank = copy(self)
        bank._exact_shape = lambda c: shape(narrower(c))
        bank._shape, bank._tables, bank._like = cache(bank._exact_shape), Tables(), None
        bank.averaged = bank
        return bank

    def check_covers(self, depth: npt.NDArray[Any]) -> None:
        """Do nothing: a shape has a kernel for every depth."""

    def reach(self, coc: npt.ArrayLike) -> Any:
        """Half-size in pixels, an upper bound, of the kernel of a signed CoC; same shape, int64."""
        return np.ceil(self._reach_per_coc * (np.abs(np.asarray(coc, np.float64)) + self.coc_step)).astype(np.int64)

    def slot_kernels(self, slot: int) -> Float64:
        """Kernels of a slot: (1, n, n) float64."""
        if not self._turns:
            return self._shape(slot * self.coc_step)[None]
        upright = self._shape((slot + 1) // 2 * self.coc_step)
        return (upright if slot % 2 else upright[::-1, ::-1])[None]

    def taps(self, highest_slot: int) -> TapTable:
        """Taps of the slots 0 to at least `highest_slot`; made once and kept."""
        table = self._tables.taps
        if table is None or len(table.radius) <= highest_slot:
            table = _tap_table([self.slot_kernels(slot)[0] for slot in range(highest_slot + 17)])
            self._tables.taps = table
        return table

    def taps_with(self, highest_slot: int, coc: Sequence[float]) -> tuple[TapTable, int]:
        """Taps of the slots 0 to at least `highest_slot`, then of CoCs that are not rounded, and the first one's slot.

        Parameters
        ----------
        highest_slot
            0 or more.
        coc
            Signed pixels; each has a slot of its own, in their order.
        """
        rounded = self.taps(highest_slot)
        exact = _tap_table([self._kernel(c) for c in coc])
        joined = (np.concatenate([getattr(t, name) for t in (rounded, exact)]) for name in _TAPS)
        bounds = ((a, b[1:] + a[-1]) for a, b in ((rounded.rows, exact.rows), (rounded.starts, exact.starts)))
        return TapTable(*(np.concatenate(b) for b in bounds), *joined), len(rounded.radius)

    def _kernel(self, coc: float) -> Float64:
        upright = self._exact_shape(abs(coc))
        return upright[::-1, ::-1] if self._turns and coc > 0 else upright

    def sampled(self, near: float, far: float, *, values: int = LARGEST_SAMPLED) -> "SampledBank":
        """All kernels between two depths in metres, one every `coc_step` pixels of CoC, or fewer if they are huge."""
        first, last = (round(float(self.lens.coc(z)) / self.coc_step) for z in (far, near))
        # Very wide blur would fill the memory: then fewer planes stand for all, the focus plane still among them.
        widest = 2 * int(self.reach(np.array([first, last]) * self.coc_step).max()) + 1
        stride = -(-(last - first + 1) * widest**2 // values)
        steps = np.arange(-(-first // stride), last // stride + 1) * stride
        cut = [self.slot_kernels(int(slot)) for slot in self._slot(steps)]
        size = max(k.shape[-1] for k in cut)
        kernels = np.zeros((len(steps), 1, size, size), np.float32)
        for out, kernel in zip(kernels, cut, strict=True):
            margin = (size - kernel.shape[-1]) // 2
            out[:, margin : size - margin, margin : size - margin] = kernel
        return SampledBank(self.kind, self.lens, kernels, steps * self.coc_step, facts=self.facts)


@cache
def _narrowing(shape: Callable[[float], Float64]) -> Callable[[float], float]:
    """Return the CoC, by CoC, whose kernel is as wide as this one's would be without the integration over pixels."""
    widest = 64.0
    per_square = (_second_moment(shape(widest)) - PIXEL_MOMENT) / widest**2
    sizes = np.arange(0.0, 16.0 + 1 / 16, 1 / 16)
    moments = np.array([_second_moment(shape(float(c))) for c in sizes])
    first = int(np.flatnonzero(moments <= 0)[-1])
    sizes, moments = sizes[first:], moments[first:]

    def narrower(c: float) -> float:
        wanted = per_square * c * c
        if wanted < moments[-1]:
            return float(np.interp(wanted, moments, sizes))
        return float(np.sqrt(c * c - PIXEL_MOMENT / per_square))

    return narrower


def _second_moment(kernel: Float64) -> float:
    """Mean squared distance of a kernel's light from its centroid, square pixels."""
    at = np.arange(len(kernel), dtype=np.float64)
    across, down = kernel.sum(axis=0), kernel.sum(axis=1)
    return float(sum((p * at**2).sum() - (p * at).sum() ** 2 for p in (across, down)))


def _tap_table(kernels: Sequence[Float64]) -> TapTable:
    """Return the differences along x of kernels (n, n), n odd, one a slot."""
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    counts, radius = [], []
    for kernel in kernels:
        half = kernel.shape[0] // 2
        steps = np.diff(kernel[:, : half + 1], axis=1, prepend=0.0)
        # From the first step of a row to its last: a step of nothing between them counts.
        there = np.cumsum(steps != 0, axis=1) * np.cumsum((steps != 0)[:, ::-1], axis=1)[:, ::-1] > 0
        y, x = np.nonzero(there)
        parts.append((y - half, x - half, steps[y, x].astype(np.float32)))
        counts.append(np.count_nonzero(there, axis=1))
        radius.append(half)
    dy, dx, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    rows = np.cumsum([0] + [len(c) for c in counts]).astype(np.int64)
    starts = np.cumsum(np.concatenate([[0], *counts])).astype(np.int64)
    return TapTable(rows, starts, dy, dx, weight, np.array(radius, np.int64))
