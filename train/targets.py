"""What a network learns to tell in the place of metres: depth itself, its inverse, or the blur that it causes.

Papers differ: D3-Net and 2HDED learn depth, RPSF and PhaseCam3D the defocus phase phi in [-10, 10]. Whatever it is, what a
network says is turned back into metres before anything is measured.
"""

import math
from typing import Annotated, Literal

import torch
from pydantic import BeforeValidator, Field

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.units import parse_length
from .settings import Length, Section

Wavelength = Annotated[float, BeforeValidator(parse_length), Field(ge=1e-7, le=1e-4)]


class DepthTarget(Section):
    """Depth over a unit."""

    kind: Literal["depth"] = "depth"
    unit: Length = 1.0
    """Metres that the network calls 1."""


class InverseTarget(Section):
    """A unit over depth: dioptres for 1 m."""

    kind: Literal["inverse-depth"]
    unit: Length = 1.0
    """Metres."""


class LogTarget(Section):
    """Natural logarithm of depth over a unit."""

    kind: Literal["log-depth"]
    unit: Length = 1.0
    """Metres."""


class CocTarget(Section):
    """Signed circle of confusion of the camera, over a unit."""

    kind: Literal["coc"]
    unit: float = Field(default=1.0, gt=0)
    """Pixels that the network calls 1."""


class DefocusTarget(Section):
    """Defocus phase at the pupil's edge, over a unit: RPSF and PhaseCam3D."""

    kind: Literal["defocus"]
    unit: float = Field(default=1.0, gt=0)
    """Radians that the network calls 1."""
    wavelength: Wavelength = 550e-9


TargetSection = Annotated[
    DepthTarget | InverseTarget | LogTarget | CocTarget | DefocusTarget, Field(discriminator="kind")
]


class Target:
    """Turns metres into what a network learns, and back.

    Parameters
    ----------
    section
        What it learns.
    lens
        The camera of the data, which blur is counted by; None where samples have cameras of their own.
    farthest
        Metres; what a network says of blur or inverse depth is never taken for more than twice as far: beyond infinity
        there is no depth.

    Raises
    ------
    InputError
        If blur is to be learned, and the samples have cameras of their own.
    """

    def __init__(self, section: TargetSection, lens: ThinLens | None, farthest: float) -> None:
        self.section = section
        self.least = 0.5 / farthest if math.isfinite(farthest) else 1e-6
        self.scale, self.offset = 1.0, 0.0
        if isinstance(section, InverseTarget):
            self.scale = section.unit
        elif isinstance(section, CocTarget | DefocusTarget):
            if lens is None:
                raise InputError(
                    f"target.kind = {section.kind!r} counts blur by the camera, and these samples have cameras of their "
                    "own: learn depth, inverse-depth or log-depth."
                )
            per_coc = lens.defocus_per_coc(section.wavelength) if isinstance(section, DefocusTarget) else 1.0
            self.scale = lens.coc_per_dioptre * per_coc / section.unit
            self.offset = -self.scale / lens.focus_distance

    @property
    def words(self) -> str:
        """What the network's numbers are, for logs and pictures."""
        section = self.section
        unit = {"coc": "px", "defocus": "rad"}.get(section.kind, "m")
        return f"{section.kind} in units of {section.unit:g} {unit}"

    def encode(self, depth: torch.Tensor) -> torch.Tensor:
        """Return what the network shall say of depths in metres, of any shape; depths must be positive."""
        if isinstance(self.section, DepthTarget):
            return depth / self.section.unit
        if isinstance(self.section, LogTarget):
            return torch.log(depth / self.section.unit)
        return self.scale / depth + self.offset

    def decode(self, said: torch.Tensor) -> torch.Tensor:
        """Return metres, of any shape, in float32: the inverse of `encode`."""
        said = said.float()
        if isinstance(self.section, DepthTarget):
            return said * self.section.unit
        if isinstance(self.section, LogTarget):
            return torch.exp(said) * self.section.unit
        return 1.0 / ((said - self.offset) / self.scale).clamp_min(self.least)
