"""What a config may say about a mask that is learned: its kind, where it starts, and the ranges it is kept in.

Lengths are metres or strings with units, as in recipes. Published starting values are defaults where they are known.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...synth.pupil.base import DESIGN_WAVELENGTH
from ...synth.pupil.glass import glass_named
from ...synth.pupil.patterns import PATTERNS
from ...synth.units import parse_length
from ..settings import Length, Section

Range = tuple[float, float]
Bound = Literal["sigmoid", "wrap"]
Weight = Annotated[float, Field(ge=0)]
Wavelength = Annotated[float, BeforeValidator(parse_length), Field(ge=1e-7, le=1e-4)]


class _MaskSection(Section):
    wavelength: Wavelength = DESIGN_WAVELENGTH
    """Design wavelength: where heights are computed, and where defocus is counted."""
    glass: str = "NOA61"
    obstruction: float = Field(default=0.0, ge=0, le=0.99)

    @model_validator(mode="after")
    def _known(self) -> Self:
        glass_named(self.glass).index(self.wavelength)
        return self

    @property
    def wave_height(self) -> float:
        """Height, metres, that delays light of the design wavelength by one turn."""
        return self.wavelength / (glass_named(self.glass).index(self.wavelength) - 1)


class SpiralSection(_MaskSection):
    """Spiral zones (RPSF paper Eq. 5): N and epsilon are learned, L is not.

    The paper's own initial values are lost; N = 1 and epsilon = 1/2 are Prasad's mask, the only one that turns rigidly.
    The ranges are ours: they hold the single and the double helix that the paper learned, and its "high confinement".
    """

    kind: Literal["spiral"]
    zones: int = Field(default=7, ge=1, le=64)
    lobes: float = 1.0
    confinement: float = 0.5
    form: Literal["rings", "blend", "hard"] = "rings"
    """"hard" has no gradient to the zones' radii: it needs both parameters frozen."""
    gain: float = Field(default=100.0, gt=0, le=1e6)
    lobes_range: Range = (0.5, 3.5)
    confinement_range: Range = (0.1, 0.95)
    frozen: tuple[Literal["lobes", "confinement"], ...] = ()
    """What stays as it starts."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, widest in (("lobes", (0.01, 32.0)), ("confinement", (0.01, 1.0))):
            (low, high), start = getattr(self, f"{name}_range"), getattr(self, name)
            if not widest[0] <= low < high <= widest[1]:
                raise ValueError(f"{name}_range must be [least, greatest] within {list(widest)}, not {[low, high]}")
            if name in self.frozen and not widest[0] <= start <= widest[1]:
                raise ValueError(f"{name} must be within {list(widest)}, not {start:g}")
            if name not in self.frozen:
                _check_inside(name, start, low, high, f"widen {name}_range, or freeze it")
        if self.form == "hard" and len(set(self.frozen)) < 2:
            raise ValueError("form = 'hard' has no gradient: use rings or blend, or frozen = ['lobes', 'confinement']")
        return self


class ZernikeSection(_MaskSection):
    """Phase as a sum of Zernike polynomials, in Noll's order, radians (root mean square).

    PhaseCam3D learns 55 coefficients that start at zero and are cut off at half a wavelength of height: with its index
    of 1.5 a phase of pi / 2, which is the limit here, for polynomials that may be scaled otherwise than Noll's. Piston
    and tilts, which tell nothing of depth, are left alone (`first` = 4).
    """

    kind: Literal["zernike"]
    coefficients: Literal["zero", "fisher"] | Annotated[tuple[float, ...], Field(min_length=1, max_length=400)] = "zero"
    """Where they start, from polynomial 1 on; those before `first` stay. "fisher" is the shipped mask's."""
    first: int = Field(default=4, ge=1, le=400)
    last: int = Field(default=55, ge=1, le=400)
    limit: float = Field(default=math.pi / 2, gt=0, le=1e3)
    """Largest coefficient that is learned, either way."""
    wrapped: bool = False
    """Made modulo one wave, as a lithographic mask; else as one smooth surface. Zeros then start at half a wave."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.first > self.last:
            raise ValueError(f"first ({self.first}) must not be above last ({self.last})")
        if not isinstance(self.coefficients, str):
            if len(self.coefficients) > self.last:
                raise ValueError(f"coefficients are more than last ({self.last})")
            for j, value in enumerate(self.coefficients[self.first - 1 :], start=self.first):
                _check_inside(f"coefficient {j}", value, -self.limit, self.limit, "raise limit")
        return self


class _SurfaceSection(_MaskSection):
    """Heights that are learned one by one."""

    highest: Length | None = None
    """Heights are kept from 0 to this, metres; by default one turn of phase at the design wavelength."""
    bound: Bound = "sigmoid"
    """"wrap" takes them modulo `highest` instead, so that none is held back at an end."""
    start: float = Field(default=0.5, gt=0, lt=1)
    """Share of `highest` of a flat start, as Ikoma et al. 2021's is: only differences of heights matter."""
    spread: float = Field(default=0.0, ge=0, le=0.2)
    """Standard deviation of random heights about it, as a share of `highest`."""
    smoothness: Weight = 0.0
    """Weight of the mean squared step of the phase between neighbours, radians at the design wavelength."""

    @property
    def top(self) -> float:
        """Largest height, metres."""
        return self.highest if self.highest is not None else self.wave_height


