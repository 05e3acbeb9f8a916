"""Masks in the pupil: what they do to light of each wavelength. Parameters may be torch tensors with gradients."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
from array_api_compat import array_namespace

from ... import InputError
from .base import DESIGN_WAVELENGTH, MOST_RADIANS, Mask, plain, real_number, real_numbers
from .cells import AmplitudeMask, HeightMap, RadialMask
from .phase import (
    RING_GAIN,
    Array,
    height_of_phase,
    spiral_phase,
    spiral_phase_blend,
    spiral_phase_rings,
    zernike,
    zernike_on,
    zone_charge,
    zone_radius,
)

__all__ = [
    "DESIGN_WAVELENGTH",
    "MASKS",
    "AmplitudeMask",
    "ClearMask",
    "CubicMask",
    "HeightMap",
    "Mask",
    "RadialMask",
    "SpiralMask",
    "ZernikeMask",
    "mask_from",
]


@dataclass(frozen=True, eq=False)
class ClearMask(Mask):
    """Nothing but the round aperture and its obstruction."""

    kind: ClassVar[str] = "clear"

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

    kind: ClassVar[str] = "spiral"
    zones: int = 7
    lobes: Any = 1
    confinement: Any = 0.5
    form: Literal["hard", "rings", "blend"] = "hard"
    gain: float = RING_GAIN

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= real_number("zones", self.zones) <= 64 and int(self.zones) == self.zones):
            raise InputError(f"mask.zones must be a whole number from 1 to 64, not {self.zones}.")
        if not 0.01 <= real_number("lobes", self.lobes) <= 32:
            raise InputError(f"mask.lobes must be from 0.01 to 32, not {self.lobes}.")
        if not 0.01 <= real_number("confinement", self.confinement) <= 1:
            raise InputError(f"mask.confinement must be from 0.01 to 1, not {self.confinement}.")
        if self.form not in ("hard", "rings", "blend"):
            raise InputError(f"mask.form must be hard, rings or blend, not {self.form!r}.")
        if not 0 < real_number("gain", self.gain) <= 1e6:
            raise InputError(f"mask.gain must be above 0 and at most a million, not {self.gain}.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        lobes, confinement = float(plain(self.lobes)), float(plain(self.confinement))
        return f"spiral, L = {self.zones}, N = {lobes:g}, epsilon = {confinement:g}, {self.form} zones"

    @property
    def turn_per_defocus(self) -> float:
        """Angle, in radians, by which the PSF turns for each radian of defocus: ``-1 / (N L)``."""
        return -1.0 / (float(plain(self.lobes)) * self.zones)

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
        lobes, confinement = float(plain(self.lobes)), float(plain(self.confinement))
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

    kind: ClassVar[str] = "zernike"
    coefficients: Any = ()
    wrapped: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        values = real_numbers("coefficients", self.coefficients)
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
        return self._height_of(self.phase(x, y))

    def height_on(self, x: Array, y: Array) -> Array:
        """Height, (h, w) metres, over a grid of (w,) columns and (h,) rows: by products of polynomials in x and y."""
        return self._height_of(zernike_on(self.coefficients, x, y))

    def _height_of(self, phase: Array) -> Array:
        index = self.material.index(self.wavelength)
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
    dy, dx = np.gradient(np.asarray(plain(phase)), axis, axis)
    return float(np.hypot(dx, dy)[x**2 + y**2 <= 1].max())


@dataclass(frozen=True, eq=False)
class CubicMask(Mask):
    """Cubic phase ``strength (x^3 + y^3)``: a PSF that hardly changes with defocus (Dowski and Cathey 1995).

    Parameters
    ----------
    strength
        Radians at the design wavelength at the end of an axis.
    """

    kind: ClassVar[str] = "cubic"
    strength: Any = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not abs(real_number("strength", self.strength)) <= MOST_RADIANS:
            raise InputError(f"mask.strength must be up to {MOST_RADIANS:g} radians, not {self.strength}.")

    @property
    def name(self) -> str:
        """What the mask is, in a few words."""
        return f"cubic, {float(plain(self.strength)):g} rad"

    def phase(self, x: Array, y: Array) -> Array:
        """Phase at the design wavelength, radians."""
        return self.strength * (x**3 + y**3)

    def height(self, x: Array, y: Array) -> Array:
        """Height of the mask, in metres."""
        return self.phase(x, y) * (self.wavelength / (2 * math.pi * (self.material.index(self.wavelength) - 1)))

    def steepness(self) -> float:
        """Largest slope of the phase, radians per pupil radius."""
        return _steepness(self)


MASKS: dict[str, type[Mask]] = {
    made.kind: made for made in (ClearMask, SpiralMask, ZernikeMask, CubicMask, HeightMap, RadialMask, AmplitudeMask)
}


def mask_from(data: Mapping[str, Any]) -> Mask:
    """Make a mask from what `Mask.to_dict` returned.

    Raises
    ------
    InputError
        If the kind is unknown, or a parameter is missing, unknown or out of range.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"a mask is a table of its kind and parameters, not {str(data)[:40]!r}.")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in MASKS:
        raise InputError(f"a mask's kind must be one of {', '.join(MASKS)}, not {str(kind)[:40]!r}.")
    known = {field.name for field in fields(MASKS[kind])}
    given = {name: value for name, value in data.items() if name != "kind"}
    if unknown := sorted(set(given) - known):
        raise InputError(f"a mask of kind {kind!r} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    return MASKS[kind](**given)
