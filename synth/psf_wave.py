"""PSF banks of masks in the pupil: wave optics bound to a lens, its sensor and three wavelengths."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf_sampled import SampledBank
from .pupil import Mask
from .pupil.propagation import check_samples, defocused, mask_fields, psf_at_pixels

Float64 = npt.NDArray[np.float64]
Window = Callable[[Float64, int], Float64]

POINTS_ACROSS = 1024
"""Points across the pupil at which a mask is looked at, whatever the number of cells."""
PUPILS_AT_ONCE = 2**21
"""Cells of the pupils that are held at once: 32 MB."""
LARGEST_BANK = 10**8
"""Values of all kernels together: 800 MB while they are made."""
LARGEST_AUTO = 255
"""Largest window, pixels, that is chosen from an energy."""


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


def mask_bank(
    mask: Mask,
    lens: ThinLens,
    wavelengths: Sequence[float],
    *,
    depth: tuple[float, float] | None,
    planes: int,
    defocus: Sequence[float] | None,
    size: int | None,
    energy: float,
    samples: int,
) -> SampledBank:
    """Bank of the PSFs of a mask in a lens's pupil.

    Parameters
    ----------
    mask
        What stands in the pupil; its design wavelength is where defocus is counted.
    lens
        Binds the phase to depths, and the PSF to pixels: ``psi = pi R^2 / wavelength (1/z - 1/z_focus)``, and a pixel
        is ``pitch / (wavelength N_w)`` wide in units of diffraction.
    wavelengths
        Metres, one for all channels or one each for R, G and B.
    depth
        Nearest and farthest depth, metres, that the bank is to serve with `planes` planes, uniform in defocus, the
        focus plane among them; or
    defocus
        the planes themselves: psi in radians at the mask's design wavelength.
    size
        Height and width of the kernels, pixels, the axis at size // 2; None takes the smallest odd size that holds
        the share `energy` of the light of every plane and wavelength.
    energy
        Between 0 and 1.
    samples
        Cells across the pupil.

    Raises
    ------
    InputError
        If neither or both of `depth` and `defocus` are given, the pupil is undersampled, the window is narrower than
        the CoC or cannot hold the energy, or the glass is unknown at a wavelength.
    """
    if (depth is None) == (defocus is None):
        raise InputError("a bank of a mask needs either depth = (nearest, farthest) or defocus = [...], not both.")
    if len(wavelengths) not in (1, 3) or not all(0 < w < 1e-3 for w in wavelengths):
        raise InputError(f"a bank of a mask needs 1 or 3 wavelengths in metres (550e-9), not {list(wavelengths)}.")
    if not 0 < energy < 1:
        raise InputError(f"psf.energy must be between 0 and 1, not {energy}.")
    if depth is not None:
        ends = [float(lens.defocus(z, mask.wavelength)) for z in (depth[1], depth[0])]
        psi = defocus_planes(ends[0], ends[1], planes)
    else:
        psi = np.asarray(defocus, np.float64)
    if psi.ndim != 1 or not psi.size or not np.isfinite(psi).all() or (np.diff(psi) <= 0).any():
        raise InputError("defocus must be an ascending list of finite numbers (radians): depths from far to near.")
    coc = psi / lens.defocus_per_coc(mask.wavelength)
    pixels = [lens.pixel_pitch / (w * lens.working_f_number) for w in wavelengths]
    worst = float(np.abs(psi).max()) * mask.wavelength / min(wavelengths)
    check_samples(samples, worst, (size or 1) * max(pixels), mask.steepness() * mask.wavelength / min(wavelengths))
    fields, light = mask_fields(mask, wavelengths, samples, oversampling=max(1, POINTS_ACROSS // samples))

    at_once = max(1, PUPILS_AT_ONCE // samples**2)

    def window(planes: Float64, pixels_wide: int) -> Float64:
        out = np.empty((len(planes), len(wavelengths), pixels_wide, pixels_wide))
        for c, (field, wavelength) in enumerate(zip(fields, wavelengths, strict=True)):
            for first in range(0, len(planes), at_once):
                some = planes[first : first + at_once] * (mask.wavelength / wavelength)
                out[first : first + at_once, c] = psf_at_pixels(defocused(field, some), pixels[c], pixels_wide, light)
        return out

    if size is None:
        size = _size_for(energy, psi, coc, window, largest=min(LARGEST_AUTO, int(samples / max(pixels))))
    _check_window(size, coc, lens)
    if (values := len(psi) * len(wavelengths) * size**2) > LARGEST_BANK:
        raise InputError(
            f"a bank of {len(psi)} planes of {size}x{size} px in {len(wavelengths)} colours has "
            f"{values / 1e6:.0f} million values, and at most {LARGEST_BANK / 1e6:.0f} million are made: "
            "lower psf.planes or psf.size."
        )
    kernels = np.maximum(window(psi, size), 0.0)
    held = kernels.sum(axis=(2, 3))
    return SampledBank(
        "mask",
        lens,
        kernels / held[:, :, None, None],
        coc,
        wavelengths=wavelengths,
        reference=mask.wavelength,
        energy=held,
        facts={"kind": "mask", "mask": mask.to_dict(), "name": mask.name, "samples": samples},
    )


def _check_window(size: int, coc: Float64, lens: ThinLens) -> None:
    if not size >= 1:
        raise InputError(f"psf.size must be 1 pixel or more, not {size}.")
    widest = float(np.abs(coc).max())
    if widest > size:
        at = lens.depth_at_coc(coc[np.argmax(np.abs(coc))])
        raise InputError(
            f"the circle of confusion is {widest:.1f} px at {at:.3g} m and does not fit kernels of {size} px: raise "
            f"psf.size to {math.ceil(widest * 1.2) // 2 * 2 + 1} or more, or narrow the depth range."
        )


def _size_for(energy: float, psi: Float64, coc: Float64, window: Window, largest: int) -> int:
    """Smallest odd window that holds the energy of the first, the last and the plane nearest to focus."""
    if np.abs(coc).max() > largest:
        return largest
    chosen = psi[np.unique([0, int(np.abs(psi).argmin()), len(psi) - 1])]
    largest -= 1 - largest % 2
    size, held = min(31, largest), 0.0
    while True:
        psfs, half = window(chosen, size), size // 2
        for n in range(half + 1):
            held = float(psfs[:, :, half - n : half + n + 1, half - n : half + n + 1].sum(axis=(2, 3)).min())
            if held >= energy:
                return 2 * n + 1
        if size >= largest:
            raise InputError(
                f"no window up to {largest} px holds {energy:.1%} of the PSF's light (that one holds {held:.1%}): set "
                "psf.size, lower psf.energy, or raise psf.samples."
            )
        size = min(2 * size + 1, largest)
