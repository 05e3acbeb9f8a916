"""A real sensor: from linear radiance to the numbers of a raw file, with the noise that comes on the way.

The model and its names are those of EMVA 1288 (release 4.0, linear): charge in electrons (e-), output in digital
numbers (DN). `docs/sensor.md` has the equations; `development` goes back from numbers to colour.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from .. import InputError
from .development import Cfa, Demosaic, bayer_sites, develop
from .light import Encoding, encode
from .seeding import Purpose, generator
from .sensor_presets import PRESETS, Levels

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt16 = npt.NDArray[np.uint16]
ShotNoise = Literal["poisson", "normal", "none"]
MOST_EXPOSURE = 64.0
MOST = 1e9
"""Largest number of anything that a sensor may have: what is beyond is a mistake of units."""
_POSITIVE = ("full_well", "exposure", "gain")
_NOT_NEGATIVE = ("black_level", "read_noise", "adc_noise", "dark_current", "exposure_time", "prnu", "dsnu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor(Levels):
    """A sensor, its amplifier and its converter, with the exposure they are set to.

    EMVA 1288 has the symbol in brackets.

    Parameters
    ----------
    bits
        Of the converter, 8 to 16.
    full_well
        Saturation capacity, e- (mu_e.sat).
    exposure
        Share of the range from black to white level that radiance 1.0 reaches where `response` is 1, whatever the gain.
    gain
        Of the amplifier, over the base gain (ISO over base ISO). At 1 the full well is the white level; at g radiance
        1.0 makes ``full_well * exposure / g`` electrons: as bright in DN, and noisier.
    black_level
        DN that no charge is read as, on average (mu_y.dark).
    white_level
        DN where saturation is declared; the converter's largest number if left out.
    shot_noise
        "poisson"; "normal", with a Poisson's mean and variance, cut off at 0, as the RPSF paper has it (section 4.2);
        "none".
    read_noise
        Of what comes before the amplifier, e- rms (sigma_d).
    adc_noise
        Of what comes after the amplifier, DN rms.
    dark_current
        e-/s; brings its shot noise (mu_I).
    exposure_time
        Seconds; matters to the dark current only.
    prnu
        Photo-response non-uniformity: how much pixels differ in sensitivity, relative rms. A pattern of the camera.
    dsnu
        Dark-signal non-uniformity, e- rms. A pattern of the camera.
    cfa
        Colours of the filters over the first two pixels of the first two rows; "none" reads three colours everywhere.
    response
        Electrons of R, G and B for the same radiance, relative: above 0, at most 1.
    demosaic
        How `develop` interpolates colours: "malvar" (Malvar, He and Cutler 2004), OpenCV's "bilinear" or "edge-aware".
    white_balance
        What `develop` multiplies R, G and B by; what undoes `response` if left out.

    Raises
    ------
    InputError
        If a parameter is out of its range, or the levels are not in order.
    """

    bits: int = 12
    full_well: float = 15000.0
    exposure: float = 1.0
    gain: float = 1.0
    black_level: float = 0.0
    white_level: int | None = None
    shot_noise: ShotNoise = "poisson"
    read_noise: float = 0.0
    adc_noise: float = 0.0
    dark_current: float = 0.0
    exposure_time: float = 0.01
    prnu: float = 0.0
    dsnu: float = 0.0
    cfa: Cfa = "RGGB"
    response: tuple[float, float, float] = (1.0, 1.0, 1.0)
    demosaic: Demosaic = "malvar"
    white_balance: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("shot_noise", ShotNoise), ("cfa", Cfa), ("demosaic", Demosaic)):
            if getattr(self, name) not in get_args(allowed):
                known = ", ".join(get_args(allowed))
                raise InputError(f"sensor.{name} must be one of {known}, not {getattr(self, name)!r}.")
        for name in _POSITIVE:
            if not 1 / MOST <= getattr(self, name) <= MOST:
                raise InputError(
                    f"sensor.{name} must be a positive number, {1 / MOST:g} to {MOST:g}, not {getattr(self, name)}."
                )
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) <= MOST:
                raise InputError(
                    f"sensor.{name} must be 0 or a positive number up to {MOST:g}, not {getattr(self, name)}."
                )
        if self.exposure > MOST_EXPOSURE:
            raise InputError(f"sensor.exposure must be at most {MOST_EXPOSURE:g}, not {self.exposure}.")
        if self.dark_current * self.exposure_time >= self.full_well:
            raise InputError("sensor.dark_current fills the full well within sensor.exposure_time: lower one of them.")
        self._check_levels()
        self._check_colours()

    def _check_levels(self) -> None:
        if isinstance(self.bits, bool) or not isinstance(self.bits, int | np.integer) or not 8 <= self.bits <= 16:
            raise InputError(f"sensor.bits must be a whole number from 8 to 16, not {self.bits}: raw files hold 16.")
        if self.white > self.largest:
            raise InputError(
                f"sensor.white_level ({self.white}) must be at most {self.largest}: more does not fit {self.bits} bits."
            )
        if not self.black_level <= self.white - 1:
            raise InputError(f"sensor.black_level ({self.black_level}) must be below the white level ({self.white}).")

    def _check_colours(self) -> None:
        if len(self.response) != 3 or not all(0 < r <= 1 for r in self.response):
            raise InputError(f"sensor.response must be three numbers above 0 and at most 1, not {self.response}.")
        if len(self.balance) != 3 or not all(1 / MOST <= b <= MOST for b in self.balance):
            raise InputError(f"sensor.white_balance must be three positive numbers, not {self.white_balance}.")

    @property
    def electrons(self) -> tuple[float, float, float]:
        """Electrons that radiance 1.0 makes in pixels of R, G and B, on average."""
        r, g, b = (self.full_well * self.exposure / self.gain * share for share in self.response)
        return r, g, b

    @property
    def saturation(self) -> float:
        """Radiance from which on development cannot tell brightness or colour."""
        return min(self.balance) / self.exposure

    @staticmethod
    def preset(name: str) -> "Sensor":
        """Return a sensor by name: "ideal", "rpsf" (the RPSF paper's section 4.2), "dslr" or "phone".

        `docs/sensor.md` gives the source of each number.

        Raises
        ------
        InputError
            If there is none of that name.
        """
        if name not in PRESETS:
            raise InputError(f"there is no sensor {name!r}: take one of {', '.join(PRESETS)}.")
        return Sensor(**PRESETS[name])


def expose(image: Float32, sensor: Sensor, seed: tuple[int, int], *, frame: int = 0) -> UInt16:
    """Return what a sensor reads of an image: a raw file.

    EMVA 1288 release 4.0, section 2, with saturation, a converter and a colour filter array.

    Parameters
    ----------
    image
        (H, W, 3) float32, linear radiance; below 0 counts as 0.
    sensor
        The sensor and its exposure.
    seed
        Seed of the dataset and number of the sample. All samples of a dataset are taken by one camera: its fixed
        patterns depend on the first alone, and on the size of the image.
    frame
        Slice of a focal stack; each has noise of its own.

    Returns
    -------
    (H, W) uint16, DN; (H, W, 3) where `sensor.cfa` is "none".

    Raises
    ------
    InputError
        If the image has another shape or type, or values that are not finite, or if seed or frame are negative.
    """
    key = _noise_key(seed, frame)
    mean = _filtered(_checked(image, sensor), sensor)
    # A stream for each purpose: switching one noise on or off leaves the others as they were.
    if sensor.prnu:
        mean *= np.maximum(1.0 + sensor.prnu * _pattern(seed[0], mean.shape)[0], 0.0)
    mean += sensor.dark_current * sensor.exposure_time
    signal = _with_shot_noise(mean, sensor.shot_noise, key)
    np.minimum(signal, sensor.full_well, out=signal)
    if sensor.dsnu:
        signal += sensor.dsnu * _pattern(seed[0], mean.shape)[1]
    signal *= sensor.system_gain
    signal += sensor.black_level
    # Nothing between them clips, so the noises before and after the amplifier are one normal variate.
    spread = math.hypot(sensor.read_noise * sensor.system_gain, sensor.adc_noise)
    if spread:
        signal += spread * generator(key[0], Purpose.READ, *key[1:]).standard_normal(signal.shape, np.float32)
    return np.rint(signal, out=signal).clip(0, sensor.largest, out=signal).astype(np.uint16)


def capture(
    image: Float32,
    sensor: Sensor,
    seed: tuple[int, int],
    *,
    frame: int = 0,
    encoding: Encoding = "srgb",
    bits: Literal[8, 16] = 8,
) -> tuple[UInt16, npt.NDArray[Any]]:
    """Take an image with a sensor, and develop it.

    Parameters
    ----------
    image, sensor, seed, frame
        As for `expose`.
    encoding
        Of the developed image, "srgb" or "linear".
    bits
        Of the developed image, 8 or 16.

    Returns
    -------
    The raw file, as `expose` returns it, and the developed image: (H, W, 3) uint8 or uint16.

    Raises
    ------
    InputError
        As `expose` does, or if `bits` is neither 8 nor 16.
    """
    raw = expose(image, sensor, seed, frame=frame)
    return raw, encode(develop(raw, sensor), encoding, bits)


def _checked(image: Float32, sensor: Sensor) -> Float32:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.float32:
        raise InputError(
            f"a sensor takes linear radiance, (height, width, 3) float32, not {image.shape} {image.dtype}: "
            "decode encoded pixels first."
        )
    if sensor.cfa != "none" and min(image.shape[:2]) < 2:
        raise InputError(f"a mosaic needs at least 2 by 2 pixels, not {image.shape[0]} by {image.shape[1]}.")
    if not np.isfinite(image).all():
        raise InputError("the radiance that a sensor takes must be finite.")
    return image


def _noise_key(seed: tuple[int, int], frame: int) -> tuple[int, int, int]:
    numbers = (*seed, frame) if isinstance(seed, tuple) else ()
    if len(numbers) != 3 or not all(isinstance(n, int | np.integer) and n >= 0 for n in numbers):
        raise InputError(f"noise needs a seed, a sample and a frame, whole numbers from 0, not {seed} and {frame}.")
    return int(seed[0]), int(seed[1]), int(frame)


def _filtered(image: Float32, sensor: Sensor) -> Float64:
    """Mean electrons behind the colour filters: (H, W), or (H, W, 3) without filters."""
    if sensor.cfa == "none":
        everywhere: Float64 = np.maximum(image, 0.0) * np.array(sensor.electrons)
        return everywhere
    mean = np.empty(image.shape[:2])
    for (y, x), channel in bayer_sites(sensor.cfa):
        behind = np.maximum(image[y::2, x::2, channel], 0.0)
        np.multiply(behind, sensor.electrons[channel], out=mean[y::2, x::2], dtype=np.float64)
    return mean


def _with_shot_noise(mean: Float64, shot_noise: ShotNoise, key: tuple[int, int, int]) -> Float64:
    if shot_noise == "none":
        return mean
    stream = generator(key[0], Purpose.SHOT, *key[1:])
    if shot_noise == "normal":
        counts = mean + np.sqrt(mean) * stream.standard_normal(mean.shape)
        return np.maximum(counts, 0.0, out=counts)
    from .sensor_kernels import poisson

    counts = np.empty_like(mean)
    poisson(mean.reshape(-1), np.uint64(stream.bit_generator.random_raw()), counts.reshape(-1))
    return counts


@lru_cache(maxsize=2)
def _pattern(seed: int, shape: tuple[int, ...]) -> Float32:
    """Return the fixed patterns of a dataset's camera in units of their rms: of sensitivity, and of dark signal."""
    pattern = generator(seed, Purpose.PATTERN).standard_normal((2, *shape), np.float32)
    pattern.flags.writeable = False
    return pattern
