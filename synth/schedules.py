"""Focus schedules: at which distances the slices of a focal stack are focused."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from .. import InputError

Float64 = npt.NDArray[np.float64]
Spacing = Literal["distance", "inverse", "extension"]


def spaced(
    slices: int,
    near: float,
    far: float,
    spacing: Spacing,
    focal_length: float,
    *,
    order: Literal["near-first", "far-first"] = "near-first",
) -> Float64:
    """Return focus distances that are evenly spaced in one quantity.

    Parameters
    ----------
    slices
        How many; a single one lies at `near`.
    near, far
        Nearest and farthest focus distance, metres; `far` may be `inf`, but for "distance".
    spacing
        What is evenly spaced: the distance, its inverse (as circles of confusion change), or the extension of the
        lens, its distance from the sensor ``f d / (d - f)`` (as motors move it).
    focal_length
        Metres.
    order
        Which end comes first.

    Returns
    -------
    (S,) float64, metres.

    Raises
    ------
    InputError
        If there are no slices, or the ends are not in order beyond the focal length.
    """
    share = _shares(slices, near, far, focal_length, finite=spacing == "distance")
    if spacing == "distance":
        distances = near + share * (far - near)
    else:
        # 1/s = 1/f - 1/d: evenly spaced in s is evenly spaced in 1 / (1/f - 1/d).
        inverse = _between(1 / near, 1 / far, share)
        if spacing == "extension":
            power = 1 / focal_length
            inverse = power - 1 / _between(1 / (power - 1 / near), 1 / (power - 1 / far), share)
        distances = np.divide(1, inverse, out=np.full(slices, math.inf), where=inverse > 0)
    distances[0] = near
    if slices > 1:
        distances[-1] = far
    return distances if order == "near-first" else distances[::-1]


def power_inverse(slices: int, near: float, far: float, power: float) -> Float64:
    """Return focus distances evenly spaced in 1 / distance^power, near first (FOSSA 2026).

    Parameters
    ----------
    slices
        How many; a single one lies at `near`.
    near, far
        Metres, finite.
    power
        0 or more; 1 is even in the inverse distance, 0, its limit, in the logarithm.

    Returns
    -------
    (S,) float64, metres.

    Raises
    ------
    InputError
        If there are no slices, the ends are not in order, or the power is negative.
    """
    share = _shares(slices, near, far, 0.0, finite=True)
    if not 0 <= power < math.inf:
        raise InputError(f"the power of a focus schedule must be 0 or more, not {power}.")
    log_near, log_far = math.log(near), math.log(far)
    if power == 0:
        return np.exp(_between(log_near, log_far, share))
    # By exponentials of differences, which stay exact as the power goes to zero.
    rise = np.expm1(-power * (log_far - log_near)) * share
    distances = np.empty(slices)
    distances[:-1], distances[-1] = near * np.exp(-np.log1p(rise[:-1]) / power), far
    if slices == 1:
        distances[0] = near
    return distances


def checked(distances: Sequence[float] | Float64, focal_length: float) -> Float64:
    """Check given focus distances.

    Parameters
    ----------
    distances
        (S,) metres, in any order; `inf` is allowed.
    focal_length
        Metres.

    Returns
    -------
    (S,) float64, metres.

    Raises
    ------
    InputError
        If there are none, or one is not a distance beyond the focal length.
    """
    try:
        given = np.asarray(distances, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"focus distances must be numbers, in metres, not {distances!r}.") from None
    if given.ndim != 1 or not given.size:
        raise InputError("a focal stack needs at least one focus distance, as a list of metres.")
    for k in np.flatnonzero(~(given > focal_length))[:1]:
        raise InputError(
            f"slice {k} is focused at {given[k]:g} m, and a lens of {focal_length:g} m focal length cannot focus "
            "there: every focus distance must lie beyond the focal length."
        )
    return given


def _shares(slices: int, near: float, far: float, focal_length: float, *, finite: bool) -> Float64:
    if slices < 1:
        raise InputError(f"a focal stack needs at least one slice, not {slices}.")
    if not focal_length < near < far or (finite and math.isinf(far)):
        raise InputError(
            f"a focus schedule goes from near to far beyond the focal length ({focal_length:g} m), "
            f"not from {near:g} to {far:g} m."
        )
    return np.arange(slices) / max(slices - 1, 1)


def _between(first: float, last: float, share: Float64) -> Float64:
    return first + share * (last - first)
