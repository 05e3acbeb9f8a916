"""A sensor between the renderer and the network: exposure, noise, converter, mosaic and demosaicing, with gradients.

The model is that of `synth.sensor` (EMVA 1288, release 4.0, linear), and so are the names: charge in electrons (e-),
output in digital numbers (DN). Noise is drawn by reparametrisation: a standard normal variate, which has no gradient,
times a deviation that has one. Rounding passes the gradient on as if it were not there (straight through, Bengio et
al. 2013). Clipping keeps its true gradient, 1 within the range and 0 outside: averaged over the noise that is already
the gradient of the mean, and a pixel that is always clipped tells nothing of the mask.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from pydantic import Field, model_validator
from torch import Tensor

from ... import InputError
from ...synth.sensor_presets import PRESETS, Levels
from ..seeds import key
from ..settings import Section

Cfa = Literal["RGGB", "BGGR", "GRBG", "GBRG", "none"]
Positive = Field(default=None, gt=0, le=1e9)
NotNegative = Field(default=None, ge=0, le=1e9)
FAINT = 1e-2
"""Electrons below which the deviation of shot noise falls linearly: the gradient of a square root has no end at 0."""
_MARGIN = 2
"""Pixels of its mirror image around a mosaic; an even number keeps the pattern."""
_GREEN = ((0, 0.25, 0), (0.25, 1, 0.25), (0, 0.25, 0))
_OTHER = ((0.25, 0.5, 0.25), (0.5, 1, 0.5), (0.25, 0.5, 0.25))


class SensorSettings(Section):
    """The section `optics.sensor`: as the section `sensor` of a recipe, without Poisson noise and fixed patterns.

    A Poisson variate has no gradient; the RPSF paper itself takes a normal one in its place (section 4.2). Fixed
    patterns belong to places on the sensor, which crops at random do not keep.
    """

    preset: Literal["ideal", "rpsf"] = "ideal"
    bits: int | None = Field(default=None, ge=8, le=16)
    full_well: float | None = Positive
    exposure: float | None = Field(default=None, gt=0, le=64)
    gain: float | None = Positive
    black_level: float | None = NotNegative
    white_level: int | None = Field(default=None, ge=1)
    shot_noise: Literal["normal", "none"] | None = None
    read_noise: float | None = NotNegative
    adc_noise: float | None = NotNegative
    dark_current: float | None = NotNegative
    exposure_time: float | None = NotNegative
    cfa: Cfa | None = None
    response: tuple[float, float, float] | None = None
    demosaic: Literal["malvar", "bilinear"] | None = None
    white_balance: tuple[float, float, float] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        reading = self.reading()
        if not reading.black_level <= reading.white - 1 <= reading.largest - 1:
            raise ValueError(
                f"black_level ({reading.black_level:g}) must be below the white level ({reading.white}), and that at "
                f"most {reading.largest}"
            )
        if reading.dark >= reading.full_well:
            raise ValueError("dark_current fills the full well within exposure_time")
        if not all(0 < share <= 1 for share in reading.response) or not all(share > 0 for share in reading.balance):
            raise ValueError("response must be three numbers above 0 and at most 1, white_balance three above 0")
        return self

    def reading(self) -> "Reading":
        """Return the numbers of the sensor: those of the preset, and what is given."""
        changes: dict[str, Any] = self.model_dump(exclude={"preset"}, exclude_none=True)
        return Reading(**{**PRESETS[self.preset], **changes})


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading(Levels):
    """The numbers of a sensor; `synth.Sensor` says what each means."""

    bits: int = 12
    full_well: float = 15000.0
    exposure: float = 1.0
    gain: float = 1.0
    black_level: float = 0.0
    white_level: int | None = None
    shot_noise: str = "normal"
    read_noise: float = 0.0
    adc_noise: float = 0.0
    dark_current: float = 0.0
    exposure_time: float = 0.01
    cfa: Cfa = "RGGB"
    response: tuple[float, float, float] = (1.0, 1.0, 1.0)
    demosaic: str = "malvar"
    white_balance: tuple[float, float, float] | None = None

    @property
    def dark(self) -> float:
        """Mean electrons of the dark current."""
        return self.dark_current * self.exposure_time

    @property
    def spread(self) -> float:
        """DN rms of the noises that no light brings."""
        return math.hypot(self.read_noise * self.system_gain, self.adc_noise)

    @property
    def saturation(self) -> float:
        """Radiance from which on development cannot tell brightness or colour."""
        return min(self.balance) / self.exposure


class DifferentiableSensor:
    """Takes and develops images, (B, 3, H, W) linear light, with gradients.

    Parameters
    ----------
    settings
        The sensor.
    """

    def __init__(self, settings: SensorSettings) -> None:
        self.reading = settings.reading()

    @property
    def words(self) -> str:
        """Name the sensor in a few words."""
        one = self.reading
        noise = f"{one.shot_noise} shot noise" if one.shot_noise != "none" else "no shot noise"
        mosaic = "no mosaic" if one.cfa == "none" else f"{one.cfa} ({one.demosaic})"
        return f"{one.bits} bits, {mosaic}, {noise}, {one.read_noise:g} e- read noise"

    def __call__(self, image: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return what `develop` makes of what `expose` reads.

        Parameters
        ----------
        image
            (B, 3, H, W) linear light; below 0 counts as 0.
        seeds
            Of the noise, one a sample: a sample's noise depends neither on the batch nor on its size.

        Returns
        -------
        (B, 3, H, W) linear light, from 0 to the radiance that saturates.
        """
        return self.develop(self.expose(image, seeds))

    def expose(self, image: Tensor, seeds: Sequence[int]) -> Tensor:
        """Return DN as floating-point numbers, (B, 1, H, W) behind a mosaic, or (B, 3, H, W) without one.

        Raises
        ------
        InputError
            If the image is no such tensor, or too small for a mosaic.
        """
        one = self.reading
        if image.ndim != 4 or image.shape[1] != 3 or len(seeds) != len(image):
            raise InputError(f"a sensor takes (B, 3, H, W) light and B seeds, not {tuple(image.shape)}, {len(seeds)}.")
        if one.cfa != "none" and min(image.shape[-2:]) <= _MARGIN:
            raise InputError(f"a mosaic needs 3 by 3 pixels or more, not {image.shape[-2]} by {image.shape[-1]}.")
        electrons = image.new_tensor(one.response)[:, None, None] * (one.full_well * one.exposure / one.gain)
        mean = image.clamp_min(0) * electrons
        if one.cfa != "none":
            mean = (mean * sites(one.cfa, mean)).sum(1, keepdim=True)
        mean = mean + one.dark
        signal = mean
        if one.shot_noise == "normal":
            signal = (mean + deviation(mean) * _normal(mean, seeds, "shot")).clamp_min(0)
        signal = signal.clamp_max(one.full_well) * one.system_gain + one.black_level
        if one.spread:
            signal = signal + one.spread * _normal(mean, seeds, "read")
        # Clipped before it is rounded: the steps of rounding then have the slope of what is clipped.
        return straight_round(signal.clamp(0, one.largest))

    def develop(self, raw: Tensor) -> Tensor:
        """Return the linear light, (B, 3, H, W), that numbers of `expose` stand for."""
        one = self.reading
        scales = raw.new_tensor(one.balance)[:, None, None] / (one.span * one.exposure)
        numbers = raw - one.black_level
        if one.cfa == "none":
            light = numbers * scales
        elif one.demosaic == "bilinear":
            light = demosaic_bilinear(numbers, one.cfa) * scales
        else:
            balanced = numbers * (sites(one.cfa, raw) * scales).sum(0)
            light = demosaic_malvar(balanced.clamp_max(one.saturation), one.cfa)
        return light.clamp(0, one.saturation)


