"""Statistics of scenes, beside what is known of photographs: depths, edges, spectrum, contrast.

Counted scene by scene, so that memory does not grow with their number. Luminance is linear, by the weights of Rec. 709
and cut off at white (1), as a photograph is.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .. import InputError

Float64 = npt.NDArray[np.float64]

DEPTH_EDGES: Float64 = 10.0 ** (np.arange(-40, 121) / 40)
"""Edges of the bins of depth, metres: 40 a decade from 0.1 to 1000 m."""
FREQUENCY_EDGES: Float64 = 0.25 * 2.0 ** (np.arange(-16, 1) / 4)
"""Edges of the rings of spatial frequency, cycles per pixel: four an octave from 1/64 to 1/4.

Above a quarter of a cycle the pixels show, and what resized and compressed the picture.
"""
IMAGE_STEP = 0.1
"""An edge of the image is where sRGB-encoded luminance, 0 to 1, changes by more than this from pixel to pixel."""
DEPTH_RATIO = 1.05
"""An edge of depth is where the depths of two neighbours have a ratio of more than this."""
DARKEST = 1e-3
"""Luminance below this counts as this, where its logarithm is taken."""

_LUMA = np.array([0.2126, 0.7152, 0.0722])
_FEWEST_CYCLES = 3.0  # in a picture, of the lowest frequency that is counted
_PLAIN = 1e-6  # luminance that varies by less is of one colour, but for rounding
_FEWEST_RINGS = 4  # that give a slope


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and standard deviation over scenes, NaN if no scene has the quantity, and its least and greatest value."""

    mean: float
    deviation: float
    least: float
    greatest: float


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneStatistics:
    """What `SceneCounter` found.

    Attributes
    ----------
    scenes
        How many there are.
    unknown
        Share of depths that are unknown.
    depth_share
        (160,) float64: share of the known depths in each bin of `DEPTH_EDGES`.
    nearer, farther
        Share of the known depths outside the bins; infinity is farther.
    depth_quantiles
        Depths, metres, below which 5, 25, 50, 75 and 95 % of the known ones lie; as fine as the bins (6 %).
    depth_edges
        Share of pairs of neighbours, both known, that are an edge of depth.
    image_edges
        Share of pixels at an edge of the image: to the right of them or below.
    spectrum
        (16,) float64: mean over scenes of the amplitude of the luminance over its mean, in rings of
        `FREQUENCY_EDGES`; NaN where no scene is large enough.
    slope
        Alpha of each scene's amplitude spectrum, 1/f^alpha: least squares through the logarithms of its rings.
    kurtosis
        Of each scene's differences of the logarithm of luminance between horizontal neighbours; 3 for a Gaussian.
    luminance, contrast
        Mean of each scene's luminance, and its standard deviation over its mean.
    """

    scenes: int
    unknown: float
    depth_share: Float64
    nearer: float
    farther: float
    depth_quantiles: tuple[float, float, float, float, float]
    depth_edges: float
    image_edges: float
    spectrum: Float64
    slope: Spread
    kurtosis: Spread
    luminance: Spread
    contrast: Spread


class _Tally:
    """Running mean, deviation and range (Welford)."""

    def __init__(self) -> None:
        self.count, self.mean, self.squares, self.least, self.greatest = 0, 0.0, 0.0, math.inf, -math.inf

    def add(self, value: float) -> None:
        if not math.isfinite(value):
            return
        self.count += 1
        off = value - self.mean
        self.mean += off / self.count
        self.squares += off * (value - self.mean)
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def result(self) -> Spread:
        if not self.count:
            return Spread(math.nan, math.nan, math.nan, math.nan)
        return Spread(self.mean, math.sqrt(self.squares / self.count), self.least, self.greatest)


