"""Errors of depth as errors of the blur that it causes: the measure of PhaseCam3D and of the RPSF paper."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .depth_errors import DepthProtocol, counted_pixels
from .running import Running

Depth = npt.NDArray[np.floating[Any]]


@dataclass(kw_only=True)
class DefocusScores:
    """Root mean square error of the defocus phase over a stream of images, in radians at the pupil's edge.

    The phase is affine in inverse depth, ``psi = scale / z - shift`` (RPSF paper, Eq. 12).

    Parameters
    ----------
    scale
        ``pi R^2 / wavelength``, radians times metres.
    depth
        Nearest and farthest depth of the scenes, metres: predictions are clamped to it, as a network that ends in a
        sigmoid does by itself.
    protocol
        Which pixels count.
    """

    scale: float
    depth: tuple[float, float]
    protocol: DepthProtocol = field(default_factory=DepthProtocol)
    images: Running = field(default_factory=Running)
    pixels: Running = field(default_factory=Running)

    def add(self, prediction: Depth, target: Depth, valid: npt.NDArray[np.bool_] | None = None) -> None:
        """Count an image: (H, W) metres, predicted and true; an image without pixels that count is left out."""
        counts = counted_pixels(target, valid, self.protocol)
        if not counts.any():
            return
        said = np.clip(np.nan_to_num(prediction[counts].astype(np.float64), nan=np.inf), *self.depth)
        square = (self.scale * (1.0 / said - 1.0 / target[counts].astype(np.float64))) ** 2
        self.images.add(math.sqrt(float(square.mean())))
        self.pixels.merge(Running(square.size, float(square.mean())))

    @property
    def per_image(self) -> float:
        """Mean over images of each one's error, radians."""
        return self.images.average

    @property
    def per_pixel(self) -> float:
        """Error over all pixels together, radians."""
        return math.sqrt(self.pixels.average) if self.pixels.count else math.nan
