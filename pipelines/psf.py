"""The PSFs of a recipe or of a dataset: in words, as a picture, and as a file of their own."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import InputError
from ..evaluate.pictures import png_bytes
from ..evaluate.psf_measures import rotation_angles
from ..evaluate.psf_sheet import Planes, psf_sheet
from ..synth.banks import checked_bank, make_bank
from ..synth.files import write_atomically
from ..synth.places import dataset_at
from ..synth.psf_field import FieldBank, StoredBank
from ..synth.psf_files import bank_arrays
from ..synth.psf_sampled import SampledBank
from ..synth.pupil import SpiralMask, mask_from
from ..synth.recipe import Recipe
from ..synth.recipe_psf import MaskFileSection, MaskPsf
from ..synth.store import open_store, stored_folders
from .info import file_words, lens_words, light_advice, psf_words
from .preview import beside
from .shipped import find_recipe

ON_SHEET = ("camera", "PSF", "mask", "planes", "defocus", "field")
"""What of a bank's description its picture says."""
Angles = npt.NDArray[np.float64]
Facts = list[tuple[str, str]]


def bank_of(target: str, **changes: Any) -> tuple[Recipe, StoredBank]:
    """Return the recipe and the PSFs of the dataset in the folder `target`, or of the recipe of that name or path.

    Raises
    ------
    InputError
        If it is neither, or its PSFs cannot be made.
    """
    if (where := dataset_at(target)) is not None:
        if any(changes.values()):
            raise InputError(
                f"{target} is a dataset, whose PSFs are made already: leave --set and --mask out, they are for recipes."
            )
        store = open_store(where, unfinished=True)
        return store.recipe, checked_bank(stored_folders(store.path)[0])
    recipe = find_recipe(target, **changes)
    return recipe, make_bank(recipe).sampled(*recipe.scenes.depth)


def rotation(bank: SampledBank) -> tuple[Angles, Angles] | None:
    """Angles by which the PSFs of a spiral mask are turned against the focus plane, and what theory says.

    Returns
    -------
    Measured and theoretical angles, each (channels, planes), radians in array axes (falling is counter-clockwise in the
    picture); None for any other bank. NaN where a PSF has no direction.
    """
    data = bank.facts.get("mask")
    if not isinstance(data, dict) or bank.reference is None or len(bank.coc) < 2 or data.get("kind") != "spiral":
        return None
    mask = mask_from(data)
    assert isinstance(mask, SpiralMask)
    focus = int(np.abs(bank.coc).argmin())
    lobes = max(1, round(float(mask.lobes)))
    measured = [rotation_angles(bank.kernels[:, c], lobes=lobes, reference=focus) for c in range(bank.channels)]
    turn = mask.turn_per_defocus * (bank.defocus - bank.defocus[focus])
    theory = [turn * bank.reference / wavelength for wavelength in bank.wavelengths or ()]
    return np.array(measured), np.array(theory)


def bank_facts(recipe: Recipe, stored: StoredBank) -> Facts:
    """Describe a bank as (heading, text) lines; one whose kernels vary over the picture by those at its centre."""
    bank = on_axis(stored)
    (far, near), (height, width) = bank.depth[[0, -1]], bank.size
    facts = [
        ("recipe", f"{recipe.name}, hash {recipe.hash()[:12]}"),
        ("camera", lens_words(bank.lens)),
        ("PSF", psf_words(recipe.psf)),
        *_mask_facts(recipe, bank),
        ("planes", f"{len(bank.coc)} from {far:.4g} to {near:.4g} m, CoC {bank.coc[0]:+.2f} to {bank.coc[-1]:+.2f} px"),
        ("kernels", f"{width}x{height} px, {'R, G and B' if bank.channels == 3 else 'one for all colours'}"),
    ]
    if bank.reference is not None:
        scale = bank.reference * bank.lens.working_f_number / bank.lens.pixel_pitch
        words = f"psi {bank.defocus[0]:+.2f} to {bank.defocus[-1]:+.2f} rad at {bank.reference * 1e9:g} nm"
        facts.insert(4, ("defocus", f"{words}, where wavelength times f-number is {scale:.2f} px"))
    if isinstance(stored, FieldBank):
        rows, columns = stored.field_y, stored.field_x
        grid = f"{len(rows)} x {len(columns)} positions, y {rows[0]:g} to {rows[-1]:g}, x {columns[0]:g} to"
        facts.append(("field", f"{grid} {columns[-1]:g} half-diagonals; what else is said is of the one at the centre"))
    if bank.energy is not None:
        share = f"{bank.energy.min():.1%} to {bank.energy.max():.1%} of it falls within the kernels"
        facts.append(("light", share + light_advice(bank.energy)))
    turned = rotation(bank)
    if turned is not None:
        names = "RGB" if bank.channels == 3 else "-"
        rates = [_rate(bank.defocus, angles, theory) for angles, theory in zip(*turned, strict=True)]
        facts.append(("rotation", ", ".join(
            f"{name} {rate:.3f} (theory {theory:.3f})" for name, (rate, theory) in zip(names, rates, strict=True)
        ) + " degrees a radian of psi, positive is clockwise in the picture"))  # fmt: skip
    return facts


