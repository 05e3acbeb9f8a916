"""Masks in the pupil: what they do to light of each wavelength. Parameters may be torch tensors with gradients."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from ... import InputError
from .glass import Glass, glass_named
from .phase import (
    RING_GAIN,
    Array,
    height_of_phase,
    phase_of_height,
    phasor,
    spiral_phase,
    spiral_phase_blend,
    spiral_phase_rings,
    zernike,
    zone_charge,
    zone_radius,
)

DESIGN_WAVELENGTH = 550e-9
MOST_RADIANS = 1e4
"""More phase than this is a mistake of units."""


@dataclass(frozen=True, eq=False)
class Mask(ABC):
    """What stands in the pupil.

    Parameters
    ----------
    wavelength
        Metres: where the mask was designed, and where a bank of it counts defocus.
    glass
        Name in `GLASSES`, or "n=1.5" for an index without dispersion.
    obstruction
        Radius of an opaque disk at the centre, over the pupil's radius.
    """

    _: KW_ONLY
    wavelength: float = DESIGN_WAVELENGTH
    glass: str = "NOA61"
    obstruction: float = 0.0

    def __post_init__(self) -> None:
        self.material.index(self.wavelength)
        if not 0 <= _real("obstruction", self.obstruction) <= 0.99:
            raise InputError(f"mask.obstruction must be from 0 to 0.99 (of the radius), not {self.obstruction}.")

    @property
    def material(self) -> Glass:
        """What the mask is made of."""
        return glass_named(self.glass)

    @property
    @abstractmethod
    def name(self) -> str:
        """What the mask is, in a few words."""

    def height(self, x: Array, y: Array) -> Array | None:
        """Height of the mask, in metres, at pupil coordinates (unit disk); None for a mask without phase."""
        return None

    def amplitude(self, x: Array, y: Array) -> Array:
        """Amplitude that the mask lets through, 0 to 1, at pupil coordinates."""
        u = array_namespace(x).sqrt(x * x + y * y)
        return _where(u <= 1.0, u) * _where(u >= self.obstruction, u)

    def field(self, x: Array, y: Array, wavelength: float) -> Array:
        """Field behind the mask in light of one wavelength that arrives with amplitude 1 and no phase.

        Parameters
        ----------
        x, y
            Pupil coordinates, the edge at radius 1; any shape. Their namespace and precision are the result's.
        wavelength
            Metres.

        Returns
        -------
        Complex, same shape: amplitude times ``exp(i 2 pi / wavelength (n - 1) h)``.

        Raises
        ------
        InputError
            If the glass's index is not known at the wavelength.
        """
        return self.field_of(self.height(x, y), self.amplitude(x, y), wavelength)

    def field_of(self, height: Array | None, amplitude: Array, wavelength: float) -> Array:
        """Do `field` with height and amplitude at hand: they are the same for every wavelength."""
        phase = 0.0 * amplitude
        if height is not None:
            phase = phase_of_height(height, wavelength, self.material.index(wavelength))
        return amplitude * phasor(phase)

    def steepness(self) -> float:
        """Largest slope of the mask's phase, radians per pupil radius at the design wavelength, jumps left out."""
        return 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the mask as JSON data, from which `mask_from` makes it again."""
        kind = next(kind for kind, made in MASKS.items() if type(self) is made)
        data = {name: _plain(getattr(self, name)) for name in self.__dataclass_fields__ if name != "_"}
        return {"kind": kind, **data}


def _where(condition: Array, like: Array) -> Array:
    xp = array_namespace(like)
    return xp.astype(condition, like.dtype)


def _real(name: str, value: Any) -> float:
    """Return a parameter, which may be a tensor, as a number."""
    if isinstance(value, str | bytes) or value is None:
        raise InputError(f"mask.{name} must be a number, not {value!r}.")
    try:
        return float(_plain(value))
    except (TypeError, ValueError):
        raise InputError(f"mask.{name} must be a number, not {str(value)[:40]!r}.") from None


def _reals(name: str, values: Any) -> npt.NDArray[np.float64]:
    """Return parameters, which may be tensors, as an array."""
    try:
        return np.asarray(
            [_plain(v) for v in values] if isinstance(values, tuple | list) else _plain(values), np.float64
        )
    except (TypeError, ValueError):
        raise InputError(f"mask.{name} must be numbers in rows of one length, not {str(values)[:40]!r}.") from None


def _plain(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return value.tolist() if hasattr(value, "tolist") else value


@dataclass(frozen=True, eq=False)
class ClearMask(Mask):
    """Nothing but the round aperture and its obstruction."""

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return (
            "clear pupil" if not self.obstruction else f"clear pupil, obstructed to {self.obstruction:g} of its radius"
        )


@dataclass(frozen=True, eq=False)
class SpiralMask(Mask):
    """Spiral phase zones, whose PSF turns with defocus (RPSF paper Eqs. 3-6; Prasad 2013; Berlich, Stallinga 2018).

    The PSF turns by ``-psi / (N L)`` radians as the defocus psi grows: counter-clockwise in the picture.

    Parameters
    ----------
    zones
        L, Fresnel zones of charge (l - 1) N + 1.
    lobes
        N, peaks of the PSF; a real number, or a tensor, in training.
    confinement
        epsilon: zone l ends at the radius (l / L)^epsilon. 1/2 is Prasad's, and the only one that turns rigidly.
    form
        "hard" zones; "rings", the paper's differentiable form (Eq. 5); "blend", the same with phasors blended.
    gain
        Sharpness of the rings.
    """

    zones: int = 7
    lobes: Any = 1
    confinement: Any = 0.5
    form: Literal["hard", "rings", "blend"] = "hard"
    gain: float = RING_GAIN

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= _real("zones", self.zones) <= 64 and int(self.zones) == self.zones):
            raise InputError(f"mask.zones must be a whole number from 1 to 64, not {self.zones}.")
        if not 0.01 <= _real("lobes", self.lobes) <= 32:
            raise InputError(f"mask.lobes must be from 0.01 to 32, not {self.lobes}.")
        if not 0.01 <= _real("confinement", self.confinement) <= 1:
            raise InputError(f"mask.confinement must be from 0.01 to 1, not {self.confinement}.")
        if self.form not in ("hard", "rings", "blend"):
            raise InputError(f"mask.form must be hard, rings or blend, not {self.form!r}.")
        if not 0 < _real("gain", self.gain) <= 1e6:
            raise InputError(f"mask.gain must be above 0 and at most a million, not {self.gain}.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        lobes, confinement = float(_plain(self.lobes)), float(_plain(self.confinement))
        return f"spiral, L = {self.zones}, N = {lobes:g}, epsilon = {confinement:g}, {self.form} zones"

    @property
    def turn_per_defocus(self) -> float:
        """Angle, in radians, by which the PSF turns for each radian of defocus: ``-1 / (N L)``."""
        return -1.0 / (float(_plain(self.lobes)) * self.zones)

    def phase(self, x: Array, y: Array) -> Array:
        """Phase at the design wavelength, radians, not wrapped."""
        xp = array_namespace(x)
        u, phi = xp.sqrt(x * x + y * y), xp.atan2(y, x)
        if self.form == "hard":
            return spiral_phase(u, phi, self.zones, self.lobes, self.confinement)
        rings = spiral_phase_rings if self.form == "rings" else spiral_phase_blend
        return rings(u, phi, self.zones, self.lobes, self.confinement, self.gain)

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres: the phase wrapped to one turn (Eq. 6)."""
        return height_of_phase(self.phase(x, y), self.wavelength, self.material.index(self.wavelength))

    def steepness(self) -> float:
        """Largest slope of the phase, radians per pupil radius; the vortex at the very centre is left out."""
        lobes, confinement = float(_plain(self.lobes)), float(_plain(self.confinement))
        slopes = [
            zone_charge(zone, lobes) / zone_radius(max(zone - 1, 1), self.zones, confinement)
            for zone in range(1, self.zones + 1)
        ]
        return float(max(slopes))


