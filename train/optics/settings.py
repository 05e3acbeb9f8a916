"""The section `optics` of a config: the mask that is learned, and how captures are made through it while training."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...synth.units import parse_length
from ..settings import Section
from .masks import MaskSection
from .sensor import SensorSettings

Wavelength = Annotated[float, BeforeValidator(parse_length), Field(ge=1e-7, le=1e-4)]


class OpticsSettings(Section):
    """Captures are rendered on the device from the sharp pictures and depths of stores, through this mask."""

    mask: MaskSection
    renderer: Literal["layered", "eq7", "normalised-over"] = "layered"
    """"layered" is `synth`'s, with what lies behind occluders; "eq7" the RPSF paper's, which has none of it;
    "normalised-over" that of Ikoma et al. 2021."""
    planes: int = Field(default=21, ge=2, le=256)
    """Planes of PSFs between the nearest and the farthest depth, uniform in defocus."""
    size: int = Field(default=35, ge=3, le=255)
    """Height and width of the kernels, pixels."""
    samples: int = Field(default=128, ge=16, le=2048)
    """Cells across the pupil."""
    wavelengths: tuple[Wavelength, ...] = (640e-9, 550e-9, 460e-9)
    """Of R, G and B; or one for all."""
    learn: bool = True
    """Whether the mask is learned, or stays what `mask` says."""
    rate: float = Field(default=1e-3, gt=0, le=10)
    """Learning rate of the mask's parameters, in the place of `optimiser.rate`; the schedule's factor applies to both.
    No weight decay reaches them."""
    hold: int = Field(default=0, ge=0)
    """Steps before the mask begins to change, while the network learns what its first PSFs tell."""
    warm_up: int = Field(default=0, ge=0)
    """Steps, after these, over which its rate grows in a straight line."""
    clip: float | None = Field(default=None, gt=0)
    """Largest norm of the mask's gradients; that of the network's is `optimiser.clip`."""
    sensor: SensorSettings | None = None
    """The sensor; left out, the network sees the light itself, neither noisy nor rounded."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.wavelengths) not in (1, 3):
            raise ValueError(f"wavelengths must be three, of R, G and B, or one for all; not {len(self.wavelengths)}")
        return self

    def factor(self, step: int) -> float:
        """Return the factor of the mask's learning rate at a step, counted from 0, before the schedule's."""
        if step < self.hold:
            return 0.0
        return min(1.0, (step - self.hold + 1) / (self.warm_up + 1))
