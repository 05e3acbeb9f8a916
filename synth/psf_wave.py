"""PSF banks of masks in the pupil: wave optics bound to a lens, its sensor and three wavelengths."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf_sampled import SampledBank
from .pupil import Mask
from .pupil.propagation import check_samples, defocused, mask_fields, psf_at_pixels
from .shapes import rounded

Float64 = npt.NDArray[np.float64]

POINTS_ACROSS = 1024
"""Points across the pupil at which a mask is looked at, whatever the number of cells."""
PUPILS_AT_ONCE = 2**21
"""Cells of the pupils that are held at once: 32 MB."""
LEAST_ENERGY = 0.2
"""Kernels that hold less of the light are no picture of the PSF."""
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
    wavelengths = tuple(float(w) for w in np.atleast_1d(np.asarray(wavelengths, np.float64)))
    _check_request(wavelengths, energy, planes=planes, size=size, samples=samples)
    psi = _planes(mask, lens, depth, planes, defocus)
    coc = psi / lens.defocus_per_coc(mask.wavelength)
    optics = _Optics(mask, lens, wavelengths, samples, float(np.abs(psi).max()), size or 1)
    if size is None:
        size = _size_for(energy, psi, coc, optics)
    _check_window(size, coc, lens, len(wavelengths))
    kernels = np.maximum(optics.window(psi, size), 0.0)
    held = kernels.sum(axis=(2, 3))
    if held.min() < LEAST_ENERGY:
        raise InputError(
            f"kernels of {size} px hold only {held.min():.1%} of the light (the scale of diffraction is "
            f"{1 / min(optics.pixels):.3g} px): raise psf.size, or check the aperture, the pixel pitch and the mask."
        )
    return SampledBank(
        "mask",
        lens,
        kernels / held[:, :, None, None],
        coc,
        wavelengths=wavelengths,
        reference=mask.wavelength,
        energy=rounded(held),
        facts={"kind": "mask", "mask": mask.to_dict(), "name": mask.name, "samples": samples},
    )


class _Optics:
    """The fields behind a mask, and what they become on the sensor's pixels."""

    def __init__(
        self, mask: Mask, lens: ThinLens, wavelengths: Sequence[float], samples: int, defocus: float, size: int
    ) -> None:
        self.scales = [mask.wavelength / w for w in wavelengths]
        self.pixels = [lens.pixel_pitch / (w * lens.working_f_number) for w in wavelengths]
        self.samples, steepest = samples, max(self.scales)
        check_samples(samples, defocus * steepest, size * max(self.pixels), mask.steepness() * steepest)
        oversampling = max(1, POINTS_ACROSS // samples)
        self.fields, self.light = mask_fields(mask, wavelengths, samples, oversampling=oversampling)
        if not float(self.light) > 1e-6:
            raise InputError(f"the mask ({mask.name}) lets no light through the pupil: check pattern and obstruction.")

    def window(self, psi: Float64, size: int) -> Float64:
        """Share of the light on each pixel of a window: (planes, wavelengths, size, size)."""
        out = np.empty((len(psi), len(self.fields), size, size))
        at_once = max(1, PUPILS_AT_ONCE // self.samples**2)
        for c, (field, scale, pixel) in enumerate(zip(self.fields, self.scales, self.pixels, strict=True)):
            for first in range(0, len(psi), at_once):
                pupils = defocused(field, psi[first : first + at_once] * scale)
                out[first : first + at_once, c] = psf_at_pixels(pupils, pixel, size, self.light)
        return out


def _planes(
    mask: Mask, lens: ThinLens, depth: tuple[float, float] | None, planes: int, defocus: Sequence[float] | None
) -> Float64:
    """Return the psi of each plane, radians at the design wavelength."""
    if (depth is None) == (defocus is None):
        raise InputError("a bank of a mask needs either depth = (nearest, farthest) or defocus = [...], not both.")
    if depth is None:
        psi = np.asarray(defocus, np.float64)
        if psi.ndim != 1 or not psi.size or not np.isfinite(psi).all() or (np.diff(psi) <= 0).any():
            raise InputError("defocus must be an ascending list of finite numbers (radians): depths from far to near.")
        return psi
    if not 0 < depth[0] < depth[1]:
        raise InputError(f"depth must be (nearest, farthest) in metres, both positive, not {tuple(depth)}.")
    low, high = (float(lens.defocus(z, mask.wavelength)) for z in reversed(depth))
    psi = defocus_planes(low, high, planes)
    if len(psi) == 1 < planes:
        raise InputError(
            f"{planes} planes on both sides of the focus leave the focus plane alone: psf.planes must be 3 or more."
        )
    return psi


def _check_request(wavelengths: Sequence[float], energy: float, **numbers: int | None) -> None:
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


def _check_window(size: int, coc: Float64, lens: ThinLens, colours: int) -> None:
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


def _size_for(energy: float, psi: Float64, coc: Float64, optics: _Optics) -> int:
    """Smallest odd window that holds the energy of the first, the last and the plane nearest to focus."""
    largest = min(LARGEST_AUTO, int(optics.samples / max(optics.pixels)))
    if np.abs(coc).max() > largest:
        return largest
    chosen = psi[np.unique([0, int(np.abs(psi).argmin()), len(psi) - 1])]
    largest -= 1 - largest % 2
    size, held = min(31, largest), 0.0
    while True:
        psfs, half = optics.window(chosen, size), size // 2
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