def _mask_facts(recipe: Recipe, bank: SampledBank) -> Facts:
    """Say what the mask of a file is: a recipe says no more than its digest."""
    if not isinstance(recipe.psf, MaskPsf) or not isinstance(recipe.psf.mask, MaskFileSection):
        return []
    return [("mask", mask_from(bank.facts["mask"]).name)]


def on_axis(bank: StoredBank) -> SampledBank:
    """Return the PSFs at the centre of the picture, or at the position nearest to it that has some."""
    return bank.nearest(0.0, 0.0) if isinstance(bank, FieldBank) else bank


def _maps(stored: StoredBank) -> dict[str, npt.NDArray[np.float32]] | None:
    """Kernels of the first and the last plane over the picture."""
    if not isinstance(stored, FieldBank):
        return None
    kernels, _, _ = bank_arrays(stored)["kernel"]
    depth = stored.banks[0].depth
    ends = {"farthest": 0, "nearest": len(depth) - 1}
    channel = kernels.shape[3] // 2
    return {f"over the picture: {name} plane, {depth[k]:.4g} m": kernels[:, :, k, channel] for name, k in ends.items()}


def _rate(psi: Angles, angles: Angles, theory: Angles) -> tuple[float, float]:
    """Degrees a radian, measured and by theory."""
    seen = np.isfinite(angles)
    slopes = [
        float(np.polyfit(psi[seen], np.degrees(a[seen]), 1)[0]) if seen.sum() > 1 else np.nan for a in (angles, theory)
    ]
    return slopes[0], slopes[1]


def write_psf(target: str, out: Path | None, save: Path | None, **changes: Any) -> tuple[Facts, list[Path]]:
    """Draw the PSFs of a recipe or dataset, and write them to a file of their own if asked.

    Parameters
    ----------
    target
        Folder of a dataset, or a recipe by name or path.
    out
        The picture (PNG); `<target>-psf.png` if None.
    save
        A .npz file for the bank, which `PsfBank.load` reads.
    changes
        As in `find_recipe`.

    Returns
    -------
    The bank in words, and the files written.

    Raises
    ------
    InputError
        If there is no such dataset or recipe, its PSFs cannot be made, or a file cannot be written.
    """
    out = out or beside(target, "-psf.png")
    _check_names(out, save)
    recipe, stored = bank_of(target, **changes)
    facts, bank = bank_facts(recipe, stored), on_axis(stored)
    names = [f"{w * 1e9:.0f} nm" for w in bank.wavelengths] if bank.wavelengths else None
    sheet = psf_sheet(
        bank.kernels,
        title=f"{recipe.name}: {_title(recipe, bank)}",
        planes=Planes(coc=bank.coc, depth=bank.depth, defocus=None if bank.reference is None else bank.defocus),
        channel_names=names,
        rotation=rotation(bank),
        energy=bank.energy,
        field=_maps(stored),
        facts=[f"{heading}: {text}" for heading, text in facts if heading in ON_SHEET],
    )
    if save is not None:
        stored.save(save)
    try:
        write_atomically(out, png_bytes(sheet))
    except OSError as error:
        raise InputError(f"cannot write {out} ({error.strerror}): choose another place with --out.") from None
    return facts, [out] if save is None else [out, save]


def _check_names(out: Path, save: Path | None) -> None:
    """Refuse names that cannot be right before anything is computed; make their folders."""
    for path, suffix, what in ((out, ".png", "picture"), (save, ".npz", "file of kernels")):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise InputError(f"the {what} {str(path)!r} does not end in {suffix}: name it so.")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder of {path} ({error.strerror}): choose another place.") from None


def _title(recipe: Recipe, bank: SampledBank) -> str:
    psf = recipe.psf
    if not isinstance(psf, MaskPsf):
        return f"{psf.kind} PSFs"
    if not isinstance(psf.mask, MaskFileSection):
        return f"{psf.mask.kind} mask"
    # What stands in the pupil, and not that it came from a file.
    kind = mask_from(bank.facts["mask"]).kind
    return f"{kind} mask" if psf.mask.path is None else f"{kind} mask of {file_words(psf.mask.path)}"
