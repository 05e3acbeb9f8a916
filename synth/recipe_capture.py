"""The `sensor` and `stack` sections of a recipe: what a camera makes of its pictures, and how it sweeps the focus."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from .recipe_psf import Length, Section
from .sensor_presets import PRESETS
from .units import parse_length

if TYPE_CHECKING:
    from .breathing import Breathing
    from .sensor import Sensor

if TYPE_CHECKING:
    Preset = str
else:
    Preset = Literal[tuple(PRESETS)]
Cfa = Literal["RGGB", "BGGR", "GRBG", "GBRG", "none"]
Phone = Literal["pixel4xl", "pixel6", "s8plus", "note10"]
Spacing = Literal["distance", "inverse", "extension", "power-inverse", "quantiles", "random"]
MOST_SLICES = 200
_DEVIATIONS = ("fov_slope", "fov_intercept", "shift_mean", "shift_spread", "shift_width")

FocusDistance = Annotated[Length, Field(le=1e7)]
"""Metres; what is farther is as good as infinity."""
NotNegative = Annotated[float, Field(ge=0)]


class SensorSection(Section):
    """A sensor: a preset, and what differs from it; see `sensor.Sensor` for what each key means."""

    preset: Preset = "ideal"
    bits: int | None = None
    full_well: float | None = None
    exposure: float | None = None
    gain: float | None = None
    black_level: float | None = None
    white_level: int | None = None
    shot_noise: Literal["poisson", "normal", "none"] | None = None
    read_noise: float | None = None
    adc_noise: float | None = None
    dark_current: float | None = None
    exposure_time: float | None = None
    prnu: float | None = None
    dsnu: float | None = None
    cfa: Cfa | None = None
    response: tuple[float, float, float] | None = None
    demosaic: Literal["malvar", "bilinear", "edge-aware"] | None = None
    white_balance: tuple[float, float, float] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self.sensor()
        return self

    def sensor(self) -> "Sensor":
        """Return the sensor.

        Raises
        ------
        InputError
            If its parameters are not possible together.
        """
        from dataclasses import replace

        from .sensor import Sensor

        changes: dict[str, Any] = self.model_dump(exclude={"preset"}, exclude_none=True)
        return replace(Sensor.preset(self.preset), **changes)


class StackSection(Section):
    """A focal stack: where each slice is focused, and how the picture moves between slices.

    Focus distances are a list, or so many slices between `near` and `far`. With `f_numbers` every focus distance is
    taken at each of them: the slices are the grid, one f-number after the other.
    """

    focus: tuple[FocusDistance, ...] | None = Field(default=None, min_length=1, max_length=MOST_SLICES)
    slices: int | None = Field(default=None, ge=1, le=MOST_SLICES)
    near: FocusDistance | None = None
    far: FocusDistance | None = None
    far_over_near: float | None = Field(default=None, gt=1, le=1e6)
    """In place of `far`: as many times `near`."""
    spacing: Spacing = "inverse"
    """Uniform in what; "quantiles" lies between quantiles of the scene's depth, uniform in 1/distance; "random" draws
    each distance, uniform in 1/distance."""
    power: float = Field(default=1.0, ge=0, le=10)
    """For "power-inverse": uniform in 1/distance^power; 0 is uniform in the logarithm."""
    quantiles: tuple[float, float] = (0.05, 0.95)
    order: Literal["near-first", "far-first"] = "near-first"
    f_numbers: tuple[Annotated[float, Field(gt=0, le=1e6)], ...] | None = Field(
        default=None, min_length=1, max_length=64
    )
    reference: Literal["farthest", "nearest", "first", "last"] = "farthest"
    """The slice whose frame the ground truth is in."""
    breathing: bool = False
    """Whether the field of view changes with focus, as it does in a camera; or slices are aligned."""
    fov_slope: Annotated[float, BeforeValidator(parse_length)] | None = None
    """Metres: measured deviation of the field of view from the thin lens; by default that of `camera.phone`, if any."""
    fov_intercept: float | None = None
    shift_mean: tuple[float, float] | None = None
    """Mean shift of the principal point, x and y, pixels of an image `shift_width` wide."""
    shift_spread: tuple[NotNegative, NotNegative] | None = None
    shift_width: int | None = Field(default=None, ge=1)
    hand_rotation: float = Field(default=0.0, ge=0, le=0.03)
    """Radians, rms, of the camera between the first and the last slice."""
    hand_translation: Annotated[float, BeforeValidator(parse_length), Field(ge=0, le=1)] = 0.0
    """Metres, rms."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        spaced = [key for key in ("slices", "near", "far", "far_over_near") if getattr(self, key) is not None]
        if self.focus is not None and spaced:
            raise ValueError(f"gives focus distances and {', '.join(spaced)}: leave one of them out")
        if self.focus is None:
            self._check_range()
        given = [key for key in _DEVIATIONS if getattr(self, key) is not None]
        if given and not self.breathing:
            raise ValueError(f"{', '.join(given)} belong to breathing = true")
        if self.count > MOST_SLICES:
            raise ValueError(f"makes {self.count} slices of all distances and f-numbers; {MOST_SLICES} are possible")
        if not 0 <= self.quantiles[0] < self.quantiles[1] <= 1:
            raise ValueError("quantiles must be two ordered shares, for example [0.05, 0.95]")
        return self

    def _check_range(self) -> None:
        if self.slices is None:
            raise ValueError("needs focus = [...], or slices with near and far")
        if self.spacing == "quantiles":
            return
        if self.near is None or (self.far is None) == (self.far_over_near is None):
            raise ValueError("needs near, and either far or far_over_near")
        if self.far is not None and not self.near < self.far:
            raise ValueError(f"near ({self.near:g} m) must be below far ({self.far:g} m)")

    @property
    def range(self) -> tuple[float, float] | None:
        """Nearest and farthest focus distance, metres, if the scene does not decide."""
        if self.focus is not None:
            return min(self.focus), max(self.focus)
        if self.spacing == "quantiles" or self.near is None:
            return None
        return self.near, self.far if self.far is not None else self.near * (self.far_over_near or 1)

    @property
    def count(self) -> int:
        """Number of slices, all apertures together."""
        return (len(self.focus) if self.focus else self.slices or 0) * len(self.f_numbers or (1,))

    def deviations(self, phone: Phone | None) -> "Breathing | None":
        """Return how the field of view changes with focus, that of a phone if one is given; None for aligned slices."""
        from dataclasses import replace

        from .breathing import PHONES, Breathing

        if not self.breathing:
            return None
        base = PHONES[phone].breathing if phone else Breathing()
        changes = {key: getattr(self, key) for key in _DEVIATIONS if getattr(self, key) is not None}
        return replace(base, **changes)
