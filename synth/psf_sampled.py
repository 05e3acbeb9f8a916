"""Banks of kernels at given planes: those of masks, measured ones, and every bank that a dataset stores."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf import LARGEST_SAMPLED, PsfBank, Slots

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


CLOSEST_PLANES = 1e-3
"""Pixels of CoC: planes nearer to each other are a mistake of units or of measurement."""
LARGEST_LOOKUP = 1e6


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
        if np.asarray(kernels).dtype.kind not in "fiu" or np.asarray(coc).dtype.kind not in "fiu":
            raise InputError("the kernels and CoCs of a PSF bank must be real numbers.")
        self.coc = np.asarray(coc, np.float64)
        self.kernels = np.asarray(kernels, np.float32)
        _check_planes(self.kernels, self.coc)
        self.channels = self.kernels.shape[1]
        self.wavelengths = None if wavelengths is None else tuple(float(w) for w in wavelengths)
        self.reference, self.energy = reference, energy
        _check_light(self.channels, self.wavelengths, reference)
        self._facts = facts or {"kind": kind}
        self._edges = (self.coc[1:] + self.coc[:-1]) / 2
        gaps = np.diff(self.coc)
        # Fine enough to find the nearest plane, and never a table of many millions of steps.
        extent = float(self.coc[-1] - self.coc[0])
        self.coc_step = max(float(gaps.min()) / 64, extent / LARGEST_LOOKUP) if len(gaps) else 0.125

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

    def sampled(self, near: float, far: float, *, values: int = LARGEST_SAMPLED) -> "SampledBank":
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
    if len(coc) > 1 and float(np.diff(coc).min()) < CLOSEST_PLANES:
        raise InputError(
            f"two planes of a PSF bank are only {np.diff(coc).min():.2g} px of CoC apart, and {CLOSEST_PLANES:g} px "
            "are needed to tell them apart: leave one of them out, or check the units of its depth."
        )
    if not np.isfinite(kernels).all() or (kernels < 0).any():
        raise InputError("a PSF bank holds values that are negative or not finite.")
    total = kernels.sum(axis=(2, 3), dtype=np.float64)
    if (np.abs(total - 1) > 1e-3).any():
        raise InputError(
            f"the kernels of a PSF bank must each sum to 1; the sums are {total.min():.4g} to {total.max():.4g}."
        )


def _check_light(channels: int, wavelengths: tuple[float, ...] | None, reference: float | None) -> None:
    given = [*(wavelengths or ()), *([] if reference is None else [reference])]
    if wavelengths is not None and len(wavelengths) != channels:
        raise InputError(f"a PSF bank of {channels} channels needs as many wavelengths, not {len(wavelengths)}.")
    if not all(0 < value < 1e-3 for value in given):
        raise InputError("the wavelengths of a PSF bank must be positive lengths in metres (550e-9).")