class HeightSection(_SurfaceSection):
    """A free height map of flat square cells, which are the smallest features."""

    kind: Literal["height"]
    spread: float = Field(default=0.02, ge=0, le=0.2)
    cells: int = Field(default=32, ge=2, le=1024)
    """Across the pupil: as wide each as the aperture's diameter over this number. PhaseCam3D's map has 23."""


class RadialSection(_SurfaceSection):
    """A radially symmetric height profile (Ikoma et al. 2021 learn 400 flat rings, Haim et al. 2018 a few)."""

    kind: Literal["radial"]
    rings: int = Field(default=32, ge=2, le=4096)
    form: Literal["linear", "flat"] = "linear"
    """"flat" rings, or heights at as many radii with straight lines between."""


class AmplitudeSection(_MaskSection):
    """A coded aperture: how much light each cell lets through."""

    kind: Literal["amplitude"]
    cells: int = Field(default=13, ge=1, le=1024)
    """Across the pupil; those of the pattern, where there is one."""
    square: bool = False
    pattern: str | None = None
    """Start from a shipped pattern, softened to 5 and 95 %; else from `start` with `spread`."""
    start: float = Field(default=0.5, gt=0.01, lt=0.99)
    spread: float = Field(default=0.1, ge=0, le=0.2)
    """Standard deviation of random transmissions about `start`; ours, as is the start."""
    binary: Weight = 0.0
    """Weight of the mean of 4 t (1 - t), which is 0 where all cells are open or closed."""

    @model_validator(mode="after")
    def _known_pattern(self) -> Self:
        if self.pattern is not None and self.pattern not in PATTERNS:
            raise ValueError(f"pattern must be one of {', '.join(PATTERNS)}, not {self.pattern!r}")
        return self


class FileSection(Section):
    """A mask from a file that `save_mask` wrote: kept, or learned on from there."""

    kind: Literal["file"]
    path: str
    any_camera: bool = False
    """Whether it may stand in another pupil than the one that the file names."""
    learn: bool = False
    smoothness: Weight = 0.0
    """Of heights that are learned on."""


MaskSection = Annotated[
    SpiralSection | ZernikeSection | HeightSection | RadialSection | AmplitudeSection | FileSection,
    Field(discriminator="kind"),
]


def _check_inside(name: str, value: float, low: float, high: float, how: str) -> None:
    """Check that a start leaves room on both sides: at the very end of a range nothing is learned."""
    margin = 1e-4 * (high - low)
    if not low + margin <= value <= high - margin:
        raise ValueError(f"{name} starts at {value:g}, which must be inside the range from {low:g} to {high:g}: {how}")
