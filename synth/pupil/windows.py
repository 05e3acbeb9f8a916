"""Planes and windows of a mask's PSFs in a lens: where they lie, and which are refused; for banks of any library."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ... import InputError
from ..camera import ThinLens
from .base import Mask

Float64 = npt.NDArray[np.float64]

POINTS_ACROSS = 1024
"""Points across the pupil at which a mask is looked at, whatever the number of cells."""
LEAST_ENERGY = 0.2
"""Kernels that hold less of the light are no picture of the PSF."""
LEAST_LIGHT = 1e-6
"""Of what falls on the square around the pupil."""
LARGEST_BANK = 10**8
"""Values of all kernels together: 800 MB while they are made."""


def defocus_planes(low: float, high: float, planes: int) -> Float64:
    """Lay at most `planes` planes, uniform in defocus, that serve everything from `low` to `high`.

    Where focus lies between, it is one of the planes; each plane serves half a step to either side.

    Parameters
    ----------
    low, high
        Defocus (or CoC) of the farthest and the nearest depth.
    planes
        2 or more; or 1, which is then at the middle, or in focus.

    Raises
    ------
    InputError
        If the range is empty or there are no planes.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and planes >= 1):
        raise InputError(f"{planes} planes cannot be laid from a defocus of {low:g} to {high:g}.")
    if planes == 1 or low == high:
        return np.array([0.0 if low <= 0 <= high else (low + high) / 2])
    step = (high - low) / (planes - 1)
    if not low <= 0 <= high:
        return np.linspace(low, high, planes)
    before, after = (math.ceil(extent / step - 0.5 - 1e-9) for extent in (-low, high))
    return np.asarray(np.arange(-max(before, 0), max(after, 0) + 1) * step)


def planes_over(lens: ThinLens, depth: tuple[float, float], planes: int, wavelength: float) -> Float64:
    """Lay planes that serve a range of depths; see `defocus_planes`.

    Parameters
    ----------
    depth
        Nearest and farthest, metres.
    planes
        At most so many.
    wavelength
        Metres: where defocus is counted.

    Returns
    -------
    (K,) psi, radians at the pupil's edge, ascending: from far to near.

    Raises
    ------
    InputError
        If the range is no range, or the planes too few for one that holds the focus.
    """
    if not 0 < depth[0] < depth[1]:
        raise InputError(f"depth must be (nearest, farthest) in metres, both positive, not {tuple(depth)}.")
    low, high = (float(lens.defocus(z, wavelength)) for z in reversed(depth))
    psi = defocus_planes(low, high, planes)
    if len(psi) == 1 < planes:
        raise InputError(
            f"{planes} planes on both sides of the focus leave the focus plane alone: psf.planes must be 3 or more."
        )
    return psi


def check_request(wavelengths: Sequence[float], energy: float, **numbers: int | None) -> None:
    """Check the wavelengths, the energy, and the numbers (planes, size, samples) that are asked for.

    Raises
    ------
    InputError
        Naming the first that cannot be.
    """
    if len(wavelengths) not in (1, 3):
        raise InputError(f"a bank of a mask needs 1 or 3 wavelengths, not {len(wavelengths)}.")
    if not all(0 < w < 1e-3 for w in wavelengths):
        raise InputError(f"wavelengths must be positive lengths in metres (550e-9), not {list(wavelengths)}.")
    if not 0 < energy < 1:
        raise InputError(f"psf.energy must be between 0 and 1, not {energy}.")
    for name, most in (("planes", 4096), ("size", 4096), ("samples", 8192)):
        value = numbers[name]
        if value is not None and not (isinstance(value, int | np.integer) and value <= most):
            raise InputError(f"psf.{name} must be a whole number up to {most}, not {value!r}.")


def check_window(size: int, coc: Float64, lens: ThinLens, colours: int) -> None:
    """Check that windows of `size` pixels hold the CoCs, and that there are not too many of them.

    Raises
    ------
    InputError
        Giving the size that is needed.
    """
    if not size >= 1:
        raise InputError(f"psf.size must be 1 pixel or more, not {size}.")
    if (values := len(coc) * colours * size**2) > LARGEST_BANK:
        raise InputError(
            f"a bank of {len(coc)} planes of {size}x{size} px in {colours} colours has {values / 1e6:.0f} million "
            f"values, and at most {LARGEST_BANK / 1e6:.0f} million are made: lower psf.planes or psf.size."
        )
    widest = float(np.abs(coc).max())
    if widest > size:
        at = lens.depth_at_coc(coc[np.argmax(np.abs(coc))])
        raise InputError(
            f"the circle of confusion is {widest:.1f} px at {at:.3g} m and does not fit kernels of {size} px: raise "
            f"psf.size to {math.ceil(widest * 1.2) // 2 * 2 + 1} or more, or narrow the depth range."
        )


def check_held(held: float, size: int, pixel: float) -> None:
    """Check the share of the light that a window holds.

    Parameters
    ----------
    held
        The least share of all planes and colours.
    size
        Of the window, pixels.
    pixel
        Pitch, units of the longest wavelength times the working f-number.

    Raises
    ------
    InputError
        If the window is no picture of the PSF.
    """
    if not held >= LEAST_ENERGY:
        raise InputError(
            f"kernels of {size} px hold only {held:.1%} of the light (the scale of diffraction is "
            f"{1 / pixel:.3g} px): raise psf.size, or check the aperture, the pixel pitch and the mask."
        )


def check_light(light: float, mask: Mask) -> None:
    """Check that a mask lets light through; `light` is the mean squared amplitude over the square around the pupil.

    Raises
    ------
    InputError
        If it does not.
    """
    if not light > LEAST_LIGHT:
        raise InputError(f"the mask ({mask.name}) lets no light through the pupil: check pattern and obstruction.")