def straight_round(values: Tensor) -> Tensor:
    """Round to whole numbers (halves to even ones); the gradient passes as if nothing had happened."""
    return values + (values.detach().round() - values.detach())


def deviation(mean: Tensor) -> Tensor:
    """Return the square root of mean electrons; below `FAINT` a straight line, whose gradient ends."""
    return torch.where(mean > FAINT, mean.clamp_min(FAINT).sqrt(), mean / math.sqrt(FAINT))


def _normal(like: Tensor, seeds: Sequence[int], purpose: str) -> Tensor:
    """Draw standard normal variates, each sample's from a stream of its own for each purpose."""
    drawn = torch.empty_like(like, requires_grad=False)
    for sample, seed in zip(drawn, seeds, strict=True):
        sample.normal_(generator=torch.Generator(like.device).manual_seed(key(seed, purpose)))
    return drawn


def sites(cfa: str, like: Tensor) -> Tensor:
    """Return the mosaic of each colour, (3, H, W): 1 where its filters are, else 0."""
    height, width = like.shape[-2:]
    masks = like.new_zeros(3, height, width)
    for at, colour in enumerate(cfa):
        y, x = divmod(at, 2)
        masks["RGB".index(colour), y::2, x::2] = 1
    return masks


def demosaic_bilinear(mosaic: Tensor, cfa: str) -> Tensor:
    """Interpolate colours as the mean of their two or four nearest neighbours.

    Parameters
    ----------
    mosaic
        (B, 1, H, W); beyond its border it is its mirror image about the last pixel, which continues the pattern.
    cfa
        Its colours; not "none".

    Returns
    -------
    (B, 3, H, W).
    """
    wide = F.pad(mosaic, (_MARGIN,) * 4, mode="reflect")
    filters = wide.new_tensor([_OTHER, _GREEN, _OTHER])[:, None]
    spread = F.conv2d(wide * sites(cfa, wide), filters, groups=3)
    return spread[..., 1:-1, 1:-1]


