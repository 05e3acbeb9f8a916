"""Focus breathing: how the field of view and the principal point change as a lens is focused.

Focusing nearer moves the lens away from the sensor, and the picture grows in proportion. Real cameras deviate from
that by a little, which was measured for four phones (Won and Jeon, Learning Depth from Focus in the Wild, ECCV 2022,
supplement section 4; the numbers are those of the simulator that they published).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import Intrinsics, ThinLens
from .seeding import Purpose, generator

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Breathing:
    """Deviations of a camera from the breathing of a thin lens; none by default.

    The field of view at a focus distance d, relative to that at `nearest`, is
    ``v(nearest) / v(d) + fov_slope / d + fov_intercept`` with the image distance ``v(d) = f d / (d - f)``.

    Parameters
    ----------
    fov_slope
        Metres.
    fov_intercept
        Without unit.
    nearest
        Focus distance, metres, from which the field of view is counted.
    shift_mean, shift_spread
        Mean and standard deviation, x and y, of the shift of a slice's principal point, pixels of an image that is
        `shift_width` wide.
    shift_width
        Pixels; the pixels of the picture itself if left out.

    Raises
    ------
    InputError
        If a number is not possible.
    """

    fov_slope: float = 0.0
    fov_intercept: float = 0.0
    nearest: float = 0.1
    shift_mean: tuple[float, float] = (0.0, 0.0)
    shift_spread: tuple[float, float] = (0.0, 0.0)
    shift_width: int | None = None

    def __post_init__(self) -> None:
        numbers = (self.fov_slope, self.fov_intercept, self.nearest, *self.shift_mean, *self.shift_spread)
        if not all(math.isfinite(number) for number in numbers) or self.nearest <= 0 or min(self.shift_spread) < 0:
            raise InputError(f"breathing needs finite numbers, and spreads that are not negative: not {self}.")

    def field_of_view(self, lens: ThinLens, focus_distance: float) -> float:
        """Field of view at a focus distance in metres, as a share of that of a thin lens focused at `nearest`.

        Without deviations it is counted from that at infinity: only ratios matter, and `nearest` may be too near for a
        long lens.

        Raises
        ------
        InputError
            If the deviations leave no field of view.
        """
        deviates = self.fov_slope or self.fov_intercept
        full = lens.refocused(self.nearest).image_distance if deviates else lens.focal_length
        thin = full / lens.refocused(focus_distance).image_distance
        view = thin + self.fov_slope / focus_distance + self.fov_intercept
        if not view > 0:
            raise InputError(f"breathing leaves no field of view at a focus distance of {focus_distance:g} m: {self}.")
        return view


@dataclass(frozen=True, kw_only=True, slots=True)
class Phone:
    """A phone's main camera: focal length (metres), f-number, image width (pixels), and its breathing."""

    focal_length: float
    f_number: float
    width: int
    breathing: Breathing


def _phone(
    millimetres: float, f_number: float, width: int, fov: tuple[float, float], x: tuple[float, float],
    y: tuple[float, float],
) -> Phone:  # fmt: skip
    breathing = Breathing(
        fov_slope=fov[0], fov_intercept=fov[1], shift_mean=(x[0], y[0]), shift_spread=(x[1], y[1]), shift_width=width
    )
    return Phone(focal_length=millimetres * 1e-3, f_number=f_number, width=width, breathing=breathing)


PHONES = {
    "pixel4xl": _phone(4.4, 1.7, 4032, (-0.00266, 0.019155), (-4.45515, 7.18485), (-9.9504701, 8.04556863)),
    "pixel6": _phone(6.8, 1.9, 4080, (-0.00429249, 0.00330253), (0.470281, 6.2634662), (2.69174424, 6.859772247)),
    "s8plus": _phone(
        4.3, 1.5, 4032, (-0.00203839, 0.0166955), (4.430173117, 4.60067699), (3.695449964, 3.589144555)
    ),
    "note10": _phone(
        4.8, 1.7, 4032, (-0.00402384, 0.0247385), (-4.315575939, 2.9198626), (-0.9456601, 0.153538997)
    ),
}  # fmt: skip
"""Google Pixel 4 XL and Pixel 6, Samsung Galaxy S8+ and Galaxy Note10."""


def slice_intrinsics(
    lens: ThinLens,
    focus_distances: Sequence[float] | Float64,
    size: tuple[int, int],
    *,
    breathing: Breathing | None = None,
    reference: int = 0,
    intrinsics: Intrinsics | None = None,
    seed: tuple[int, int] | None = None,
) -> Float64:
    """Return the camera matrix of each slice of a focal stack.

    Parameters
    ----------
    lens
        The camera; its own focus distance does not matter.
    focus_distances
        (S,) metres.
    size
        Height and width of the picture, pixels.
    breathing
        Deviations from a thin lens.
    reference
        Number of the slice that `intrinsics` belong to, which keeps them.
    intrinsics
        Of the reference slice; those of the lens, its axis at the picture's centre, if left out.
    seed
        The recipe's seed and the sample's number: what shifts of the principal point are drawn by, a draw a slice,
        whatever the number of slices. None: the mean shifts.

    Returns
    -------
    (S, 3, 3) float64, pixels.
    """
    breathing = breathing or Breathing()
    focus = [float(d) for d in focus_distances]
    own = intrinsics or lens.refocused(focus[reference]).intrinsics(*size)
    scale = size[1] / breathing.shift_width if breathing.shift_width else 1.0
    views = [breathing.field_of_view(lens, d) for d in focus]
    matrices = np.zeros((len(focus), 3, 3))
    for k, view in enumerate(views):
        magnification = views[reference] / view
        shift = np.zeros(2)
        if k != reference:
            noise = generator(seed[0], Purpose.JITTER, seed[1], k).standard_normal(2) if seed else np.zeros(2)
            shift = scale * (np.array(breathing.shift_mean) + np.array(breathing.shift_spread) * noise)
        matrices[k] = [
            [own.fx * magnification, 0, own.cx + shift[0]],
            [0, own.fy * magnification, own.cy + shift[1]],
            [0, 0, 1],
        ]
    return matrices


def seen_from(own: Float64, other: Float64, points: npt.ArrayLike) -> Float64:
    """Return where points of one slice's picture lie in another's, as neither the camera nor the scene moves.

    Parameters
    ----------
    own, other
        (3, 3) camera matrices, pixels.
    points
        (..., 2) x and y, pixels; pixel centres have integer coordinates.

    Returns
    -------
    (..., 2) float64.
    """
    rays = (np.asarray(points, np.float64) - own[:2, 2]) / own.diagonal()[:2]
    return np.asarray(rays * other.diagonal()[:2] + other[:2, 2])


def outside(size: tuple[int, int], matrices: Float64, reference: int) -> float:
    """Return by how many of its pixels the slices see more than the reference's picture of (height, width)."""
    height, width = size
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    seen = np.array([seen_from(matrix, matrices[reference], corners) for matrix in matrices])
    # Less than this is what rounding makes of a slice that sees just as much.
    least = 1e-6
    most = max(float((corners[0] - seen[:, 0]).max()), float((seen[:, 1] - corners[1]).max()))
    return most if most > least else 0.0
