"""The `psf` section of a recipe: which point spread functions a dataset is blurred with; `psf_kinds` lists them."""

import math
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from .camera import ThinLens
from .psf_shapes import POWER_TAIL
from .units import parse_length

if TYPE_CHECKING:
    from .psf import PsfBank

Length = Annotated[float, BeforeValidator(parse_length), Field(gt=0)]
Height = Annotated[float, BeforeValidator(parse_length)]
Wavelength = Annotated[float, BeforeValidator(parse_length), Field(ge=1e-7, le=1e-4)]


class Section(BaseModel):
    """Strict, frozen, and without keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class PsfKind(Section):
    """What all kinds of PSFs have in common."""

    is_round: ClassVar[bool] = False
    """Whether kernels are their own mirror images whatever their parameters: training may then flip captures."""

    @property
    def reach(self) -> float:
        """Half-size of a kernel per pixel of CoC diameter, where the kernel grows with the CoC; an upper bound."""
        return 0.5

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens; those of `MaskPsf` need more, and `banks.make_bank` makes them.

        What computes kernels is imported here and not above: whoever reads a recipe need not have it.

        Raises
        ------
        InputError
            If a file that the section names cannot be used.
        """
        raise TypeError(f"{type(self).__name__} does not say how its kernels are made.")


class DiskPsf(PsfKind):
    """Uniform disks as wide as the CoC."""

    kind: Literal["disk"] = "disk"
    is_round: ClassVar[bool] = True

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .psf import PsfBank

        return PsfBank.disk(lens)


class GaussianPsf(PsfKind):
    """Gaussians; 2HDED has sigma_per_coc = 0.25, D3-Net's code 0.3."""

    kind: Literal["gaussian"]
    is_round: ClassVar[bool] = True
    sigma_per_coc: float = Field(default=0.25, gt=0, lt=10)

    @property
    def reach(self) -> float:
        """Half-size of a kernel per pixel of CoC diameter."""
        return 3.5 * self.sigma_per_coc

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .psf import PsfBank

        return PsfBank.gaussian(lens, sigma_per_coc=self.sigma_per_coc)


class PowerExponentialPsf(PsfKind):
    """From a Gaussian (2) to a disk (large) by one exponent."""

    kind: Literal["power-exponential"]
    is_round: ClassVar[bool] = True
    exponent: float = Field(default=2.0, ge=1, le=64)

    @property
    def reach(self) -> float:
        """What `psf_shapes.power_exponential_reach` is to nine digits, without SciPy: whoever trains may not have it.

        Q(a, u), the share of light beyond u, is 1 less the series ``u^a e^-u / gamma(a + 1) (1 + u / (a + 1) + ...)``;
        bisection finds where it is `POWER_TAIL`.
        """
        a, low, high = 2.0 / self.exponent, 0.0, 64.0
        for _ in range(60):
            u = (low + high) / 2
            term, total, n = 1.0, 0.0, 0
            while term > 1e-16 * total:
                total, n = total + term, n + 1
                term *= u / (a + n)
            beyond = 1 - math.exp(a * math.log(u) - u - math.lgamma(a + 1)) * total
            low, high = (u, high) if beyond > POWER_TAIL else (low, u)
        return float(0.5 * (low / 2.0) ** (1.0 / self.exponent))

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .psf import PsfBank

        return PsfBank.power_exponential(lens, exponent=self.exponent)


class AperturePsf(PsfKind):
    """Geometric shadow of an aperture: an iris of blades, a pattern by name, or a picture; round with none of them."""

    kind: Literal["aperture"]
    blades: int | None = Field(default=None, ge=3, le=64)
    roundness: float = Field(default=0.0, ge=0, le=1)
    rotation: float = 0.0
    """Radians, counter-clockwise in the picture."""
    obstruction: float = Field(default=0.0, ge=0, lt=1)
    pattern: str | None = None
    picture: str | None = None
    """Path of a picture, white where light passes; in a recipe file relative to the file."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("blades", "pattern", "picture") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of {', '.join(given)}, not several")
        if self.blades is None and (self.roundness or self.rotation):
            raise ValueError("roundness and rotation are an iris's: give its number of blades")
        if given and self.obstruction:
            raise ValueError(f"an obstruction is that of a round aperture, not of {given[0]}")
        return self

    def transmission(self) -> npt.NDArray[np.float64]:
        """Return what passes the square around the pupil, (n, n), 0 to 1, [y, x] as the camera sees it.

        Raises
        ------
        InputError
            If there is no such pattern, or the picture cannot be used.
        """
        from .apertures import coded_aperture, picture_aperture, polygon_aperture, round_aperture

        if self.blades is not None:
            return polygon_aperture(self.blades, roundness=self.roundness, rotation=self.rotation)
        if self.pattern is not None:
            return coded_aperture(self.pattern)
        return (
            picture_aperture(self.picture) if self.picture is not None else round_aperture(obstruction=self.obstruction)
        )

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .psf import PsfBank

        return PsfBank.aperture(lens, self.transmission())


class CatEyePsf(PsfKind):
    """Shadow of an iris, or of a round aperture, that the lens's barrel clips away from the axis."""

    kind: Literal["cat-eye"]
    clipping: float = Field(default=0.5, gt=0, le=0.9)
    """Share of a round pupil that is hidden in the picture's corners."""
    rim: float = Field(default=1.0, ge=1, le=100)
    """Radius of the window that clips, over that of the pupil."""
    side: Literal["front", "rear"] = "front"
    blades: int | None = Field(default=None, ge=3, le=64)
    roundness: float = Field(default=0.0, ge=0, le=1)
    rotation: float = 0.0
    """Radians, counter-clockwise in the picture."""
    nodes: int = Field(default=9, ge=3, le=33)
    """Rows and columns of field positions that have kernels of their own; odd."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.blades is None and (self.roundness or self.rotation):
            raise ValueError("roundness and rotation are an iris's: give its number of blades")
        if self.nodes % 2 == 0:
            raise ValueError(f"nodes must be odd, so that one is on the axis, not {self.nodes}")
        return self

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .apertures import polygon_aperture
        from .psf import PsfBank

        iris = self.blades and polygon_aperture(self.blades, roundness=self.roundness, rotation=self.rotation)
        return PsfBank.cat_eye(lens, iris, clipping=self.clipping, rim=self.rim, side=self.side, nodes=self.nodes)


class _MaskSection(Section):
    wavelength: Wavelength = 550e-9
    """Design wavelength: where heights were computed, and where defocus is counted."""
    glass: str = "NOA61"
    obstruction: float = Field(default=0.0, ge=0, le=0.99)


class ClearMaskSection(_MaskSection):
    """A clear pupil: diffraction alone."""

    kind: Literal["clear"]


class SpiralMaskSection(_MaskSection):
    """Spiral phase zones: a PSF that rotates with defocus."""

    kind: Literal["spiral"]
    zones: int = Field(default=7, ge=1, le=64)
    lobes: float = Field(default=1.0, ge=0.01, le=32)
    confinement: float = Field(default=0.5, ge=0.01, le=1)
    form: Literal["hard", "rings", "blend"] = "hard"
    gain: float = Field(default=100.0, gt=0)


class ZernikeMaskSection(_MaskSection):
    """Zernike polynomials 1, 2, 3, ... in Noll's order, radians."""

    kind: Literal["zernike"]
    coefficients: tuple[float, ...] = Field(min_length=1, max_length=400)
    wrapped: bool = False


