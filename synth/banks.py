"""The PSF bank of a recipe: made from its `psf` section, or read from the dataset that it was stored in."""

import hashlib
import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import InputError
from .apertures import coded_aperture, picture_aperture, round_aperture
from .camera import ThinLens
from .places import Place
from .psf import PsfBank
from .psf_field import StoredBank
from .psf_files import bank_digest, load_bank
from .pupil import (
    AmplitudeMask,
    ClearMask,
    CubicMask,
    HeightMap,
    Mask,
    RadialMask,
    SpiralMask,
    ZernikeMask,
    mask_from,
)
from .pupil.files import check_pupil, load_mask, load_mask_for, read_heights
from .recipe import Recipe
from .recipe_psf import (
    AmplitudeMaskSection,
    AperturePsf,
    ClearMaskSection,
    CubicMaskSection,
    DiskPsf,
    FisherMaskSection,
    HeightMapSection,
    MaskFileSection,
    MaskPsf,
    MaskSection,
    MeasuredPsf,
    RadialMaskSection,
    SpiralMaskSection,
    ZernikeMaskSection,
)
from .store import split_facts, stored_folders


def make_bank(recipe: Recipe, lens: ThinLens | None = None, mask: Mask | None = None) -> PsfBank:
    """Make the PSF bank of a recipe, for its own lens or for another one, as of a slice of a stack.

    Parameters
    ----------
    recipe
        What the PSFs are of.
    lens
        Through which lens, if not the recipe's own.
    mask
        The mask that the recipe names, if it is at hand; see `stored_mask`.

    Raises
    ------
    InputError
        If a file that it names cannot be used, or its mask cannot be simulated as it says.
    """
    psf = recipe.psf
    if not isinstance(psf, MaskPsf):
        return psf.bank(lens or recipe.lens)
    if lens is None and mask is None:
        check_mask_camera(recipe)
    return PsfBank.from_mask(
        mask or make_mask(psf.mask), lens or recipe.lens, psf.wavelengths, depth=recipe.scenes.depth,
        planes=psf.planes, size=psf.size, energy=psf.energy, samples=psf.samples,
    )  # fmt: skip


def half_banks(recipe: Recipe) -> tuple[PsfBank, PsfBank]:
    """Make the banks of a dual pixel's views: of the left and the right half of the aperture, as the camera sees it.

    A point behind the focus plane shows the half upright, a nearer one turned by 180 degrees: the two views of a
    point behind the focus lie apart to the left and to the right, of a nearer one the other way.
    """
    psf = recipe.psf
    assert isinstance(psf, DiskPsf | AperturePsf)
    whole = round_aperture() if isinstance(psf, DiskPsf) else psf.transmission()
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


def mask_digest(mask: Mask) -> str:
    """Digest of what a mask is, whatever file it comes from: sha256 over its parameters, hexadecimal.

    Parameters at their defaults are left out, so that masks keep their digests when a kind gets new parameters.
    """
    data = mask.to_dict()
    defaults = {item.name: item.default for item in fields(mask) if item.default is not MISSING}
    told = {name: _uniform(value) for name, value in data.items() if name not in defaults or value != defaults[name]}
    return hashlib.sha256(json.dumps(told, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _uniform(value: Any) -> Any:
    """Write numbers in one way: 2 and 2.0 are the same parameter."""
    if isinstance(value, list | tuple):
        return [_uniform(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def file_section(path: str | Path) -> dict[str, Any]:
    """Return what the `psf.mask` section of a recipe says of a mask in a file: where it is, and what it holds.

    Raises
    ------
    InputError
        If the file holds no usable mask.
    """
    mask = load_mask(path)
    return {"kind": "file", "path": str(path), "sha256": mask_digest(mask), "wavelength": mask.wavelength}


def pinned(recipe: Recipe) -> Recipe:
    """Return a recipe that knows the mask of the file that it names by its content; any other recipe as it is.

    Raises
    ------
    InputError
        If the file holds no usable mask, or not the one that the recipe says.
    """
    psf = recipe.psf
    if not isinstance(psf, MaskPsf) or not isinstance(psf.mask, MaskFileSection):
        return recipe
    if psf.mask.path is None or psf.mask.sha256 is not None:
        return recipe
    mask = make_mask(psf.mask)
    section = psf.mask.model_copy(update={"sha256": mask_digest(mask), "wavelength": mask.wavelength})
    return recipe.model_copy(update={"psf": psf.model_copy(update={"mask": section})})


def stored_mask(recipe: Recipe, bank: PsfBank) -> Mask | None:
    """Return the mask that a dataset holds with its PSFs, if the recipe took it from a file; else None.

    Raises
    ------
    InputError
        If it is not the one that the recipe says.
    """
    psf = recipe.psf
    if not isinstance(psf, MaskPsf) or not isinstance(psf.mask, MaskFileSection) or psf.mask.sha256 is None:
        return None
    try:
        mask = mask_from(bank.facts["mask"])
    except (KeyError, TypeError, ValueError, AttributeError):
        mask = None
    if mask is None or mask_digest(mask) != psf.mask.sha256:
        raise InputError("the mask stored with the PSFs is not the one that the recipe was made with: fetch it again.")
    return mask


def check_mask_camera(recipe: Recipe) -> None:
    """Refuse a mask from a file whose camera has another pupil than the recipe's.

    Raises
    ------
    InputError
        If the file's camera has a smaller or a larger pupil than any that the recipe has, and the recipe does not say
        that it means it (`psf.mask.any_camera`); or if the file cannot be used.
    """
    psf = recipe.psf
    if not isinstance(psf, MaskPsf) or not isinstance(psf.mask, MaskFileSection):
        return
    if psf.mask.path is None or psf.mask.any_camera:
        return
    found = [lens.aperture_diameter for extreme in recipe.extremes for lens in extreme.widest_lenses]
    check_pupil(
        psf.mask.path, load_mask_for(psf.mask.path)[1], (min(found), max(found)), "psf.mask.any_camera=true"
    )  # fmt: skip


def make_mask(section: MaskSection) -> Mask:
    """Make the mask of a recipe.

    Raises
    ------
    InputError
        If a file that it names cannot be used, or a parameter is out of range.
    """
    if isinstance(section, MaskFileSection):
        return _mask_of_file(section)
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


def _mask_of_file(section: MaskFileSection) -> Mask:
    if section.path is None:
        if section.sha256 is None:
            raise InputError(
                "the recipe leaves its mask to you: give one with --mask FILE, for example RUN/mask.json of a training "
                "that learned one, or as psf.mask.path."
            )
        raise InputError(
            f"the recipe was made with a mask whose file it does not name (sha256 {section.sha256[:12]}...): give that "
            "file with --mask; `defocal mask STORE OUT` takes it out of a dataset that was made with it."
        )
    mask = load_mask(section.path)
    if section.sha256 is not None and mask_digest(mask) != section.sha256:
        raise InputError(
            f"the mask in {section.path} ({mask.name}) is not the one that the recipe was made with (sha256 "
            f"{section.sha256[:12]}...): give that file with --mask, or take psf.mask.sha256 out of the recipe."
        )
    if section.wavelength is not None and abs(section.wavelength / mask.wavelength - 1) > 1e-9:
        raise InputError(
            f"the mask in {section.path} was designed for {mask.wavelength * 1e9:g} nm, and psf.mask.wavelength "
            f"says {section.wavelength * 1e9:g} nm: correct the recipe."
        )
    return mask
