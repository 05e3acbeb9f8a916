"""Refractive index of what phase masks are made of, by wavelength. Wavelengths are metres in vacuum."""

from dataclasses import dataclass
from typing import Any, Literal

from ... import InputError


@dataclass(frozen=True, slots=True)
class Glass:
    """A material and the wavelengths for which its dispersion formula was measured.

    Attributes
    ----------
    name
        As in `GLASSES`.
    formula
        "cauchy": n = a0 + a1 / L^2 + a2 / L^4. "sellmeier": n^2 = 1 + sum_i B_i L^2 / (L^2 - C_i). L in micrometres.
    coefficients
        (a0, a1, a2), or (B1, C1, B2, C2, B3, C3).
    shortest, longest
        Wavelengths, metres, that the formula holds for.
    """

    name: str
    formula: Literal["cauchy", "sellmeier"]
    coefficients: tuple[float, ...]
    shortest: float
    longest: float

    def index(self, wavelength: float) -> float:
        """Refractive index at a wavelength in metres.

        Raises
        ------
        InputError
            If the formula does not hold there.
        """
        if not self.shortest <= wavelength <= self.longest:
            raise InputError(
                f"the refractive index of {self.name} is known from {self.shortest * 1e9:g} to "
                f"{self.longest * 1e9:g} nm, not at {wavelength * 1e9:g} nm: choose another wavelength or glass."
            )
        square = (wavelength * 1e6) ** 2
        if self.formula == "cauchy":
            return sum(a / square**i for i, a in enumerate(self.coefficients))
        pairs = zip(self.coefficients[::2], self.coefficients[1::2], strict=True)
        return float((1 + sum(b * square / (square - c) for b, c in pairs)) ** 0.5)

    @classmethod
    def constant(cls, index: float) -> "Glass":
        """Return a material without dispersion: PhaseCam3D's mask has index 1.5 at every wavelength.

        Raises
        ------
        InputError
            If the index is not above 1, up to 5.
        """
        if not 1 < index <= 5:
            raise InputError(f"a refractive index must be above 1 and at most 5, not {index}.")
        return cls(f"n={index:g}", "cauchy", (float(index),), 0.0, float("inf"))


GLASSES = {
    glass.name: glass
    for glass in (
        # Norland's data sheet of the adhesive that lithographic masks are cast in.
        Glass("NOA61", "cauchy", (1.5375, 8.2900e-3, -2.1100e-4), 350e-9, 1000e-9),
        # Malitson 1965, at 20 degrees C.
        Glass(
            "fused-silica",
            "sellmeier",
            (0.6961663, 0.0684043**2, 0.4079426, 0.1162414**2, 0.8974794, 9.896161**2),
            210e-9,
            3710e-9,
        ),
        # Schott's data sheet.
        Glass(
            "N-BK7",
            "sellmeier",
            (1.03961212, 0.00600069867, 0.231792344, 0.0200179144, 1.01046945, 103.560653),
            300e-9,
            2500e-9,
        ),
    )
}


def glass_named(name: Any) -> Glass:
    """Return a material by name, or `n=1.5` for a constant index.

    Raises
    ------
    InputError
        If there is no such material.
    """
    if isinstance(name, str) and name.startswith("n="):
        try:
            return Glass.constant(float(name[2:]))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
    if not isinstance(name, str) or name not in GLASSES:
        known = ", ".join(GLASSES)
        raise InputError(f"glass must be one of {known}, or n=1.5 for a constant index; not {str(name)[:40]!r}.")
    return GLASSES[name]
