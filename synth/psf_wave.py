"""PSF banks of masks in the pupil: wave optics bound to a lens, its sensor and three wavelengths."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .. import InputError
from .camera import ThinLens
from .psf_sampled import SampledBank
from .pupil import Mask
from .pupil.propagation import check_samples, defocused, mask_fields, psf_at_pixels
from .pupil.windows import POINTS_ACROSS, check_held, check_light, check_request, check_window, planes_over
from .shapes import rounded

Float64 = npt.NDArray[np.float64]

PUPILS_AT_ONCE = 2**21
"""Cells of the pupils that are held at once: 32 MB."""
LARGEST_AUTO = 255
"""Largest window, pixels, that is chosen from an energy."""


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
    check_request(wavelengths, energy, planes=planes, size=size, samples=samples)
    psi = _planes(mask, lens, depth, planes, defocus)
    coc = psi / lens.defocus_per_coc(mask.wavelength)
    optics = _Optics(mask, lens, wavelengths, samples, float(np.abs(psi).max()), size or 1)
    if size is None:
        size = _size_for(energy, psi, coc, optics)
    check_window(size, coc, lens, len(wavelengths))
    kernels = np.maximum(optics.window(psi, size), 0.0)
    held = kernels.sum(axis=(2, 3))
    check_held(float(held.min()), size, min(optics.pixels))
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
        check_light(float(self.light), mask)

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
    if depth is not None:
        return planes_over(lens, depth, planes, mask.wavelength)
    psi = np.asarray(defocus, np.float64)
    if psi.ndim != 1 or not psi.size or not np.isfinite(psi).all() or (np.diff(psi) <= 0).any():
        raise InputError("defocus must be an ascending list of finite numbers (radians): depths from far to near.")
    return psi


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