@dataclass(frozen=True, eq=False)
class ZernikeMask(Mask):
    """Phase as a sum of Zernike polynomials.

    Parameters
    ----------
    coefficients
        Radians (root mean square) at the design wavelength, of Noll's polynomials 1, 2, 3, ...; a sequence or a tensor.
    wrapped
        Made modulo one wave at the design wavelength, as a lithographic mask; else as one smooth surface.
    """

    coefficients: Any = ()
    wrapped: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        values = _reals("coefficients", self.coefficients)
        if values.ndim != 1 or not 0 < values.size <= 400 or not (np.abs(values) <= MOST_RADIANS).all():
            raise InputError(
                f"mask.coefficients must be 1 to 400 numbers up to {MOST_RADIANS:g} (radians, in Noll's order)."
            )

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"Zernike polynomials 1 to {len(self.coefficients)}"

    def phase(self, x: Array, y: Array) -> Array:
        """Phase at the design wavelength, radians, not wrapped."""
        xp = array_namespace(x)
        u, phi = xp.sqrt(x * x + y * y), xp.atan2(y, x)
        phase = 0.0 * u
        for j, a in enumerate(self.coefficients, start=1):
            if hasattr(a, "requires_grad") or a != 0:
                phase = phase + a * zernike(j, u, phi)
        return phase

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres."""
        index = self.material.index(self.wavelength)
        phase = self.phase(x, y)
        if self.wrapped:
            return height_of_phase(phase, self.wavelength, index)
        return phase * (self.wavelength / (2 * math.pi * (index - 1)))

    def steepness(self) -> float:
        """Largest slope of the phase, radians per pupil radius."""
        return _steepness(self)


def _steepness(mask: "ZernikeMask | CubicMask") -> float:
    axis = np.linspace(-1, 1, 201)
    x, y = np.meshgrid(axis, axis)
    phase = mask.phase(x, y)
    dy, dx = np.gradient(np.asarray(_plain(phase)), axis, axis)
    return float(np.hypot(dx, dy)[x**2 + y**2 <= 1].max())


@dataclass(frozen=True, eq=False)
class CubicMask(Mask):
    """Cubic phase ``strength (x^3 + y^3)``: a PSF that hardly changes with defocus (Dowski and Cathey 1995).

    Parameters
    ----------
    strength
        Radians at the design wavelength at the end of an axis.
    """

    strength: Any = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not abs(_real("strength", self.strength)) <= MOST_RADIANS:
            raise InputError(f"mask.strength must be up to {MOST_RADIANS:g} radians, not {self.strength}.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"cubic, {float(_plain(self.strength)):g} rad"

    def phase(self, x: Array, y: Array) -> Array:
        """Phase at the design wavelength, radians."""
        return self.strength * (x**3 + y**3)

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres."""
        return self.phase(x, y) * (self.wavelength / (2 * math.pi * (self.material.index(self.wavelength) - 1)))

    def steepness(self) -> float:
        """Largest slope of the phase, radians per pupil radius."""
        return _steepness(self)


