"""Masks that are given value by value: height maps, radial profiles, coded apertures."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace, device

from ... import InputError
from .base import Mask, on_grid, one_where, real_numbers
from .phase import Array, phase_of_height


@dataclass(frozen=True, eq=False)
class HeightMap(Mask):
    """A free-form mask given cell by cell.

    Parameters
    ----------
    heights
        (n, n), metres, [y, x] over the square around the pupil; a numpy array or a tensor. Cells are flat, as they are
        made; nothing is interpolated, because heights are often wrapped.
    """

    kind: ClassVar[str] = "height-map"
    heights: Any = field(default_factory=lambda: np.zeros((1, 1)))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.heights, "shape"):
            object.__setattr__(self, "heights", real_numbers("heights", self.heights))
        values = real_numbers("heights", self.heights)
        if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
            raise InputError(f"mask.heights must be a square of heights in metres, not of shape {values.shape}.")
        _check_heights(values)

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"height map of {len(self.heights)} x {len(self.heights)} cells"

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres."""
        return _cells(self.heights, x, y)

    def height_on(self, x: Array, y: Array) -> Array:
        """Height, (h, w) metres, over a grid of (w,) columns and (h,) rows."""
        return _cells_on(self.heights, x, y)

    def steepness(self) -> float:
        """Largest step of the phase between neighbouring cells, modulo one turn, over their distance."""
        heights = real_numbers("heights", self.heights)
        phase = phase_of_height(heights, self.wavelength, self.material.index(self.wavelength))
        steps = [np.abs(np.angle(np.exp(1j * np.diff(phase, axis=axis)))) for axis in (0, 1)]
        return max((float(step.max()) for step in steps if step.size), default=0.0) * len(heights) / 2


