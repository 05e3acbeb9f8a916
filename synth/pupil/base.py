"""What all masks in the pupil have in common, and how their parameters are checked."""

from abc import ABC, abstractmethod
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from ... import InputError
from .glass import Glass, glass_named
from .phase import Array, phase_of_height, phasor

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

    kind: ClassVar[str]
    """Name of the kind in files and recipes."""
    _: KW_ONLY
    wavelength: float = DESIGN_WAVELENGTH
    glass: str = "NOA61"
    obstruction: float = 0.0

    def __post_init__(self) -> None:
        self.material.index(real_number("wavelength", self.wavelength))
        if not 0 <= real_number("obstruction", self.obstruction) <= 0.99:
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
        return one_where(u <= 1.0, u) * one_where(u >= self.obstruction, u)

    def height_on(self, x: Array, y: Array) -> Array | None:
        """Height, (h, w) metres, over a grid of (w,) columns and (h,) rows: `height`, where that can be done faster."""
        return self.height(*on_grid(x, y))

    def amplitude_on(self, x: Array, y: Array) -> Array:
        """Amplitude, (h, w), over a grid of (w,) columns and (h,) rows: `amplitude`, where that can be done faster."""
        return self.amplitude(*on_grid(x, y))

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
        data = {field.name: plain(getattr(self, field.name)) for field in fields(self)}
        return {"kind": self.kind, **data}


def on_grid(x: Array, y: Array) -> tuple[Array, Array]:
    """Coordinates of all points of a grid, (h, w) both, of its (w,) columns and (h,) rows."""
    columns, rows = array_namespace(x).meshgrid(x, y, indexing="xy")
    return columns, rows


def one_where(condition: Array, like: Array) -> Array:
    """Return 1 where a condition holds and 0 elsewhere, as numbers like others."""
    return array_namespace(like).astype(condition, like.dtype)


def real_number(name: str, value: Any) -> float:
    """Return a parameter, which may be a tensor, as a number."""
    if isinstance(value, str | bytes) or value is None:
        raise InputError(f"mask.{name} must be a number, not {value!r}.")
    try:
        return float(plain(value))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"mask.{name} must be a number, not {str(value)[:40]!r}.") from None


def real_numbers(name: str, values: Any) -> npt.NDArray[np.float64]:
    """Return parameters, which may be tensors, as an array."""
    try:
        if hasattr(values, "detach"):
            return np.asarray(values.detach().cpu().numpy(), np.float64)
        return np.asarray([plain(v) for v in values] if isinstance(values, tuple | list) else values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"mask.{name} must be numbers in rows of one length, not {str(values)[:40]!r}.") from None


def plain(value: Any) -> Any:
    """Return an array or a tensor as numbers and lists; anything else as it is."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return value.tolist() if hasattr(value, "tolist") else value
