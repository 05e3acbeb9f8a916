"""A phase mask as it is made: flat cells of a few etched heights, and what becomes of its PSFs by that."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..synth.pupil import Mask
from ..synth.pupil.propagation import defocused, psf_at_pixels, pupil_grid

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Fields = list[npt.NDArray[np.complex64]]

FEWEST_CELLS, MOST_CELLS = 16, 8192
"""Cells across a plate."""
MOST_LEVELS = 256
DIGITS = 65535
"""What the greatest height is written as."""
LEAST_POINTS, MOST_POINTS = 1024, 2048
"""Points across the pupil at which a plate is looked at."""
_STRIP = 128
_BELOW = 0.01
_PUPILS_AT_ONCE = 2**21


@dataclass(frozen=True, eq=False)
class Plate:
    """Heights of the cells of a mask.

    Attributes
    ----------
    heights
        float32 (n, n), metres, [y, x], the lowest 0; y down and x right as the mask is seen from the sensor, looking
        towards the scene. Cells outside the pupil are 0.
    cell
        Side of a cell, metres.
    diameter
        Of the pupil, whose centre is that of the plate, metres.
    """

    heights: Float32
    cell: float
    diameter: float

    @property
    def span(self) -> float:
        """Side of the plate over the pupil's diameter; 1 or a little more."""
        return len(self.heights) * self.cell / self.diameter

    @property
    def relief(self) -> float:
        """Greatest height, metres."""
        return float(self.heights.max())

    def inside(self) -> npt.NDArray[np.bool_]:
        """Whether the centre of each cell lies in the pupil: bool (n, n)."""
        at = _centres(len(self.heights), self.cell, self.diameter)
        return np.asarray(at[:, None] ** 2 + at[None, :] ** 2 <= 1.0)

    def scaled(self, factor: float) -> "Plate":
        """Return the plate with all its heights multiplied, as where an etch goes too deep."""
        return replace(self, heights=self.heights * np.float32(factor))


@dataclass(frozen=True, eq=False)
class Levels:
    """A plate of few heights.

    Attributes
    ----------
    index
        uint16 (n, n): the level of each cell, 0 the lowest.
    count
        How many levels there are.
    step
        Height of one level over the next, metres.
    waves
        Whether they divide one wave, of which the last level lacks one step; else they divide the relief from end to
        end.
    """

    index: npt.NDArray[np.uint16]
    count: int
    step: float
    waves: bool

    @property
    def heights(self) -> Float64:
        """Height of each level, metres: (count,)."""
        return np.asarray(np.arange(self.count) * self.step, np.float64)

    @property
    def etches(self) -> list[float]:
        """Depths, metres, of the etch steps that make the levels, each with a mask of its own; none if not 2^k levels.

        Step b makes the bit b of the level: k masks make 2^k levels (Swanson 1989, MIT Lincoln Laboratory TR-854).
        """
        bits = self.count.bit_length() - 1
        return [2**b * self.step for b in range(bits)] if self.count == 2**bits else []

    def etched(self, bit: int) -> npt.NDArray[np.bool_]:
        """Return where a cell stands higher by the depth of an etch step."""
        return (self.index >> bit & 1).astype(bool)

    def on(self, plate: Plate) -> Plate:
        """Return the plate as it is made."""
        return replace(plate, heights=(self.index * self.step).astype(np.float32))


def wave_height(mask: Mask) -> float:
    """Height, metres, that delays light of the design wavelength by one wave: ``wavelength / (n - 1)``."""
    return mask.wavelength / (mask.material.index(mask.wavelength) - 1)


