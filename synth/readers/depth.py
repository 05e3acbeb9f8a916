"""What datasets store in the place of z-depth, turned into it: ray distance, disparity, numbers that mean unknown."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..camera import Intrinsics

Float64 = npt.NDArray[np.float64]


def known(raw: npt.NDArray[Any], *invalid: float) -> Float64:
    """Return stored numbers as float64 with NaN for those that mean unknown, compared as they are stored."""
    unknown = np.isnan(raw)
    for number in invalid:
        unknown |= raw == number
    return np.where(unknown, np.nan, raw.astype(np.float64))


def z_from_ray(distance: npt.NDArray[Any], intrinsics: Intrinsics) -> Float64:
    """Turn distance from the camera's centre (H, W), metres, into z-depth, metres."""
    return np.asarray(distance, np.float64) / intrinsics.ray_length_per_depth(*distance.shape)


def z_from_disparity(disparity: npt.NDArray[Any], focal: float, baseline: float, offset: float = 0.0) -> Float64:
    """Turn disparity (H, W), pixels, into z-depth: ``focal * baseline / (disparity + offset)``.

    Parameters
    ----------
    disparity
        Positive where the camera sees something, NaN unknown; zero gives `inf`.
    focal
        Focal length, pixels.
    baseline
        Metres.
    offset
        Difference of the two views' principal points, pixels (Middlebury's `doffs`).
    """
    with np.errstate(divide="ignore"):
        return focal * baseline / (np.asarray(disparity, np.float64) + offset)
