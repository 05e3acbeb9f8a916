"""What a network learns to tell in the place of metres: depth itself, its inverse, or the blur that it causes.

Papers differ: D3-Net and 2HDED learn depth, RPSF and PhaseCam3D the defocus phase phi in [-10, 10]. Whatever it is,
what a network says is turned back into metres before anything is measured.
"""

import math
from typing import Annotated, Literal, Self

import torch
from pydantic import BeforeValidator, Field, model_validator

from .. import InputError
from ..synth.camera import ThinLens
from ..synth.units import parse_length
from .settings import Section

Wavelength = Annotated[float, BeforeValidator(parse_length), Field(ge=1e-7, le=1e-4)]


Span = tuple[float, float]


class _Spanned(Section):
    span: Span = (0.0, 1.0)
    """What the network calls 0 and 1, in the target's own unit; networks that end in a sigmoid can say nothing else."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.span[0] == self.span[1]:
            raise ValueError("span needs two different numbers")
        return self


class DepthTarget(_Spanned):
    """Depth, in metres."""

    kind: Literal["depth"] = "depth"


class InverseTarget(_Spanned):
    """One over depth, in dioptres."""

    kind: Literal["inverse-depth"]


class LogTarget(_Spanned):
    """Natural logarithm of depth in metres."""

    kind: Literal["log-depth"]


class CocTarget(_Spanned):
    """Signed circle of confusion of the camera, in pixels."""

    kind: Literal["coc"]


class DefocusTarget(_Spanned):
    """Defocus phase at the pupil's edge, in radians: RPSF and PhaseCam3D, whose span is [-10, 10]."""

    kind: Literal["defocus"]
    wavelength: Wavelength = 550e-9


TargetSection = Annotated[
    DepthTarget | InverseTarget | LogTarget | CocTarget | DefocusTarget, Field(discriminator="kind")
]
_UNITS = {"depth": "m", "inverse-depth": "1/m", "log-depth": "ln m", "coc": "px", "defocus": "rad"}


class Target:
    """Turns metres into what a network learns, and back.

    Parameters
    ----------
    section
        What it learns.
    lens
        The camera of the data, which blur is counted by; None where samples have cameras of their own.
    depth
        Nearest and farthest depth of the scenes, metres. What a network says of blur or inverse depth is never taken
        for more than twice as far: beyond infinity there is no depth.

    Raises
    ------
    InputError
        If blur is to be learned, and the samples have cameras of their own.
    """

    def __init__(self, section: TargetSection, lens: ThinLens | None, depth: tuple[float, float]) -> None:
        self.section, self.depth = section, depth
        self.least = 0.5 / depth[1] if math.isfinite(depth[1]) else 1e-6
        self.factor, self.shift = 1.0, 0.0
        if isinstance(section, CocTarget | DefocusTarget):
            if lens is None:
                raise InputError(
                    f"target.kind = {section.kind!r} counts blur by the camera, and these samples have cameras of "
                    "their own: learn depth, inverse-depth or log-depth."
                )
            per_coc = lens.defocus_per_coc(section.wavelength) if isinstance(section, DefocusTarget) else 1.0
            self.factor = lens.coc_per_dioptre * per_coc
            self.shift = -self.factor / lens.focus_distance

    @property
    def words(self) -> str:
        """What the network's numbers are, for logs and pictures."""
        unit = _UNITS[self.section.kind]
        if self.section.span == (0.0, 1.0):
            return f"{self.section.kind} in {unit}"
        low, high = self.section.span
        return f"{self.section.kind}, {low:g} to {high:g} {unit} as 0 to 1"

    def check(self, bounds: tuple[float, float] | None) -> None:
        """Refuse a network that cannot say what it shall learn.

        Parameters
        ----------
        bounds
            Least and greatest number that it can say; None if any.

        Raises
        ------
        InputError
            If the depths of the scenes lie outside: naming a span that holds them.
        """
        if bounds is None:
            return
        ends = self._quantity(torch.tensor(self.depth, dtype=torch.float64))
        said = self.encode(torch.tensor(self.depth, dtype=torch.float64))
        if not (said.min() >= bounds[0] - 1e-6 and said.max() <= bounds[1] + 1e-6):
            raise InputError(
                f"the model says numbers from {bounds[0]:g} to {bounds[1]:g}, and scenes of {self.depth[0]:g} to "
                f"{self.depth[1]:g} m would need {said.min():.3g} to {said.max():.3g}: set target.span to at least "
                f"[{_outward(ends.min().item(), -1)}, {_outward(ends.max().item(), 1)}]."
            )

    def _quantity(self, depth: torch.Tensor) -> torch.Tensor:
        if isinstance(self.section, DepthTarget):
            return depth
        if isinstance(self.section, LogTarget):
            return torch.log(depth)
        return self.factor / depth + self.shift

    def encode(self, depth: torch.Tensor) -> torch.Tensor:
        """Return what the network shall say of depths in metres, of any shape; depths must be positive."""
        low, high = self.section.span
        return (self._quantity(depth) - low) / (high - low)

    def sharp_at(self, focus: torch.Tensor) -> torch.Tensor:
        """Return what the network would say of points at focus distances in metres, of any shape.

        Lenses may be focused at infinity, where depth and its logarithm have no number: as `decode` of blur does, these
        then take twice the farthest depth.
        """
        bounded = isinstance(self.section, DepthTarget | LogTarget)
        return self.encode(focus.clamp_max(1.0 / self.least) if bounded else focus)

    def decode(self, said: torch.Tensor) -> torch.Tensor:
        """Return metres, of any shape, in float32: the inverse of `encode`."""
        low, high = self.section.span
        quantity = said.float() * (high - low) + low
        if isinstance(self.section, DepthTarget):
            return quantity
        if isinstance(self.section, LogTarget):
            return torch.exp(quantity)
        return 1.0 / ((quantity - self.shift) / self.factor).clamp_min(self.least)


def _outward(number: float, side: int) -> str:
    """Write a number in four digits, rounded down (side -1) or up (1)."""
    if not number or not math.isfinite(number):
        return f"{number:g}"
    step = 10.0 ** (math.floor(math.log10(abs(number))) - 3)
    return f"{(math.ceil if side > 0 else math.floor)(number / step) * step:.4g}"
