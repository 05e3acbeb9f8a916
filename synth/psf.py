"""Point spread functions (PSFs) by circle of confusion: the banks that the renderer blurs with.

A bank gives the kernel of any signed CoC that it covers. Kernels are float32, odd-sized, centred, indexed [y, x], unit
sum, as the image of a point in the upright picture: near points show the aperture turned by 180 degrees. A bank has one
channel, for all colours, or a kernel for each. The renderer rounds CoCs, so that each kernel ("slot") is made once.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .places import Place, place
from .psf_shapes import (
    GAUSSIAN_REACH,
    aperture_kernel,
    aperture_light,
    checked_pattern,
    disk_kernel,
    disk_light,
    gaussian_kernel,
    power_exponential_kernel,
    power_exponential_reach,
)

if TYPE_CHECKING:
    from .psf_field import FieldBank, StoredBank
    from .psf_sampled import SampledBank
    from .psf_shaped import ShapeBank
    from .pupil import Mask

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Slots = npt.NDArray[np.int32]

WAVELENGTHS = (640e-9, 550e-9, 460e-9)
"""Metres: where the three channels of an RGB sensor see, R, G and B."""


LARGEST_SAMPLED = 10**8
"""Values of the kernels of a bank that is stored."""
TAPS_AT_ONCE = 8
"""Rows of dense kernels are filled up to a multiple of so many taps."""


@dataclass(frozen=True, slots=True)
class TapTable:
    """The kernels of consecutive slots as their differences along x, of which a disk has few.

    For kernels that are their own mirror images, left and right. A tap adds weight times the source to the pixel `dy`
    rows and `dx` columns away, 0 or less, and takes it away again from the one `1 - dx` columns away; running sums
    along x then give the blurred image. The taps of a kernel's row are neighbours, from left to right.
    """

    rows: npt.NDArray[np.int64]
    """(slots + 1) first kernel row of each slot."""
    starts: npt.NDArray[np.int64]
    """(kernel rows + 1) first tap of each kernel row."""
    dy: npt.NDArray[np.int64]
    dx: npt.NDArray[np.int64]
    weight: Float32
    radius: npt.NDArray[np.int64]
    """(slots) half-size of each kernel, pixels."""


@dataclass(frozen=True, slots=True)
class DenseTable:
    """The kernels of chosen slots, packed row by row.

    Kernel of slot s, channel c: ``weight[c, starts[s] : starts[s] + (n + 1) * m]`` as (n + 1, m), n = 2 radius[s] + 1
    and m the next multiple of `TAPS_AT_ONCE`. Filled up with zeros: taps are applied by the eight, and rows in pairs.
    """

    starts: npt.NDArray[np.int64]
    """(slots) where each kernel begins; -1 for slots that are not in the table."""
    radius: npt.NDArray[np.int64]
    """(slots) half-size of each kernel, pixels."""
    weight: Float32
    """(channels, weights)."""


@dataclass(slots=True)
class Tables:
    """Kernels of a bank in the forms that the renderer takes, as far as they were asked for."""

    taps: TapTable | None = None
    dense: DenseTable | None = None


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

    @cached_property
    def _tables(self) -> Tables:
        return Tables()

    @staticmethod
    def disk(lens: ThinLens, *, coc_step: float = 0.125) -> "ShapeBank":
        """Uniform disks as wide as the CoC, antialiased by pixel coverage: geometric optics of a round aperture."""
        from .psf_shaped import ShapeBank

        return ShapeBank("disk", lens, coc_step, disk_kernel, 0.5, by_differences=True, light_through=disk_light)

    @staticmethod
    def gaussian(lens: ThinLens, *, sigma_per_coc: float = 0.25, coc_step: float = 0.125) -> "ShapeBank":
        """Gaussians with a standard deviation of `sigma_per_coc` CoC diameters.

        1/4 has the disk's second moment and is 2HDED's choice (rho = epsilon / 4); D3-Net's code uses 0.3.
        """
        from .psf_shaped import ShapeBank

        if not 0 < sigma_per_coc < 10:
            raise InputError(f"psf.sigma_per_coc must be a positive number below 10, not {sigma_per_coc}.")
        return ShapeBank(
            "gaussian", lens, coc_step, lambda c: gaussian_kernel(sigma_per_coc * c), GAUSSIAN_REACH * sigma_per_coc,
            {"sigma_per_coc": sigma_per_coc},
        )  # fmt: skip

    @staticmethod
    def power_exponential(lens: ThinLens, *, exponent: float = 2.0, coc_step: float = 0.125) -> "ShapeBank":
        """Kernels ``exp(-2 (r / c)^p)``, c the CoC's radius (FOSSA): p = 2 is a Gaussian, a large p nears the disk.

        Raises
        ------
        InputError
            If the exponent is not between 1 and 64.
        """
        from .psf_shaped import ShapeBank

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
        from .psf_shaped import ShapeBank

        pattern = checked_pattern(transmission)
        facts = {"transmission": pattern.tolist()} if pattern.size <= 4096 else {}
        return ShapeBank(
            "aperture", lens, coc_step, lambda c: aperture_kernel(pattern, c), 0.5, facts, True,
            light_through=lambda edges: aperture_light(pattern, edges),
        )  # fmt: skip

    @staticmethod
    def cat_eye(
        lens: ThinLens,
        transmission: npt.ArrayLike | None = None,
        *,
        clipping: float = 0.5,
        rim: float = 1.0,
        side: Literal["front", "rear"] = "front",
        nodes: int = 9,
        coc_step: float = 0.25,
    ) -> "FieldBank[ShapeBank]":
        """Shadows of an aperture that the lens's barrel clips away from the axis; see `psf_clipped.cat_eye_bank`."""
        from .psf_clipped import cat_eye_bank

        return cat_eye_bank(lens, transmission, clipping=clipping, rim=rim, side=side, nodes=nodes, coc_step=coc_step)

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
    def measured(path: str | Path, lens: ThinLens, *, size: int | None = None) -> "StoredBank":
        """Measured PSFs from a file; see `psf_measured.measured_bank`."""
        from .psf_measured import measured_bank

        return measured_bank(Path(path), lens, size=size)

    @staticmethod
    def load(path: str | Place) -> "StoredBank":
        """Read a bank from a dataset's split, or from a file written by its `save`; see `psf_files.load_bank`."""
        from .psf_files import load_bank

        return load_bank(place(path))

    def finer(self, times: int) -> "PsfBank | None":
        """Return the bank for pixels `times` as small, or None if its kernels are known on its pixels alone."""
        return None

    def through(self, lens: ThinLens) -> "PsfBank":
        """Return the same kernels, by CoC, for another lens: other focus, f-number or pixel pitch.

        Raises
        ------
        InputError
            If the kernels are bound to their lens, as those of masks and measured ones are.
        """
        if lens == self.lens:
            return self
        raise InputError(
            f"the kernels of a {self.kind!r} bank were made for one lens: make a bank for each focus distance and "
            "f-number, for example by giving a function of the lens."
        )

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

    @property
    def averaged(self) -> "PsfBank":
        """The bank for pictures whose pixels are averages over their area already; the same one, if it has no other."""
        return self

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
    def sampled(self, near: float, far: float, *, values: int = LARGEST_SAMPLED) -> "StoredBank":
        """All kernels between two depths in metres as a bank of planes, which is what datasets store.

        Where that would be more than so many `values` in all, fewer planes stand for all.
        """

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What the bank was made from, as JSON data."""

    @abstractmethod
    def check_covers(self, depth: npt.NDArray[Any]) -> None:
        """Check that the bank has kernels for depths in metres; NaN is skipped.

        Raises
        ------
        InputError
            Naming the depths, and those that are covered.
        """

    def taps(self, highest_slot: int) -> TapTable:
        """Taps of the slots 0 to at least `highest_slot`, of banks with `by_differences`."""
        raise TypeError(f"{type(self).__name__} has kernels, and no differences of them.")

    def dense(self, used: npt.NDArray[np.integer[Any]]) -> DenseTable:
        """Kernels of at least the slots `used`; made once and kept."""
        empty = DenseTable(np.empty(0, int), np.empty(0, int), np.empty((self.channels, 0), np.float32))
        table = self._tables.dense or empty
        starts = np.full(max(len(table.starts), int(used.max()) + 1), -1, np.int64)
        starts[: len(table.starts)] = table.starts
        missing = np.unique(used[starts[used] < 0])
        if missing.size:
            self._tables.dense = table = self._add_kernels(table, missing, starts)
        return table

    def _add_kernels(
        self, table: DenseTable, slots: npt.NDArray[np.integer[Any]], starts: npt.NDArray[np.int64]
    ) -> DenseTable:
        radius = np.zeros(len(starts), np.int64)
        radius[: len(table.radius)] = table.radius
        rows, length = [table.weight], table.weight.shape[1]
        for slot in slots:
            kernels = self.slot_kernels(int(slot))
            n = kernels.shape[-1]
            padded = np.pad(kernels, [(0, 0), (0, 1), (0, -n % TAPS_AT_ONCE)])
            starts[slot], radius[slot] = length, n // 2
            rows.append(padded.reshape(self.channels, -1).astype(np.float32))
            length += rows[-1].shape[1]
        return DenseTable(starts, radius, np.concatenate(rows, axis=1))