def _centres(count: int, cell: float, diameter: float) -> Float64:
    """Pupil coordinates of the centres of cells."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * (2 * cell / diameter))


def cut(mask: Mask, diameter: float, cell: float, *, wrap: bool = False) -> Plate:
    """Sample the heights of a mask at the centres of cells.

    Parameters
    ----------
    mask
        A mask with a height.
    diameter
        Of the pupil, metres.
    cell
        Side of a cell, metres.
    wrap
        Take heights modulo one wave at the design wavelength.

    Raises
    ------
    InputError
        If the mask has no relief, or the cells are too many, too few or too coarse for it.
    """
    count = math.ceil(diameter / cell - 1e-6)
    if not FEWEST_CELLS <= count <= MOST_CELLS:
        raise InputError(
            f"a pupil of {diameter * 1e3:g} mm has {count} cells of {cell * 1e6:g} um across, and {FEWEST_CELLS} to "
            f"{MOST_CELLS} can be written: choose another --cell, or check --diameter."
        )
    change = mask.steepness() * 2 * cell / diameter
    if change > math.pi * (1 + 1e-9):
        raise InputError(
            f"cells of {cell * 1e6:g} um are too coarse: the phase of the mask changes by up to {change:.3g} rad from "
            f"one to the next, and pi is the most; --cell '{cell * 1e6 * math.pi / change:.3g} um' or finer."
        )
    heights = _sampled(mask, _centres(count, cell, diameter))
    heights -= np.nanmin(heights)
    if wrap:
        heights = np.mod(heights, np.float32(wave_height(mask)))
    heights = np.nan_to_num(heights, copy=False, nan=0.0)
    if not heights.max() > 1e-12:
        raise InputError(f"the mask ({mask.name}) is flat: there is nothing to etch.")
    return Plate(heights, cell, diameter)


def _sampled(mask: Mask, at: Float64) -> Float32:
    """Heights at the cells' centres, metres; NaN for cells that lie outside the pupil."""
    out = np.empty((len(at), len(at)), np.float32)
    rim = 1.0 + (at[1] - at[0]) * math.sqrt(0.5)
    for first in range(0, len(at), _STRIP):
        y, x = np.meshgrid(at[first : first + _STRIP], at, indexing="ij")
        u = np.hypot(x, y)
        # Cells that the rim crosses take the height on it: polynomials grow fast beyond.
        inward = 1.0 / np.maximum(u, 1.0)
        heights = mask.height(x * inward, y * inward)
        if heights is None:
            raise InputError(
                f"the mask ({mask.name}) changes amplitude alone and has no height: it is made as a pattern of chrome, "
                "from its own picture."
            )
        out[first : first + _STRIP] = np.where(u <= rim, np.asarray(heights, np.float64), np.nan)
    return out


def quantise(plate: Plate, levels: int, wave: float) -> Levels:
    """Give each cell one of some levels.

    Where the relief is one wave high the levels divide the wave, and heights are rounded down: to the nearest would
    send the highest half step round to level 0, which is a whole wave in light of one wavelength alone, and half a step
    more or less everywhere changes nothing. Any other relief they divide from end to end, and heights are rounded to
    the nearest. A plate that has such levels already keeps them.

    Parameters
    ----------
    plate
        The heights.
    levels
        2 to `MOST_LEVELS`.
    wave
        See `wave_height`.

    Raises
    ------
    InputError
        If the number of levels is out of range.
    """
    if not 2 <= levels <= MOST_LEVELS:
        raise InputError(f"--levels must be from 2 to {MOST_LEVELS}, not {levels}.")
    relief = plate.relief
    waves = wave * (1 - 1 / levels) * (1 + 1e-5) < relief <= wave * (1 + 1e-5)
    step = wave / levels if waves else relief / (levels - 1)
    at = plate.heights / np.float32(step)
    # Heights that were written with 16 bits may lie a little below their level.
    index = np.floor(at + np.float32(_BELOW)) if waves else np.rint(at)
    return Levels(np.minimum(index, levels - 1).astype(np.uint16), levels, step, waves)