class SceneCounter:
    """Counts scenes one by one: `add` each, then take the `result`."""

    def __init__(self) -> None:
        self._scenes = 0
        self._pixels, self._unknown = 0, 0
        self._bins = np.zeros(len(DEPTH_EDGES) + 1, np.int64)
        self._range = math.inf, 0.0
        self._pairs, self._jumps = 0, 0
        self._steps, self._places = 0, 0
        self._power, self._counts = np.zeros(len(FREQUENCY_EDGES) - 1), np.zeros(len(FREQUENCY_EDGES) - 1, np.int64)
        self._slope, self._kurtosis, self._luminance, self._contrast = (_Tally() for _ in range(4))

    def add(
        self, image: npt.NDArray[Any], depth: npt.NDArray[Any], encoding: Literal["linear", "srgb"] = "linear"
    ) -> None:
        """Count a scene.

        Parameters
        ----------
        image
            (H, W, 3), all in focus; floating point with white at 1, or uint8 or uint16 with white at full scale.
        depth
            (H, W) floating point, metres, NaN unknown.
        encoding
            Of the image.

        Raises
        ------
        InputError
            If the shapes do not fit, a scene is less than 2 pixels high or wide, or the image has no finite values.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != depth.shape or min(depth.shape) < 2:
            raise InputError(
                f"a scene to count has an image (H, W, 3) and a depth map (H, W) of 2 pixels or more, not "
                f"{image.shape} and {depth.shape}."
            )
        light = _luminance(image, encoding)
        if not np.isfinite(light).all():
            raise InputError("a scene to count has an image with values that are not finite.")
        self._scenes += 1
        self._add_depth(np.asarray(depth, np.float64))
        self._add_light(light)

    def _add_depth(self, depth: Float64) -> None:
        known = depth[depth > 0]
        self._pixels += depth.size
        self._unknown += depth.size - known.size
        if known.size:
            self._range = min(self._range[0], float(known.min())), max(self._range[1], float(known.max()))
        self._bins += np.bincount(np.searchsorted(DEPTH_EDGES, known, side="right"), minlength=len(self._bins))
        for a, b in ((depth[:, 1:], depth[:, :-1]), (depth[1:], depth[:-1])):
            # NaN is no edge.
            self._pairs += int(((a > 0) & (b > 0)).sum())
            self._jumps += int((((a > DEPTH_RATIO * b) & (b > 0)) | ((b > DEPTH_RATIO * a) & (a > 0))).sum())

    def _add_light(self, light: Float64) -> None:
        shown = _encoded(light)
        right, below = np.abs(np.diff(shown, axis=1))[:-1], np.abs(np.diff(shown, axis=0))[:, :-1]
        self._steps += int((np.maximum(right, below) > IMAGE_STEP).sum())
        self._places += right.size
        mean = float(light.mean())
        self._luminance.add(mean)
        if mean > 0:
            self._contrast.add(float(light.std()) / mean)
        if light.std() > _PLAIN:
            power = ring_power(light / mean)
            counted = np.isfinite(power)
            self._power[counted] += np.sqrt(power[counted])
            self._counts += counted
            self._slope.add(spectral_slope(np.sqrt(power)))
        change = np.diff(np.log(np.maximum(light, DARKEST)), axis=1)
        change -= change.mean()
        variance = float((change**2).mean())
        self._kurtosis.add(float((change**4).mean()) / variance**2 if variance > 1e-12 else math.nan)

    def result(self) -> SceneStatistics:
        """Return the statistics of all scenes added so far.

        Raises
        ------
        InputError
            If there is none.
        """
        if not self._scenes:
            raise InputError("statistics need at least one scene; none was counted.")
        known = max(int(self._bins.sum()), 1)
        spectrum = np.divide(self._power, self._counts, out=np.full(len(self._power), np.nan), where=self._counts > 0)
        return SceneStatistics(
            scenes=self._scenes,
            unknown=self._unknown / self._pixels,
            depth_share=self._bins[1:-1] / known,
            nearer=float(self._bins[0]) / known,
            farther=float(self._bins[-1]) / known,
            depth_quantiles=_quantiles(self._bins, self._range),
            depth_edges=self._jumps / max(self._pairs, 1),
            image_edges=self._steps / self._places,
            spectrum=spectrum,
            slope=self._slope.result(),
            kurtosis=self._kurtosis.result(),
            luminance=self._luminance.result(),
            contrast=self._contrast.result(),
        )


def ring_power(light: Float64) -> Float64:
    """Return the mean power of a picture (H, W) in rings of `FREQUENCY_EDGES`, (16,) float64.

    The mean is taken off and a Hann window laid over, so that the frame of the picture does not count. NaN in rings
    that are too low for the picture (less than 3 cycles along its shorter side) or hold no frequency.
    """
    height, width = light.shape
    window = np.outer(*(np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width)))
    off = light - (window * light).sum() / window.sum()
    power = np.abs(np.fft.rfft2(off * window)) ** 2 / (window**2).sum()
    across = np.fft.rfftfreq(width)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], across)
    # The half that is left out of the transform of a real picture is the mirror image of the other.
    twice = np.where((across > 0) & (across < 0.5), 2.0, 1.0) * np.ones((height, 1))
    ring = np.searchsorted(FREQUENCY_EDGES, frequency, side="right").ravel()
    weight = np.bincount(ring, twice.ravel(), len(FREQUENCY_EDGES) + 1)[1:-1]
    total = np.bincount(ring, (twice * power).ravel(), len(FREQUENCY_EDGES) + 1)[1:-1]
    counted = (weight > 0) & (FREQUENCY_EDGES[:-1] * min(height, width) >= _FEWEST_CYCLES)
    return np.asarray(np.divide(total, weight, out=np.full(len(weight), np.nan), where=counted))


def ring_frequencies() -> Float64:
    """Return the middle of each ring, cycles per pixel: the geometric mean of its edges."""
    return np.asarray(np.sqrt(FREQUENCY_EDGES[1:] * FREQUENCY_EDGES[:-1]))


def spectral_slope(amplitude: Float64) -> float:
    """Return alpha of an amplitude spectrum 1/f^alpha, given in rings; NaN if fewer than four are known and above 0."""
    counted = amplitude > 0
    if counted.sum() < _FEWEST_RINGS:
        return math.nan
    x, y = np.log(ring_frequencies()[counted]), np.log(amplitude[counted])
    x = x - x.mean()
    return -float((x * y).sum() / (x * x).sum())


def _quantiles(bins: npt.NDArray[np.int64], limits: tuple[float, float]) -> tuple[float, float, float, float, float]:
    """Depths below which 5, 25, 50, 75 and 95 % lie: the middle of their bins, within the depths seen, or an end."""
    if not bins.sum():
        return (math.nan,) * 5
    middles = np.clip(np.sqrt(DEPTH_EDGES[1:] * DEPTH_EDGES[:-1]), *limits)
    values = np.concatenate([DEPTH_EDGES[:1], middles, [math.inf]])
    sums = np.cumsum(bins)
    places = np.searchsorted(sums, np.array([0.05, 0.25, 0.5, 0.75, 0.95]) * sums[-1])
    found = values[places].tolist()
    return found[0], found[1], found[2], found[3], found[4]


def _luminance(image: npt.NDArray[Any], encoding: str) -> Float64:
    values = image / np.iinfo(image.dtype).max if image.dtype.kind == "u" else np.asarray(image, np.float64)
    values = np.clip(values, 0, 1)
    if encoding == "srgb":
        values = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.asarray(values @ _LUMA)


def _encoded(light: Float64) -> Float64:
    """Encode linear light, 0 to 1, as sRGB."""
    high = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.asarray(np.where(light <= 0.0031308, 12.92 * light, high))