def demosaic_malvar(mosaic: Tensor, cfa: str) -> Tensor:
    """Interpolate colours by the linear 5x5 filters of Malvar, He and Cutler (ICASSP 2004); not clipped.

    Parameters
    ----------
    mosaic
        (B, 1, H, W), white-balanced; continued as by `demosaic_bilinear`.
    cfa
        Its colours; not "none".

    Returns
    -------
    (B, 3, H, W).
    """
    wide = F.pad(mosaic, (_MARGIN,) * 4, mode="reflect")
    green, along, across, diagonal = F.conv2d(wide, wide.new_tensor(_MALVAR)[:, None] / 8).unbind(1)
    own = mosaic[:, 0]
    red, greens, blue = sites(cfa, mosaic)
    red_rows = _rows_of("R", cfa, mosaic)
    beside = [red_rows * along + (1 - red_rows) * across, red_rows * across + (1 - red_rows) * along]
    return torch.stack(
        [
            red * own + greens * beside[0] + blue * diagonal,
            greens * own + (1 - greens) * green,
            blue * own + greens * beside[1] + red * diagonal,
        ],
        dim=1,
    )


def _rows_of(colour: str, cfa: str, like: Tensor) -> Tensor:
    """Return (H, 1): 1 in the rows that have pixels of a colour."""
    rows = like.new_zeros(like.shape[-2], 1)
    rows[cfa.index(colour) // 2 :: 2] = 1
    return rows


_ALONG = (
    (0, 0, 0.5, 0, 0),
    (0, -1, 0, -1, 0),
    (-1, 4, 5, 4, -1),
    (0, -1, 0, -1, 0),
    (0, 0, 0.5, 0, 0),
)
_MALVAR = (
    ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1), (0, 0, 2, 0, 0), (0, 0, -1, 0, 0)),
    _ALONG,
    tuple(zip(*_ALONG, strict=True)),
    ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5), (0, 2, 0, 2, 0), (0, 0, -1.5, 0, 0)),
)
"""Eighths, at a pixel of another colour: green; colours beside in the row; in the column; on the diagonals."""