@dataclass(frozen=True, eq=False)
class MadeMask(Mask):
    """A plate in the pupil of the mask that it was made from.

    Parameters
    ----------
    plate
        Its heights.
    design
        The mask that it was made from.
    """

    plate: Any = None
    design: Any = None

    @classmethod
    def of(cls, plate: Plate, design: Mask) -> "MadeMask":
        """Return a plate as a mask of the design's material."""
        return cls(
            plate, design, wavelength=design.wavelength, glass=design.glass, obstruction=design.obstruction
        )  # fmt: skip

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"{self.design.name}, as made"

    def height(self, x: Any, y: Any) -> Any:
        """Height of the cell that each point lies in, metres."""
        cells, span = self.plate.heights, self.plate.span
        n = len(cells)
        row, column = (
            np.clip(np.floor((v / span + 1) * (n / 2)), 0, n - 1).astype(np.intp)
            for v in (np.asarray(y), np.asarray(x))
        )
        return cells[row, column].astype(np.float64)

    def amplitude(self, x: Any, y: Any) -> Any:
        """Amplitude that the design lets through."""
        return self.design.amplitude(x, y)


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """Where and in which light PSFs are looked at.

    Attributes
    ----------
    wavelengths
        Metres.
    pixels
        Pixel pitch in units of wavelength times working f-number, for each wavelength.
    defocus
        (K,) psi, radians at the pupil's edge at the design wavelength, ascending.
    size
        Height and width of the window, pixels.
    samples
        Cells across the pupil.
    """

    wavelengths: Sequence[float]
    pixels: Sequence[float]
    defocus: Float64
    size: int
    samples: int

    def fields(self, mask: Mask, cells: int) -> Fields:
        """Field behind a mask in light of each wavelength, at as many points as tell `cells` across apart."""
        points = min(MOST_POINTS, max(LEAST_POINTS, cells))
        x, y = pupil_grid(self.samples * math.ceil(points / self.samples))
        height, amplitude = mask.height(x, y), mask.amplitude(x, y)
        return [mask.field_of(height, amplitude, wavelength).astype(np.complex64) for wavelength in self.wavelengths]

    def psfs(self, fields: Fields, wavelength: float) -> Float64:
        """PSFs of fields.

        Parameters
        ----------
        fields
            From `fields`.
        wavelength
            Where defocus is counted, metres.

        Returns
        -------
        (K, C, size, size): share of the light behind the mask that falls on each pixel.
        """
        out = np.empty((len(self.defocus), len(fields), self.size, self.size))
        at_once = max(1, _PUPILS_AT_ONCE // self.samples**2)
        for c, (field, own, pixel) in enumerate(zip(fields, self.wavelengths, self.pixels, strict=True)):
            side = len(field) // self.samples
            light = float(np.mean(np.abs(field) ** 2, dtype=np.float64))
            cells = field.reshape(self.samples, side, self.samples, side).mean(axis=(1, 3), dtype=np.complex128)
            for first in range(0, len(self.defocus), at_once):
                psi = self.defocus[first : first + at_once] * (wavelength / own)
                out[first : first + at_once, c] = psf_at_pixels(
                    defocused(cells, psi), pixel, self.size, np.float64(light)
                )
        return out


def efficiency(design: Fields, made: Fields) -> Float64:
    """Share of the light that a made mask sends where the design would: (C,).

    The square of the fields' correlation, ``|<m d*>|^2 / <|d|^2>^2``; of N levels evenly spread over one wave
    ``sinc(1 / N)^2`` (Swanson 1989).
    """
    found = []
    for d, m in zip(design, made, strict=True):
        both = np.sum(m * np.conj(d), dtype=np.complex128)
        found.append(abs(both) ** 2 / np.sum(np.abs(d) ** 2, dtype=np.float64) ** 2)
    return np.array(found)


def change(design: Float64, made: Float64) -> Float64:
    """Relative L1 difference of PSFs, (K, C): ``sum |m - d| / sum d``."""
    return np.asarray(np.abs(made - design).sum(axis=(2, 3)) / design.sum(axis=(2, 3)))