@dataclass(frozen=True, eq=False)
class HeightMap(Mask):
    """A free-form mask given cell by cell.

    Parameters
    ----------
    heights
        (n, n), metres, [y, x] over the square around the pupil; a numpy array or a tensor. Cells are flat, as they are
        made; nothing is interpolated, because heights are often wrapped.
    """

    heights: Any = field(default_factory=lambda: np.zeros((1, 1)))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.heights, "shape"):
            object.__setattr__(self, "heights", _reals("heights", self.heights))
        values = _reals("heights", self.heights)
        if values.ndim != 2 or values.shape[0] != values.shape[1] or not values.size:
            raise InputError(f"mask.heights must be a square of heights in metres, not of shape {values.shape}.")
        if not np.isfinite(values).all():
            raise InputError(f"mask.heights hold {np.sum(~np.isfinite(values))} values that are not finite.")
        if np.abs(values).max() > 1e-4:
            raise InputError(f"mask.heights reach {np.abs(values).max():.3g} m: a phase mask is micrometres high.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"height map of {len(self.heights)} x {len(self.heights)} cells"

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres."""
        return _cells(self.heights, x, y)

    def steepness(self) -> float:
        """Largest step of the phase between neighbouring cells, modulo one turn, over their distance."""
        heights = np.asarray(_plain(self.heights), np.float64)
        phase = phase_of_height(heights, self.wavelength, self.material.index(self.wavelength))
        steps = [np.abs(np.angle(np.exp(1j * np.diff(phase, axis=axis)))) for axis in (0, 1)]
        return max((float(step.max()) for step in steps if step.size), default=0.0) * len(heights) / 2


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

    transmission: Any = field(default_factory=lambda: np.ones((1, 1)))
    square: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not hasattr(self.transmission, "shape"):
            object.__setattr__(self, "transmission", _reals("transmission", self.transmission))
        values = _reals("transmission", self.transmission)
        square = values.ndim == 2 and values.shape[0] == values.shape[1]
        if not (square and np.isfinite(values).all() and values.min() >= 0 and 0 < values.max() <= 1):
            raise InputError("mask.transmission must be a square of numbers from 0 to 1 that lets some light through.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"amplitude mask of {len(self.transmission)} x {len(self.transmission)} cells"

    def amplitude(self, x: Array, y: Array) -> Array:
        """Amplitude that the mask lets through, 0 to 1."""
        xp = array_namespace(x)
        through = xp.sqrt(_cells(self.transmission, x, y))
        if self.square:
            u = xp.sqrt(x * x + y * y)
            return through * _where((xp.abs(x) <= 1.0) & (xp.abs(y) <= 1.0) & (u >= self.obstruction), u)
        return through * super().amplitude(x, y)


def _cells(values: Array, x: Array, y: Array) -> Array:
    """Value of the cell that each point lies in."""
    xp = array_namespace(x)
    cells = values if type(values) is type(x) else xp.asarray(values, dtype=x.dtype)
    n = cells.shape[0]
    whole = xp.int64
    column = xp.clip(xp.astype(xp.floor((x + 1.0) * (n / 2)), whole), 0, n - 1)
    row = xp.clip(xp.astype(xp.floor((y + 1.0) * (n / 2)), whole), 0, n - 1)
    return xp.reshape(xp.take(xp.reshape(cells, (-1,)), xp.reshape(row * n + column, (-1,)), axis=0), x.shape)


MASKS: dict[str, type[Mask]] = {
    "clear": ClearMask,
    "spiral": SpiralMask,
    "zernike": ZernikeMask,
    "cubic": CubicMask,
    "height-map": HeightMap,
    "amplitude": AmplitudeMask,
}


def mask_from(data: Mapping[str, Any]) -> Mask:
    """Make a mask from what `Mask.to_dict` returned.

    Raises
    ------
    InputError
        If the kind is unknown, or a parameter is missing, unknown or out of range.
    """
    kind = data.get("kind")
    if kind not in MASKS:
        raise InputError(f"a mask's kind must be one of {', '.join(MASKS)}, not {kind!r}.")
    known = set(MASKS[kind].__dataclass_fields__) - {"_"}
    given = {name: value for name, value in data.items() if name != "kind"}
    if unknown := sorted(set(given) - known):
        raise InputError(f"a mask of kind {kind!r} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    return MASKS[kind](**given)
