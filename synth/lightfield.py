"""Light fields: views from a square grid of cameras, refocused into focal stacks, and the lens that they amount to.

Views are (V, U, H, W, 3), V from top to bottom and U from left to right. `disparity` is how many pixels nearer to the
left (or the top) a point lies in the next view to the right (or below): positive for points nearer than the plane at
which the views converge, whose disparity is zero.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .light import Encoding, decode

MOST_SHIFT = 1e6
"""Pixels: no disparity is as large."""
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class LightField:
    """Where the views of a light field were taken from.

    Parameters
    ----------
    focal
        Focal length of each view, pixels.
    baseline
        Distance between neighbouring views, metres.
    convergence
        Depth of the plane whose disparity is zero, metres; `inf` for cameras side by side.
    views
        Views in a row.

    Raises
    ------
    InputError
        If a length is not positive, or there are fewer than two views.
    """

    focal: float
    baseline: float
    convergence: float = math.inf
    views: int = 9

    def __post_init__(self) -> None:
        for name in ("focal", "baseline", "convergence"):
            value = getattr(self, name)
            if not (value > 0 and (math.isfinite(value) or name == "convergence")):
                raise InputError(f"a light field's {name} must be a positive number, not {value}.")
        if not isinstance(self.views, int | np.integer) or self.views < 2:
            raise InputError(f"a light field has two views in a row or more, not {self.views}.")

    def depth(self, disparity: npt.ArrayLike) -> Any:
        """Return z in metres of a disparity in pixels; `inf` where nothing is so far away."""
        inverse = np.asarray(disparity, np.float64) / (self.focal * self.baseline) + 1.0 / self.convergence
        depth = np.full(inverse.shape, math.inf)
        np.divide(1.0, inverse, out=depth, where=inverse > 0)
        return depth if depth.ndim else float(depth)

    def disparity(self, depth: npt.ArrayLike) -> Any:
        """Return the disparity in pixels of z in metres."""
        shift = self.focal * self.baseline * (1.0 / np.asarray(depth, np.float64) - 1.0 / self.convergence)
        return shift if shift.ndim else float(shift)

    @property
    def aperture(self) -> float:
        """Side of the square aperture that blurs as the views do, metres: ``baseline sqrt(views^2 - 1)``.

        Refocused, a point becomes `views` points in a row, whose variance is that of an evenly lit line so long.
        """
        return self.baseline * math.sqrt(self.views**2 - 1)


def light_field_lens(field: LightField, focus_distance: float, *, pixel_pitch: float = 1e-6) -> ThinLens:
    """Return the thin lens that is equal to a light field refocused at a distance.

    Its aperture diameter is the side of the square aperture: use it with ``PsfBank.aperture(lens, [[1.0]])``, or any
    pattern that is open all over. Its CoC of a depth is then the width in pixels of that square's shadow,
    ``sqrt(views^2 - 1) |disparity - that of the focus|``.

    Parameters
    ----------
    field
        The light field.
    focus_distance
        Metres.
    pixel_pitch
        Metres. Only the ratio of lengths behind the lens shows in a picture: the smaller, the less its focal length
        depends on where it is focused.

    Raises
    ------
    InputError
        If the distance is not positive.
    """
    if not focus_distance > 0:
        raise InputError(f"a light field cannot be refocused at {focus_distance} m.")
    image_distance = field.focal * pixel_pitch
    focal_length = 1.0 / (1.0 / image_distance + 1.0 / focus_distance)
    return ThinLens(
        focal_length=focal_length,
        f_number=focal_length / field.aperture,
        focus_distance=focus_distance,
        pixel_pitch=pixel_pitch,
    )


def refocus(
    views: Any, disparities: npt.ArrayLike, *, aperture: npt.ArrayLike | None = None, encoding: Encoding = "srgb"
) -> Float32:
    """Refocus a light field into a focal stack, by adding up its views, each shifted.

    Shifts are interpolated by polynomials of degree five. Beyond its border a view is its mirror image, so that pixels
    closer to the border than the widest shift are made up in part.

    Parameters
    ----------
    views
        (V, U, H, W, 3): uint8 or uint16, encoded, or float32, linear radiance. Read view by view: an open file's array
        will do.
    disparities
        (S,) pixels from view to view: what has this disparity is sharp in the slice.
    aperture
        (V, U) weight of each view, 0 or more; all views alike if left out.
    encoding
        Of views of integers.

    Returns
    -------
    (S, H, W, 3) float32, linear radiance.

    Raises
    ------
    InputError
        If shapes disagree or numbers are out of range.
    """
    from .resample import resample_similarity

    shifts = np.atleast_1d(np.asarray(disparities, np.float64))
    if len(views.shape) != 5 or views.shape[4] != 3 or 0 in views.shape:
        raise InputError(f"the views of a light field have shape (V, U, H, W, 3), not {tuple(views.shape)}.")
    rows, columns, height, width, _ = views.shape
    if shifts.ndim != 1 or not len(shifts) or not (np.abs(shifts) < MOST_SHIFT).all():
        raise InputError(f"disparities must be numbers of pixels in a row, below {MOST_SHIFT:g}, not {disparities!r}.")
    weights = np.ones((rows, columns)) if aperture is None else np.asarray(aperture, np.float64)
    if weights.shape != (rows, columns) or not (weights >= 0).all() or not 0 < weights.sum() < math.inf:
        raise InputError(f"an aperture needs a weight for each of {rows}x{columns} views, 0 or more, not all 0.")
    out = np.zeros((len(shifts), height, width, 3), np.float32)
    wanted = np.eye(3)
    for v, u in np.argwhere(weights > 0):
        view = np.asarray(views[v, u])
        light = view.astype(np.float32) if view.dtype.kind == "f" else decode(view, encoding)
        for picture, shift in zip(out, shifts, strict=True):
            own = np.eye(3)
            own[:2, 2] = -shift * (u - (columns - 1) / 2), -shift * (v - (rows - 1) / 2)
            picture += resample_similarity(light, own, wanted, (height, width)) * np.float32(weights[v, u])
    out /= np.float32(weights.sum())
    return out
