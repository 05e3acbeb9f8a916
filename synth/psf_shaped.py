"""Banks of one shape that scales with the circle of confusion: kernels for every depth."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf import LARGEST_SAMPLED, PsfBank, Slots, TapTable
from .psf_sampled import SampledBank

Float64 = npt.NDArray[np.float64]


class ShapeBank(PsfBank):
    """One shape scaled by the CoC: kernels for every depth. See `PsfBank.disk` and its neighbours."""

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
    ) -> None:
        if not 1e-3 <= coc_step <= 4:
            raise InputError(f"psf.coc_step must be between 0.001 and 4 pixels, not {coc_step}.")
        self.kind, self.lens, self.coc_step, self.by_differences = kind, lens, coc_step, by_differences
        self._shape, self._reach_per_coc = cache(shape), reach_per_coc
        self._parameters, self._turns = parameters or {}, turns
        self._taps: TapTable | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""
        return {"kind": self.kind, "coc_step": self.coc_step, **self._parameters}

    def lookup(self, low: float, high: float) -> tuple[Slots, int]:
        """Slots of the CoCs from `low` to `high` pixels; see `PsfBank.lookup`."""
        first, last = (int(np.rint(c / self.coc_step)) for c in (low, high))
        steps = np.arange(first - 1, last + 2)
        return np.asarray(self._slot(steps), np.int32), first - 1

    def _slot(self, steps: npt.NDArray[np.int_]) -> npt.NDArray[np.int_]:
        # Both signs share a slot, unless the kernel turns with the sign: then odd slots are points behind the focus.
        return np.abs(steps) * 2 - (steps < 0) if self._turns else np.abs(steps)

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
        if self._taps is None or len(self._taps.radius) <= highest_slot:
            self._taps = self._make_taps(highest_slot + 16)
        return self._taps

    def _make_taps(self, highest_slot: int) -> TapTable:
        parts, radius = [], []
        for slot in range(highest_slot + 1):
            kernel = self.slot_kernels(slot)[0]
            half = kernel.shape[0] // 2
            steps = np.diff(kernel, axis=1, prepend=0.0, append=0.0)
            y, x = np.nonzero(steps)
            parts.append((y - half, x - half, steps[y, x].astype(np.float32)))
            radius.append(half)
        return TapTable(
            starts=np.cumsum([0] + [len(p[2]) for p in parts]).astype(np.int64),
            dy=np.concatenate([p[0] for p in parts]),
            dx=np.concatenate([p[1] for p in parts]),
            weight=np.concatenate([p[2] for p in parts]),
            radius=np.array(radius, np.int64),
        )

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
