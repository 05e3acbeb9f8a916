"""The PSF bank of a recipe: made from its `psf` section, or read from the dataset that it was stored in."""

from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from .apertures import coded_aperture, picture_aperture, polygon_aperture, round_aperture
from .camera import ThinLens
from .places import Place
from .psf import PsfBank
from .psf_field import StoredBank
from .psf_files import bank_digest, load_bank
from .pupil import AmplitudeMask, ClearMask, CubicMask, HeightMap, Mask, RadialMask, SpiralMask, ZernikeMask
from .pupil.files import load_mask, read_heights
from .recipe import Recipe
from .recipe_psf import (
    AmplitudeMaskSection,
    AperturePsf,
    CatEyePsf,
    ClearMaskSection,
    CubicMaskSection,
    DiskPsf,
    FisherMaskSection,
    GaussianPsf,
    HeightMapSection,
    MaskFileSection,
    MaskPsf,
    MaskSection,
    MeasuredPsf,
    PowerExponentialPsf,
    RadialMaskSection,
    SpiralMaskSection,
    ZernikeMaskSection,
)
from .store import split_facts, stored_folders


def make_bank(recipe: Recipe, lens: ThinLens | None = None) -> PsfBank:
    """Make the PSF bank of a recipe, for its own lens or for another one, as of a slice of a stack.

    Raises
    ------
    InputError
        If a file that it names cannot be used, or its mask cannot be simulated as it says.
    """
    lens, psf = lens or recipe.lens, recipe.psf
    match psf:
        case DiskPsf():
            return PsfBank.disk(lens)
        case GaussianPsf():
            return PsfBank.gaussian(lens, sigma_per_coc=psf.sigma_per_coc)
        case PowerExponentialPsf():
            return PsfBank.power_exponential(lens, exponent=psf.exponent)
        case AperturePsf():
            return PsfBank.aperture(lens, _aperture(psf))
        case CatEyePsf():
            iris = psf.blades and polygon_aperture(psf.blades, roundness=psf.roundness, rotation=psf.rotation)
            return PsfBank.cat_eye(lens, iris, clipping=psf.clipping, rim=psf.rim, side=psf.side, nodes=psf.nodes)
        case MeasuredPsf():
            return PsfBank.measured(psf.path, lens, size=psf.size)
        case MaskPsf():
            return PsfBank.from_mask(
                make_mask(psf.mask), lens, psf.wavelengths, depth=recipe.scenes.depth, planes=psf.planes,
                size=psf.size, energy=psf.energy, samples=psf.samples,
            )  # fmt: skip


def half_banks(recipe: Recipe) -> tuple[PsfBank, PsfBank]:
    """Make the banks of a dual pixel's views: of the left and the right half of the aperture, as the camera sees it.

    A point behind the focus plane shows the half upright, a nearer one turned by 180 degrees: the two views of a
    point behind the focus lie apart to the left and to the right, of a nearer one the other way.
    """
    psf = recipe.psf
    assert isinstance(psf, DiskPsf | AperturePsf)
    whole = round_aperture() if isinstance(psf, DiskPsf) else _aperture(psf)
    n = whole.shape[1]
    # An odd middle column is shared.
    share = np.clip(n / 2 - np.arange(n), 0, 1)
    left, right = PsfBank.aperture(recipe.lens, whole * share), PsfBank.aperture(recipe.lens, whole * share[::-1])
    return left, right


def stored_bank(out: Place, recipe: Recipe) -> PsfBank | None:
    """Return the bank that a dataset stores, if samples must be made with that very one.

    Banks of masks and measured banks are made once and read by whoever makes samples: making them again takes time,
    may need files, and may round differently on another processor. Shapes are made again where they are used.
    """
    if not isinstance(recipe.psf, MaskPsf | MeasuredPsf):
        return None
    bank, *_ = [checked_bank(split) for split in stored_folders(out)]
    if bank.lens != recipe.lens:
        raise InputError(f"the PSF bank stored in {out} is for another lens than its recipe has: generate it again.")
    return bank


def checked_bank(split: Place) -> StoredBank:
    """Read the bank of a dataset's split, and check that it is the one that was written.

    Raises
    ------
    InputError
        If it is damaged.
    """
    bank = load_bank(split)
    if bank_digest(bank) != split_facts(split)["psf"].get("sha256"):
        raise InputError(
            f"the PSF bank of {split} differs from its digest: fetch a fresh copy of the dataset, or generate it again."
        )
    return bank


def make_mask(section: MaskSection) -> Mask:
    """Make the mask of a recipe.

    Raises
    ------
    InputError
        If a file that it names cannot be used, or a parameter is out of range.
    """
    if isinstance(section, MaskFileSection):
        mask = load_mask(section.path)
        if section.wavelength is not None and abs(section.wavelength / mask.wavelength - 1) > 1e-9:
            raise InputError(
                f"the mask in {section.path} was designed for {mask.wavelength * 1e9:g} nm, and psf.mask.wavelength "
                f"says {section.wavelength * 1e9:g} nm: correct the recipe."
            )
        return mask
    base: dict[str, Any] = {
        "wavelength": section.wavelength,
        "glass": section.glass,
        "obstruction": section.obstruction,
    }
    match section:
        case ClearMaskSection():
            return ClearMask(**base)
        case SpiralMaskSection():
            return SpiralMask(
                zones=section.zones, lobes=section.lobes, confinement=section.confinement, form=section.form,
                gain=section.gain, **base,
            )  # fmt: skip
        case ZernikeMaskSection():
            return ZernikeMask(section.coefficients, section.wrapped, **base)
        case FisherMaskSection():
            from .pupil.designs import fisher_mask

            return fisher_mask(wrapped=section.wrapped, **base)
        case CubicMaskSection():
            return CubicMask(section.strength, **base)
        case HeightMapSection():
            return HeightMap(read_heights(section.path), **base)
        case RadialMaskSection():
            heights = section.heights if section.path is None else read_heights(section.path)
            return RadialMask(heights, section.form, **base)
        case AmplitudeMaskSection():
            pattern = coded_aperture(section.pattern) if section.pattern else picture_aperture(str(section.picture))
            return AmplitudeMask(pattern, section.square, **base)


def _aperture(psf: AperturePsf) -> npt.NDArray[np.float64]:
    if psf.blades is not None:
        return polygon_aperture(psf.blades, roundness=psf.roundness, rotation=psf.rotation)
    if psf.pattern is not None:
        return coded_aperture(psf.pattern)
    return picture_aperture(psf.picture) if psf.picture is not None else round_aperture(obstruction=psf.obstruction)