class FisherMaskSection(_MaskSection):
    """The shipped mask of least localisation error over a defocus of -10 to 10 rad."""

    kind: Literal["fisher"]
    wrapped: bool = False


class CubicMaskSection(_MaskSection):
    """Cubic phase, radians at the end of an axis."""

    kind: Literal["cubic"]
    strength: float = 20.0


class HeightMapSection(_MaskSection):
    """A free-form mask from a square .npy file of heights in metres."""

    kind: Literal["height-map"]
    path: str


class RadialMaskSection(_MaskSection):
    """A radially symmetric mask: heights from the centre to the edge, here or in a .npy file, metres."""

    kind: Literal["radial"]
    heights: tuple[Height, ...] | None = Field(default=None, min_length=1, max_length=4096)
    path: str | None = None
    form: Literal["linear", "flat"] = "linear"

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.heights is None) == (self.path is None):
            raise ValueError("a radial mask needs either heights or the path of a file of them")
        return self


class AmplitudeMaskSection(_MaskSection):
    """A coded aperture with its diffraction: a pattern by name or a picture."""

    kind: Literal["amplitude"]
    pattern: str | None = None
    picture: str | None = None
    square: bool = False

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.pattern is None) == (self.picture is None):
            raise ValueError("an amplitude mask needs either a pattern or a picture")
        return self


class MaskFileSection(Section):
    """A mask from a file that `save_mask` or a training wrote.

    A dataset knows the mask by its content, and holds it with its PSFs; where the file lay is not kept.
    """

    kind: Literal["file"]
    path: str | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the mask's content, see `banks.mask_digest`; taken from the file where it is left out."""
    wavelength: Wavelength | None = None
    """Design wavelength that the file states; needed, and compared, where `camera.defocus` counts by it."""
    any_camera: bool = False
    """Whether the mask may stand in another pupil than the one that the file names; no part of what a dataset is."""


MaskSection = Annotated[
    ClearMaskSection
    | SpiralMaskSection
    | ZernikeMaskSection
    | FisherMaskSection
    | CubicMaskSection
    | HeightMapSection
    | RadialMaskSection
    | AmplitudeMaskSection
    | MaskFileSection,
    Field(discriminator="kind"),
]


class MaskPsf(PsfKind):
    """Wave optics of a mask in the pupil."""

    kind: Literal["mask"]
    mask: MaskSection
    wavelengths: tuple[Wavelength, ...] = (640e-9, 550e-9, 460e-9)
    """Of R, G and B; or one for all."""
    planes: int = Field(default=21, ge=1, le=1024)
    """Planes of the bank over `scenes.depth`, uniform in defocus, the focus plane among them."""
    size: int | None = Field(default=None, ge=1, le=1025)
    """Height and width of the kernels, pixels; by default what holds `energy`."""
    energy: float = Field(default=0.9, gt=0, lt=1)
    samples: int = Field(default=256, ge=16, le=4096)
    """Cells across the pupil."""

    @model_validator(mode="after")
    def _three(self) -> Self:
        if len(self.wavelengths) not in (1, 3):
            raise ValueError(f"wavelengths must be three, of R, G and B, or one for all; not {len(self.wavelengths)}")
        return self


class MeasuredPsf(PsfKind):
    """PSFs measured at several depths, from a .npz file; see `psf_measured.measured_bank`."""

    kind: Literal["measured"]
    path: str
    size: int | None = Field(default=None, ge=1, le=1025)

    def bank(self, lens: ThinLens) -> "PsfBank":
        """Make the kernels for a lens."""
        from .psf import PsfBank

        return PsfBank.measured(self.path, lens, size=self.size)
