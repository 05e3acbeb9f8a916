"""From the numbers of a raw file back to linear radiance: levels, white balance, demosaicing."""

from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from .. import InputError

Float32 = npt.NDArray[np.float32]
UInt16 = npt.NDArray[np.uint16]
Cfa = Literal["RGGB", "BGGR", "GRBG", "GBRG", "none"]
Demosaic = Literal["malvar", "bilinear", "edge-aware"]
_Triple = tuple[float, float, float]
_MARGIN = 2
"""Pixels around a mosaic that demosaicing looks at; an even number, so that its mirror image keeps the pattern."""


class Reading(Protocol):
    """What development needs to know of the sensor that took a raw file; see `sensor.Sensor`."""

    @property
    def bits(self) -> int:
        """Of the converter."""

    @property
    def black_level(self) -> float:
        """DN of no charge."""

    @property
    def exposure(self) -> float:
        """Share of the range that radiance 1.0 fills."""

    @property
    def cfa(self) -> Cfa:
        """Its filters."""

    @property
    def demosaic(self) -> Demosaic:
        """How colours are interpolated."""

    @property
    def largest(self) -> int:
        """Largest number of the converter, DN."""

    @property
    def span(self) -> float:
        """DN from black to white level."""

    @property
    def balance(self) -> _Triple:
        """What R, G and B are multiplied by."""

    @property
    def saturation(self) -> float:
        """Radiance from which on it cannot tell brightness or colour."""


def bayer_sites(cfa: Cfa) -> list[tuple[tuple[int, int], int]]:
    """Return ((y, x), channel) of the four pixels that a mosaic repeats; channels 0, 1, 2 are R, G, B."""
    return [(divmod(at, 2), "RGB".index(colour)) for at, colour in enumerate(cfa)]


def develop(raw: UInt16, sensor: Reading) -> Float32:
    """Return the linear radiance that a raw file stands for.

    Values are clipped from 0 to `sensor.saturation`. After white balance the channels saturate at different radiances;
    above the smallest of these, one channel is known to be missing light while others still grow, and highlights would
    turn pink. So all channels end there.

    Parameters
    ----------
    raw
        (H, W) uint16, DN; (H, W, 3) where `sensor.cfa` is "none".
    sensor
        What took it.

    Returns
    -------
    (H, W, 3) float32, linear radiance as `expose` was given it: below saturation a capture without noise gives its
    image back, as far as mosaic and rounding keep it.

    Raises
    ------
    InputError
        If the raw file has another shape or type than that sensor's, or larger numbers.
    """
    dimensions = 3 if sensor.cfa == "none" else 2
    if raw.ndim != dimensions or raw.dtype != np.uint16 or (raw.ndim == 3 and raw.shape[2] != 3):
        wanted = "(height, width, 3)" if sensor.cfa == "none" else "(height, width)"
        raise InputError(f"raw files of this sensor are {wanted} uint16, not {raw.shape} {raw.dtype}.")
    if raw.max(initial=0) > sensor.largest:
        raise InputError(f"a raw file of {sensor.bits} bits cannot hold {raw.max()}: another sensor took it.")
    if min(raw.shape[:2]) < (1 if sensor.cfa == "none" else 2):
        raise InputError(f"a mosaic needs at least 2 by 2 pixels, not {raw.shape[0]} by {raw.shape[1]}.")
    if sensor.cfa == "none":
        light = _to_radiance(raw, sensor)
    elif sensor.demosaic == "malvar":
        light = demosaic_malvar(_balanced_mosaic(raw, sensor), sensor.cfa)
    else:
        light = _demosaic_opencv(raw, sensor)
    return np.clip(light, 0, np.float32(sensor.saturation), out=light)


def demosaic_malvar(mosaic: Float32, cfa: Cfa) -> Float32:
    """Interpolate the colours of a mosaic by the linear 5x5 filters of Malvar, He and Cutler (ICASSP 2004).

    Beyond its border the mosaic is its mirror image about the last pixel, which continues the pattern. The result is
    not clipped: the filters overshoot at edges.

    Parameters
    ----------
    mosaic
        (H, W) float32, white-balanced: the filters take it that colours change together.
    cfa
        Its colours; not "none".

    Returns
    -------
    (H, W, 3) float32.
    """
    from .sensor_kernels import malvar

    (red_y, red_x), _ = next(site for site in bayer_sites(cfa) if site[1] == 0)
    out = np.empty((*mosaic.shape, 3), np.float32)
    malvar(np.pad(mosaic, _MARGIN, mode="reflect"), red_y, red_x, out)
    return out


def _scales(sensor: Reading) -> npt.NDArray[np.float32]:
    """Radiance per DN above the black level, of R, G and B."""
    return (np.array(sensor.balance) / (sensor.span * sensor.exposure)).astype(np.float32)


def _balanced_mosaic(raw: UInt16, sensor: Reading) -> Float32:
    mosaic = raw.astype(np.float32)
    mosaic -= np.float32(sensor.black_level)
    scales = _scales(sensor)
    for (y, x), channel in bayer_sites(sensor.cfa):
        mosaic[y::2, x::2] *= scales[channel]
    return np.minimum(mosaic, np.float32(sensor.saturation), out=mosaic)


def _to_radiance(numbers: UInt16, sensor: Reading, unit: int = 1) -> Float32:
    """Turn (H, W, 3) numbers, each `unit` of them a DN, into radiance."""
    light = numbers.astype(np.float32)
    light -= np.float32(sensor.black_level * unit)
    light *= _scales(sensor) / np.float32(unit)
    return light


def _demosaic_opencv(raw: UInt16, sensor: Reading) -> Float32:
    import cv2

    # OpenCV computes in whole numbers: in the upper ones of 16 bits its rounding is finer than the converter's.
    unit = 2 ** (16 - sensor.bits)
    # It copies the outermost pixels from their neighbours, which is avoided by cutting a margin off.
    wide = cv2.copyMakeBorder(raw * np.uint16(unit), *(_MARGIN,) * 4, cv2.BORDER_REFLECT_101)
    # Only the names of four letters mean what they say; OpenCV's "BG" is RGGB.
    code = f"COLOR_Bayer{sensor.cfa}2RGB{'_EA' if sensor.demosaic == 'edge-aware' else ''}"
    colours = np.asarray(cv2.demosaicing(wide, getattr(cv2, code)), np.uint16)
    return _to_radiance(colours[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN], sensor, unit)
