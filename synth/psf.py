"""Point spread functions (PSFs) by circle of confusion: the banks that the renderer blurs with.

A bank gives the kernel of any signed CoC that it covers. Kernels are float32, odd-sized, centred, indexed [y, x], unit
sum, as the image of a point in the upright picture: near points show the aperture turned by 180 degrees. A bank has one
channel, for all colours, or a kernel for each. The renderer rounds CoCs, so that each kernel ("slot") is made once.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf_shapes import (
    GAUSSIAN_REACH,
    aperture_kernel,
    disk_kernel,
    gaussian_kernel,
    power_exponential_kernel,
    power_exponential_reach,
)

if TYPE_CHECKING:
    from .pupil import Mask

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Slots = npt.NDArray[np.int32]

WAVELENGTHS = (640e-9, 550e-9, 460e-9)
"""Metres: where the three channels of an RGB sensor see, R, G and B."""
TAPS_AT_ONCE = 4
"""Rows of dense kernels are padded with zeros to a multiple of this."""


@dataclass(frozen=True, slots=True)
class TapTable:
    """The kernels of consecutive slots as their differences along x, of which a disk has few.

    A tap adds weight times the source to the pixel `dy` rows and `dx` columns away; running sums along x then give
    the blurred image.
    """

    starts: npt.NDArray[np.int64]
    """(slots + 1) first tap of each slot."""
    dy: npt.NDArray[np.int64]
    dx: npt.NDArray[np.int64]
    weight: Float32
    radius: npt.NDArray[np.int64]
    """(slots) half-size of each kernel, pixels."""


@dataclass(frozen=True, slots=True)
class DenseTable:
    """The kernels of chosen slots, packed row by row.

    Kernel of slot s, channel c: ``weight[c, starts[s] : starts[s] + n * m]`` as (n, m), n = 2 radius[s] + 1 and m the
    next multiple of `TAPS_AT_ONCE`, filled up with zeros.
    """

    starts: npt.NDArray[np.int64]
    """(slots) where each kernel begins; -1 for slots that are not in the table."""
    radius: npt.NDArray[np.int64]
    """(slots) half-size of each kernel, pixels."""
    weight: Float32
    """(channels, weights)."""


class PsfBank(ABC):
    """Kernels by signed circle of confusion of a lens.

    Make one with `disk`, `gaussian`, `power_exponential`, `aperture`, `from_mask`, `measured` or `load`.

    Attributes
    ----------
    kind
        What the kernels are, in a word.
    lens
        The lens whose CoCs the bank answers for.
    channels
        1 (one kernel for all colours) or 3 (R, G, B).
    coc_step
        CoCs are told apart in steps of so many pixels.
    by_differences
        Whether `taps` serves the kernels better than `dense`.
    """

    kind: str
    lens: ThinLens
    channels: int = 1
    coc_step: float
    by_differences: bool = False
    _dense: DenseTable | None = None

    @staticmethod
    def disk(lens: ThinLens, *, coc_step: float = 0.125) -> "ShapeBank":
        """Uniform disks as wide as the CoC, antialiased by pixel coverage: geometric optics of a round aperture."""
        return ShapeBank("disk", lens, coc_step, disk_kernel, 0.5, by_differences=True)

    @staticmethod
    def gaussian(lens: ThinLens, *, sigma_per_coc: float = 0.25, coc_step: float = 0.125) -> "ShapeBank":
        """Gaussians with a standard deviation of `sigma_per_coc` CoC diameters.

        1/4 has the disk's second moment and is 2HDED's choice (rho = epsilon / 4); D3-Net's code uses 0.3.
        """
        if not 0 < sigma_per_coc < 10:
            raise InputError(f"psf.sigma_per_coc must be a positive number below 10, not {sigma_per_coc}.")
        return ShapeBank(
            "gaussian", lens, coc_step, lambda c: gaussian_kernel(sigma_per_coc * c), GAUSSIAN_REACH * sigma_per_coc,
            {"sigma_per_coc": sigma_per_coc},
        )  # fmt: skip

    @staticmethod
    def power_exponential(lens: ThinLens, *, exponent: float = 2.0, coc_step: float = 0.125) -> "ShapeBank":
        """Kernels ``exp(-2 (r / c)^p)``, c the CoC's radius: p = 2 is a Gaussian, a large p approaches the disk (FOSSA).

        Raises
        ------
        InputError
            If the exponent is not between 1 and 64.
        """
        if not 1 <= exponent <= 64:
            raise InputError(f"psf.exponent must be between 1 and 64, not {exponent}.")
        return ShapeBank(
            "power-exponential", lens, coc_step, lambda c: power_exponential_kernel(c, exponent),
            power_exponential_reach(exponent), {"exponent": exponent},
        )  # fmt: skip

    @staticmethod
    def aperture(lens: ThinLens, transmission: npt.ArrayLike, *, coc_step: float = 0.125) -> "ShapeBank":
        """Geometric shadow of any aperture: polygon, coded pattern, picture; see `synth.apertures`.

        Parameters
        ----------
        lens
            Its aperture diameter is the side of the pattern's square.
        transmission
            (n, n), 0 to 1, of the square around the pupil, [y, x] as the camera sees it: points behind the focus
            plane show it upright, nearer ones turned by 180 degrees.
        coc_step
            Pixels of CoC between two kernels.

        Raises
        ------
        InputError
            If the pattern is not square, not within 0 to 1, or wholly opaque.
        """
        pattern = np.asarray(transmission, np.float64)
        square = pattern.ndim == 2 and pattern.shape[0] == pattern.shape[1]
        if not (square and np.isfinite(pattern).all() and pattern.min() >= 0 and 0 < pattern.max() <= 1):
            raise InputError(
                "an aperture's transmission must be a square of numbers from 0 to 1 that lets some light through."
            )
        facts = {"transmission": pattern.tolist()} if pattern.size <= 4096 else {}
        return ShapeBank("aperture", lens, coc_step, lambda c: aperture_kernel(pattern, c), 0.5, facts, True)

    @staticmethod
    def from_mask(
        mask: "Mask",
        lens: ThinLens,
        wavelengths: Sequence[float] = WAVELENGTHS,
        *,
        depth: tuple[float, float] | None = None,
        planes: int = 21,
        defocus: Sequence[float] | None = None,
        size: int | None = None,
        energy: float = 0.95,
        samples: int = 256,
    ) -> "SampledBank":
        """Wave-optics PSFs of a mask in the lens's pupil; see `psf_wave.mask_bank`."""
        from .psf_wave import mask_bank

        return mask_bank(
            mask, lens, wavelengths, depth=depth, planes=planes, defocus=defocus, size=size, energy=energy,
            samples=samples,
        )  # fmt: skip

    @staticmethod
    def measured(path: str | Path, lens: ThinLens, *, size: int | None = None) -> "SampledBank":
        """Measured PSFs from a file; see `psf_measured.measured_bank`."""
        from .psf_measured import measured_bank

        return measured_bank(Path(path), lens, size=size)

    @staticmethod
    def load(path: str | Path) -> "SampledBank":
        """Read a bank from a dataset's split, or from a file written by `SampledBank.save`; see `psf_files`."""
        from .psf_files import load_bank

        return load_bank(Path(path))

    def kernel(self, coc: float) -> Float32:
        """Kernel of a signed CoC in pixels: (n, n) float32 for a bank of one channel, else (3, n, n); n odd."""
        kernels = self.slot_kernels(int(self.slots(np.array(coc))))
        return np.asarray((kernels if self.channels > 1 else kernels[0]).astype(np.float32))

    def slots(self, coc: npt.NDArray[Any]) -> Slots:
        """Slot that serves each signed CoC in pixels; same shape, int32."""
        if coc.size == 0:
            return np.zeros(coc.shape, np.int32)
        table, first = self.lookup(float(coc.min()), float(coc.max()))
        # In float32, as the compiled renderer does it: both must round to the same slot.
        steps = np.rint(coc.astype(np.float32) * np.float32(1.0 / self.coc_step)).astype(np.int64) - first
        return np.asarray(table[np.clip(steps, 0, len(table) - 1)])

    @abstractmethod
    def lookup(self, low: float, high: float) -> tuple[Slots, int]:
        """Slots of the CoCs from `low` to `high` pixels, one every `coc_step`, and the number of the first step.

        The slot of a CoC c is ``table[rint(c / coc_step) - first]``.
        """

    @abstractmethod
    def reach(self, coc: npt.ArrayLike) -> Any:
        """Half-size in pixels, an upper bound, of the kernel of a signed CoC; same shape, int64."""

    @abstractmethod
    def slot_kernels(self, slot: int) -> Float64:
        """Kernels of a slot: (channels, n, n) float64, n odd, each of unit sum."""

    @abstractmethod
    def sampled(self, near: float, far: float) -> "SampledBank":
        """All kernels between two depths in metres as a bank of planes, which is what datasets store."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""

    def check_covers(self, depth: npt.NDArray[Any]) -> None:
        """Check that the bank has kernels for depths in metres; those of a shape have them for every depth.

        Raises
        ------
        InputError
            Naming the depths, and those that are covered.
        """

    def taps(self, highest_slot: int) -> TapTable:
        """Taps of the slots 0 to at least `highest_slot`."""
        raise NotImplementedError

    def dense(self, used: npt.NDArray[np.integer[Any]]) -> DenseTable:
        """Kernels of at least the slots `used`; made once and kept."""
        table = self._dense
        if table is None or used.max() >= len(table.starts) or (table.starts[used] < 0).any():
            known = np.flatnonzero(table.starts >= 0) if table is not None else np.empty(0, int)
            self._dense = self._pack(np.union1d(used, known).astype(int))
        assert self._dense is not None
        return self._dense

    def _pack(self, slots: npt.NDArray[np.int_]) -> DenseTable:
        starts = np.full(slots[-1] + 1, -1, np.int64)
        radius = np.zeros(slots[-1] + 1, np.int64)
        rows, length = [], 0
        for slot in slots:
            kernels = self.slot_kernels(int(slot))
            n = kernels.shape[-1]
            padded = np.pad(kernels, [(0, 0), (0, 0), (0, -n % TAPS_AT_ONCE)])
            starts[slot], radius[slot] = length, n // 2
            rows.append(padded.reshape(self.channels, -1).astype(np.float32))
            length += rows[-1].shape[1]
        return DenseTable(starts, radius, np.concatenate(rows, axis=1))


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
        if not 0 < coc_step <= 4:
            raise InputError(f"psf.coc_step must be between 0 and 4 pixels, not {coc_step}.")
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

    def sampled(self, near: float, far: float) -> "SampledBank":
        """All kernels between two depths in metres, one every `coc_step` pixels of CoC."""
        first, last = (round(float(self.lens.coc(z)) / self.coc_step) for z in (far, near))
        steps = np.arange(first, last + 1)
        cut = [self.slot_kernels(int(slot)) for slot in self._slot(steps)]
        size = max(k.shape[-1] for k in cut)
        kernels = np.zeros((len(steps), 1, size, size), np.float32)
        for out, kernel in zip(kernels, cut, strict=True):
            margin = (size - kernel.shape[-1]) // 2
            out[:, margin : size - margin, margin : size - margin] = kernel
        return SampledBank(self.kind, self.lens, kernels, steps * self.coc_step, facts=self.facts)


class SampledBank(PsfBank):
    """Kernels at given planes; every depth is served by the plane nearest to it in CoC.

    Attributes
    ----------
    kernels
        (K, C, h, w) float32, unit sum, the axis at (h // 2, w // 2); C is 1 or 3.
    coc
        (K,) float64, signed pixels, ascending: where each plane is. One plane alone serves all depths.
    wavelengths
        (C,) metres; None where the kernels are not bound to any.
    reference
        Wavelength, metres, at which `defocus` is counted; None where there is none.
    energy
        (K, C) share of each PSF's light that its window holds: kernels are normalised after the cut. None if unknown.

    Raises
    ------
    InputError
        If kernels and planes do not fit together, or a kernel is empty, negative or not finite.
    """

    def __init__(
        self,
        kind: str,
        lens: ThinLens,
        kernels: npt.NDArray[Any],
        coc: npt.ArrayLike,
        *,
        wavelengths: Sequence[float] | None = None,
        reference: float | None = None,
        energy: npt.NDArray[np.float64] | None = None,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.kind, self.lens = kind, lens
        self.coc = np.asarray(coc, np.float64)
        self.kernels = np.asarray(kernels, np.float32)
        _check_planes(self.kernels, self.coc)
        self.channels = self.kernels.shape[1]
        self.wavelengths = tuple(map(float, wavelengths)) if wavelengths else None
        self.reference, self.energy = reference, energy
        self._facts = facts or {"kind": kind}
        self._edges = (self.coc[1:] + self.coc[:-1]) / 2
        gaps = np.diff(self.coc)
        self.coc_step = float(gaps.min()) / 64 if len(gaps) else 0.125

    @property
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""
        return self._facts

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the kernels, pixels."""
        return self.kernels.shape[2], self.kernels.shape[3]

    @property
    def defocus(self) -> Float64:
        """(K,) defocus phase psi of the planes, radians at the pupil's edge at the reference wavelength.

        Raises
        ------
        InputError
            If the bank is not bound to a wavelength.
        """
        if self.reference is None:
            raise InputError(f"a bank of kind {self.kind!r} has no wavelength, hence no defocus in radians: use coc.")
        return self.coc * self.lens.defocus_per_coc(self.reference)

    @property
    def depth(self) -> Float64:
        """(K,) depths of the planes, metres; `inf` for planes beyond infinity."""
        return np.atleast_1d(self.lens.depth_at_coc(self.coc))

    def lookup(self, low: float, high: float) -> tuple[Slots, int]:
        """Slots of the CoCs from `low` to `high` pixels; see `PsfBank.lookup`."""
        low, high = max(low, self._covered[0]), min(high, self._covered[1])
        first, last = int(np.floor(low / self.coc_step)), int(np.ceil(high / self.coc_step))
        steps = np.arange(first, max(last, first) + 1)
        return np.searchsorted(self._edges, steps * self.coc_step).astype(np.int32), first

    @property
    def _covered(self) -> tuple[float, float]:
        """CoCs that the planes stand for: half a plane beyond the first and the last."""
        if len(self.coc) == 1:
            return float(self.coc[0]), float(self.coc[0])
        return float(1.5 * self.coc[0] - 0.5 * self.coc[1]), float(1.5 * self.coc[-1] - 0.5 * self.coc[-2])

    def check_covers(self, depth: npt.NDArray[Any]) -> None:
        """Check that depths in metres lie within half a plane of the bank; NaN is skipped.

        Raises
        ------
        InputError
            Naming the depths, and those that are covered.
        """
        known = depth[~np.isnan(depth)]
        if len(self.coc) == 1 or not known.size:
            return
        low, high = self._covered
        near, far = float(known.min()), float(known.max())
        slack = 1e-5 * (high - low)
        if self.lens.coc(far) < low - slack or self.lens.coc(near) > high + slack:
            ends = self.lens.depth_at_coc(np.array([high, low]))
            raise InputError(
                f"the scene's depths, {near:.3g} to {far:.3g} m, are not covered by the PSF bank, which has "
                f"{ends[0]:.3g} to {ends[1]:.3g} m: make the bank for the whole range (scenes.depth in a recipe)."
            )

    def reach(self, coc: npt.ArrayLike) -> Any:
        """Half-size in pixels of the kernels, the same for every CoC; same shape, int64."""
        return np.full(np.shape(coc), max(self.size) // 2, np.int64)

    def slot_kernels(self, slot: int) -> Float64:
        """Kernels of a plane: (channels, n, n) float64, n odd."""
        half = max(self.size) // 2
        square = np.zeros((self.channels, 2 * half + 1, 2 * half + 1))
        top, left = (half - n // 2 for n in self.size)
        square[:, top : top + self.size[0], left : left + self.size[1]] = self.kernels[slot]
        return square

    def sampled(self, near: float, far: float) -> "SampledBank":
        """Return the bank itself."""
        return self

    def save(self, path: str | Path) -> None:
        """Write the bank to a file that `PsfBank.load` reads; see `psf_files.save_bank`."""
        from .psf_files import save_bank

        save_bank(self, Path(path))


def _check_planes(kernels: Float32, coc: Float64) -> None:
    if kernels.ndim != 4 or kernels.shape[1] not in (1, 3) or coc.shape != kernels.shape[:1] or not coc.size:
        raise InputError(
            f"a PSF bank needs kernels (planes, 1 or 3 channels, height, width) and a CoC for each plane, not arrays "
            f"of shape {kernels.shape} and {coc.shape}."
        )
    if not np.isfinite(coc).all() or (np.diff(coc) <= 0).any():
        raise InputError("the planes of a PSF bank must have finite and ascending CoCs: depths from far to near.")
    if not np.isfinite(kernels).all() or (kernels < 0).any():
        raise InputError("a PSF bank holds values that are negative or not finite.")
    total = kernels.sum(axis=(2, 3), dtype=np.float64)
    if (np.abs(total - 1) > 1e-3).any():
        raise InputError(f"the kernels of a PSF bank must each sum to 1; the sums are {total.min():.4g} to {total.max():.4g}.")