@dataclass(frozen=True, eq=False)
class RadialMask(Mask):
    """A mask that is the same along every radius, by its profile (Haim et al. 2018's rings; Ikoma et al. 2021).

    Parameters
    ----------
    heights
        (n,), metres, from the centre to the edge; a numpy array or a tensor.
    form
        "linear": at the radii i / (n - 1), interpolated between them; "flat": n rings, as wide each, flat as they are
        made.
    """

    kind: ClassVar[str] = "radial"
    heights: Any = field(default_factory=lambda: np.zeros(1))
    form: Literal["linear", "flat"] = "linear"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.heights, "shape"):
            object.__setattr__(self, "heights", real_numbers("heights", self.heights))
        values = real_numbers("heights", self.heights)
        if values.ndim != 1 or not values.size:
            raise InputError(f"mask.heights must be heights in metres along a radius, not of shape {values.shape}.")
        _check_heights(values)
        if self.form not in ("linear", "flat"):
            raise InputError(f"mask.form must be linear or flat, not {self.form!r}.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"radial profile of {len(self.heights)} heights, {self.form}"

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres; beyond the edge that of the edge."""
        xp, heights = array_namespace(x), _like(self.heights, x)
        u = xp.reshape(xp.sqrt(x * x + y * y), (-1,))
        n = heights.shape[0]
        if self.form == "flat" or n == 1:
            found = xp.take(heights, xp.clip(xp.astype(xp.floor(u * n), xp.int64), 0, n - 1), axis=0)
        else:
            at = xp.clip(u * (n - 1), 0.0, float(n - 1))
            first = xp.clip(xp.astype(xp.floor(at), xp.int64), 0, n - 2)
            slopes = heights[1:] - heights[:-1]
            found = xp.take(heights, first, axis=0) + (at - xp.astype(first, at.dtype)) * xp.take(slopes, first, axis=0)
        return xp.reshape(found, x.shape)

    def steepness(self) -> float:
        """Largest slope of the phase, radians per pupil radius; of flat rings their steps, modulo one turn."""
        heights = real_numbers("heights", self.heights)
        steps = np.diff(phase_of_height(heights, self.wavelength, self.material.index(self.wavelength)))
        if self.form == "flat":
            return float(np.abs(np.angle(np.exp(1j * steps))).max(initial=0.0)) * len(heights)
        return float(np.abs(steps).max(initial=0.0)) * (len(heights) - 1)


@dataclass(frozen=True, eq=False)
class AmplitudeMask(Mask):
    """A coded aperture: how much light each cell lets through.

    Parameters
    ----------
    transmission
        (n, n), 0 to 1, share of the light (the amplitude is its square root), [y, x] over the square around the pupil.
    square
        The aperture is the whole square, whose side is the lens's aperture diameter; else the disk within it.
    """

    kind: ClassVar[str] = "amplitude"
    transmission: Any = field(default_factory=lambda: np.ones((1, 1)))
    square: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.transmission, "shape"):
            object.__setattr__(self, "transmission", real_numbers("transmission", self.transmission))
        values = real_numbers("transmission", self.transmission)
        square = values.ndim == 2 and values.shape[0] == values.shape[1]
        if not (square and np.isfinite(values).all() and values.min() >= 0 and 0 < values.max() <= 1):
            raise InputError("mask.transmission must be a square of numbers from 0 to 1 that lets some light through.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"amplitude mask of {len(self.transmission)} x {len(self.transmission)} cells"

    def amplitude(self, x: Array, y: Array) -> Array:
        """Amplitude that the mask lets through, 0 to 1."""
        return array_namespace(x).sqrt(_cells(self.transmission, x, y)) * self._aperture(x, y)

    def amplitude_on(self, x: Array, y: Array) -> Array:
        """Amplitude, (h, w), over a grid of (w,) columns and (h,) rows."""
        return array_namespace(x).sqrt(_cells_on(self.transmission, x, y)) * self._aperture(*on_grid(x, y))

    def _aperture(self, x: Array, y: Array) -> Array:
        if not self.square:
            return super().amplitude(x, y)
        xp = array_namespace(x)
        u = xp.sqrt(x * x + y * y)
        return one_where((xp.abs(x) <= 1.0) & (xp.abs(y) <= 1.0) & (u >= self.obstruction), u)


def _check_heights(values: npt.NDArray[np.float64]) -> None:
    if not np.isfinite(values).all():
        raise InputError(f"mask.heights hold {np.sum(~np.isfinite(values))} values that are not finite.")
    if np.abs(values).max() > 1e-4:
        raise InputError(f"mask.heights reach {np.abs(values).max():.3g} m: a phase mask is micrometres high.")


def _like(values: Array, x: Array) -> Array:
    """Return values in the namespace and precision, and on the device, of coordinates; gradients still reach them."""
    xp = array_namespace(x)
    if hasattr(values, "requires_grad") and hasattr(x, "requires_grad"):
        return xp.astype(values, x.dtype)
    return xp.asarray(values, dtype=x.dtype, device=device(x))


def _cell(at: Array, n: int) -> Array:
    """Number of the cell, of n from -1 to 1, that each coordinate lies in."""
    xp = array_namespace(at)
    return xp.clip(xp.astype(xp.floor((at + 1.0) * (n / 2)), xp.int64), 0, n - 1)


def _cells(values: Array, x: Array, y: Array) -> Array:
    """Value of the cell that each point lies in."""
    xp, cells = array_namespace(x), _like(values, x)
    n = cells.shape[0]
    at = _cell(y, n) * n + _cell(x, n)
    return xp.reshape(xp.take(xp.reshape(cells, (-1,)), xp.reshape(at, (-1,)), axis=0), x.shape)


def _cells_on(values: Array, x: Array, y: Array) -> Array:
    """Value of the cell that each point of a grid lies in: the same as `_cells`, row by row."""
    xp, cells = array_namespace(x), _like(values, x)
    n = cells.shape[0]
    return xp.take(xp.take(cells, _cell(x, n), axis=1), _cell(y, n), axis=0)
